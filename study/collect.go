package study

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// Collection asks raters and keeps their votes. Its methods may be called from several goroutines.
type Collection struct {
	plan *Plan
	path string
	lock *flock.Flock
	now  func() time.Time

	mu     sync.Mutex
	votes  *Votes
	file   voteFile
	broken error // the file could not be brought back to its last whole line
}

// voteFile is the file that votes are added to. Tests put one in its place that runs full.
type voteFile interface {
	Write(b []byte) (int, error)
	Sync() error
	Truncate(size int64) error
	Seek(offset int64, whence int) (int64, error)
	Close() error
}

// Open begins to collect the votes of a plan in a file, or goes on with it. A file of another plan is an error, and one
// that another process adds votes to.
func Open(path string, p *Plan) (*Collection, error) {
	c := &Collection{plan: p, path: path, lock: flock.New(path + ".lock"), now: time.Now}
	fail := func(err error) (*Collection, error) {
		return nil, fmt.Errorf("study: votes: %w", err)
	}
	locked, err := c.lock.TryLock()
	if err != nil {
		return fail(err)
	}
	if !locked {
		return fail(fmt.Errorf("%s: another process adds votes to it", path))
	}
	if err := c.open(); err != nil {
		c.lock.Unlock()
		return fail(err)
	}
	return c, nil
}

func (c *Collection) open() error {
	info, err := os.Stat(c.path)
	fresh := errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0
	switch {
	case err != nil && !fresh:
		return err
	case !fresh && !info.Mode().IsRegular():
		return fmt.Errorf("%s: not a regular file", c.path)
	case !fresh:
		if fresh, err = c.headless(); err != nil {
			return err
		}
	}
	if fresh {
		c.votes = &Votes{Plan: c.plan, at: make(map[voteKey]int)}
	} else {
		if c.votes, err = ReadVotes(c.path); err != nil {
			return err
		}
		if err := c.plan.same(c.votes.Plan); err != nil {
			return fmt.Errorf("%s holds votes %w: choose another file", c.path, err)
		}
	}
	f, err := os.OpenFile(c.path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	c.file = f
	if err := c.rewind(); err != nil { // a line that was cut off was never acknowledged
		return errors.Join(err, f.Close())
	}
	if fresh {
		line, err := json.Marshal(votesHead{votesFormat, c.plan})
		if err == nil {
			err = c.append(line)
		}
		if err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return nil
}

// headless reports whether the file holds the beginning of a first line of this plan only: a kill has cut it off.
func (c *Collection) headless() (bool, error) {
	want, err := json.Marshal(votesHead{votesFormat, c.plan})
	if err != nil {
		return false, err
	}
	f, err := os.Open(c.path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	have := make([]byte, len(want)+1)
	n, err := io.ReadFull(f, have)
	if err != nil && err != io.ErrUnexpectedEOF {
		return false, err
	}
	return n <= len(want) && string(have[:n]) == string(want[:n]), nil
}

// rewind cuts off what follows the last whole line, and goes there.
func (c *Collection) rewind() error {
	if err := c.file.Truncate(c.votes.size); err != nil {
		return err
	}
	_, err := c.file.Seek(c.votes.size, 0)
	return err
}

// append writes a line and sees that it is on the disk, or leaves the file as it was.
func (c *Collection) append(line []byte) error {
	if c.broken != nil {
		return c.broken
	}
	line = append(line, '\n')
	if len(line) > maxLine {
		return fmt.Errorf("a line of %d bytes: want at most %d", len(line), maxLine)
	}
	_, err := c.file.Write(line)
	if err == nil {
		err = c.file.Sync()
	}
	if err != nil {
		if undo := c.rewind(); undo != nil {
			c.broken = fmt.Errorf("%s may end in half a vote (%w): start again", c.path, undo)
		}
		return err
	}
	c.votes.size += int64(len(line))
	return nil
}

// Close ends the collection. The votes are on the disk already.
func (c *Collection) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.file.Close()
	return errors.Join(err, c.lock.Unlock())
}

// Counts returns how many votes there are, and by how many raters.
func (c *Collection) Counts() (votes, raters int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := make(map[string]bool)
	for _, v := range c.votes.List {
		seen[v.Rater] = true
	}
	return len(c.votes.List), len(seen)
}

// Question is what a rater's page knows: nothing of methods.
type Question struct {
	Place    int    `json:"place"` // from 0, in the rater's order
	Total    int    `json:"total"`
	Done     int    `json:"done"`     // answered by the rater
	Task     string `json:"task"`     // its number; "": all are answered
	Answer   string `json:"answer"`   // given before; "": none
	Revision int    `json:"revision"` // to send with an answer
	Next     string `json:"next"`     // the task that follows, for its pictures; "": none
}

// Unanswered is the place that asks [Collection.Ask] for the first question without an answer.
const Unanswered = -1

// ErrRequest wraps what is the page's fault, not the server's.
var ErrRequest = errors.New("bad request")

// ErrConflict wraps an answer that is not to the question as it stands, from another tab for example.
var ErrConflict = errors.New("answered elsewhere")

// Ask returns a question to a rater: at a place, or the first one without an answer.
func (c *Collection) Ask(rater string, place int) (Question, error) {
	rater, err := checkRater(rater)
	if err != nil {
		return Question{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if place < Unanswered || place >= c.plan.Len() {
		return Question{}, fmt.Errorf("%w: study: place %d of %d", ErrRequest, place, c.plan.Len())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ask(rater, place), nil
}

func (c *Collection) ask(rater string, place int) Question {
	order := c.plan.order(rater)
	q := Question{Place: place, Total: len(order)}
	first := -1
	tasks := make([]string, len(order))
	for k, i := range order {
		tasks[k] = c.plan.task(rater, i)
		if _, ok := c.votes.at[voteKey{rater, tasks[k]}]; ok {
			q.Done++
		} else if first < 0 {
			first = k
		}
	}
	if place == Unanswered {
		q.Place = first
		if first < 0 {
			q.Place = len(order) // behind the last one
			return q
		}
	}
	q.Task = tasks[q.Place]
	if i, ok := c.votes.at[voteKey{rater, q.Task}]; ok {
		q.Answer, q.Revision = c.votes.List[i].Answer, c.votes.List[i].Revision+1
	}
	if q.Place+1 < len(order) {
		q.Next = tasks[q.Place+1]
	}
	return q
}

// find returns the triplet of a task, or -1.
func (c *Collection) find(rater, task string) int {
	for i := range c.plan.triplets {
		if c.plan.task(rater, i) == task {
			return i
		}
	}
	return -1
}

// Answer keeps an answer and returns the next question without one. revision is that of the question: the same answer
// sent twice is one vote, and another one to a question that has been answered since is [ErrConflict]. When Answer returns
// without an error, the vote is on the disk.
func (c *Collection) Answer(rater, task, answer string, revision int, seconds float64) (Question, error) {
	rater, err := checkRater(rater)
	if err != nil {
		return Question{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	i := c.find(rater, task)
	if i < 0 {
		return Question{}, fmt.Errorf("%w: study: no such task", ErrRequest)
	}
	t := c.plan.triplets[i]
	v := Vote{Task: task, Revision: revision, Rater: rater, Query: t.id, A: c.plan.Ours, B: c.plan.Others[t.other], Answer: answer,
		Time: c.now().UTC().Truncate(time.Millisecond), Seconds: seconds}
	if c.plan.flipped(rater, i) {
		v.A, v.B = v.B, v.A
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.votes.check(v); err != nil {
		return Question{}, fmt.Errorf("%w: study: %w", ErrRequest, err)
	}
	now := 0 // revision that may come
	if k, ok := c.votes.at[voteKey{rater, task}]; ok {
		old := c.votes.List[k]
		now = old.Revision + 1
		if answer == old.Answer && (revision == old.Revision || revision == now) { // sent again, or the same answer once more
			return c.ask(rater, Unanswered), nil
		}
	}
	if revision != now {
		return Question{}, fmt.Errorf("%w: study: revision %d of the answer, want %d", ErrConflict, revision, now)
	}
	if len(c.votes.List) >= maxVotes {
		return Question{}, fmt.Errorf("study: keep a vote: %s holds %d votes: that is as many as it may", c.path, maxVotes)
	}
	line, err := json.Marshal(v)
	if err == nil {
		err = c.append(line)
	}
	if err != nil {
		return Question{}, fmt.Errorf("study: keep a vote: %w", err)
	}
	if err := c.votes.add(v); err != nil {
		return Question{}, fmt.Errorf("study: keep a vote: %w", err)
	}
	return c.ask(rater, Unanswered), nil
}

// Sides of a question, as [Collection.Picture] takes them.
const (
	SideQuery = "q"
	SideA     = "a"
	SideB     = "b"
)

// Picture returns which item of the gallery is shown at a side of a task, or -1.
func (c *Collection) Picture(rater, task, side string) int {
	rater, err := checkRater(rater)
	if err != nil {
		return -1
	}
	i := c.find(rater, task)
	if i < 0 {
		return -1
	}
	t := c.plan.triplets[i]
	switch {
	case side == SideQuery:
		return t.query
	case side == SideA && !c.plan.flipped(rater, i), side == SideB && c.plan.flipped(rater, i):
		return t.ours
	case side == SideA || side == SideB:
		return t.theirs
	}
	return -1
}
