package command

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
)

func TestStatus(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, tt := range []struct {
		ctx    context.Context
		err    error
		status int
		says   string
	}{
		{context.Background(), nil, 0, ""},
		{context.Background(), fmt.Errorf("x: %w", flag.ErrHelp), 0, ""},
		{context.Background(), Usagef("--n is %d", 3), 2, "do it: --n is 3\nRun 'do it --help' for the flags.\n"},
		{context.Background(), errors.New("no room"), 1, "do it: no room\n"},
		{context.Background(), context.Canceled, 1, "do it: context canceled\n"},
		{ended, fmt.Errorf("load: %w", context.Canceled), 130, "do it: interrupted\n"},
		{ended, errors.New("no room"), 1, "do it: no room\n"},
	} {
		var stderr bytes.Buffer
		if got := Status(tt.ctx, "do it", tt.err, &stderr); got != tt.status || stderr.String() != tt.says {
			t.Errorf("Status of %v: %d, %q; want %d, %q", tt.err, got, &stderr, tt.status, tt.says)
		}
	}
}
