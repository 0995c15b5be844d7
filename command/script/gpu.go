//go:build linux && amd64 && !nogpu

package script

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/cuda/fake"
)

// RunOnGPU is [Run] with the scripts of testdata/gpu, which use a GPU, or the driver that runs on the host where none is named. It is
// for tests of packages in cmd.
func RunOnGPU(t *testing.T, more map[string]Command) {
	fake.Use(t, filepath.Join("..", "..", "cuda", "kernels"))
	RunIn(t, filepath.Join("testdata", "gpu"), more, func(e *testscript.Env) error {
		for _, variable := range fake.Variables {
			e.Setenv(variable, os.Getenv(variable))
		}
		e.Setenv("XDG_CACHE_HOME", e.WorkDir)
		return nil
	})
}
