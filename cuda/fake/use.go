//go:build linux && amd64

package fake

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ebitengine/purego"

	"relsim/dynlib"
)

// Variables are those of the environment that name the libraries of CUDA: cuda.DriverEnv, cuda.NVRTCEnv, cuda.BLASEnv.
var Variables = []string{"RELSIM_LIBCUDA", "RELSIM_LIBNVRTC", "RELSIM_LIBCUBLASLT"}

// Use names the driver in the environment, for a test and the processes that it starts, with the kernels of a folder,
// cuda/kernels, and an empty cache of compiled code. Where the environment names a driver already, or tests run on the machine's
// own GPU, it does nothing. The test is skipped without g++. A process opens one driver, the first.
func Use(t testing.TB, kernels string) {
	t.Helper()
	if given() {
		return
	}
	path := built(t, kernels, nil)
	for _, variable := range Variables {
		t.Setenv(variable, path)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // the driver itself came from the user's
}

// Orders is Use for a test that tries orders of threads and copies: set chooses one of seeds, from 0, for what is done from then
// on. There is one, and set does nothing, where Use does nothing. Without NVRTC and with the kernels of these names alone, if
// there are any, the driver is ready sooner.
func Orders(t testing.TB, kernels string, names ...string) (seeds int, set func(seed int)) {
	t.Helper()
	if given() {
		return 1, func(int) {}
	}
	path := built(t, kernels, names)
	for _, variable := range []string{Variables[0], Variables[2]} {
		t.Setenv(variable, path)
	}
	lib, err := dynlib.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	reset, err := lib.Function("fakeReset")
	if err != nil {
		t.Fatal(err)
	}
	return 9, func(seed int) { purego.SyscallN(reset, uintptr(seed)) }
}

// given says whether tests have a driver without this package.
func given() bool { return Real() || os.Getenv(Variables[0]) != "" }

// built builds a driver with kernels of a folder: those of names, or all.
func built(t testing.TB, folder string, names []string) string {
	t.Helper()
	var files []string
	for _, name := range names {
		files = append(files, filepath.Join(folder, name+".cu"))
	}
	if len(names) == 0 {
		var err error
		if files, err = filepath.Glob(filepath.Join(folder, "*.cu")); err != nil {
			t.Fatal(err)
		}
	}
	path, err := Build(context.Background(), t.TempDir(), folder, files)
	if errors.Is(err, ErrNoCompiler) {
		t.Skip("NOT RUN: the fake driver: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
