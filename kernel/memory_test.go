package kernel

import (
	"runtime"
	"testing"
	"unsafe"
)

// Memory is zero and writable from end to end, aligned to lines, and does not
// count as heap where it is mapped.
func TestMemory(t *testing.T) {
	for _, n := range []int{0, 1, mapFrom/4 - 1, mapFrom / 4, 3*hugePage/4 + 5} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m := NewMemory(n)
		runtime.ReadMemStats(&after)
		if len(m.Floats) != n {
			t.Fatalf("%d floats, want %d", len(m.Floats), n)
		}
		for i, v := range m.Floats {
			if v != 0 {
				t.Fatalf("%d floats: [%d] = %v, want 0", n, i, v)
			}
			m.Floats[i] = 1
		}
		if m.mapped != nil {
			if at := uintptr(unsafe.Pointer(&m.Floats[0])); at%hugePage != 0 {
				t.Errorf("%d floats: at %#x, no multiple of a large page", n, at)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > mapFrom/2 {
				t.Errorf("%d floats: %d bytes of the heap", n, grown)
			}
		} else if 4*n >= mapFrom && runtime.GOOS == "linux" {
			t.Errorf("%d floats are of the heap", n)
		}
		m.Free()
		m.Free()
		if m.Floats != nil {
			t.Error("floats after Free")
		}
	}
}

// Advice changes no value.
func TestAdviseHuge(t *testing.T) {
	for _, n := range []int{0, 100, hugePage, 3 * hugePage} {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(i)
		}
		AdviseHuge(x)
		for i := range x {
			if x[i] != float32(i) {
				t.Fatalf("%d floats: [%d] = %v", n, i, x[i])
			}
		}
	}
}
