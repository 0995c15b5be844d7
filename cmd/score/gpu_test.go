//go:build linux && amd64 && !nogpu

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/command/script"
	"relsim/cuda/fake"
)

// Scripts that use a GPU, or the driver that runs on the host where none is named.
func TestGPUScripts(t *testing.T) {
	fake.Use(t, filepath.Join("..", "..", "cuda", "kernels"))
	script.RunIn(t, filepath.Join("testdata", "gpu"), map[string]script.Command{"picture": picture}, func(e *testscript.Env) error {
		for _, variable := range fake.Variables {
			e.Setenv(variable, os.Getenv(variable))
		}
		e.Setenv("XDG_CACHE_HOME", e.WorkDir)
		return nil
	})
}
