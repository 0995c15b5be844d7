package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"data": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
	}})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status":    status,
			"interrupt": interrupt,
			"lines":     lines,
		},
	})
}

// status runs the command and checks its exit status: status CODE args…
func status(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("data", args[1:]...)
	checkStatus(ts, err, args[0])
}

func checkStatus(ts *testscript.TestScript, err error, want string) {
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != want {
		ts.Fatalf("exit status %d, want %s", got, want)
	}
}

// interrupt runs the command, sends it an interrupt as soon as a file matches the pattern, and checks that it ends
// with 130: interrupt PATTERN args…
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	path, err := exec.LookPath(ts.Getenv("PATH") + "/data")
	if err != nil {
		for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
			if path, err = exec.LookPath(filepath.Join(dir, "data")); err == nil {
				break
			}
		}
	}
	ts.Check(err)
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	ts.Check(cmd.Start())
	deadline := time.Now().Add(20 * time.Second)
	for {
		found, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		if len(found) > 0 {
			break
		}
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			ts.Fatalf("no file %s", args[0])
		}
		time.Sleep(time.Millisecond)
	}
	ts.Check(cmd.Process.Signal(os.Interrupt))
	checkStatus(ts, cmd.Wait(), "130")
}

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
