//go:build linux && amd64

package fake

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Variables are those of the environment that name the libraries of CUDA: cuda.DriverEnv, cuda.NVRTCEnv, cuda.BLASEnv.
var Variables = []string{"RELSIM_LIBCUDA", "RELSIM_LIBNVRTC", "RELSIM_LIBCUBLASLT"}

// Use names the driver in the environment, for a test and the processes that it starts, with the kernels of a folder,
// cuda/kernels, and an empty cache of compiled code. Where the environment names a driver already, or tests run on the machine's
// own GPU, it does nothing. The test is skipped without g++. A process opens one driver, the first.
func Use(t testing.TB, kernels string) {
	t.Helper()
	if Real() || os.Getenv(Variables[0]) != "" {
		return
	}
	files, err := filepath.Glob(filepath.Join(kernels, "*.cu"))
	if err != nil {
		t.Fatal(err)
	}
	path, err := Build(context.Background(), t.TempDir(), kernels, files)
	if errors.Is(err, ErrNoCompiler) {
		t.Skip("NOT RUN: the fake driver: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range Variables {
		t.Setenv(variable, path)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // the driver itself came from the user's
}
