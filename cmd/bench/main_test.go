package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bench": func() {
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
			"gone":      gone,
		},
	})
}

// status runs the command and checks its exit status: status CODE args…
func status(ts *testscript.TestScript, _ bool, args []string) {
	checkStatus(ts, ts.Exec("bench", args[1:]...), args[0])
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

// interrupt runs the command, sends it an interrupt as soon as a file is there, and
// checks that it ends with 130. Its output goes to the files "out" and "err":
// interrupt FILE args…
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	path, err := exec.LookPath("bench")
	ts.Check(err)
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	for name, stream := range map[string]*io.Writer{"out": &cmd.Stdout, "err": &cmd.Stderr} {
		file, err := os.Create(ts.MkAbs(name))
		ts.Check(err)
		defer file.Close()
		*stream = file
	}
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			break
		}
		select {
		case err := <-ended:
			ts.Fatalf("bench ended (%v) and left no %s: %s", err, args[0], ts.ReadFile("err"))
		default:
		}
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			ts.Fatalf("no file %s", args[0])
		}
	}
	ts.Check(cmd.Process.Signal(os.Interrupt))
	checkStatus(ts, <-ended, "130")
}

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
