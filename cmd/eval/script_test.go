package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/command/script"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"eval": main, "tinyrun": script.TinyRun})
}

func TestScripts(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	script.Run(t, nil, func(e *testscript.Env) error {
		e.Setenv("PUBLISHED", filepath.Join(root, "pretrained", "testdata"))                    // tiny published models
		e.Setenv("ALEX", filepath.Join(root, "lpips", "testdata", "alex", "model.safetensors")) // a small AlexNet with its head
		return nil
	})
}
