package kernel

import (
	"fmt"
	"unsafe"
)

// mapFrom is the size in bytes from which [Memory] is mapped: less is not worth a
// call of the system.
const mapFrom = 1 << 20

// hugePage is the size of a large page of the common processors.
const hugePage = 2 << 20

// Memory is a large piece of memory beside the Go heap, where the system has such:
// the garbage collector does not count it, so that it does not put collections
// off until as much garbage is there again; the system backs it by large pages,
// page by page when it is first touched; and Free gives it back at once.
type Memory struct {
	Floats []float32
	mapped []byte // nil: Floats are of the Go heap
}

// NewMemory returns n floats, all zero. They are there until Free, whether
// anybody holds the Memory or not.
//
// NewMemory panics if n is negative.
func NewMemory(n int) *Memory {
	if n < 0 {
		panic(fmt.Sprintf("kernel: NewMemory: %d floats", n))
	}
	if 4*n < mapFrom {
		return &Memory{Floats: make([]float32, n)}
	}
	bytes, err := mapMemory(4*n + hugePage)
	if err != nil { // there is no such call, or an odd limit: the heap will do
		return &Memory{Floats: make([]float32, n)}
	}
	first := unsafe.Pointer(&bytes[-uintptr(unsafe.Pointer(&bytes[0]))%hugePage])
	m := &Memory{Floats: unsafe.Slice((*float32)(first), n), mapped: bytes}
	AdviseHuge(m.Floats)
	return m
}

// Free gives the memory back. Nobody may touch what was in Floats afterwards.
func (m *Memory) Free() {
	if m.mapped != nil {
		unmapMemory(m.mapped)
	}
	m.Floats, m.mapped = nil, nil
}

// AdviseHuge asks the system to back x by large pages where it has not been
// touched yet: large operands that are walked with a stride miss the cache of page
// addresses otherwise. It is advice; values do not change.
func AdviseHuge(x []float32) {
	if 4*len(x) < 2*hugePage {
		return
	}
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x))
	low := int(-uintptr(unsafe.Pointer(&bytes[0])) % hugePage)
	adviseHuge(bytes[low : low+(len(bytes)-low)/hugePage*hugePage])
}
