package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"runtime"
	"time"

	"relsim/kernel"
)

// worker is a piece of work, set up and warm.
type worker interface {
	// once does it once.
	once() error
	// ready describes it.
	ready() ready
	close()
}

// parted is a worker that measures many things in one go.
type parted interface {
	parts() []part
}

// manied is a worker that does its work many times without waiting in between.
type manied interface {
	many(n int) error
}

// timesOps is a worker that times the ops of Programs.
type timesOps interface {
	ops() []gpuOp
}

// peaked is a worker whose speed is compared with the multiply-add peak of its pool.
type peaked interface {
	threads() *kernel.Pool
}

// workers makes the worker of each kind of job.
var workers = map[string]func(ctx context.Context, j job) (worker, error){
	"limits":  newLimits,
	"kernels": newKernels,
	"step":    newStep,
	"encoder": newEncoderStep,
	"stock":   newStock,
	"linear":  newLinear,
	"embed":   newEmbed,
	"encode":  newEncode,
	"jpeg":    newJPEG,
	"search":  newSearch,
	"codes":   newCodes,
	"loader":  newLoader,
	"photos":  newPhotos,
}

// serve is the hidden command "bench serve JOB": it sets the work up, prints
// what it is as a line of JSON, and answers each line "run N" with a [sample]. It
// ends with its input.
func serve(ctx context.Context, text string, in io.Reader, out io.Writer) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	make, ok := workers[j.Kind]
	if !ok {
		return fmt.Errorf("serve: unknown kind %q", j.Kind)
	}
	runtime.GOMAXPROCS(j.Threads)
	base := residentBytes()
	w, err := make(ctx, j)
	if err != nil {
		return err
	}
	defer w.close()
	encoder := json.NewEncoder(out)
	r := w.ready()
	r.BaseBytes = base
	if err := encoder.Encode(r); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "run %d", &n); err != nil || n < 1 {
			return fmt.Errorf("serve: command %q", lines.Text())
		}
		s, err := repeat(w, n)
		if err != nil {
			return err
		}
		if err := encoder.Encode(s); err != nil {
			return err
		}
	}
	return lines.Err()
}

// repeat does the work n times.
func repeat(w worker, n int) (sample, error) {
	var s sample
	p, ok := w.(peaked)
	if ok {
		s.Peak = peakSpeed(p.threads(), 40*time.Millisecond)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	used, begin := cpuSeconds(), time.Now()
	if m, ok := w.(manied); ok {
		if err := m.many(n); err != nil {
			return s, err
		}
	} else {
		for range n {
			if err := w.once(); err != nil {
				return s, err
			}
		}
	}
	s.Seconds, s.CPU = time.Since(begin).Seconds(), cpuSeconds()-used
	runtime.ReadMemStats(&after)
	s.Mallocs = float64(after.Mallocs - before.Mallocs)
	if ok {
		s.Peak = max(s.Peak, peakSpeed(p.threads(), 40*time.Millisecond))
	}
	if p, ok := w.(parted); ok {
		s.Parts = p.parts()
	}
	if o, ok := w.(timesOps); ok {
		s.Ops = o.ops()
	}
	return s, nil
}

// peakSpeed measures the floating-point operations a second of multiply-adds on the threads of a pool; 0: not known.
// Other users of the machine can make it small for a moment: callers take the larger of one before and one after.
func peakSpeed(p *kernel.Pool, least time.Duration) float64 {
	if peak := kernel.PeakFLOPS(p, least); !math.IsNaN(peak) {
		return peak
	}
	return 0
}
