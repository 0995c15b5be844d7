package download

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// someStates are one of each kind.
func someStates() map[string]State {
	at := time.Date(2026, 11, 28, 7, 30, 0, 0, time.UTC)
	return map[string]State{
		"a": {Status: Done, Tries: 1, When: at, URL: "https://example.com/a.png", File: "images/a.png", Bytes: 812, Width: 30, Height: 20,
			SHA256: strings.Repeat("0f", 32), PHash: "00ff00ff00ff00ff"},
		"b":           {Status: Failed, Reason: `HTTP 403 "Forbidden" <b>`, Tries: 1, When: at, URL: "https://example.com/b?x=1&y=2"},
		"c":           {Status: Gone, Reason: "HTTP 404", Tries: 1, When: at, URL: "https://example.com/c"},
		"d\u2028 \"é": {Status: Pending, Reason: "timeout: first byte", Tries: 3, When: at, URL: "http://example.com/d"},
	}
}

func appendStates(t *testing.T, dir string, states map[string]State) {
	t.Helper()
	l, err := openLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	var updates []update
	for _, id := range slices.Sorted(maps.Keys(states)) {
		updates = append(updates, update{id, states[id]})
	}
	if err := errors.Join(l.append(updates), l.close()); err != nil {
		t.Fatal(err)
	}
}

func checkStates(t *testing.T, dir string, want map[string]State) {
	t.Helper()
	got, err := States(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		t.Errorf("states are\n%v, want\n%v", got, want)
	}
}

func TestStates(t *testing.T) {
	dir := t.TempDir()
	if _, err := States(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a ledger: %v", err)
	}
	want := someStates()
	appendStates(t, dir, want)
	checkStates(t, dir, want)
	later := State{Status: Done, Tries: 2, When: want["b"].When.Add(time.Hour), File: "images/group_0/b.jpg", Bytes: 5}
	appendStates(t, dir, map[string]State{"b": later})
	want["b"] = later
	checkStates(t, dir, want)
}

// TestTornLedger cuts a ledger off at every byte of its last line, as a crash does, and goes on.
func TestTornLedger(t *testing.T) {
	dir := t.TempDir()
	want := someStates()
	appendStates(t, dir, want)
	path := filepath.Join(dir, LedgerName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := State{Status: Gone, Tries: 1, When: want["a"].When}
	appendStates(t, dir, map[string]State{"z": last})
	longer, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := len(whole); n < len(longer); n++ {
		if err := os.WriteFile(path, longer[:n], 0o666); err != nil {
			t.Fatal(err)
		}
		checkStates(t, dir, want)
		appendStates(t, dir, map[string]State{"y": last})
		want["y"] = last
		checkStates(t, dir, want)
		delete(want, "y")
	}
}

// TestDamagedLedger changes each byte of a line in turn: the row is not known any more, all others are.
func TestDamagedLedger(t *testing.T) {
	dir := t.TempDir()
	states := someStates()
	appendStates(t, dir, states)
	path := filepath.Join(dir, LedgerName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.IndexByte(string(whole), '\n')
	delete(states, "a")
	for i := range first {
		changed := []byte(string(whole))
		changed[i] ^= 1
		if changed[i] == '\n' {
			continue
		}
		if err := os.WriteFile(path, changed, 0o666); err != nil {
			t.Fatal(err)
		}
		checkStates(t, dir, states)
		l, err := openLedger(dir)
		if err != nil {
			t.Fatal(err)
		}
		l.close()
		if !slices.Equal(l.damaged, []int{1}) {
			t.Fatalf("byte %d: damaged lines %v, want line 1", i, l.damaged)
		}
	}
	long := append([]byte(strings.Repeat("x", 3*maxLine)+"\n"), whole[first+1:]...)
	if err := os.WriteFile(path, long, 0o666); err != nil {
		t.Fatal(err)
	}
	checkStates(t, dir, states)
}

func TestCompact(t *testing.T) {
	dir := t.TempDir()
	want := someStates()
	appendStates(t, dir, want)
	l, err := openLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	var updates []update
	for i := range 1100 {
		want["e"] = State{Status: Pending, Tries: i + 1, When: want["a"].When}
		updates = append(updates, update{"e", want["e"]})
	}
	if err := errors.Join(l.append(updates), l.close()); err != nil {
		t.Fatal(err)
	}
	checkStates(t, dir, want)
	if l, err = openLedger(dir); err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, LedgerName))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n != len(want) {
		t.Errorf("%d lines after compaction, want %d", n, len(want))
	}
	checkStates(t, dir, want)
	if got := l.entries["e"]; got.tries != 1100 || got.status != Pending {
		t.Errorf("entry of e is %+v", got)
	}
}

var errFull = errors.New("no space left on device")

// full is a file that takes some bytes more, and then half of a write.
type full struct {
	ledgerFile
	room int
}

func (f *full) Write(p []byte) (int, error) {
	if len(p) <= f.room {
		f.room -= len(p)
		return f.ledgerFile.Write(p)
	}
	n, _ := f.ledgerFile.Write(p[:f.room])
	f.room = 0
	return n, errFull
}

func TestLedgerFullDisk(t *testing.T) {
	dir := t.TempDir()
	l, err := openLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := l.file
	l.file = &full{file, 250}
	s := State{Status: Gone, Reason: strings.Repeat("r", 60), Tries: 1, When: someStates()["a"].When}
	if err := l.append([]update{{"a", s}}); err != nil {
		t.Fatal(err)
	}
	if err := l.append([]update{{"b", s}}); !errors.Is(err, errFull) {
		t.Fatalf("full disk: %v", err)
	}
	l.file = file // there is room again
	if err := errors.Join(l.append([]update{{"c", s}}), l.close()); err != nil {
		t.Fatal(err)
	}
	checkStates(t, dir, map[string]State{"a": s, "c": s})
	if l, err = openLedger(dir); err != nil || l.damaged != nil {
		t.Errorf("%v, damaged lines %v", err, l.damaged)
	}
	l.close()
}

func TestLedgerVanishes(t *testing.T) {
	if isWindows {
		t.Skip("NOT RUN: Windows does not remove open files")
	}
	dir := t.TempDir()
	l, err := openLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if err := os.Remove(l.path); err != nil {
		t.Fatal(err)
	}
	s := State{Status: Gone, Tries: 1}
	if err := l.append([]update{{"a", s}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ledger removed: %v", err)
	}
	if err := os.WriteFile(l.path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := l.append([]update{{"a", s}}); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("ledger replaced: %v", err)
	}
}

func FuzzParseLine(f *testing.F) {
	for id, s := range someStates() {
		text, err := appendLine(nil, id, s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text[:len(text)-1])
	}
	f.Add([]byte(`{"image_hash":"a","status":"done","crc":"00000000"}`))
	f.Add([]byte(`,"crc":"00000000"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, s, err := parseLine(b)
		if err != nil {
			return
		}
		again, err := appendLine(nil, id, s)
		if err != nil {
			return
		}
		id2, s2, err := parseLine(again[:len(again)-1])
		if err != nil || id2 != id || s2.Status != s.Status || s2.SHA256 != s.SHA256 || s2.File != s.File {
			t.Errorf("%q %+v is read back as %q %+v, %v", id, s, id2, s2, err)
		}
	})
}
