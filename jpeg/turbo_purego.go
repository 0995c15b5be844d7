//go:build (linux || darwin || windows) && (amd64 || arm64) && !android && !ios && !noturbo

package jpeg

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// open loads the library and looks its functions up.
func open() (*library, error) {
	names := turboNames
	if name := os.Getenv(TurboEnv); name != "" {
		names = []string{name}
	}
	var failed []error
	for _, name := range names {
		handle, err := load(name)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		return bind(name, handle)
	}
	if len(names) == 1 {
		return nil, fmt.Errorf("jpeg: libturbojpeg (%s=%s): %w", TurboEnv, names[0], failed[0])
	}
	return nil, fmt.Errorf("jpeg: libturbojpeg is not installed, or not where it is looked for (%s names its file): %w", TurboEnv, errors.Join(failed...))
}

// bind looks the functions up. C's unsigned long is of 32 bits on Windows and
// 64 elsewhere; the lower half of a register holds either.
func bind(name string, handle uintptr) (*library, error) {
	address := make(map[string]uintptr)
	for _, f := range []string{"tjInitDecompress", "tjDestroy", "tjDecompressToYUVPlanes", "tjGetErrorCode"} {
		at, err := lookUp(handle, f)
		if err != nil || at == 0 {
			return nil, fmt.Errorf("jpeg: libturbojpeg %s: no function %s: it is another library, or older than version 2.0", name, f)
		}
		address[f] = at
	}
	return &library{
		path: name,
		initDecompress: func() unsafe.Pointer {
			r, _, _ := purego.SyscallN(address["tjInitDecompress"])
			return *(*unsafe.Pointer)(unsafe.Pointer(&r)) // C memory
		},
		destroy: func(h unsafe.Pointer) { purego.SyscallN(address["tjDestroy"], uintptr(h)) },
		decompressToYUVPlanes: func(h unsafe.Pointer, data []byte, planes *[3]unsafe.Pointer, strides *[3]int32, flags int32) int32 {
			// Everything that C writes to stays where it is: it is pinned, and on
			// the heap as every pinned object.
			var pin runtime.Pinner
			defer pin.Unpin()
			pin.Pin(&data[0])
			pin.Pin(planes)
			pin.Pin(strides)
			for _, p := range planes {
				if p != nil {
					pin.Pin(p)
				}
			}
			r, _, _ := purego.SyscallN(address["tjDecompressToYUVPlanes"], uintptr(h),
				uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)), uintptr(unsafe.Pointer(planes)),
				0, uintptr(unsafe.Pointer(strides)), 0, uintptr(flags))
			return int32(r)
		},
	}, nil
}
