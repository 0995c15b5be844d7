package dataloader

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
)

// Config says how a [Loader] makes batches.
type Config struct {
	Batch     int       // items of a batch
	Micro     int       // items whose pictures are handed out at once, a divisor of Batch; 0: Batch
	Keep      int       // bytes of pictures kept for a second pass over micro-batches; 0: DefaultKeep
	Workers   int       // pictures decoded at the same time; 0: 1
	Prefetch  int       // micro-batches decoded ahead; 0: 2
	Seed      uint64    // of order, captions and augmentation
	Transform Transform // from picture to network input

	// Pixels makes Batch.Pixels and Batch.Tables in place of Batch.Images: a quarter of the memory, for a device
	// that normalises. What they give are the same values.
	Pixels bool

	// Shuffle makes the order one that reads a data set in groups (see [Grouped]) group by group: the groups, such as
	// shards, come in random order, and their items go through a buffer of so many, out of which they leave in random
	// order. 0, and a set without groups: the whole order is random.
	Shuffle int

	// Ranks is the number of processes that train together, and Rank, from 0, that of this one; 0: 1. A batch of
	// all of them is Ranks·Batch items in the order of the epoch, of which rank r has those from r·Batch on. Where
	// their other settings are the same, the ranks see each item once an epoch between them, and have as many batches.
	// The items that are left at the end of an epoch are dealt to the ranks to take the places of broken pictures;
	// a rank with more of these than that ends its epoch earlier, so that ranks must go by steps, not by epochs.
	Rank, Ranks int

	// MaxBroken is the share of the data set's pictures that may be broken. The
	// loader stops as soon as more are, or as the share of those seen leaves no
	// doubt of it. 0: DefaultMaxBroken; below 0: none.
	MaxBroken float64

	// SkippedPath is the file that lists broken pictures, one JSON object per
	// line with image_hash, path, line and reason, each picture once. It is
	// created with the first one. "": they are counted only.
	SkippedPath string
}

// Batch is a batch of network inputs. It belongs to the receiver until it is
// given to [Loader.Recycle]. Where a batch has several micro-batches, its pictures
// come with [Loader.Load] and stay the loader's, and the other fields are whole
// when the last micro-batch has been loaded.
type Batch struct {
	Images []float32 // (M, 3, Size, Size), of the micro-batch loaded last; nil with Config.Pixels
	Pixels []byte    // (M, 3, Size, Size), with Config.Pixels: its bytes, cut, resized and augmented
	Tables []float32 // (M, 3, 256), with them: what each byte of a channel is, as [Transform.ApplyPixels] says
	Items  []Item    // B of them; Caption is one drawn among Captions
	Index  []int     // of each item in the data set
	Epoch  int       // from 0
	Step   int       // batches handed out before this one, since the run's start
	Broken int       // pictures found broken so far
}

// State is the position of a [Loader] after the last batch handed out whole, to be
// kept with a checkpoint.
type State struct {
	Dataset  string   `json:"dataset"`  // fingerprint
	Seed     uint64   `json:"seed"`     // of the order
	Epoch    int      `json:"epoch"`    // from 0
	Position int      `json:"position"` // items of the epoch's order that are behind
	Step     int      `json:"step"`     // batches handed out
	Broken   []Broken `json:"broken,omitempty"`

	// Settings on which the order depends.
	Shuffle int `json:"shuffle,omitempty"`
	Rank    int `json:"rank,omitempty"`
	Ranks   int `json:"ranks,omitempty"` // 0: 1
	Batch   int `json:"batch,omitempty"` // where there are several ranks
}

// Loader hands out batches. Recycle may be called from any goroutine, everything
// else is for one.
type Loader struct {
	ds      Dataset
	cfg     Config
	plan    *plan
	micros  int // of a batch
	free    chan *Batch
	skipped skippedList

	// Behind the last batch handed out.
	state  State
	broken map[int]bool // the indices of state.Broken
	made   bool         // state.Epoch has given a batch
	err    error        // ends the loader

	current current // the batch that is being loaded

	// The pipeline, while it runs: slots is a ring of items in the order in
	// which they are consumed, head the next of them. Each one is either with a
	// worker or done.
	running bool
	cancel  context.CancelFunc
	workers sync.WaitGroup
	tasks   chan *slot
	slots   []slot
	head    int

	// The next item to give to the workers.
	order         []int32
	epoch, cursor int
}

// slot is an item on its way.
type slot struct {
	epoch, position, index int
	skip                   bool // known to be broken
	data                   held
	err                    error
	done                   chan struct{} // gets a value when data or err is there
}

// New returns a loader of ds. It reads nothing before the first Next.
func New(ds Dataset, c Config) (*Loader, error) {
	c.Workers = cmp.Or(c.Workers, 1)
	c.Prefetch = cmp.Or(c.Prefetch, 2)
	c.Micro = cmp.Or(c.Micro, c.Batch)
	c.Keep = cmp.Or(c.Keep, DefaultKeep)
	c.Ranks = cmp.Or(c.Ranks, 1)
	switch n := ds.Len(); {
	case c.Batch < 1:
		return nil, fmt.Errorf("dataloader: new: batch %d, want 1 or more", c.Batch)
	case c.Micro < 1 || c.Batch%c.Micro != 0:
		return nil, fmt.Errorf("dataloader: new: micro-batch %d, want a divisor of the batch, %d", c.Micro, c.Batch)
	case c.Keep < 0:
		return nil, fmt.Errorf("dataloader: new: %d bytes to keep, want 0 or more", c.Keep)
	case c.Workers < 0 || c.Prefetch < 0:
		return nil, fmt.Errorf("dataloader: new: %d workers and %d batches ahead, want 1 or more of each", c.Workers, c.Prefetch)
	case c.Shuffle < 0:
		return nil, fmt.Errorf("dataloader: new: a shuffle buffer of %d, want 0 or more", c.Shuffle)
	case c.Ranks < 1 || c.Rank < 0 || c.Rank >= c.Ranks || c.Batch > (1<<31-1)/c.Ranks:
		return nil, fmt.Errorf("dataloader: new: rank %d of %d with a batch of %d, want 0 to ranks - 1", c.Rank, c.Ranks, c.Batch)
	case n > 1<<31-1:
		return nil, fmt.Errorf("dataloader: new: %s has %d pictures, more than 2³¹-1", ds.Name(), n)
	case !(c.MaxBroken <= 1): // NaN too
		return nil, fmt.Errorf("dataloader: new: share of broken pictures %v, want at most 1", c.MaxBroken)
	}
	if err := c.Transform.Validate(); err != nil {
		return nil, err
	}
	switch {
	case c.MaxBroken == 0:
		c.MaxBroken = DefaultMaxBroken
	case c.MaxBroken < 0:
		c.MaxBroken = 0
	}
	p := newPlan(ds, c)
	switch all := c.Batch * c.Ranks; {
	case p.all > 1<<31-1:
		return nil, fmt.Errorf("dataloader: new: an epoch of %s has %d pictures, more than 2³¹-1", ds.Name(), p.all)
	case p.all < all && p.strata != nil:
		return nil, fmt.Errorf("dataloader: new: an epoch of %s has %d pictures, fewer than a batch of %d", ds.Name(), p.all, all)
	case p.all < all:
		return nil, fmt.Errorf("dataloader: new: %s has %d pictures, fewer than a batch of %d", ds.Name(), p.all, all)
	}
	state := State{Dataset: ds.Fingerprint(), Seed: c.Seed, Shuffle: c.Shuffle}
	if c.Ranks > 1 {
		state.Rank, state.Ranks, state.Batch = c.Rank, c.Ranks, c.Batch
	}
	return &Loader{
		ds: ds, cfg: c, plan: p,
		micros:  c.Batch / c.Micro,
		free:    make(chan *Batch, c.Prefetch+2),
		skipped: skippedList{path: c.SkippedPath},
		state:   state,
		broken:  make(map[int]bool),
	}, nil
}

// Steps is the number of batches of an epoch in which no picture is broken.
func (l *Loader) Steps() int { return l.plan.steps() }

// State returns the position after the last batch that was handed out whole:
// neither batches decoded ahead count, nor one whose micro-batches have not all
// been loaded yet.
func (l *Loader) State() State {
	s := l.state
	s.Broken = slices.Clone(s.Broken)
	return s
}

// Restore moves the loader to s: the next batch is the one that followed when s
// was taken. It returns an error, and changes nothing, if s belongs to another
// data set or seed, or to other settings on which the order depends.
func (l *Loader) Restore(s State) error {
	n, own := l.ds.Len(), l.plan.own()
	switch {
	case s.Dataset != l.state.Dataset:
		return fmt.Errorf("dataloader: restore: the state belongs to another data set (fingerprint %s; %s has %s)", s.Dataset, l.ds.Name(), l.state.Dataset)
	case s.Seed != l.cfg.Seed:
		return fmt.Errorf("dataloader: restore: the state belongs to seed %d, not %d", s.Seed, l.cfg.Seed)
	case s.Shuffle != l.state.Shuffle:
		return fmt.Errorf("dataloader: restore: the state belongs to a shuffle buffer of %d, not %d", s.Shuffle, l.state.Shuffle)
	case s.Rank != l.state.Rank || s.Ranks != l.state.Ranks || s.Batch != l.state.Batch:
		return fmt.Errorf("dataloader: restore: the state belongs to rank %d of %d with a batch of %d, not to rank %d of %d with one of %d",
			s.Rank, max(s.Ranks, 1), cmp.Or(s.Batch, l.cfg.Batch), l.cfg.Rank, l.cfg.Ranks, l.cfg.Batch)
	case s.Epoch < 0 || s.Step < 0 || s.Position < 0 || s.Position > own:
		return fmt.Errorf("dataloader: restore: epoch %d, step %d, position %d of %d pictures", s.Epoch, s.Step, s.Position, own)
	}
	broken := make(map[int]bool)
	for _, b := range s.Broken {
		if b.Index < 0 || b.Index >= n || broken[b.Index] {
			return fmt.Errorf("dataloader: restore: broken picture %d of %d, or twice", b.Index, n)
		}
		broken[b.Index] = true
	}
	l.stop()
	s.Broken = slices.Clone(s.Broken)
	l.state, l.broken, l.err = s, broken, nil
	l.made = s.Position > 0
	return nil
}

// Recycle gives a batch back, to be filled again. The batch must not be used
// afterwards.
func (l *Loader) Recycle(b *Batch) {
	if b == nil || len(b.Items) != l.cfg.Batch || len(b.Images)+len(b.Pixels) != l.cfg.Micro*l.cfg.Transform.Len() ||
		(b.Pixels != nil) != l.cfg.Pixels || l.cfg.Pixels && len(b.Tables) != l.cfg.Micro*tableLen {
		return
	}
	select {
	case l.free <- b:
	default:
	}
}

// Close stops the workers and waits for them. The loader may be used again: Next
// continues after the last batch handed out whole.
func (l *Loader) Close() { l.stop() }

// Next returns the next batch, without end: an epoch follows on the one before.
// Of a batch with several micro-batches the first is loaded. One that is not
// loaded to its end counts for nothing: Next begins it again.
//
// When ctx ends, Next stops the workers and returns the error of ctx; no
// goroutine is left, and a later Next continues after the last batch handed out.
// Too many broken pictures, an epoch without a full batch, and a list of skipped
// pictures that cannot be written are errors that every later Next repeats.
func (l *Loader) Next(ctx context.Context) (*Batch, error) {
	if l.err != nil {
		return nil, l.err
	}
	b, err := l.next(ctx)
	return b, l.ended(ctx, err)
}

// ended stops the workers after an error, and keeps one that is not that of ctx.
func (l *Loader) ended(ctx context.Context, err error) error {
	if err != nil {
		l.stop()
		if ctx.Err() == nil {
			l.err = err
		}
	}
	return err
}

func (l *Loader) next(ctx context.Context) (*Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c := &l.current; c.batch != nil {
		if c.loaded < l.micros {
			l.stop()
		} else if err := l.settle(ctx); err != nil {
			return nil, err
		}
	}
	if !l.running {
		l.start()
	}
	l.current.begin(l.newBatch(), l.state.Epoch, l.made)
	b := l.current.batch
	if err := l.collect(ctx); err != nil {
		l.Recycle(b)
		return nil, err
	}
	return b, nil
}

// collect loads the first micro-batch of the current batch that has not been
// loaded, from the items that follow. If the epoch ends before the batch is full,
// the batch begins again in the next one, and what was loaded of it is dropped:
// the error is then [ErrRestart], unless nothing was.
func (l *Loader) collect(ctx context.Context) error {
	c := &l.current
	b, micro := c.batch, l.cfg.Micro
	first := c.loaded * micro
	dst := l.place(c.loaded)
	for filled, looked, rest := 0, false, false; filled < micro; {
		s := &l.slots[l.head]
		select {
		case <-s.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if s.epoch != c.epoch { // drop the rest of the epoch before
			if !c.made {
				return fmt.Errorf("dataloader: %s has %d pictures that can be read, fewer than a batch of %d",
					l.ds.Name(), l.ds.Len()-len(l.broken), l.cfg.Batch)
			}
			c.epoch, c.made = s.epoch, false
			filled, looked, rest = 0, false, false
			if c.loaded > 0 {
				c.loaded = 0
				s.done <- struct{}{} // not taken
				return ErrRestart
			}
		}
		if first == 0 && !looked {
			looked, rest = true, !l.enough(s)
		}
		switch {
		case l.broken[s.index]:
		case s.err != nil:
			if err := l.note(s); err != nil {
				return err
			}
		case !rest:
			l.cfg.part(dst, filled, 1).copy(s.data)
			b.Items[first+filled], b.Index[first+filled] = drawn(l.ds.Item(s.index), l.cfg.Seed, s.epoch, s.index), s.index
			filled++
		}
		c.position = s.position + 1
		l.dispatch(s)
		l.head = (l.head + 1) % len(l.slots)
	}
	b.show(dst)
	c.loaded++
	if c.loaded == l.micros {
		b.Epoch, b.Step, b.Broken = c.epoch, l.state.Step, len(l.state.Broken)
		l.state.Epoch, l.state.Position = c.epoch, c.position
		l.state.Step++
		l.made = true
	}
	return nil
}

// enough reports whether the epoch of s, from s on, has a batch of pictures that
// are not known to be broken.
func (l *Loader) enough(s *slot) bool {
	left := l.plan.own() - s.position
	if left < l.cfg.Batch || left-l.plan.times*len(l.broken) >= l.cfg.Batch {
		return left >= l.cfg.Batch
	}
	order := make([]int32, l.plan.own())
	l.plan.fill(order, s.epoch)
	for _, i := range order[s.position:] {
		if l.broken[int(i)] {
			left--
		}
	}
	return left >= l.cfg.Batch
}

// note records the broken picture of s.
func (l *Loader) note(s *slot) error {
	l.broken[s.index] = true
	b := brokenItem(l.ds, s.index, s.err)
	l.state.Broken = append(l.state.Broken, b)
	if err := l.skipped.add(b); err != nil {
		return err
	}
	n := l.ds.Len()
	seen := n
	if s.epoch == 0 || l.plan.ranks > 1 || l.plan.strata != nil { // an epoch need not have every item
		seen = min(n, s.epoch*l.plan.own()+s.position+1)
	}
	return tooManyBroken(l.state.Broken, seen, n, l.cfg.MaxBroken, l.cfg.SkippedPath)
}

func (l *Loader) newBatch() *Batch {
	select {
	case b := <-l.free:
		return b
	default:
		n := l.cfg.Batch
		b := &Batch{Items: make([]Item, n), Index: make([]int, n)}
		if l.micros == 1 {
			b.show(l.cfg.newHeld(n))
		}
		return b
	}
}

// start starts the workers at l.state.
func (l *Loader) start() {
	// However small the micro-batches are, every worker has something to do.
	n := min(l.cfg.Prefetch*l.cfg.Batch, max(l.cfg.Prefetch*l.cfg.Micro, 4*l.cfg.Workers))
	if l.slots == nil {
		l.slots = make([]slot, n)
		data := l.cfg.newHeld(n)
		for i := range l.slots {
			l.slots[i].data = l.cfg.part(data, i, 1)
		}
		l.order = make([]int32, l.plan.own())
		if l.micros > 1 {
			l.keep()
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.tasks = make(chan *slot, n+len(l.current.again))
	for range min(l.cfg.Workers, n) {
		l.workers.Add(1)
		go func(tasks <-chan *slot) {
			defer l.workers.Done()
			l.work(ctx, tasks)
		}(l.tasks)
	}
	l.running = true
	l.epoch, l.cursor = l.state.Epoch, l.state.Position
	l.plan.fill(l.order, l.epoch)
	l.head = 0
	for i := range l.slots {
		l.slots[i].done = make(chan struct{}, 1)
		l.dispatch(&l.slots[i])
	}
}

// stop ends the workers and waits for them. What they had decoded is forgotten.
func (l *Loader) stop() {
	if !l.running {
		return
	}
	l.cancel()
	close(l.tasks)
	l.workers.Wait()
	l.running = false
	l.current.forget()
}

// dispatch gives the next item of the order to the workers, in slot s.
func (l *Loader) dispatch(s *slot) {
	if l.cursor == len(l.order) {
		l.epoch, l.cursor = l.epoch+1, 0
		l.plan.fill(l.order, l.epoch)
	}
	s.epoch, s.position, s.index = l.epoch, l.cursor, int(l.order[l.cursor])
	s.skip = l.broken[s.index]
	l.cursor++
	l.tasks <- s // there is room for every slot
}

// work fills slots until there are no more.
func (l *Loader) work(ctx context.Context, tasks <-chan *slot) {
	var src rand.PCG
	rng := rand.New(&src)
	var w workspace
	for s := range tasks {
		if ctx.Err() != nil {
			continue
		}
		if !s.skip {
			seedFor(&src, l.cfg.Seed, s.epoch, s.index, streamAugment)
			s.err = fill(ctx, l.ds, s.index, l.cfg.Transform, s.data, rng, &w)
		}
		s.done <- struct{}{}
	}
}

// fill decodes item i into dst. A panic of the data set becomes an error, and
// with it a broken picture: one bad file does not end a run.
func fill(ctx context.Context, ds Dataset, i int, t Transform, dst held, rng *rand.Rand, w *workspace) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("dataloader: item %d: %v", i, r)
		}
	}()
	im, err := t.image(ctx, ds, i, w)
	if err != nil {
		return err
	}
	if t = t.For(ds.Item(i)); dst.pixels != nil {
		t.ApplyPixels(dst.pixels, dst.tables, im, rng)
	} else {
		t.Apply(dst.values, im, rng)
	}
	return nil
}

// LoadAll decodes the items of ds with the given indices (nil: all), at most
// workers at a time. Picture k of the result belongs to indices[k]; it is nil,
// and listed in broken, if it cannot be read. The error is that of ctx.
func LoadAll(ctx context.Context, ds Dataset, indices []int, workers int) (images []*Image, broken []Broken, err error) {
	indices = allIfNil(ds, indices)
	images = make([]*Image, len(indices))
	broken, err = ForEach(ctx, ds, indices, workers, func(k int, im *Image) error {
		images[k] = im
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return images, broken, nil
}

// ForEach decodes the items of ds with the given indices (nil: all), at most
// workers at a time, and calls f with each picture in the order of indices, from
// the goroutine of the caller. Item indices[k] is picture k. Those that cannot be
// read are left out and returned as broken. An error of f ends the loop and is
// returned; so is that of ctx. No goroutine is left in any case.
func ForEach(ctx context.Context, ds Dataset, indices []int, workers int, f func(k int, im *Image) error) (broken []Broken, err error) {
	indices = allIfNil(ds, indices)
	workers = min(max(workers, 1), max(len(indices), 1))
	type result struct {
		im  *Image
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	// Results wait in a ring, so that a slow picture holds up few others.
	ring := make([]chan result, 4*workers)
	for i := range ring {
		ring[i] = make(chan result, 1)
	}
	tasks := make(chan int, len(ring))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for k := range tasks {
				im, err := readOne(ctx, ds, indices[k])
				ring[k%len(ring)] <- result{im, err}
			}
		})
	}
	defer wg.Wait()
	defer cancel()
	defer close(tasks)
	for k := range min(len(ring), len(indices)) {
		tasks <- k
	}
	for k := range indices {
		var r result
		select {
		case r = <-ring[k%len(ring)]:
		case <-ctx.Done():
			return broken, ctx.Err()
		}
		if next := k + len(ring); next < len(indices) {
			tasks <- next
		}
		switch err := ctx.Err(); {
		case err != nil:
			return broken, err
		case r.err != nil:
			broken = append(broken, brokenItem(ds, indices[k], r.err))
		default:
			if err := f(k, r.im); err != nil {
				return broken, err
			}
		}
	}
	return broken, nil
}

// readOne decodes one picture; a panic of the data set becomes an error.
func readOne(ctx context.Context, ds Dataset, i int) (im *Image, err error) {
	defer func() {
		if r := recover(); r != nil {
			im, err = nil, fmt.Errorf("dataloader: item %d: %v", i, r)
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	im, err = ds.Image(ctx, i)
	if err == nil {
		err = im.check()
	}
	if err != nil {
		return nil, err
	}
	return im, nil
}

func allIfNil(ds Dataset, indices []int) []int {
	if indices != nil {
		return indices
	}
	indices = make([]int, ds.Len())
	for i := range indices {
		indices[i] = i
	}
	return indices
}
