//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package main

import (
	"fmt"
	"math"
	"time"
)

// pixels times the kernel that makes values of pictures' pixels, about n in all, by the clock: many in the queue. Pixels
// are random, which is the worst for the memory that tables are in.
func (o *gpuOps) pixels(n int) error {
	side := 224
	if n < 3*side*side {
		side = 8
	}
	const perBlock = 4096 // pixels
	plane := side * side
	planes, blocks := 3*max(1, n/(3*plane)), (plane+perBlock-1)/perBlock
	values, tables := make([]float32, planes*plane), make([]float32, planes*256)
	bytes := make([]float32, len(values)/4) // four pixels in each
	fill(tables, "tables", 1, 0)
	seed := seedOf("pixels")
	for i := range bytes {
		bytes[i] = math.Float32frombits(hash(seed, i))
	}
	for _, host := range [][]float32{tables, bytes, values} {
		r, err := o.backend.Resident(host)
		if err != nil {
			return err
		}
		defer r.Close()
	}
	run := func(n int) error {
		return o.backend.Together(func() error {
			for range n {
				if err := o.backend.Launch("pixels", planes*blocks, 256, values, bytes, tables, plane, blocks); err != nil {
					return err
				}
			}
			return o.backend.Fetch(values[:1])
		})
	}
	if err := run(1); err != nil {
		return err
	}
	op := gpuOp{
		Program: "single ops", Op: fmt.Sprintf("pixels[%d×%d]", planes, plane), Count: 1, Kernels: []string{"pixels"},
		Bytes: 5*float64(len(values)) + 4*float64(len(tables)),
	}
	for range profilePasses {
		const n = 10
		begin := time.Now()
		if err := run(n); err != nil {
			return err
		}
		op.Times = append(op.Times, time.Since(begin).Seconds()/n)
	}
	o.last = append(o.last, op)
	return nil
}
