package nn

import (
	"fmt"
	"testing"

	"relsim/graph"
)

// TestLengthsAreNotSeen: what captions are padded to changes no embedding. The graph of the whole length is the
// reference, and captions of all lengths come mixed.
func TestLengthsAreNotSeen(t *testing.T) {
	onTiers(t, func(t *testing.T) {
		for _, pool := range []Pool{PoolMean, PoolMax, PoolCLS, PoolLast, PoolEOS, PoolMaxID} {
			c := variants(t)["patch-mean"]
			c.Text.Length, c.Text.Pool = 40, pool
			if pool == PoolEOS {
				c.Text.EOS = 1
			}
			m, err := New(c, 20, source(5))
			check(t, err)
			Normal(.5)(source(6), m.Params.Data(), nil)
			var captions [][]int32
			for i, n := range []int{33, 2, 60, 16, 17, 31, 1, 32, 40, 0, 15} {
				caption := make([]int32, n)
				for k := range caption {
					caption[k] = int32((7*i + 3*k) % 20)
				}
				captions = append(captions, caption)
			}
			n := len(captions)

			b := graph.NewBuilder()
			in, emb := m.Text(b, n)
			check(t, b.Err())
			p, err := graph.Compile(b, graph.Config{Outputs: []*graph.Node{emb}})
			check(t, err)
			defer p.Close()
			check(t, m.Bind(p))
			ids, weights := make([]int32, n*in.Length), make([]float32, n*in.Length)
			m.FillText(ids, weights, captions, nil, 0)
			check(t, p.SetIDs(in.IDs, ids))
			check(t, p.SetFloats(in.Weights, weights))
			check(t, p.Forward())

			for _, batch := range []int{1, 4} {
				e, err := NewEncoder(m, nil, batch)
				check(t, err)
				got := make([]float32, n*c.EmbedDim)
				check(t, e.Texts(got, captions))
				near(t, fmt.Sprintf("%s, batches of %d", pool, batch), got, p.Value(emb), 2e-6)
				if len(e.texts) != 3 {
					t.Errorf("%d programs, want those of 16, 32 and 40 words", len(e.texts))
				}
				check(t, e.Close())
			}
		}
	})
}
