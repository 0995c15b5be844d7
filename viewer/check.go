package viewer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"relsim/dataloader"
)

// states knows which pictures can be shown. It learns by looking at them, and hands out what it has learnt since.
type states struct {
	mu      sync.Mutex
	of      []State
	log     []int32 // rows whose state has changed, in order
	reasons map[int]string
	checked int
	done    bool // nobody looks any more
}

// Changes is what has changed since a version.
type changes struct {
	Version int               `json:"version"`
	Rows    []int32           `json:"rows"`
	States  []int             `json:"states"` // of Rows
	Reasons map[string]string `json:"reasons,omitempty"`
	Checked int               `json:"checked"` // pictures that were looked at
	Done    bool              `json:"done"`    // there will be no more
}

// maxChanges bounds one answer.
const maxChanges = 200_000

func newStates(n int) *states { return &states{of: make([]State, n), reasons: make(map[int]string)} }

func (s *states) set(row int, state State, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[row] == state {
		return
	}
	s.of[row] = state
	s.log = append(s.log, int32(row))
	if reason != "" {
		s.reasons[row] = reason
	}
}

// since returns what has changed after a version that it gave out; 0: ever.
func (s *states) since(version int) changes {
	s.mu.Lock()
	defer s.mu.Unlock()
	version = min(max(version, 0), len(s.log))
	end := min(len(s.log), version+maxChanges)
	c := changes{Version: end, Rows: s.log[version:end:end], States: make([]int, 0, end-version), Checked: s.checked, Done: s.done && end == len(s.log)}
	for _, row := range c.Rows {
		c.States = append(c.States, int(s.of[row]))
		if reason := s.reasons[int(row)]; reason != "" {
			if c.Reasons == nil {
				c.Reasons = make(map[string]string)
			}
			c.Reasons[strconv.Itoa(int(row))] = reason
		}
	}
	return c
}

// known reports whether nothing more can be found out about a picture.
func (s *states) known(row int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[row] != Unchecked && s.of[row] != Present
}

// count returns how many pictures have each state.
func (s *states) count() map[State]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := make(map[State]int)
	for _, state := range s.of {
		n[state]++
	}
	return n
}

// Check says how pictures are looked at.
type Check struct {
	Decode   bool           // decode each; else only see whether its file is there
	Workers  int            // 0: 1
	Progress func(done int) // is told from time to time, by one goroutine at once; may be nil
}

// run looks at all pictures: first whether files are there, which is quick, then whether they can be decoded. It ends
// early with ctx, which is no error of the pictures.
func (s *states) run(ctx context.Context, ds dataloader.Dataset, c Check) error {
	defer func() {
		s.mu.Lock()
		s.done = true
		s.mu.Unlock()
	}()
	s.mu.Lock()
	s.checked, s.done = 0, false
	s.mu.Unlock()
	for i := range ds.Len() {
		if err := ctx.Err(); err != nil {
			return err
		}
		it := ds.Item(i)
		if it.Path == "" || it.Member != "" || s.known(i) { // in memory, or inside of a shard
			continue
		}
		info, err := os.Stat(it.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			s.set(i, Missing, "")
		case err != nil:
			s.set(i, Broken, reason(it, err))
		case !info.Mode().IsRegular():
			s.set(i, Broken, "not a regular file")
		case !c.Decode:
			s.set(i, Present, "")
		}
	}
	var next, looked atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range max(c.Workers, 1) {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= ds.Len() {
					return nil
				}
				if err := s.look(ctx, ds, i, c); err != nil {
					return err
				}
				done := int(looked.Add(1))
				s.mu.Lock()
				s.checked++
				if c.Progress != nil && done%256 == 0 {
					c.Progress(done)
				}
				s.mu.Unlock()
			}
		})
	}
	return group.Wait()
}

// look looks at picture i, if that was not done before.
func (s *states) look(ctx context.Context, ds dataloader.Dataset, i int, c Check) error {
	if !c.Decode || s.known(i) {
		return ctx.Err()
	}
	_, err := shrunk(ctx, ds, i, Sides[0])
	if ctx.Err() != nil {
		return ctx.Err()
	}
	state := StateOf(err)
	text := ""
	if state == Broken {
		text = reason(ds.Item(i), err)
	}
	s.set(i, state, text)
	return nil
}

// reason is the text of an error, without the folder that the picture lies in.
func reason(it dataloader.Item, err error) string {
	text := err.Error()
	if it.Path != "" {
		text = strings.ReplaceAll(text, it.Path, filepath.Base(it.Path))
	}
	for _, prefix := range []string{"dataloader: ", "decode: ", "measure: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	const most = 300
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return line(text)
}
