//go:build (linux || darwin) && (amd64 || arm64) && !android && !ios && !noturbo && !nogpu

package jpeg

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"relsim/dynlib"
)

func TestOpenErrors(t *testing.T) {
	t.Setenv(TurboEnv, filepath.Join(t.TempDir(), "libturbojpeg.so.0"))
	if _, err := open(); err == nil || !strings.Contains(err.Error(), TurboEnv) {
		t.Errorf("a library that is not there: %v", err)
	}
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(TurboEnv, text)
	if _, err := open(); err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("a file that is no library: %v", err)
	}
	// Another library: that of C, under the name of the system.
	for _, name := range []string{"libc.so.6", "/usr/lib/libSystem.B.dylib"} {
		if _, err := dynlib.Open(name); err != nil {
			continue
		}
		t.Setenv(TurboEnv, name)
		if _, err := open(); err == nil || !strings.Contains(err.Error(), "no function tjInitDecompress: it is another library, or older than version 2.0") {
			t.Errorf("another library: %v", err)
		}
		return
	}
	t.Log("NOT RUN: no other library is known by name here")
}

// TestOtherSamples gives the check a library that decodes to something else.
func TestOtherSamples(t *testing.T) {
	l, err := open()
	if err != nil {
		t.Skip("NOT RUN: turbo:", err)
	}
	right := l.decompressToYUVPlanes
	if err := l.check(); err != nil {
		t.Errorf("the library as it is: %v", err)
	}
	l.decompressToYUVPlanes = func(h unsafe.Pointer, data []byte, planes *[3]unsafe.Pointer, strides *[3]int32, flags int32) int32 {
		rc := right(h, data, planes, strides, flags)
		*(*byte)(planes[1]) ^= 1
		return rc
	}
	if err := l.check(); err == nil || !strings.Contains(err.Error(), "other samples") {
		t.Errorf("a library with other samples: %v", err)
	}
	l.decompressToYUVPlanes = func(unsafe.Pointer, []byte, *[3]unsafe.Pointer, *[3]int32, int32) int32 { return -1 }
	if err := l.check(); err == nil || !strings.Contains(err.Error(), "does not decode") {
		t.Errorf("a library that fails: %v", err)
	}
}
