//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"relsim/cuda"
	"relsim/kernel"
)

// attentionForm is a set of kernels of attention.
type attentionForm int

// The forms.
const (
	attentionFloat32 attentionForm = iota
	attentionTF32                  // values are float32, and products of TF32
	attentionBF16
)

const (
	attentionTile    = 64 // tokens of a block
	attentionThreads = 128
	attentionWidest  = 128 // head
)

// attentionForms are the widths of heads that kernels are compiled for; a head takes the next one.
var attentionForms = [...]struct {
	name   string
	widths []int
	bytes  int // of a value
	spare  int // values between rows in shared memory
	ahead  bool
}{
	attentionFloat32: {"f32", []int{32, 64, 128}, 4, 4, false},
	attentionTF32:    {"tf32", []int{32, 64, 128}, 4, 4, false},
	attentionBF16:    {"bf16", []int{32, 64, 96, 128}, 2, 8, true},
}

// attentionPass is a kernel of attention.
type attentionPass int

// The passes.
const (
	attentionForward attentionPass = iota
	attentionGradQ
	attentionGradKV
)

// tensorHead says whether tensor cores can do a head: its rows are read 16 bytes at a time.
func tensorHead(dim int) bool { return dim%8 == 0 && dim <= attentionWidest }

// attention puts a pass into the queue. args are the pointers.
func (q *gpuQueue) attention(form attentionForm, pass attentionPass, s kernel.AttentionShape, args cuda.Args) {
	f := attentionForms[form]
	i := slices.IndexFunc(f.widths, func(w int) bool { return w >= s.HeadDim })
	if i < 0 {
		q.err = cmp.Or(q.err, fmt.Errorf("attention on GPUs: a head has %d values: want %d at most", s.HeadDim, attentionWidest))
		return
	}
	width := f.widths[i]
	other := attentionTile // tokens of the tiles that a block goes through
	if width > 64 && pass != attentionForward {
		other /= 2
	}
	// Where tiles are brought ahead, two pairs of them are there, and may lie where the block's own rows lay before.
	rows := 0
	switch {
	case !f.ahead && pass == attentionForward:
		rows = 3 * attentionTile
	case !f.ahead:
		rows = 2*attentionTile + 2*other
	case pass == attentionGradKV:
		rows = 2*attentionTile + 4*other
	default:
		rows = 4 * other
	}
	causal := 0
	if s.Causal {
		causal = 1
	}
	name := [...]string{"attention_", "attention_grad_q_", "attention_grad_kv_"}[pass] + f.name + "_" + strconv.Itoa(width)
	q.launch(name, cuda.Dim{X: (s.Tokens + attentionTile - 1) / attentionTile, Y: s.Heads, Z: s.Batch}, cuda.Dim{X: attentionThreads},
		rows*(width+f.spare)*f.bytes,
		args.Int32(s.Tokens).Int32(s.Heads).Int32(s.HeadDim).Int32(causal).Float32(float32(1/math.Sqrt(float64(s.HeadDim)))))
}

// attentionForm chooses how attention is done over values that are stored in some types: in bfloat16 if one is.
func (q *gpuQueue) attentionForm(s kernel.AttentionShape, values ...stored) attentionForm {
	switch {
	case slices.ContainsFunc(values, func(v stored) bool { return v.of == gpuBF16 }):
		return attentionBF16
	case q.gpu.config.Precision != kernel.Float32 && tensorHead(s.HeadDim):
		return attentionTF32
	}
	return attentionFloat32
}

// stored is the type of the values of a form.
func (f attentionForm) stored() gpuType {
	if f == attentionBF16 {
		return gpuBF16
	}
	return gpuFloat32
}

// result returns where n values of a type go that are to be in y in the end, and what brings them there.
func (q *gpuQueue) result(y stored, of gpuType, n int) (in stored, deliver func()) {
	if y.of == of {
		return y, func() {}
	}
	in = stored{q.scratchOf(of, n), of}
	return in, func() { q.cast(y.at, y.of, in.at, in.of, n) }
}

func (k attention) halves() (in, out []bool) {
	half := tensorHead(k.shape.HeadDim)
	return flags(half, false), flags(half, false)
}

func (k attention) enqueue(q *gpuQueue, c *gpuCall) {
	var mask cuda.Pointer
	if k.masked {
		mask = c.in[1]
	}
	s := k.shape
	n := s.Batch * s.Tokens * k.width()
	form := q.attentionForm(s, c.input(0), c.output(0))
	qkv := q.as(c.input(0), form.stored(), 3*n)
	o, deliver := q.result(c.output(0), form.stored(), n)
	q.attention(form, attentionForward, s, q.args(o.at, c.out[1], qkv.at, mask))
	deliver()
}

func (k attentionGrad) halves() (in, out []bool) {
	half := tensorHead(k.shape.HeadDim)
	return flags(half, half, false, half, false), flags(half)
}

func (k attentionGrad) enqueue(q *gpuQueue, c *gpuCall) {
	var mask cuda.Pointer
	if k.masked {
		mask = c.in[4]
	}
	s, lse := k.shape, c.in[2]
	n := s.Batch * s.Tokens * attention(k).width()
	delta := q.temporary(s.Batch * s.Heads * s.Tokens)
	form := q.attentionForm(s, c.input(0), c.input(1), c.input(3), c.output(0))
	do, o, qkv := q.as(c.input(0), form.stored(), n), q.as(c.input(1), form.stored(), n), q.as(c.input(3), form.stored(), 3*n)
	dqkv, deliver := q.result(c.output(0), form.stored(), 3*n)
	q.attention(form, attentionGradQ, s, q.args(dqkv.at, delta, do.at, o.at, lse, qkv.at, mask)) // it leaves delta to the next
	q.attention(form, attentionGradKV, s, q.args(dqkv.at, delta, do.at, lse, qkv.at, mask))
	deliver()
}
