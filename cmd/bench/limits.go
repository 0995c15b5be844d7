package main

import (
	"context"
	"math"
	"time"

	"relsim/kernel"
)

// limits measures what the machine can do: multiply-adds, and memory.
type limits struct {
	pool  *kernel.Pool
	a, b  []float32
	words []uint64
	last  []part
}

// farBytes is the size of the operands of far measurements; together they are larger
// than the caches of most machines.
const farBytes = 512 << 20

func newLimits(_ context.Context, j job) (worker, error) {
	l := &limits{pool: kernel.NewPool(j.Threads), a: make([]float32, farBytes/4), b: make([]float32, farBytes/4)}
	fill(l.a, "a", 1, 0)
	copyAll(l.pool, l.b, l.a) // the pages are there
	l.words = make([]uint64, farBytes/8)
	for i := range l.words {
		l.words[i] = uint64(i)
	}
	return l, nil
}

func (l *limits) once() error {
	l.last = l.last[:0]
	if peak := kernel.PeakFLOPS(l.pool, 100*time.Millisecond); !math.IsNaN(peak) {
		l.last = append(l.last, part{Name: "multiply-adds, " + kernel.Active().String(), Speed: peak, Unit: "FLOP/s"})
	}
	read := timed(0, func() { kernel.Xor(l.pool, l.words) })
	moved := timed(0, func() { copyAll(l.pool, l.b, l.a) })
	l.last = append(l.last,
		part{Name: "memory, read, 512 MiB", Speed: farBytes / read, Unit: "B/s"},
		part{Name: "memory, read and written, 1 GiB", Speed: 2 * farBytes / moved, Unit: "B/s"},
	)
	return nil
}

func (l *limits) parts() []part { return l.last }
func (l *limits) ready() ready  { return ready{Path: kernel.Active().String()} }
func (l *limits) close()        { l.pool.Close() }

// copyPiece is the part of a copy that one thread makes at a time.
const copyPiece = 1 << 16

// copyAll copies src to dst on all threads.
func copyAll(p *kernel.Pool, dst, src []float32) {
	p.Run((len(src)+copyPiece-1)/copyPiece, func(i int) {
		low, high := i*copyPiece, min((i+1)*copyPiece, len(src))
		copy(dst[low:high], src[low:high])
	})
}

// timed returns the median time of f, called at least three times and for at least
// the given time.
func timed(least time.Duration, f func()) float64 {
	var seconds []float64
	for begin := time.Now(); len(seconds) < 3 || time.Since(begin) < least; {
		start := time.Now()
		f()
		seconds = append(seconds, time.Since(start).Seconds())
	}
	return median(seconds)
}
