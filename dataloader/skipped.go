package dataloader

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
)

// DefaultMaxBroken is the share of pictures that may be broken before a loader
// stops.
const DefaultMaxBroken = 0.05

// Broken is a picture that could not be read.
type Broken struct {
	Index  int    `json:"index"`
	ID     string `json:"image_hash"`
	Path   string `json:"path"`             // or the shard that holds it
	Member string `json:"member,omitempty"` // of the shard
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

func brokenItem(ds Dataset, i int, err error) Broken {
	it := ds.Item(i)
	return Broken{Index: i, ID: it.ID, Path: it.Path, Member: it.Member, Line: it.Line, Reason: err.Error()}
}

// skippedList appends to a file of JSON lines, each broken picture once, also
// when an earlier run has listed it.
type skippedList struct {
	path   string
	listed map[skippedKey]bool // nil: the file has not been looked at
}

type skippedKey struct {
	id   string
	line int
}

func (s *skippedList) add(b Broken) error {
	if s.path == "" {
		return nil
	}
	if s.listed == nil {
		if err := s.read(); err != nil {
			return err
		}
	}
	key := skippedKey{b.ID, b.Line}
	if s.listed[key] {
		return nil
	}
	line, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("dataloader: list skipped picture: %w", err)
	}
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return fmt.Errorf("dataloader: list skipped picture: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("dataloader: list skipped picture: %w", err)
	}
	s.listed[key] = true
	return nil
}

// read notes what an earlier run has listed, and cuts off what a kill has left of
// a line.
func (s *skippedList) read() error {
	list, whole, err := readSkipped(s.path)
	if err != nil {
		return err
	}
	if info, err := os.Stat(s.path); err == nil && info.Size() > whole {
		if err := os.Truncate(s.path, whole); err != nil {
			return fmt.Errorf("dataloader: list skipped picture: %w", err)
		}
	}
	s.listed = make(map[skippedKey]bool)
	for _, b := range list {
		s.listed[skippedKey{b.ID, b.Line}] = true
	}
	return nil
}

// tooManyBroken returns an error when the share of broken pictures is above limit:
// when, of n pictures, that is certain however the rest turns out, or when the
// share of those seen lies so far above it that chance does not explain it (four
// standard deviations). Fewer than 200 pictures seen count as 200, so that one
// bad start does not stop a run.
func tooManyBroken(broken []Broken, seen, n int, limit float64, list string) error {
	expected := limit * float64(max(seen, 200))
	b := float64(len(broken))
	if len(broken) == 0 || b <= limit*float64(n) && b <= expected+4*math.Sqrt(expected) {
		return nil
	}
	where := "listed in " + list
	if list == "" {
		last := broken[len(broken)-1]
		where = fmt.Sprintf("the last one: %s: %s", last.ID, last.Reason)
	}
	return fmt.Errorf("dataloader: %d of %d pictures (%.1f %%) cannot be read, more than the limit of %.1f %% of all %d: %s",
		len(broken), seen, 100*b/float64(seen), 100*limit, n, where)
}
