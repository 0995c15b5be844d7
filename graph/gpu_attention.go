//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"math"

	"relsim/cuda"
	"relsim/kernel"
)

// attentionTile is how many tokens a block of the kernels has.
const attentionTile = 32

// attentionLaunch puts a kernel of attention into the queue; tiles are the 32 × (dim+1) tiles in shared memory, scores those of
// 32 × 33. args are the pointers.
func attentionLaunch(q *gpuQueue, name string, s kernel.AttentionShape, tiles, scores int, args cuda.Args) {
	causal := 0
	if s.Causal {
		causal = 1
	}
	q.launch(name, cuda.Dim{X: (s.Tokens + attentionTile - 1) / attentionTile, Y: s.Heads, Z: s.Batch}, cuda.Dim{X: 128},
		4*attentionTile*(tiles*(s.HeadDim+1)+scores*(attentionTile+1)),
		args.Int32(s.Tokens).Int32(s.Heads).Int32(s.HeadDim).Int32(causal).Float32(float32(1/math.Sqrt(float64(s.HeadDim)))))
}

func (k attention) enqueue(q *gpuQueue, c *gpuCall) {
	var mask cuda.Pointer
	if k.masked {
		mask = c.in[1]
	}
	attentionLaunch(q, "attention", k.shape, 3, 1, q.args(c.out[0], c.out[1], c.in[0], mask))
}

func (k attentionGrad) enqueue(q *gpuQueue, c *gpuCall) {
	var mask cuda.Pointer
	if k.masked {
		mask = c.in[4]
	}
	s := k.shape
	n := s.Batch * s.Heads * s.Tokens
	delta := q.temporary(n)
	q.each("attention_delta", n, q.args(delta, c.in[0], c.in[1]).Int32(s.Batch).Int32(s.Tokens).Int32(s.Heads).Int32(s.HeadDim))
	attentionLaunch(q, "attention_grad_q", s, 4, 1, q.args(c.out[0], c.in[0], delta, c.in[2], c.in[3], mask))
	attentionLaunch(q, "attention_grad_kv", s, 4, 2, q.args(c.out[0], c.in[0], delta, c.in[2], c.in[3], mask))
}
