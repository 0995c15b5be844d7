//go:build !nogpu

package cuda

// driverNames are the names that systems give the driver's library; the last is that of Windows' subsystem for Linux.
var driverNames = []string{"libcuda.so.1", "libcuda.so", "/usr/lib/wsl/lib/libcuda.so.1"}
