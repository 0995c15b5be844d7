package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// child is one side of a piece of work: a process that has set it up, and does it
// when told.
type child struct {
	label  string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors tail
	ready  ready
}

// start starts a process and waits until it is ready. The process is killed, with all that it has started, when ctx
// ends.
func start(ctx context.Context, label string, env []string, argv ...string) (_ *child, err error) {
	c := &child{label: label, cmd: exec.CommandContext(ctx, argv[0], argv[1:]...)}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stderr = &c.errors
	c.cmd.WaitDelay = 5 * time.Second // a grandchild may hold the pipes
	group(c.cmd)
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", label, err)
	}
	return c, c.read(&c.ready)
}

// read reads one line of JSON. If there is none, the process is ended, and the error says what it wrote.
func (c *child) read(v any) error {
	line, err := c.out.ReadBytes('\n')
	if err == nil {
		if err = json.Unmarshal(line, v); err == nil {
			return nil
		}
		err = fmt.Errorf("line %.80q: %w", line, err)
		c.cmd.Process.Kill()
	}
	c.in.Close()
	if failed := c.cmd.Wait(); failed != nil {
		err = failed
	}
	c.cmd = nil
	if text := c.errors.String(); text != "" {
		return fmt.Errorf("%s: %w: %s", c.label, err, text)
	}
	return fmt.Errorf("%s: %w", c.label, err)
}

// run has the work done n times.
func (c *child) run(n int) (sample, error) { return c.runMode(n, "") }

// runMode has the work done n times in one of several ways.
func (c *child) runMode(n int, mode string) (s sample, err error) {
	if _, err := fmt.Fprintln(c.in, strings.TrimSpace(fmt.Sprintf("run %d %s", n, mode))); err != nil && !errors.Is(err, os.ErrClosed) {
		return s, c.read(&s) // the process has ended: this says why
	}
	return s, c.read(&s)
}

// end has the process end, and returns the most memory that it held.
func (c *child) end() (float64, error) {
	if c == nil || c.cmd == nil {
		return 0, nil
	}
	c.in.Close()
	err := c.cmd.Wait()
	peak := peakBytes(c.cmd.ProcessState)
	c.cmd = nil
	if err != nil {
		return peak, fmt.Errorf("%s: %w: %s", c.label, err, c.errors.String())
	}
	return peak, nil
}

// tail keeps the last of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 1 << 12
	t.text = append(t.text, p...)
	if extra := len(t.text) - most; extra > 0 {
		t.text = t.text[extra:]
	}
	return len(p), nil
}

// String returns the last lines, in one.
func (t *tail) String() string {
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	if n := len(lines); n > 4 {
		lines = lines[n-4:]
	}
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "; ")
}
