package main

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/command/script"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"view": main, "ranked": ranked})
}

func TestScripts(t *testing.T) {
	script.Run(t, map[string]script.Command{"ledger": ledger, "known": known}, nil)
}

// ledger adds a line to the ledger of a download: ledger FILE JSON, an object without its checksum.
func ledger(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.TrimSuffix(args[1], "}")
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	ts.Check(err)
	_, err = fmt.Fprintf(f, "%s,\"crc\":\"%08x\"}\n", text, crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
	ts.Check(errors.Join(err, f.Close()))
}

// known checks what is known of the downloads of a data set: known DIR SPEC 'ID STATUS REASON'…
func known(ts *testscript.TestScript, _ bool, args []string) {
	dir := args[0]
	if dir != "" {
		dir = ts.MkAbs(dir)
	}
	got, err := downloads(dir, ts.MkAbs(args[1]))
	ts.Check(err)
	for _, want := range args[2:] {
		id, rest, _ := strings.Cut(want, " ")
		if text := got[id].Status + " " + got[id].Reason; text != rest {
			ts.Fatalf("of %s is known %q, want %q", id, text, rest)
		}
	}
	if len(got) != len(args)-2 {
		ts.Fatalf("%d rows are known: %v", len(got), got)
	}
}
