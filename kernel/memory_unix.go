//go:build unix

package kernel

import "golang.org/x/sys/unix"

// mapMemory returns n bytes, all zero, that take no memory until they are touched.
func mapMemory(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

// unmapMemory ends a mapping of mapMemory.
func unmapMemory(b []byte) {
	if err := unix.Munmap(b); err != nil {
		panic("kernel: memory: munmap: " + err.Error()) // not what mapMemory returned
	}
}
