// Package script has what the script tests of commands add to those of testscript.
package script

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Command is a command of scripts.
type Command = func(ts *testscript.TestScript, neg bool, args []string)

// Run runs the scripts in the folder testdata, with the commands status, send and more:
//
//	status CODE command args…
//
// runs a command and checks its exit status, and
//
//	send INT|TERM|KILL PATTERN CODE command args…
//
// runs a command, sends it a signal as soon as a file of that pattern is there and holds
// something, and checks its exit status, -1 where the signal ends it. Its output goes to
// the files out and err. It has the variables that setup leaves, with the script's values.
func Run(t *testing.T, more map[string]Command, setup func(*testscript.Env) error) {
	RunIn(t, "testdata", more, setup)
}

// RunIn is [Run] with the scripts in another folder.
func RunIn(t *testing.T, folder string, more map[string]Command, setup func(*testscript.Env) error) {
	commands := map[string]Command{"status": status, "send": send}
	for name, c := range more {
		commands[name] = c
	}
	testscript.Run(t, testscript.Params{
		Dir:                 folder,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                commands,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HF_HUB_OFFLINE", "1") // no script reaches the network
			if setup != nil {
				if err := setup(env); err != nil {
					return err
				}
			}
			env.Values[variables{}] = env.Vars
			return nil
		},
	})
}

// variables is the key of the variables that a script begins with.
type variables struct{}

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

func send(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	path, err := exec.LookPath(args[3])
	ts.Check(err)
	cmd := exec.Command(path, args[4:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, v := range ts.Value(variables{}).([]string) {
		name, _, _ := strings.Cut(v, "=")
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
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
	for !holds(ts, args[1]) {
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

// holds reports whether a file of the pattern is there and not empty.
func holds(ts *testscript.TestScript, pattern string) bool {
	found, err := filepath.Glob(ts.MkAbs(pattern))
	ts.Check(err)
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return true
		}
	}
	return false
}
