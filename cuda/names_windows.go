//go:build !nogpu

package cuda

// driverNames are the names that systems give the driver's library.
var driverNames = []string{"nvcuda.dll"}

// toolkitHints are the places that are looked into where they are.
var toolkitHints = []string{`%CUDA_PATH%\bin`}

// toolkitFolders returns the folders that are there of those where CUDA's toolkit lies.
func toolkitFolders() []string {
	return existing(under([]string{"CUDA_PATH"}, "bin", `bin\x64`)...)
}

var nvrtcToolkit = toolkit{"NVRTC, the compiler of kernels", NVRTCEnv, []string{"130", "120", "112"},
	func(version string) string { return "nvrtc64_" + version + "_0.dll" }}

var cublasLtToolkit = toolkit{"cublasLt, the library of matrix products", BLASEnv, []string{"13", "12", "11"},
	func(version string) string { return "cublasLt64_" + version + ".dll" }}
