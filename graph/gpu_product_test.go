//go:build linux && amd64 && !nogpu

package graph

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ebitengine/purego"

	"relsim/cuda"
	"relsim/dynlib"
	"relsim/kernel"
)

// gpuVariants are the ways in which products are done on a device.
func gpuVariants(t *testing.T, g *GPU) map[string]*GPU {
	t.Helper()
	variants := map[string]*GPU{}
	for _, precision := range []kernel.Precision{kernel.Float32, kernel.TF32, kernel.BF16} {
		for _, own := range []bool{false, true} {
			var said []string
			v, err := NewGPU(g.device, GPUConfig{Precision: precision, Warn: func(s string) { said = append(said, s) }})
			must(t, err)
			if len(said) > 0 && !strings.Contains(said[0], "NVRTC") {
				t.Skip("NOT RUN: ", said)
			}
			name := precision.String() + "/cublasLt"
			if own {
				must(t, g.device.Do(func(*cuda.Thread) error { return v.blas.Close() }))
				v.blas, name = nil, precision.String()+"/own"
			}
			t.Cleanup(func() { must(t, v.Close()) })
			variants[name] = v
		}
	}
	return variants
}

// deviceMatrix is a matrix on a device, and its values as they are stored there.
type deviceMatrix struct {
	stored
	v []float32
}

// newDeviceMatrix puts random values to the device, skip bytes behind an aligned place.
func newDeviceMatrix(t *cuda.Thread, r *rand.Rand, n int, of gpuType, skip int) (m deviceMatrix, err error) {
	m = deviceMatrix{stored: stored{of: of}, v: uniform(r, n)}
	if m.at, err = t.Alloc(n*of.size() + skip); err != nil {
		return m, err
	}
	m.at = m.at.Add(skip)
	if of == gpuFloat32 {
		return m, cuda.Upload(t, m.at, m.v)
	}
	halves := make([]uint16, n)
	for i, v := range m.v {
		b := math.Float32bits(v)
		halves[i] = uint16((b + 0x7fff + b>>16&1) >> 16)
		m.v[i] = math.Float32frombits(uint32(halves[i]) << 16)
	}
	return m, cuda.Upload(t, m.at, halves)
}

func (m deviceMatrix) download(t *cuda.Thread) ([]float32, error) {
	v := make([]float32, len(m.v))
	if m.of == gpuFloat32 {
		return v, cuda.Download(t, v, m.at)
	}
	halves := make([]uint16, len(v))
	err := cuda.Download(t, halves, m.at)
	for i, h := range halves {
		v[i] = math.Float32frombits(uint32(h) << 16)
	}
	return v, err
}

// testProductsOnGPU multiplies matrices of all types and shapes in every way and compares with the definition.
func testProductsOnGPU(t *testing.T, g *GPU, seeds int, set func(int)) {
	for name, v := range gpuVariants(t, g) {
		t.Run(name, func(t *testing.T) {
			for seed := range seeds {
				set(seed)
				r := rand.New(rand.NewPCG(uint64(seed), 5))
				for then := thenNothing; then <= thenGELUGrad; then++ {
					for range 3 {
						one := func(list ...int) int { return list[r.IntN(len(list))] }
						shape := [3]int{one(1, 7, 32, 65), one(1, 8, 24, 67, 136), one(1, 5, 16, 64, 80)}
						if err := checkProductOnGPU(v, r, shape, then); err != nil {
							t.Fatalf("seed %d: %v", seed, err)
						}
					}
				}
				// Several tiles, which have a part of the sums each.
				if seed < 2 {
					if err := checkProductOnGPU(v, r, [3]int{136, 130 + 6*seed, 1088}, r.IntN(thenGELUGrad+1)); err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
				}
			}
		})
	}
}

// testRefusedOnGPU multiplies where cublasLt has no kernels with some epilogue, which its heuristics say or the product itself.
func testRefusedOnGPU(t *testing.T, g *GPU) {
	lib, err := dynlib.Open(os.Getenv(cuda.BLASEnv))
	if err != nil {
		t.Skip("NOT RUN: this test is for the fake library: ", err)
	}
	refuse, err := lib.Function("fakeCublasLt")
	if err != nil {
		t.Skip("NOT RUN: this test is for the fake library: ", err)
	}
	defer purego.SyscallN(refuse, 0, 0, 0)
	// Bias; GELU with a bias; GELU that keeps its operand, without and with a bias; its gradient; row sums; any.
	for _, epilogue := range []uint32{4, 36, 160, 164, 192, 512, math.MaxUint32} {
		for late := range 2 {
			v := anotherGPU(t, g, GPUConfig{Precision: kernel.TF32})
			purego.SyscallN(refuse, 0, uintptr(epilogue), uintptr(late))
			r := rand.New(rand.NewPCG(uint64(epilogue), uint64(late)))
			for then := thenNothing; then <= thenGELUGrad; then++ {
				for range 4 {
					if err := checkProductOnGPU(v, r, [3]int{9, 24, 16}, then); err != nil {
						t.Fatalf("epilogue %d, late %d: %v", int32(epilogue), late, err)
					}
				}
			}
		}
	}
}

// checkProductOnGPU does a random product.
func checkProductOnGPU(g *GPU, r *rand.Rand, shape [3]int, then int) error {
	coin := func() bool { return r.IntN(2) == 0 }
	p := product{m: shape[0], n: shape[1], k: shape[2], transA: coin(), transB: coin(), then: then}
	p.form = kernel.GELUKind(r.IntN(3))
	half := func() gpuType {
		if g.config.Precision == kernel.BF16 && coin() {
			return gpuBF16
		}
		return gpuFloat32
	}
	skip := func() int { return 4 * []int{0, 0, 0, 0, 0, 1, 4}[r.IntN(7)] }
	const rate = 0.25
	var factors []float32
	return g.do(func(t *cuda.Thread) (err error) {
		var all []deviceMatrix
		var skips []int
		typed := func(n int, of gpuType) deviceMatrix {
			s := skip()
			m, e := newDeviceMatrix(t, r, n, of, s)
			err = errors.Join(err, e)
			all, skips = append(all, m), append(skips, s)
			return m
		}
		matrix := func(n int) deviceMatrix { return typed(n, half()) }
		defer func() {
			err = errors.Join(err, g.stream.Sync())
			for i, m := range all {
				err = errors.Join(err, t.Free(m.at.Add(-skips[i])))
			}
		}()
		a, b, c, bias := matrix(p.m*p.k), matrix(p.k*p.n), matrix(p.m*p.n), matrix(p.n)
		other, keep := matrix(p.m*p.n), matrix(p.m*p.n)
		p.a, p.b, p.c = a.stored, b.stored, c.stored
		hasBias, hasKeep := coin(), coin() && then == thenGELU
		if hasBias {
			p.bias = bias.stored
		}
		if hasKeep {
			p.keep = keep.stored
		}
		switch then {
		case thenAdd, thenDropoutAdd, thenGELUGrad:
			if coin() && then != thenGELUGrad { // in place
				other = c
			}
			p.other = other.stored
		}
		sums := typed(p.m, gpuFloat32)
		if then == thenNothing && !hasBias && p.transA {
			p.sums = sums.stored
		}
		if then == thenDropoutAdd {
			seed := uint64(r.Uint32())
			if p.seed, err = t.Alloc(8); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, t.Free(p.seed)) }()
			if err := cuda.Upload(t, p.seed, []uint64{seed}); err != nil {
				return err
			}
			p.op = 3
			p.factor, p.threshold, _ = kernel.DropoutMask(rate, 0, 0)
			factors = make([]float32, p.m*p.n)
			for i := range factors {
				factors[i] = 1
			}
			kernel.Dropout(nil, factors, factors, rate, seed, 3)
		}
		if err != nil {
			return err
		}
		q := &gpuQueue{gpu: g, thread: t, stream: g.stream, kernels: g.kernels, dry: true}
		q.multiply(p)
		if err := g.reserve(t, q.most); err != nil {
			return err
		}
		reserved := q.most
		q = &gpuQueue{gpu: g, thread: t, stream: g.stream, kernels: g.kernels, scratch: g.scratch}
		q.multiply(p)
		if q.err != nil {
			return fmt.Errorf("%+v: %w", p, q.err)
		}
		if q.most > reserved {
			return fmt.Errorf("%+v: %d bytes of scratch memory, %d when it was asked for", p, q.most, reserved)
		}
		if err := g.stream.Sync(); err != nil {
			return fmt.Errorf("%+v: %w", p, err)
		}
		return compareProduct(t, g, p, a.v, b.v, bias.v, other.v, factors, c, keep, sums)
	})
}

// compareProduct compares what a product wrote with its definition.
func compareProduct(t *cuda.Thread, g *GPU, p product, a, b, bias, other, factors []float32, c, keep, sums deviceMatrix) error {
	// The precision of operands, and of a value that is stored on the way: it is below 2·√k. And float32 adds k numbers up.
	unit := map[kernel.Precision]float64{kernel.Float32: 0x1p-24, kernel.TF32: 0x1p-11, kernel.BF16: 0x1p-8}[g.config.Precision]
	tol := unit * 8 * (math.Sqrt(float64(p.k)) + 2)
	tol = max(tol, 4e-6) + float64(p.k)*0x1p-24
	got, err := c.download(t)
	if err != nil {
		return err
	}
	gotKeep, err := keep.download(t)
	if err != nil {
		return err
	}
	near := func(what string, i int, got float32, want float64) error {
		if !(math.Abs(float64(got)-want) <= tol*max(1, math.Abs(want)/8)) {
			return fmt.Errorf("%+v: %s[%d] = %v, want %v ± %.2g", p, what, i, got, want, tol)
		}
		return nil
	}
	at := func(x []float32, i, j, rows, cols int, transposed bool) float64 {
		if transposed {
			return float64(x[j*rows+i])
		}
		return float64(x[i*cols+j])
	}
	for i := range p.m {
		for j := range p.n {
			var v float64
			for k := range p.k {
				v += at(a, i, k, p.m, p.k, p.transA) * at(b, k, j, p.k, p.n, p.transB)
			}
			if !p.bias.none() {
				v += float64(bias[j])
			}
			to := i*p.n + j
			if !p.keep.none() {
				if err := near("keep", to, gotKeep[to], v); err != nil {
					return err
				}
			}
			switch p.then {
			case thenGELU:
				v = gelu64(p.form)(v)
			case thenAdd:
				v += float64(other[to])
			case thenDropoutAdd:
				v = v*float64(factors[to]) + float64(other[to])
			case thenGELUGrad:
				x := float64(other[to])
				v *= (gelu64(p.form)(x+1e-4) - gelu64(p.form)(x-1e-4)) / 2e-4
			}
			if err := near("c", to, got[to], v); err != nil {
				return err
			}
		}
	}
	if p.sums.none() {
		return nil
	}
	gotSums, err := sums.download(t)
	if err != nil {
		return err
	}
	for i := range p.m {
		var v float64
		for k := range p.k {
			v += at(a, i, k, p.m, p.k, p.transA)
		}
		if err := near("sums", i, gotSums[i], v); err != nil {
			return err
		}
	}
	return nil
}

// testConvolutionsOnGPU compares the ops of convolutions with their definition, where the patches of one picture are made at a time.
func testConvolutionsOnGPU(t *testing.T, g *GPU, set func(int)) {
	old := g.patchBytes
	defer func() { g.patchBytes = old }()
	g.patchBytes = 1
	found := 0
	for _, c := range opCases() {
		if strings.Contains(c.name, "conv") {
			found++
			t.Run(c.name, func(t *testing.T) {
				d := draw(t, c)
				d.check(t, g, expect(c, d), func(run int) bool { set(run); return run < 1 })
			})
		}
	}
	if found == 0 {
		t.Error("no convolution among the ops")
	}
}

// testTowerByKernels runs a step of a transformer by the program's own kernels, in all precisions, and compares it with the host's in
// float32: each product rounds by up to 2⁻¹¹ or 2⁻⁸, and they add up at random over the depth.
func testTowerByKernels(t *testing.T, g *GPU, set func(int)) {
	set(1)
	tw := newTower(8, 2, 0.1)
	upstream := uniform(rand.New(rand.NewPCG(1, 1)), operandOf(tw.emb).size())
	run := func(b Backend) (*values, []float32) {
		p := mustCompile(t, tw.b, Config{Backend: b, Embedding: tw.emb, Wrt: tw.b.Params(), Training: true})
		defer p.Close()
		v := newValues(tw.b, 1)
		v.bind(t, tw.b, p)
		p.SetSeed(7)
		must(t, p.Forward())
		embedding := slices.Clone(p.Value(tw.emb))
		must(t, p.Backward(upstream))
		return v, embedding
	}
	want, wantEmbedding := run(nil)
	for precision, unit := range map[kernel.Precision]float64{kernel.Float32: 0x1p-20, kernel.TF32: 0x1p-11, kernel.BF16: 0x1p-8} {
		t.Run(precision.String(), func(t *testing.T) {
			v := anotherGPU(t, g, GPUConfig{Precision: precision})
			if v.blas != nil {
				must(t, g.device.Do(func(*cuda.Thread) error { return v.blas.Close() }))
				v.blas = nil
			}
			got, embedding := run(v)
			if off := distance(embedding, wantEmbedding); off > 4*unit {
				t.Errorf("embedding: %.2g from that of the host", off)
			}
			for name, grad := range want.grad {
				if off := distance(got.grad[name], grad); name != "images" && off > 8*unit {
					t.Errorf("gradient of %s: %.2g from that of the host", name, off)
				}
			}
		})
	}
}

// testNoCublasLt opens a GPU without the library: one warning says so.
func testNoCublasLt(t *testing.T, g *GPU) {
	t.Setenv(cuda.BLASEnv, "/nowhere/libcublasLt.so.12")
	var said []string
	v, err := NewGPU(g.device, GPUConfig{Warn: func(s string) { said = append(said, s) }})
	must(t, err)
	must(t, v.Close())
	n := 0
	for _, s := range said {
		if strings.Contains(s, "cublasLt") {
			n++
			if !strings.Contains(s, "(RELSIM_LIBCUBLASLT=/nowhere/") || !strings.HasSuffix(s, ": kernels of this program multiply matrices, which are slower") || strings.Contains(s, "\n") {
				t.Errorf("warning %q", s)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d warnings: %q", n, said)
	}
}
