//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"cmp"
	"errors"
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

// attentionForm chooses how attention over values of some types is done.
func (q *gpuQueue) attentionForm(s kernel.AttentionShape, types ...gpuType) attentionForm {
	switch {
	case slices.Contains(types, gpuBF16):
		if slices.Contains(types, gpuFloat32) {
			q.err = cmp.Or(q.err, errors.New("attention on GPUs: values are stored in different types"))
		}
		return attentionBF16
	case q.gpu.config.Precision != kernel.Float32 && tensorHead(s.HeadDim):
		return attentionTF32
	}
	return attentionFloat32
}

func (k attention) halves() (in, out []bool) {
	half := tensorHead(k.shape.HeadDim)
	return []bool{half, false}, []bool{half, false}
}

func (k attention) enqueue(q *gpuQueue, c *gpuCall) {
	var mask cuda.Pointer
	if k.masked {
		mask = c.in[1]
	}
	form := q.attentionForm(k.shape, c.inType[0], c.outType[0])
	q.attention(form, attentionForward, k.shape, q.args(c.out[0], c.out[1], c.in[0], mask))
}

func (k attentionGrad) halves() (in, out []bool) {
	half := tensorHead(k.shape.HeadDim)
	return []bool{half, half, false, half, false}, []bool{half}
}

func (k attentionGrad) enqueue(q *gpuQueue, c *gpuCall) {
	var mask cuda.Pointer
	if k.masked {
		mask = c.in[4]
	}
	s := k.shape
	delta := q.temporary(s.Batch * s.Heads * s.Tokens)
	form := q.attentionForm(s, c.inType[0], c.inType[1], c.inType[3], c.outType[0])
	dqkv, do, o, lse, qkv := c.out[0], c.in[0], c.in[1], c.in[2], c.in[3]
	q.attention(form, attentionGradQ, s, q.args(dqkv, delta, do, o, lse, qkv, mask)) // it leaves delta to the next
	q.attention(form, attentionGradKV, s, q.args(dqkv, delta, do, lse, qkv, mask))
}
