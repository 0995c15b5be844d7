package dataloader

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// DefaultKeep is how many bytes of pictures are kept between two passes over a
// batch: 1,365 pictures of 64×64, 111 of 224×224.
const DefaultKeep = 64 << 20

// ErrRestart is what [Loader.Load] returns when pictures were found to be broken
// and the epoch had no others to take their places: the batch begins again with
// the next epoch, and has to be loaded again from its first micro-batch on.
var ErrRestart = errors.New("dataloader: the epoch has ended: the batch begins again in the next one")

// current is the batch whose micro-batches are being loaded. Only a few of them
// are in memory: micro-batch i in place i modulo the number of places, so that
// after a pass in order the last ones are there, and the others are read again
// as a pass in reverse order sets places free.
type current struct {
	batch           *Batch // nil: none
	epoch, position int    // of the next item
	made            bool   // the epoch has given a batch
	loaded          int    // micro-batches loaded for the first time

	// Of batches with several micro-batches.
	places  held   // K·M pictures
	holds   []int  // the micro-batch in each place, -1: none
	again   []slot // (K, M) pictures read again, straight into their place; empty if all have a place
	pending []int  // of each place, pictures that have not been waited for
}

// begin starts on a batch.
func (c *current) begin(b *Batch, epoch int, made bool) {
	c.batch, c.epoch, c.made, c.loaded = b, epoch, made, 0
}

// forget gives the batch up, after the workers have been stopped.
func (c *current) forget() {
	c.batch = nil
	for i := range c.holds {
		c.holds[i], c.pending[i] = -1, 0
	}
	for i := range c.again {
		for len(c.again[i].done) > 0 {
			<-c.again[i].done
		}
	}
}

// keep allocates the places: as many as Config.Keep allows, at least two, so that
// one can be filled while the other is in use.
func (l *Loader) keep() {
	c, micro := &l.current, l.cfg.Micro
	n := min(l.micros, max(2, l.cfg.Keep/(micro*l.cfg.pictureBytes())))
	c.places = l.cfg.newHeld(n * micro)
	c.holds, c.pending = slices.Repeat([]int{-1}, n), make([]int, n)
	if n == l.micros {
		return
	}
	c.again = make([]slot, n*micro)
	for i := range c.again {
		if i%micro == 0 {
			c.again[i].done = make(chan struct{}, micro)
		} else {
			c.again[i].done = c.again[i-1].done
		}
		c.again[i].data = l.cfg.part(c.places, i, 1)
	}
}

// place is the memory of micro-batch i of the current batch, which takes it.
func (l *Loader) place(i int) held {
	c := &l.current
	if l.micros == 1 {
		return c.batch.shown()
	}
	k := i % len(c.holds)
	c.holds[k] = i
	return l.cfg.part(c.places, k*l.cfg.Micro, l.cfg.Micro)
}

// Load sets the pictures of b, the batch that Next returned last, to those of
// micro-batch i, until the next Load or Next. The micro-batches are loaded in
// order first, which settles what the batch consists of: broken pictures are found
// and replaced as [Loader.Next] does. Then they may be loaded again in any order,
// fastest in the reverse one, and have the same bits: those that are not kept in
// memory are read and augmented once more.
//
// The error is [ErrRestart], which does not end the loader; that of ctx; one of
// those that Next returns; or tells of a picture that could be read the first time
// and cannot now. A batch of one micro-batch is loaded already: Load returns nil.
func (l *Loader) Load(ctx context.Context, b *Batch, i int) error {
	switch {
	case l.micros == 1 && i == 0:
		return nil
	case l.err != nil:
		return l.err
	case b == nil || b != l.current.batch || i < 0 || i > l.current.loaded || i >= l.micros:
		return fmt.Errorf("dataloader: load: micro-batch %d of %d, of which %d have been loaded, or not of the last batch",
			i, l.micros, l.current.loaded)
	}
	err := l.load(ctx, i)
	if err == ErrRestart {
		return err
	}
	return l.ended(ctx, err)
}

func (l *Loader) load(ctx context.Context, i int) error {
	c := &l.current
	if err := ctx.Err(); err != nil {
		return err
	}
	if i == c.loaded {
		return l.collect(ctx)
	}
	n := len(c.holds)
	if next := i + 1 - n; c.loaded == l.micros && next >= 0 && i+1 < l.micros && c.holds[(i+1)%n] != next {
		if err := l.readAgain(ctx, next); err != nil { // where the one before in this pass was
			return err
		}
	}
	if c.holds[i%n] != i {
		if err := l.readAgain(ctx, i); err != nil {
			return err
		}
	}
	if err := l.await(ctx, i%n); err != nil {
		return err
	}
	c.batch.show(l.place(i))
	return nil
}

// readAgain gives the pictures of micro-batch i to the workers once more.
func (l *Loader) readAgain(ctx context.Context, i int) error {
	c, micro := &l.current, l.cfg.Micro
	k := i % len(c.holds)
	if err := l.await(ctx, k); err != nil {
		return err
	}
	c.holds[k] = i
	for j := range micro {
		s := &c.again[k*micro+j]
		s.epoch, s.index, s.err = c.epoch, c.batch.Index[i*micro+j], nil
		c.pending[k]++
		l.tasks <- s // there is room for every slot
	}
	return nil
}

// await returns when all pictures of place k have been read.
func (l *Loader) await(ctx context.Context, k int) error {
	c, micro := &l.current, l.cfg.Micro
	if c.pending[k] == 0 {
		return nil
	}
	for c.pending[k] > 0 {
		select {
		case <-c.again[k*micro].done:
			c.pending[k]--
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for j := range micro {
		if s := &c.again[k*micro+j]; s.err != nil {
			b := brokenItem(l.ds, s.index, s.err)
			return fmt.Errorf("dataloader: %s: picture %d (%s) was read before in this batch and cannot be read again: %w",
				l.ds.Name(), b.Index, b.ID, s.err)
		}
	}
	return nil
}

// settle waits for what is being read again.
func (l *Loader) settle(ctx context.Context) error {
	for k := range l.current.pending {
		if err := l.await(ctx, k); err != nil {
			return err
		}
	}
	return nil
}
