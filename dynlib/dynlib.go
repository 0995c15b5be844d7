//go:build (linux || darwin || windows) && (amd64 || arm64) && !android && !ios

// Package dynlib opens shared libraries at run time, without cgo. A Linux binary that imports it is linked to the C
// library and its loader.
package dynlib

import (
	"errors"
	"fmt"
)

// Library is a shared library that stays open as long as the process runs.
type Library struct {
	Name   string // as it was opened: a path, or a name that the loader searches for
	handle uintptr
}

// Open opens the first of several names that can be opened. The error says of each why it cannot.
func Open(names ...string) (*Library, error) {
	var failed []error
	for _, name := range names {
		handle, err := load(name)
		if err == nil {
			return &Library{name, handle}, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

// Function returns the address of a function, for a system call of C's convention.
func (l *Library) Function(name string) (uintptr, error) {
	at, err := lookUp(l.handle, name)
	if err != nil || at == 0 {
		return 0, fmt.Errorf("dynlib: %s has no function %s", l.Name, name)
	}
	return at, nil
}
