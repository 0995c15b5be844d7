//go:build linux && amd64 && !nogpu

package main

import (
	"testing"

	"relsim/command/script"
)

func TestGPUScripts(t *testing.T) {
	script.RunOnGPU(t, map[string]script.Command{"picture": picture})
}
