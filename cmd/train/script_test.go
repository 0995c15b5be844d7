package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"train": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": status,
			"send":   send,
			"png":    pngs,
		},
		Setup: func(env *testscript.Env) error {
			// A step to be killed at, of those that a script saves: every 10th, early in the run.
			env.Setenv("STEP", fmt.Sprintf("step-%08d", 10*(1+rand.IntN(6))))
			return nil
		},
	})
}

// pngs writes small pictures, each of another grey: png FILE…
func pngs(ts *testscript.TestScript, _ bool, args []string) {
	for i, name := range args {
		picture := image.NewGray(image.Rect(0, 0, 16, 16))
		for at := range picture.Pix {
			picture.Pix[at] = uint8(40*i + at/2)
		}
		var file bytes.Buffer
		ts.Check(png.Encode(&file, picture))
		ts.Check(os.WriteFile(ts.MkAbs(name), file.Bytes(), 0o644))
	}
}

// status runs a command and checks its exit status: status CODE command args…
func status(ts *testscript.TestScript, _ bool, args []string) {
	checkStatus(ts, ts.Exec(args[1], args[2:]...), args[0])
}

func checkStatus(ts *testscript.TestScript, err error, want string) {
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode() // -1 where a signal ended it
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != want {
		ts.Fatalf("exit status %d, want %s", got, want)
	}
}

// send runs a command, sends it a signal as soon as a file is there and holds something, and checks its exit status, -1
// where the signal ends it: send INT|TERM|KILL FILE CODE command args… Its output goes to the files "out" and "err".
func send(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	path, err := exec.LookPath(args[3])
	ts.Check(err)
	cmd := exec.Command(path, args[4:]...)
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
	deadline := time.After(60 * time.Second)
	for {
		if info, err := os.Stat(ts.MkAbs(args[1])); err == nil && info.Size() > 0 {
			break
		}
		select {
		case err := <-ended:
			ts.Fatalf("%s ended (%v) and left no %s: %s", args[3], err, args[1], ts.ReadFile("err"))
		case <-deadline:
			cmd.Process.Kill()
			ts.Fatalf("no file %s", args[1])
		case <-time.After(time.Millisecond):
		}
	}
	ts.Check(cmd.Process.Signal(signals[args[0]]))
	err = <-ended
	ts.Logf("%s: SIG%s at %s: %v\n%s", args[3], args[0], args[1], err, ts.ReadFile("err"))
	checkStatus(ts, err, args[2])
}
