package cuda

import "fmt"

// Info describes a device.
type Info struct {
	Ordinal int    // among the devices that the process may see, from 0
	Name    string // such as "NVIDIA H200"
	UUID    string // such as "GPU-8a6e…"
	Major   int    // compute capability
	Minor   int
	SMs     int   // multiprocessors
	Memory  int64 // bytes
	Shared  int   // most bytes of shared memory of a block, if it asks for them
	L2      int   // bytes of the level-2 cache
	Driver  int   // version of the driver's interface: 1000·major + 10·minor of CUDA
}

// Arch is the compute capability as compilers have it: 90 for 9.0.
func (i Info) Arch() int { return 10*i.Major + i.Minor }

func (i Info) String() string {
	return fmt.Sprintf("%s (device %d, compute capability %d.%d, %s)", i.Name, i.Ordinal, i.Major, i.Minor, amount(i.Memory))
}

// amount writes a number of bytes as people read it.
func amount(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
