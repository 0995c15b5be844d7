package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/command/script"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"bench": main}) }

func TestScripts(t *testing.T) { script.Run(t, map[string]script.Command{"gone": gone}, nil) }

// gone checks that no process has the number that a file holds: gone FILE
func gone(ts *testscript.TestScript, _ bool, args []string) {
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		process, err := os.FindProcess(pid)
		ts.Check(err)
		if process.Signal(syscall.Signal(0)) != nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("process %d is still there", pid)
		}
	}
}
