//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"errors"
	"fmt"
	"time"

	"relsim/cuda"
)

// gpuPool keeps pinned memory and events for the next who needs them. It belongs to the device's goroutine.
type gpuPool struct {
	pins   map[int][]*cuda.Pinned // by size, whole pages
	events []*cuda.Event
}

// pin returns pinned memory of at least n bytes.
func (p *gpuPool) pin(t *cuda.Thread, n int) (*cuda.Pinned, error) {
	size := (n + 4095) &^ 4095
	if free := p.pins[size]; len(free) > 0 {
		p.pins[size] = free[:len(free)-1]
		return free[len(free)-1], nil
	}
	return t.AllocPinned(size)
}

func (p *gpuPool) unpin(m *cuda.Pinned) {
	if p.pins == nil {
		p.pins = make(map[int][]*cuda.Pinned)
	}
	p.pins[len(m.Bytes)] = append(p.pins[len(m.Bytes)], m)
}

// mark records an event in a stream.
func (p *gpuPool) mark(t *cuda.Thread, s *cuda.Stream) (e *cuda.Event, err error) {
	if n := len(p.events); n > 0 {
		e, p.events = p.events[n-1], p.events[:n-1]
	} else if e, err = t.NewEvent(false); err != nil {
		return nil, err
	}
	return e, e.Record(s)
}

func (p *gpuPool) unmark(e *cuda.Event) { p.events = append(p.events, e) }

// free gives all back. Nothing may be under way.
func (p *gpuPool) free(t *cuda.Thread) error {
	var errs []error
	for _, list := range p.pins {
		for _, m := range list {
			errs = append(errs, t.FreePinned(m))
		}
	}
	for _, e := range p.events {
		errs = append(errs, e.Close())
	}
	p.pins, p.events = nil, nil
	return errors.Join(errs...)
}

// Readback is a part of a resident on its way to the host.
type Readback struct {
	gpu    *GPU
	pin    *cuda.Pinned
	event  *cuda.Event
	values []float32
	err    error
}

// Read reads elements [low, high) of a resident when the queue gets there, and does not wait for that. It is for few
// elements, such as the loss of a step.
func (g *GPU) Read(r *Resident, low, high int) (*Readback, error) {
	if low < 0 || high <= low || high > len(r.host) {
		return nil, fmt.Errorf("graph: GPU: read elements %d to %d of %d", low, high, len(r.host))
	}
	if r.at == 0 {
		return nil, fmt.Errorf("%w: read", errResidentClosed)
	}
	b := &Readback{gpu: g, values: make([]float32, high-low)}
	err := g.do(func(t *cuda.Thread) (err error) {
		if b.pin, err = g.pool.pin(t, 4*(high-low)); err != nil {
			return err
		}
		if err = g.stream.Download(b.pin, 0, r.at.Add(4*low), 4*(high-low)); err != nil {
			return err
		}
		b.event, err = g.pool.mark(t, g.stream)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("graph: GPU: read: %w", err)
	}
	return b, nil
}

// Wait waits until the queue has got there and returns the elements, or why it could not. It may be called again.
func (b *Readback) Wait() ([]float32, error) {
	if b.event == nil {
		return b.values, b.err
	}
	err := b.gpu.do(func(t *cuda.Thread) error {
		if err := b.event.Sync(); err != nil {
			return err
		}
		copy(b.values, b.pin.Floats())
		b.gpu.pool.unpin(b.pin)
		b.gpu.pool.unmark(b.event)
		return nil
	})
	if err != nil {
		b.values, b.err = nil, fmt.Errorf("graph: GPU: read: %w", err)
	}
	b.pin, b.event = nil, nil
	return b.values, b.err
}

// Snapshot is a copy of residents, all of one moment in the queue, on its way to the host while the queue goes on.
type Snapshot struct {
	gpu       *GPU
	residents []*Resident
	pins      []*cuda.Pinned
	event     *cuda.Event // nil: the host has it
	err       error
}

// Snapshot begins to copy residents as they are when the queue gets there, through pinned memory of their size, which is
// kept for the next one. What writes to one of them later waits, on the device, until it is copied. The slices of the host
// belong to the Snapshot until Wait returns.
func (g *GPU) Snapshot(residents ...*Resident) (*Snapshot, error) {
	s := &Snapshot{gpu: g, residents: residents}
	for _, r := range residents {
		if r.at == 0 {
			return nil, fmt.Errorf("%w: snapshot", errResidentClosed)
		}
	}
	if err := g.do(s.begin); err != nil {
		return nil, fmt.Errorf("graph: GPU: snapshot: %w", err)
	}
	return s, nil
}

func (s *Snapshot) begin(t *cuda.Thread) error {
	g := s.gpu
	for _, r := range s.residents {
		pin, err := g.pool.pin(t, 4*len(r.host))
		if err != nil {
			s.release()
			if errors.Is(err, cuda.ErrLost) {
				return err
			}
			return s.now(t) // the host has too little memory of that kind
		}
		s.pins = append(s.pins, pin)
	}
	moment, err := g.pool.mark(t, g.stream)
	if err != nil {
		return err
	}
	defer g.pool.unmark(moment)
	if err := g.back.Wait(moment); err != nil {
		return err
	}
	for i, r := range s.residents {
		if err := g.back.Download(s.pins[i], 0, r.at, 4*len(r.host)); err != nil {
			return err
		}
	}
	if s.event, err = g.pool.mark(t, g.back); err != nil {
		return err
	}
	for _, r := range s.residents {
		r.copied = s.event
	}
	return nil
}

// now copies without the help of pinned memory.
func (s *Snapshot) now(t *cuda.Thread) error {
	if err := s.gpu.stream.Sync(); err != nil {
		return err
	}
	for _, r := range s.residents {
		if err := cuda.Download(t, r.host, r.at); err != nil {
			return err
		}
	}
	return nil
}

func (s *Snapshot) release() {
	for _, pin := range s.pins {
		s.gpu.pool.unpin(pin)
	}
	s.pins = nil
}

// Wait waits until the slices of the host have the values. It may be called from any goroutine, but not inside of
// [GPU.Together].
func (s *Snapshot) Wait() error {
	for s.event != nil {
		done := false
		err := s.gpu.device.Do(func(*cuda.Thread) (err error) {
			done, err = s.event.Done()
			return err
		})
		switch {
		case err != nil:
			s.event, s.err = nil, fmt.Errorf("graph: GPU: snapshot: %w", err)
		case done:
			for i, r := range s.residents {
				copy(r.host, s.pins[i].Floats())
			}
			s.err = s.gpu.device.Do(func(*cuda.Thread) error {
				for _, r := range s.residents {
					if r.copied == s.event {
						r.copied = nil
					}
				}
				s.gpu.pool.unmark(s.event)
				s.release()
				return nil
			})
			s.event = nil
		default:
			time.Sleep(time.Millisecond)
		}
	}
	return s.err
}

// writes is called before something is put into the queue that may write to a resident, or to none: it waits for a snapshot.
func (g *GPU) writes(r *Resident) error {
	if r == nil || r.copied == nil {
		return nil
	}
	e := r.copied
	r.copied = nil
	return g.stream.Wait(e)
}
