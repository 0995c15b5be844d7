package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/command/script"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"view": main, "ranked": ranked})
}

func TestScripts(t *testing.T) { script.Run(t, nil, nil) }
