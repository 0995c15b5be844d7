//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"cmp"
	"errors"
	"fmt"

	"relsim/cuda"
	"relsim/kernel"
)

// stored is a value on the device; its zero value is none.
type stored struct {
	at cuda.Pointer
	of gpuType
}

func (c *gpuCall) input(i int) stored  { return stored{c.in[i], c.inType[i]} }
func (c *gpuCall) output(i int) stored { return stored{c.out[i], c.outType[i]} }

func (p stored) none() bool { return p == stored{} }

// What follows the sum in a product, element by element; v is the sum with the bias.
const (
	thenNothing    = iota
	thenGELU       // keep = v (unless it is none), c = gelu(v)
	thenAdd        // c = v + other
	thenDropoutAdd // c = dropout(v) + other
	thenGELUGrad   // c = v·gelu'(other)
)

// product is c (m, n) = op(a)·op(b) + bias, and what follows it. op(a) is (m, k), op(b) (k, n). c may be other.
type product struct {
	c, a, b, bias, other, keep stored
	sums                       stored // (m): the sums of the rows of op(a), unless it is none
	m, n, k                    int
	transA, transB             bool
	single                     bool // in float32 whatever the precision
	then                       int
	form                       kernel.GELUKind
	seed                       cuda.Pointer // of a dropout, and
	op                         int          // its number
	factor                     float32
	threshold                  uint32
}

// openBLAS opens cublasLt. Without it the program's own kernels multiply, which is said once.
func (g *GPU) openBLAS(t *cuda.Thread) error {
	info := t.Info()
	// What NVIDIA recommends for cuBLAS: 32 MiB from compute capability 9.0 on, 4 MiB before.
	workspace := 4 << 20
	if info.Major >= 9 {
		workspace = 32 << 20
	}
	var err error
	if g.blas, err = t.OpenBLAS(workspace); !errors.Is(err, cuda.ErrUnavailable) {
		return err
	}
	g.blas = nil
	if g.config.Warn != nil {
		g.config.Warn(fmt.Sprintf("%v: kernels of this program multiply matrices, which are slower", err))
	}
	return nil
}

// multiply puts a product into the queue: by cublasLt where it is there and has a way, else by a kernel of ours. How much
// scratch memory it takes does not depend on that.
func (q *gpuQueue) multiply(p product) {
	a := p.a
	if !p.single {
		p.a, p.b = q.operand(p.a, p.m*p.k), q.operand(p.b, p.k*p.n)
	}
	if q.gpu.blas == nil || !q.byLibrary(&p) {
		q.byKernel(p)
	}
	if !p.sums.none() {
		q.rowSums(p.sums, a, p.m, p.k)
	}
}

// operand returns an operand of products in the type that the precision asks for.
func (q *gpuQueue) operand(p stored, n int) stored {
	if q.gpu.config.Precision == kernel.BF16 {
		return q.as(p, gpuBF16, n)
	}
	return q.as(p, gpuFloat32, n)
}

// as returns a value of n elements in a type: as it is, or as a copy in scratch memory.
func (q *gpuQueue) as(p stored, of gpuType, n int) stored {
	if p.none() || p.of == of {
		return p
	}
	y := stored{q.scratchOf(of, n), of}
	q.cast(y.at, y.of, p.at, p.of, n)
	return y
}

// scratchOf returns scratch memory for n elements of a type.
func (q *gpuQueue) scratchOf(of gpuType, n int) cuda.Pointer {
	return q.temporary((n*of.size() + 3) / 4)
}

func (t gpuType) data() cuda.DataType {
	if t == gpuBF16 {
		return cuda.BFloat16
	}
	return cuda.Float32
}

// byLibrary puts a product into the queue by cublasLt, and what its epilogues cannot do by a kernel after it. It returns false
// if there is no way to do the product. Sums of rows that it does are taken out of p.
func (q *gpuQueue) byLibrary(p *product) bool {
	whole, used := *p, q.used
	rest := *p // what the library does not do
	sum := p.c // where it leaves what it does
	switch {
	case p.then == thenGELU && !p.keep.none():
		sum = p.keep
	case p.then == thenDropoutAdd && p.other.at == p.c.at: // the residual is still needed
		sum = stored{q.scratchOf(p.c.of, p.m*p.n), p.c.of}
	}
	biasAt := q.scratchOf(gpuFloat32, p.n)

	kind := cuda.Product{M: p.m, N: p.n, K: p.k, TransA: p.transA, TransB: p.transB, In: p.a.of.data(), Out: sum.of.data(),
		TF32: q.gpu.config.Precision == kernel.TF32 && !p.single}
	operands := cuda.Operands{D: sum.at, A: p.a.at, B: p.b.at}
	if p.then == thenAdd && p.other.of == p.c.of {
		kind.Add, operands.C, rest.then = true, p.other.at, thenNothing
	}
	// try lets the library do more, if it can.
	try := func(more func(*cuda.Product, *cuda.Operands)) bool {
		k, o := kind, operands
		more(&k, &o)
		ok, err := q.gpu.blas.Supports(k, o)
		if q.err = cmp.Or(q.err, err); ok {
			kind, operands = k, o
		}
		return ok
	}
	if !try(func(*cuda.Product, *cuda.Operands) {}) {
		return q.err != nil
	}
	bias := p.bias
	if !bias.none() && bias.of != sum.of {
		bias = stored{biasAt, sum.of}
	}
	if !bias.none() && try(func(k *cuda.Product, o *cuda.Operands) { k.Bias, o.Bias = true, bias.at }) {
		rest.bias = stored{}
		if bias != p.bias {
			q.cast(bias.at, bias.of, p.bias.at, p.bias.of, p.n)
		}
	}
	if q.gpu.config.Precision != kernel.Float32 && p.form == kernel.GELUTanh && rest.bias.none() {
		// The library's GELU may be an approximation of the hardware's, hence not in float32.
		q.tryGELU(p, try, &rest)
	}
	if !p.sums.none() && p.sums.of == sum.of && try(func(k *cuda.Product, o *cuda.Operands) { k.Then, o.Bias = cuda.EpilogueRowSums, p.sums.at }) && !q.dry {
		p.sums = stored{}
	}
	if !q.dry && q.err == nil {
		if q.trace != nil {
			q.trace("cublasLt")
		}
		err := q.gpu.blas.Multiply(q.stream, kind, operands)
		if errors.Is(err, cuda.ErrUnsupported) { // it turns out only now, and is known from now on
			*p, q.used = whole, used
			return q.byLibrary(p)
		}
		q.err = err
	}
	if rest.then != thenNothing || !rest.bias.none() {
		q.finish(rest, stored{operands.D, sum.of}, 1)
	}
	return true
}

// tryGELU lets the library do a GELU or its gradient.
func (q *gpuQueue) tryGELU(p *product, try func(func(*cuda.Product, *cuda.Operands)) bool, rest *product) {
	done := false
	switch {
	case p.then == thenGELU && p.keep.none():
		done = try(func(k *cuda.Product, o *cuda.Operands) { k.Then = cuda.EpilogueGELU })
	case p.then == thenGELU && p.keep.of == p.c.of:
		done = try(func(k *cuda.Product, o *cuda.Operands) { k.Then, o.D, o.Aux = cuda.EpilogueGELUKeep, p.c.at, p.keep.at })
	case p.then == thenGELUGrad && p.other.of == p.c.of:
		done = try(func(k *cuda.Product, o *cuda.Operands) { k.Then, o.Aux = cuda.EpilogueGELUGrad, p.other.at })
	}
	if done {
		rest.then = thenNothing
	}
}

// finish does what follows the sums: rest says what, v has the sums, in parts that are to be added. It is done in place where v is
// the result.
func (q *gpuQueue) finish(rest product, v stored, parts int) {
	if rest.keep == v && rest.bias.none() {
		rest.keep = stored{}
	}
	q.each("product_then", (rest.m*rest.n+7)/8, q.args(rest.c.at, v.at, rest.bias.at, rest.other.at, rest.keep.at, rest.seed).
		Int32(typesOf(rest.c, v, rest.bias, rest.other, rest.keep)).Int32(rest.n).Int64(int64(rest.m*rest.n)).Int32(parts).
		Int32(rest.then).Int32(int(rest.form)).Int64(int64(rest.op)).Int32(int(int32(rest.threshold))).Float32(rest.factor))
}

// typesOf is typeMask of values.
func typesOf(list ...stored) int {
	var types []gpuType
	for _, p := range list {
		types = append(types, p.of)
	}
	return typeMask(types...)
}

// The tiles of the kernels gemm_tensor, of which gemm has a fourth, and its shared memory.
const (
	tileSide   = 128
	tileShared = 4 * tileSide * 132
	// A share of the sums is worth a block of its own, which writes a part of the result that is read again.
	minShare = 512
)

// byKernel puts a product into the queue by a kernel of ours: by tensor cores, where the precision lets them.
func (q *gpuQueue) byKernel(p product) {
	// Where the result has fewer tiles than there are multiprocessors, blocks share the sums over k.
	parts, each := 1, p.k
	tiles := (p.m + tileSide - 1) / tileSide * ((p.n + tileSide - 1) / tileSide)
	if most := min(q.thread.Info().SMs*2/tiles, p.k/minShare); most > 1 && q.gpu.blas == nil {
		each = ((p.k+most-1)/most + 31) &^ 31
		parts = (p.k + each - 1) / each
	}
	first := p
	if parts > 1 {
		first = product{a: p.a, b: p.b, c: stored{q.scratchOf(gpuFloat32, parts*p.m*p.n), gpuFloat32}, m: p.m, n: p.n, k: p.k,
			transA: p.transA, transB: p.transB}
	}
	flag := map[bool]int{true: 1}
	args := q.args(first.c.at, p.a.at, p.b.at, first.bias.at, first.other.at, first.keep.at, first.seed).
		Int32(typesOf(first.c, p.a, p.b, first.bias, first.other, first.keep)).
		Int32(p.m).Int32(p.n).Int32(p.k).Int32(each).Int32(flag[p.transA]).Int32(flag[p.transB]).
		Int32(first.then).Int32(int(first.form)).Int64(int64(first.op)).Int32(int(int32(first.threshold))).Float32(first.factor)
	grid := func(side int) cuda.Dim {
		return cuda.Dim{X: (p.n + side - 1) / side, Y: (p.m + side - 1) / side, Z: parts}
	}
	if q.gpu.config.Precision != kernel.Float32 && !p.single && p.inChunks() {
		q.launch("gemm_tensor", grid(tileSide), cuda.Dim{X: 256}, tileShared, args)
	} else {
		q.launch("gemm", grid(tileSide/2), cuda.Dim{X: 256}, 0, args)
	}
	if parts > 1 {
		q.finish(p, first.c, parts)
	}
}

// inChunks says whether both operands are rows of pieces of 16 bytes that are aligned.
func (p product) inChunks() bool {
	lineA, lineB := p.k, p.n
	if p.transA {
		lineA = p.m
	}
	if p.transB {
		lineB = p.k
	}
	return (lineA*p.a.of.size()|lineB*p.b.of.size()|int(p.a.at)|int(p.b.at))%16 == 0 && p.a.of == p.b.of
}

// rowSums adds the rows of op(a) = aᵀ (m, k) up.
func (q *gpuQueue) rowSums(y, a stored, m, k int) {
	q.columnSum(y.at, a.at, a.of, k, m, m)
}
