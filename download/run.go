package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sync/semaphore"

	"relsim/dataloader"
	"relsim/formats"
	"relsim/phash"
	"relsim/regular"
)

const (
	lockName     = ".lock"
	decodeMemory = 192 << 20             // bytes that decoding may take, of all pictures at the same time
	linger       = 20 * time.Millisecond // for more lines of the ledger, before they are written
	batch        = 4096                  // lines that are written at once
	maxLimited   = 10                    // times that a row is put off as its host asks for it
	longestPause = time.Minute           // of our own accord
)

// run is a download that is going on.
type run struct {
	o         Options
	ds        dataloader.Dataset
	ledger    *ledger
	client    *client
	scheduler *scheduler
	commits   chan commit
	decoding  *semaphore.Weighted
	dirs      sync.Map // folders that are there
	names     sync.Mutex
	tasks     []*task // while planning
	total     int
	start     time.Time
	abort     context.CancelCauseFunc

	done, failed, gone, tried, fetched, postponed, received, parts atomic.Int64
}

// commit is what becomes of a task: new lines of the ledger, once the names in some folders are on the disk.
type commit struct {
	updates []update
	counted []bool // rows that are counted already
	dirs    []string
	settled bool // the task is over
}

// Run brings the pictures of o.From into o.Dir. It goes on where an earlier run has ended, whatever ended it. A
// picture that cannot be had is no error: the ledger and the summary say why. Run fails if it cannot read the rows or
// write to the folder, if another run is at work there, or if no host answers any more; what has been reached is kept,
// and the summary holds. If ctx ends, the error is its cause.
func Run(ctx context.Context, o Options) (Summary, error) {
	if err := o.Validate(); err != nil {
		return Summary{}, err
	}
	o.fill()
	if info, err := os.Stat(o.From); err != nil {
		return Summary{}, fmt.Errorf("download: open rows: %w", err)
	} else if !info.Mode().IsRegular() {
		return Summary{}, fmt.Errorf("download: open rows: %s is not a file", o.From)
	}
	switch name := filepath.Base(o.From); name {
	case LedgerName, lockName, imagesDir:
		return Summary{}, fmt.Errorf("download: rows in a file called %s: the folder has another one of that name", name)
	}
	images := filepath.Join(o.Dir, imagesDir)
	if err := os.MkdirAll(images, 0o777); err != nil {
		return Summary{}, fmt.Errorf("download: make folder: %w", err)
	}
	unlock, err := lock(o.Dir)
	if err != nil {
		return Summary{}, err
	}
	defer unlock()
	r := &run{o: o, start: time.Now(), scheduler: newScheduler(o.PerHost), commits: make(chan commit, 256), decoding: semaphore.NewWeighted(decodeMemory)}
	if err := r.removeParts(); err != nil {
		return Summary{}, err
	}
	rows := o.Rows
	rows.Images = images
	if r.ds, err = formats.Open(ctx, o.From, rows); err != nil {
		return Summary{}, err
	}
	if err := keepRows(o.From, o.Dir); err != nil {
		return Summary{}, err
	}
	if r.ledger, err = openLedger(o.Dir); err != nil {
		return Summary{}, err
	}
	defer r.ledger.close()
	if n := len(r.ledger.damaged); n > 0 {
		o.Notice("download: %s: %d damaged lines, the first is line %d; their rows are looked after again", r.ledger.path, n, r.ledger.damaged[0])
	}
	if err := r.plan(); err != nil {
		return Summary{}, err
	}
	err = r.work(ctx)
	return r.summarize(), err
}

// lock refuses a second run in a folder.
func lock(dir string) (unlock func(), err error) {
	l := flock.New(filepath.Join(dir, lockName), flock.SetPermissions(0o644))
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("download: lock folder: %w", err)
	}
	if !ok {
		return nil, fmt.Errorf("download: another run is at work in %s", dir)
	}
	return func() { l.Close() }, nil
}

// work lets the workers run until there is nothing left to do.
func (r *run) work(parent context.Context) error {
	ctx, abort := context.WithCancelCause(parent)
	defer abort(nil)
	r.abort = abort
	stop := context.AfterFunc(ctx, r.scheduler.stop)
	defer stop()
	r.client = newClient(&r.o, r.part, &r.received)
	defer r.client.close()
	var workers, rest sync.WaitGroup
	for range r.o.Workers {
		workers.Go(func() {
			for {
				t, closed := r.scheduler.next()
				if t == nil || ctx.Err() != nil {
					return
				}
				r.do(ctx, t, closed)
			}
		})
	}
	ended := make(chan struct{})
	rest.Go(r.commit)
	rest.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			r.o.Progress(r.progress())
			select {
			case <-tick.C:
			case <-ended:
				return
			}
		}
	})
	workers.Wait()
	close(r.commits)
	close(ended)
	rest.Wait()
	r.scheduler.stop()
	r.o.Progress(r.progress())
	return context.Cause(ctx)
}

func (r *run) progress() Progress {
	return Progress{
		Total: r.total, Done: int(r.done.Load()), Failed: int(r.failed.Load()), Gone: int(r.gone.Load()),
		Tried: int(r.tried.Load()), Fetched: int(r.fetched.Load()), Bytes: r.received.Load(), Elapsed: time.Since(r.start),
	}
}

// fail ends the run for a fault of this machine.
func (r *run) fail(err error) {
	r.abort(fmt.Errorf("download: %w; what was reached is kept, and the next run goes on from there", err))
}

// do makes one step of a task.
func (r *run) do(ctx context.Context, t *task, closed *failure) {
	if t.adopt != "" {
		r.adopt(ctx, t)
		return
	}
	name := hostOf(t.u)
	if closed != nil {
		r.postpone(name, t, closed)
		return
	}
	if len(t.hops) == 1 { // what follows a redirection is part of its request
		t.tries++
		t.here++
	}
	b, f := r.client.get(ctx, t.u, &t.hops)
	if f != nil && f.pauseHost && !f.afterSet {
		f.after = r.backoff(t.limited + 1)
	}
	if r.scheduler.heard(name, f, r.o.MaxWait) {
		r.fail(fmt.Errorf("none of %d hosts in a row answers: is the network down?", offline))
	}
	if f == nil {
		f = r.take(ctx, t, b)
		b.discard()
		if f == nil {
			r.scheduler.finished(name)
			return
		}
	}
	switch {
	case f.fatal != nil:
		if ctx.Err() == nil {
			r.fail(f.fatal)
		}
	case f.redirect != nil:
		t.u = f.redirect
		r.scheduler.again(name, t, time.Time{})
	case f.again && f.after > r.o.MaxWait:
		f.reason += fmt.Sprintf(" (asks to wait %v)", f.after)
		r.postpone(name, t, f)
	case f.again && f.pauseHost && t.limited < maxLimited:
		t.limited++
		t.here--
		r.later(ctx, name, t, f, f.after)
	case f.again && t.here < r.o.Tries:
		r.later(ctx, name, t, f, max(f.after, r.backoff(t.here)))
	default:
		r.giveUp(ctx, name, t, f)
	}
}

// backoff returns how long to wait after the nth failure.
func (r *run) backoff(n int) time.Duration {
	d := longestPause
	if n < 16 {
		d = min(d, r.o.Backoff<<(n-1))
	}
	return d - d/8 + rand.N(d/4+1)
}

// later tries a task again after a while.
func (r *run) later(ctx context.Context, name string, t *task, f *failure, wait time.Duration) {
	t.restart()
	r.send(ctx, t, State{Status: Pending, Reason: f.reason}, nil, false)
	r.scheduler.again(name, t, time.Now().Add(wait))
}

// postpone leaves a task to the next run, unless its picture may be had elsewhere.
func (r *run) postpone(name string, t *task, f *failure) {
	if t.first == nil {
		t.first = f
	}
	if t.advance() {
		r.scheduler.again(name, t, time.Time{})
		return
	}
	r.postponed.Add(int64(len(t.keys)))
	r.send(context.Background(), t, State{Status: Pending, Reason: t.first.reason}, nil, false)
	r.scheduler.finished(name)
}

// giveUp goes to the next address of a task, or ends it.
func (r *run) giveUp(ctx context.Context, name string, t *task, f *failure) {
	if t.first == nil {
		t.first = f
	}
	if !f.optedOut && t.advance() {
		r.scheduler.again(name, t, time.Time{})
		return
	}
	s := State{Status: Failed, Reason: t.first.reason}
	switch {
	case f.optedOut:
		s.Reason = f.reason
	case t.first.gone:
		s.Status = Gone
	case t.first.again && t.first.after > r.o.MaxWait: // the fallback has not got it; the host may have it later
		s.Status = Pending
	}
	r.send(ctx, t, s, nil, true)
	r.scheduler.finished(name)
}

// send hands new states of a task's rows to the ledger.
func (r *run) send(ctx context.Context, t *task, s State, dirs []string, settled bool) {
	c := commit{dirs: dirs, settled: settled}
	s.When = time.Now()
	for _, k := range t.keys {
		s.Tries = k.tries + t.tries
		if s.Status != Done && len(t.urls) > 0 {
			s.URL = t.urls[0]
		}
		c.updates = append(c.updates, update{k.id, s})
		c.counted = append(c.counted, k.counted)
	}
	r.commits <- c
}

// commit writes the ledger, many lines at once.
func (r *run) commit() {
	var failed bool
	for c := range r.commits {
		all := []commit{c}
		deadline := time.After(linger)
		n := len(c.updates)
	collect:
		for n < batch {
			select {
			case more, ok := <-r.commits:
				if !ok {
					break collect
				}
				all = append(all, more)
				n += len(more.updates)
			case <-deadline:
				break collect
			}
		}
		if failed {
			continue // the run is ending; pictures that are there are found at the next one
		}
		if err := r.record(all); err != nil {
			failed = true
			r.fail(err)
		}
	}
}

// record writes the lines of some commits.
func (r *run) record(all []commit) error {
	var updates []update
	synced := make(map[string]bool)
	for _, c := range all {
		updates = append(updates, c.updates...)
		for _, dir := range c.dirs {
			if !synced[dir] {
				synced[dir] = true
				if err := syncDir(dir); err != nil {
					return err
				}
			}
		}
	}
	if err := r.ledger.append(updates); err != nil {
		return err
	}
	for _, c := range all {
		if !c.settled {
			continue
		}
		for i, u := range c.updates {
			r.tried.Add(1)
			if u.state.Status == Done {
				r.fetched.Add(1)
			}
			if c.counted[i] {
				continue
			}
			switch u.state.Status {
			case Done:
				r.done.Add(1)
			case Failed:
				r.failed.Add(1)
			case Gone:
				r.gone.Add(1)
			}
		}
	}
	return nil
}

// take verifies a picture that has come, and stores it.
func (r *run) take(ctx context.Context, t *task, b *body) *failure {
	if b.file != nil { // decoded from memory, when there is room
		if err := r.decoding.Acquire(ctx, min(b.size, decodeMemory/4)); err != nil {
			return &failure{fatal: err}
		}
		defer r.decoding.Release(min(b.size, decodeMemory/4))
		b.data = make([]byte, b.size)
		if _, err := b.file.ReadAt(b.data, 0); err != nil && err != io.EOF {
			return &failure{fatal: err}
		}
	}
	p, release, f := r.verify(ctx, b.data, &r.o)
	if f != nil {
		return f
	}
	defer release()
	return r.settle(ctx, t, p, b, t.urls[t.at])
}

// verify decodes a picture. The caller calls release when it needs it no more.
func (r *run) verify(ctx context.Context, data []byte, o *Options) (*picture, func(), *failure) {
	k := sniff(data[:min(len(data), sniffBytes)], "")
	if k.refused != "" {
		return nil, nil, failed("%s", k.refused)
	}
	cfg, err := header(k, data, r.o.MaxPixels)
	if err != nil {
		return nil, nil, failed("%v", err)
	}
	n := min(cost(k, cfg, len(data)), decodeMemory*3/4)
	if err := r.decoding.Acquire(ctx, n); err != nil {
		return nil, nil, &failure{fatal: err}
	}
	p, err := o.decode(k, data)
	if err != nil {
		r.decoding.Release(n)
		return nil, nil, failed("%v", err)
	}
	return p, func() { r.decoding.Release(n) }, nil
}

// settle stores a picture for the rows of a task, and notes that it is done.
func (r *run) settle(ctx context.Context, t *task, p *picture, b *body, from string) *failure {
	sum := sha256.Sum256(p.data)
	s := State{
		Status: Done, Reason: p.note, URL: from, Bytes: int64(len(p.data)), Width: p.Width, Height: p.Height,
		SHA256: hex.EncodeToString(sum[:]), PHash: phash.Of(p.Image).String(), When: time.Now(),
	}
	c := commit{settled: true}
	for _, k := range t.keys {
		name, dirs, err := r.store(t, k, p, b)
		if err != nil {
			return &failure{fatal: err}
		}
		s.File, s.Tries = name, k.tries+t.tries
		c.updates = append(c.updates, update{k.id, s})
		c.counted = append(c.counted, k.counted)
		c.dirs = append(c.dirs, dirs...)
	}
	r.commits <- c
	return nil
}

// adopt takes a picture that is there already: a run that was ended by force has not noted it, or another program has
// brought it, or another row has the same address.
func (r *run) adopt(ctx context.Context, t *task) {
	p, release, f := r.read(ctx, t.adopt)
	if f == nil {
		f = r.settle(ctx, t, p, nil, t.address())
		release()
	}
	switch {
	case f == nil:
		r.scheduler.finished("")
		return
	case f.fatal != nil:
		if ctx.Err() == nil {
			r.fail(f.fatal)
		}
		return
	}
	t.adopt, t.stale = "", t.adopt
	if t.u == nil {
		r.giveUp(ctx, "", t, t.first)
		return
	}
	r.scheduler.again("", t, time.Time{})
}

// address returns where the picture of a task comes from, by its row.
func (t *task) address() string {
	if len(t.urls) == 0 {
		return ""
	}
	return t.urls[0]
}

// read reads and verifies a picture in a file.
func (r *run) read(ctx context.Context, path string) (*picture, func(), *failure) {
	f, size, err := regular.Open(path)
	if err != nil {
		return nil, nil, failed("%v", err)
	}
	defer f.Close()
	if size > r.o.MaxBytes {
		return nil, nil, failed("larger than %s", sizeText(r.o.MaxBytes))
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, nil, failed("%v", err)
	}
	plain := r.o
	plain.Encode = "" // what is there stays as it is
	return r.verify(ctx, data, &plain)
}
