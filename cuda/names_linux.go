//go:build !nogpu

package cuda

import "path/filepath"

// driverNames are the names that systems give the driver's library: that of the loader, and of containers, NixOS and Windows'
// subsystem for Linux, which may not have told the loader. The name without a version is at times that of a stub.
var driverNames = []string{
	"libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1", "/usr/local/nvidia/lib/libcuda.so.1",
	"/run/opengl-driver/lib/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "libcuda.so",
}

// toolkitHints are the places that are looked into where they are.
var toolkitHints = []string{"$CUDA_HOME", "$CUDA_PATH", "/usr/local/cuda*", "/opt/cuda", "site-packages/nvidia/*/lib of Python", "/usr/lib/wsl/lib"}

// toolkitFolders returns the folders that are there of those where CUDA's toolkit and Python's packages of it lie, in the order
// in which they are looked into. root stands before the system's own.
func toolkitFolders(root string) []string {
	var patterns []string
	patterns = append(patterns, under([]string{"CUDA_HOME", "CUDA_PATH"}, "lib64", "lib", "targets/*-linux/lib")...)
	for _, toolkit := range []string{"/usr/local/cuda", "/usr/local/cuda-*", "/opt/cuda"} {
		patterns = append(patterns, root+toolkit+"/lib64", root+toolkit+"/targets/*-linux/lib")
	}
	packages := under([]string{"VIRTUAL_ENV", "CONDA_PREFIX"}, "lib/python3*/site-packages")
	for _, python := range pythons("python3") {
		for _, folder := range []string{"lib/python3*/site-packages", "lib64/python3*/site-packages", "lib/python3*/dist-packages"} {
			packages = append(packages, filepath.Join(python, "..", folder))
		}
	}
	packages = append(packages, under([]string{"HOME"}, ".local/lib/python3*/site-packages")...)
	for _, folder := range []string{
		"/usr/local/lib/python3*/site-packages", "/usr/local/lib/python3*/dist-packages", "/usr/lib/python3*/dist-packages",
		"/usr/lib/python3*/site-packages", "/usr/lib64/python3*/site-packages", "/opt/conda/lib/python3*/site-packages",
	} {
		packages = append(packages, root+folder)
	}
	for _, folder := range packages {
		patterns = append(patterns, folder+"/nvidia/*/lib")
	}
	patterns = append(patterns, under([]string{"CONDA_PREFIX"}, "lib")...)
	patterns = append(patterns, root+"/usr/lib/wsl/lib")
	return existing(patterns...)
}

// sharedObject names a shared library by its version; "": the name without one, which packages for developers bring.
func sharedObject(stem string) func(version string) string {
	return func(version string) string {
		if version == "" {
			return "lib" + stem + ".so"
		}
		return "lib" + stem + ".so." + version
	}
}

var nvrtcToolkit = toolkit{"the compiler of kernels (NVRTC)", NVRTCEnv, []string{"13", "12", "11.2", ""}, sharedObject("nvrtc")}

var cublasLtToolkit = toolkit{"cublasLt, the library of matrix products", BLASEnv, []string{"13", "12", "11", ""}, sharedObject("cublasLt")}
