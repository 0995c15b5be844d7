package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"runtime"

	"relsim/command"
	"relsim/viewer"
)

// serving are the flags of every page that is served.
type serving struct {
	host string
	port int
	open bool
}

// servingUsage describes them.
const servingUsage = `  --port N             port to listen on; 0: a free one (8017)
  --host ADDRESS       address to listen on (127.0.0.1, which only this machine reaches)
  --open               open the page in the browser`

func (s *serving) flags(fs *flag.FlagSet) {
	fs.StringVar(&s.host, "host", "", "")
	fs.IntVar(&s.port, "port", 8017, "")
	fs.BoolVar(&s.open, "open", false, "")
}

func (s *serving) validate() error {
	if s.port < 0 || s.port > 65535 {
		return command.Usagef("--port is %d: want 0 to 65535", s.port)
	}
	return nil
}

// serve serves a site until ctx ends, which is how it is meant to end, and prints its address to stdout.
func (s *serving) serve(ctx context.Context, site *viewer.Site, stdout, stderr io.Writer) error {
	listen := viewer.Listen{Host: s.host, Port: s.port}
	if !listen.Local() {
		fmt.Fprintf(stderr, "view: --host %s: everybody who reaches this machine can see these pictures; there is no password\n", s.host)
	}
	return site.Serve(ctx, listen, func(url string) {
		fmt.Fprintln(stdout, url)
		fmt.Fprintln(stderr, "view: Ctrl-C ends it")
		if s.open {
			if err := openBrowser(url); err != nil {
				fmt.Fprintf(stderr, "view: --open: %v\n", err)
			}
		}
	})
}

// openBrowser asks the system to show an address.
func openBrowser(url string) error {
	name, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait()
	return nil
}
