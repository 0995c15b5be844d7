//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package cuda

import (
	"errors"
	"fmt"
	"unsafe"
)

// Pointer is an address on a device; 0 is none.
type Pointer uintptr

// Add returns the address n bytes further.
func (p Pointer) Add(n int) Pointer { return p + Pointer(n) }

// OutOfMemory says that the device has too little memory. It wraps [ErrOutOfMemory].
type OutOfMemory struct {
	Asked, Free, Total int64 // bytes
	err                error
}

func (e *OutOfMemory) Error() string {
	return fmt.Sprintf("cuda: out of memory: %s were asked for, %s of %s are free", amount(e.Asked), amount(e.Free), amount(e.Total))
}

func (e *OutOfMemory) Unwrap() error { return e.err }

// Memory returns how many bytes of the device are free, and how many it has.
func (t *Thread) Memory() (free, total int64, err error) {
	var f, all uintptr
	err = t.check("cuMemGetInfo", "", t.cuMemGetInfo, uintptr(unsafe.Pointer(&f)), uintptr(unsafe.Pointer(&all)))
	return int64(f), int64(all), err
}

// Alloc takes n bytes of the device's memory, aligned to 256 bytes. What is in there is not said. Too little memory is
// an [OutOfMemory].
//
// Alloc panics if n is not positive.
func (t *Thread) Alloc(n int) (Pointer, error) {
	if n <= 0 {
		panic(fmt.Sprintf("cuda: Alloc of %d bytes", n))
	}
	var p Pointer
	err := t.check("cuMemAlloc", fmt.Sprintf("%d bytes", n), t.cuMemAlloc, uintptr(unsafe.Pointer(&p)), uintptr(n))
	if errors.Is(err, ErrOutOfMemory) {
		free, total, memoryErr := t.Memory()
		if memoryErr != nil {
			return 0, errors.Join(err, memoryErr)
		}
		return 0, &OutOfMemory{Asked: int64(n), Free: free, Total: total, err: err}
	}
	return p, err
}

// Free gives memory of [Thread.Alloc] back, after everything that is under way on the device.
func (t *Thread) Free(p Pointer) error {
	return t.check("cuMemFree", fmt.Sprintf("%#x", p), t.cuMemFree, uintptr(p))
}

// number is what is copied between Go and a device: numbers without padding.
type number interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int8 | ~int16 | ~int32 | ~int64 | ~float32 | ~float64
}

func sizeOf[T number](s []T) uintptr {
	var x T
	return uintptr(len(s)) * unsafe.Sizeof(x)
}

// Upload copies src to the device, and has done so when it returns. It waits for nothing: streams of this package do not
// wait for each other.
func Upload[T number](t *Thread, dst Pointer, src []T) error {
	if len(src) == 0 {
		return nil
	}
	return t.check("cuMemcpyHtoD", fmt.Sprintf("to %#x, %d bytes", dst, sizeOf(src)), t.cuMemcpyHtoD,
		uintptr(dst), uintptr(unsafe.Pointer(&src[0])), sizeOf(src))
}

// Download copies from the device to dst, and has done so when it returns.
func Download[T number](t *Thread, dst []T, src Pointer) error {
	if len(dst) == 0 {
		return nil
	}
	return t.check("cuMemcpyDtoH", fmt.Sprintf("from %#x, %d bytes", src, sizeOf(dst)), t.cuMemcpyDtoH,
		uintptr(unsafe.Pointer(&dst[0])), uintptr(src), sizeOf(dst))
}

// Pinned is memory of the host that the system does not move, for copies that go on while the program does. It is not
// memory of Go: the collector does not see what is in there.
type Pinned struct {
	Bytes []byte
	at    uintptr
}

// AllocPinned takes n bytes of pinned memory, aligned to a page.
//
// AllocPinned panics if n is not positive.
func (t *Thread) AllocPinned(n int) (*Pinned, error) {
	if n <= 0 {
		panic(fmt.Sprintf("cuda: AllocPinned of %d bytes", n))
	}
	var p unsafe.Pointer
	err := t.check("cuMemHostAlloc", fmt.Sprintf("%d bytes", n), t.cuMemHostAlloc, uintptr(unsafe.Pointer(&p)), uintptr(n), 0)
	if err != nil {
		return nil, err
	}
	return &Pinned{Bytes: unsafe.Slice((*byte)(p), n), at: uintptr(p)}, nil
}

// Floats returns the memory as float32 values.
func (p *Pinned) Floats() []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(&p.Bytes[0])), len(p.Bytes)/4)
}

// FreePinned gives pinned memory back. Nothing may be under way that uses it.
func (t *Thread) FreePinned(p *Pinned) error {
	err := t.check("cuMemFreeHost", "", t.cuMemFreeHost, p.at)
	p.Bytes, p.at = nil, 0
	return err
}

// within panics unless n bytes from offset lie in the memory.
func (p *Pinned) within(offset, n int) uintptr {
	if offset < 0 || n < 0 || offset > len(p.Bytes)-n {
		panic(fmt.Sprintf("cuda: copy of %d bytes at %d of %d bytes of pinned memory", n, offset, len(p.Bytes)))
	}
	return p.at + uintptr(offset)
}
