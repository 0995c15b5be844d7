//go:build linux && amd64 && !nogpu

package graph

import (
	"math"
	"math/rand/v2"
	"testing"

	"relsim/kernel"
)

// testContrastOnGPU has the logits of a few rows in memory at a time, and of a batch whose matrix of logits no memory would hold.
func testContrastOnGPU(t *testing.T, g *GPU, seeds int, set func(int)) {
	all := contrastLogits
	defer func() { contrastLogits = all }()
	for _, rows := range []int{1, 4, 8} { // of 9
		contrastLogits = rows*9 + 1
		for _, c := range contrastOps() {
			t.Run(c.name, func(t *testing.T) {
				d := draw(t, c)
				d.check(t, g, expect(c, d), func(run int) bool { set(run + rows); return run < min(seeds, 2) })
			})
		}
	}
	t.Run("several blocks", func(t *testing.T) { testContrastBlocks(t, g, set) })
	for _, precision := range []kernel.Precision{kernel.TF32, kernel.BF16} { // which make no difference
		another := anotherGPU(t, g, GPUConfig{Precision: precision})
		t.Run(precision.String(), func(t *testing.T) { testContrastBlocks(t, another, set) })
	}
	t.Run("large", func(t *testing.T) {
		contrastLogits = all
		const rows, dim = 1 << 15, 8
		b := NewBuilder()
		loss, _ := b.Contrast(b.Param("img", rows, dim), b.Param("txt", rows, dim), b.InputIDs("labels", rows), nil, nil, ContrastConfig{Kind: kernel.ContrastBoth, Scale: 1})
		p := mustCompile(t, b, Config{Backend: g, Loss: loss, Wrt: b.Params()}) // 4 GiB of logits; the device has 1 GiB
		p.Close()
	})
}

// testContrastBlocks compares the loss, the hits and the gradients of 150 rows with the host's, by the whole and by 17 rows at a time.
func testContrastBlocks(t *testing.T, g *GPU, set func(int)) {
	const rows, dim = 150, 40
	r := rand.New(rand.NewPCG(5, 5))
	img, txt, labels := uniform(r, rows*dim), uniform(r, rows*dim), drawIDs(rows, -1, 60).ids(r)
	for kind := range kernel.ContrastPairs + 1 {
		run := func(backend Backend) (values, dimg, dtxt []float32) {
			b := NewBuilder()
			x, y, ids := b.Param("img", rows, dim), b.Param("txt", rows, dim), b.InputIDs("labels", rows)
			loss, hits := b.Contrast(x, y, ids, nil, nil, ContrastConfig{Kind: kind, Equal: kernel.EqualPositive, Scale: 3})
			p := mustCompile(t, b, Config{Backend: backend, Loss: loss, Outputs: []*Node{hits}, Wrt: b.Params()})
			defer p.Close()
			dimg, dtxt = make([]float32, rows*dim), make([]float32, rows*dim)
			must(t, p.SetFloats(x, img))
			must(t, p.SetFloats(y, txt))
			must(t, p.SetIDs(ids, labels))
			must(t, p.SetGrad(x, dimg))
			must(t, p.SetGrad(y, dtxt))
			must(t, p.Forward())
			values = []float32{p.Value(loss)[0], p.Value(hits)[0]}
			must(t, p.Backward([]float32{1}))
			return values, dimg, dtxt
		}
		values, dimg, dtxt := run(NewCPU(nil))
		for _, contrastLogits = range []int{17*rows + 3, rows * rows} {
			set(int(kind) + contrastLogits%2)
			gotValues, gotImg, gotTxt := run(g)
			if gotValues[1] != values[1] || math.Abs(float64(gotValues[0]-values[0])) > 1e-5*math.Abs(float64(values[0])) {
				t.Errorf("kind %d: loss and hits %v, want %v", kind, gotValues, values)
			}
			near(t, "dimg", gotImg, widened(dimg), 2e-5)
			near(t, "dtxt", gotTxt, widened(dtxt), 2e-5)
		}
	}
}
