//go:build !nogpu

package cuda

import "path/filepath"

// driverNames are the names that systems give the driver's library.
var driverNames = []string{"nvcuda.dll"}

// toolkitHints are the places that are looked into where they are.
var toolkitHints = []string{`%CUDA_PATH%\bin`, `site-packages\nvidia\*\bin of Python`}

// toolkitFolders returns the folders that are there of those where CUDA's toolkit and Python's packages of it lie, in the order
// in which they are looked into.
func toolkitFolders(string) []string {
	patterns := under([]string{"CUDA_PATH"}, "bin", `bin\x64`)
	packages := under([]string{"VIRTUAL_ENV", "CONDA_PREFIX"}, `Lib\site-packages`)
	for _, python := range pythons("python.exe") { // in Python's folder, or in Scripts of a virtual environment
		packages = append(packages, filepath.Join(python, `Lib\site-packages`), filepath.Join(python, `..\Lib\site-packages`))
	}
	for _, folder := range packages {
		patterns = append(patterns, folder+`\nvidia\*\bin`, folder+`\nvidia\*\bin\x86_64`)
	}
	return existing(patterns...)
}

var nvrtcToolkit = toolkit{"the compiler of kernels (NVRTC)", NVRTCEnv, []string{"130", "120", "112"},
	func(version string) string { return "nvrtc64_" + version + "_0.dll" }}

var cublasLtToolkit = toolkit{"cublasLt, the library of matrix products", BLASEnv, []string{"13", "12", "11"},
	func(version string) string { return "cublasLt64_" + version + ".dll" }}
