//go:build !nogpu

package cuda

// driverNames are the names that systems give the driver's library; the last is that of Windows' subsystem for Linux.
var driverNames = []string{"libcuda.so.1", "libcuda.so", "/usr/lib/wsl/lib/libcuda.so.1"}

// toolkitHints are the places that are looked into where they are.
var toolkitHints = []string{"$CUDA_HOME", "$CUDA_PATH", "/usr/local/cuda*", "/opt/cuda", "Python's site-packages/nvidia/*/lib"}

// toolkitFolders returns the folders that are there of those where CUDA's toolkit and Python's packages of it lie.
func toolkitFolders() []string {
	var patterns []string
	patterns = append(patterns, under([]string{"CUDA_HOME", "CUDA_PATH"}, "lib64", "lib", "targets/*-linux/lib")...)
	for _, root := range []string{"/usr/local/cuda", "/usr/local/cuda-*", "/opt/cuda"} {
		patterns = append(patterns, root+"/lib64", root+"/targets/*-linux/lib")
	}
	packages := under([]string{"VIRTUAL_ENV", "CONDA_PREFIX"}, "lib/python3*/site-packages")
	packages = append(packages, under([]string{"HOME"}, ".local/lib/python3*/site-packages")...)
	packages = append(packages, "/usr/local/lib/python3*/site-packages", "/usr/local/lib/python3*/dist-packages", "/usr/lib/python3*/dist-packages",
		"/opt/conda/lib/python3*/site-packages")
	for _, folder := range packages {
		patterns = append(patterns, folder+"/nvidia/*/lib")
	}
	patterns = append(patterns, under([]string{"CONDA_PREFIX"}, "lib")...)
	patterns = append(patterns, "/usr/lib/wsl/lib")
	return existing(patterns...)
}

func sharedObject(stem string) func(version string) string {
	return func(version string) string { return "lib" + stem + ".so." + version }
}

var nvrtcToolkit = toolkit{"NVRTC, the compiler of kernels", NVRTCEnv, []string{"13", "12", "11.2"}, sharedObject("nvrtc")}

var cublasLtToolkit = toolkit{"cublasLt, the library of matrix products", BLASEnv, []string{"13", "12", "11"}, sharedObject("cublasLt")}
