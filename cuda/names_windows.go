//go:build !nogpu

package cuda

// driverNames are the names that systems give the driver's library.
var driverNames = []string{"nvcuda.dll"}
