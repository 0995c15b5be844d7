//go:build (linux || darwin || windows) && (amd64 || arm64) && !android && !ios && !noturbo && !nogpu

package jpeg

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"

	"relsim/dynlib"
)

// open loads the library and looks its functions up. C's unsigned long is of 32 bits on
// Windows and 64 elsewhere; the lower half of a register holds either.
func open() (*library, error) {
	names := turboNames
	given := os.Getenv(TurboEnv)
	if given != "" {
		names = []string{given}
	}
	lib, err := dynlib.Open(names...)
	if err != nil && given != "" {
		return nil, fmt.Errorf("jpeg: libturbojpeg (%s=%s): %w", TurboEnv, given, err)
	}
	if err != nil {
		return nil, fmt.Errorf("jpeg: libturbojpeg is not installed, or not where it is looked for (%s names its file): %w", TurboEnv, err)
	}
	address := make(map[string]uintptr)
	for _, f := range []string{"tjInitDecompress", "tjDestroy", "tjDecompressToYUVPlanes", "tjGetErrorCode"} {
		at, err := lib.Function(f)
		if err != nil {
			return nil, fmt.Errorf("jpeg: libturbojpeg %s: no function %s: it is another library, or older than version 2.0", lib.Name, f)
		}
		address[f] = at
	}
	return &library{
		path: lib.Name,
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
