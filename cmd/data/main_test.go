package main

import (
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/command/script"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"data": main}) }

func TestScripts(t *testing.T) { script.Run(t, map[string]script.Command{"lines": lines}, nil) }

// lines checks the number of lines of a file: lines FILE N
func lines(ts *testscript.TestScript, _ bool, args []string) {
	n := 0
	for _, c := range ts.ReadFile(args[0]) {
		if c == '\n' {
			n++
		}
	}
	if strconv.Itoa(n) != args[1] {
		ts.Fatalf("%s has %d lines, want %s", args[0], n, args[1])
	}
}
