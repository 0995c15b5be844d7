//go:build !linux

package command

import (
	"os"
	"testing"
)

func openTerminal(t *testing.T) (screen, terminal *os.File) {
	t.Skip("NOT RUN: pseudo-terminals are opened on Linux only")
	return nil, nil
}
