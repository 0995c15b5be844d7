//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"relsim/cuda"
	"relsim/graph"
	"relsim/kernel"
)

func init() {
	workers["gpu-limits"] = newGPULimits
	workers["gpu-products"] = newGPUProducts
	workers["gpu-ops"] = newGPUOps
	workers["gpu-step"] = newGPUStep
	workers["gpu-encode"] = newGPUEncode
}

// gpu is a device with its Backend.
type gpu struct {
	device  *cuda.Device
	backend *graph.GPU
	warned  []string
}

// openGPU opens the first device that is free.
func openGPU(j job) (*gpu, error) {
	d, err := cuda.OpenFree()
	if err != nil {
		return nil, err
	}
	g := &gpu{device: d}
	precision := kernel.Float32
	if j.BF16 {
		precision = kernel.BF16
	}
	warn := func(text string) { g.warned = append(g.warned, text) }
	if g.backend, err = graph.NewGPU(d, graph.GPUConfig{Precision: precision, Cache: cuda.OpenCodeCache("", warn), Warn: warn}); err != nil {
		d.Close()
		return nil, err
	}
	return g, nil
}

func (g *gpu) close() {
	if g.backend != nil {
		g.backend.Close()
	}
	g.device.Close()
}

// machine describes the device for the report.
func (g *gpu) ready() ready {
	info := g.device.Info()
	r := ready{Path: info.String(), Warned: g.warned, Versions: map[string]string{
		"device": info.Name, "driver": fmt.Sprintf("CUDA %d.%d", info.Driver/1000, info.Driver%1000/10),
		"capability": fmt.Sprintf("%d.%d", info.Major, info.Minor), "multiprocessors": fmt.Sprint(info.SMs),
		"memory": fmt.Sprint(info.Memory), "l2": fmt.Sprint(info.L2),
	}}
	g.device.Do(func(t *cuda.Thread) error {
		if k, err := t.LoadKernels(nil, nil); err == nil {
			r.Versions["kernels"] = k.Compiled
			k.Close()
		}
		if b, err := t.OpenBLAS(0); err == nil {
			r.Versions["cublasLt"] = b.Version()
			b.Close()
		} else {
			r.Warned = append(r.Warned, err.Error())
		}
		return nil
	})
	return r
}

// timedWork times n repetitions of f in a stream by events; one before them warms up.
func timedWork(t *cuda.Thread, s *cuda.Stream, n int, f func() error) (seconds float64, err error) {
	begin, err := t.NewEvent(true)
	if err != nil {
		return 0, err
	}
	end, err := t.NewEvent(true)
	if err != nil {
		return 0, errors.Join(err, begin.Close())
	}
	defer func() { err = errors.Join(err, begin.Close(), end.Close()) }()
	if err := f(); err != nil {
		return 0, err
	}
	if err := begin.Record(s); err != nil {
		return 0, err
	}
	for range n {
		if err := f(); err != nil {
			return 0, err
		}
	}
	if err := end.Record(s); err != nil {
		return 0, err
	}
	if err := end.Sync(); err != nil {
		return 0, err
	}
	d, err := end.Since(begin)
	return d.Seconds() / float64(n), err
}

// gpuProducts times products by cublasLt, and copies.
type gpuProducts struct {
	*gpu
	copied int // bytes of a copy, 0: none
	shapes [][3]int
	last   []part
}

// newGPULimits measures what the device can do: the bandwidth of memory, by a copy, and products in bfloat16.
func newGPULimits(_ context.Context, j job) (worker, error) {
	g, err := openGPU(j)
	return &gpuProducts{gpu: g, copied: j.N, shapes: [][3]int{{j.Size, j.Size, j.Size}}}, err
}

// newGPUProducts times products of the shapes of models.
func newGPUProducts(_ context.Context, j job) (worker, error) {
	g, err := openGPU(j)
	return &gpuProducts{gpu: g, shapes: j.Shapes}, err
}

// copyName is what is measured of memory.
const copyName = "copy"

// productName names a product x·wᵀ of (m, k) and (n, k), on both sides.
func productName(shape [3]int) string {
	return fmt.Sprintf("linear (%d, %d) × (%d, %d)", shape[0], shape[2], shape[1], shape[2])
}

func (p *gpuProducts) once() error {
	p.last = nil
	return p.device.Do(func(t *cuda.Thread) (err error) {
		s, err := t.NewStream()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		if p.copied > 0 {
			if err := p.copies(t, s); err != nil {
				return err
			}
		}
		blas, err := t.OpenBLAS(32 << 20)
		if errors.Is(err, cuda.ErrUnavailable) {
			return nil // there is nothing to measure, and ready says why
		}
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, blas.Close()) }()
		for _, shape := range p.shapes {
			if err := p.product(t, s, blas, shape); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *gpuProducts) copies(t *cuda.Thread, s *cuda.Stream) (err error) {
	from, err := t.Alloc(p.copied)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Free(from)) }()
	to, err := t.Alloc(p.copied)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Free(to)) }()
	if err := s.Fill(from, 0x3f9d70a4, p.copied/4); err != nil {
		return err
	}
	seconds, err := timedWork(t, s, 5, func() error { return s.Copy(to, from, p.copied) })
	p.last = append(p.last, part{Name: copyName, Speed: 2 * float64(p.copied) / seconds, Unit: "B/s"})
	return err
}

func (p *gpuProducts) product(t *cuda.Thread, s *cuda.Stream, blas *cuda.BLAS, shape [3]int) (err error) {
	m, n, k := shape[0], shape[1], shape[2]
	var o cuda.Operands
	for to, size := range map[*cuda.Pointer]int{&o.D: m * n, &o.A: m * k, &o.B: n * k} {
		if *to, err = t.Alloc(2 * size); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, t.Free(*to)) }()
		if err := cuda.Upload(t, *to, halves(size)); err != nil {
			return err
		}
	}
	product := cuda.Product{M: m, N: n, K: k, TransB: true, In: cuda.BFloat16, Out: cuda.BFloat16}
	seconds, err := timedWork(t, s, 10, func() error { return blas.Multiply(s, product, o) })
	flops := 2 * float64(m) * float64(n) * float64(k)
	p.last = append(p.last, part{Name: productName(shape), Speed: flops / seconds, Unit: "FLOP/s"})
	return err
}

// halves returns n values of bfloat16 in ±1 with random bits: products of zeros are faster than those of data.
func halves(n int) []uint16 {
	x := make([]uint16, n)
	seed := seedOf("halves")
	for i := range x {
		x[i] = uint16(math.Float32bits(float32(hash(seed, i)>>8)/(1<<23)-1) >> 16)
	}
	return x
}

func (p *gpuProducts) parts() []part { return p.last }
