package judge

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"path/filepath"
	"testing"
	"time"

	"relsim/retrieval"
)

// drawn is a picture of some size, with a pattern of its own.
func drawn(width, height, pattern int) *image.RGBA {
	im := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			im.SetRGBA(x, y, color.RGBA{uint8(x * 3), uint8(y * 5), uint8(pattern * 40), 255})
		}
	}
	return im
}

func pngOf(t testing.TB, im image.Image) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, im); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegOf(t testing.TB, im image.Image) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, im, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// files are the pictures of a gallery. Their sizes in bytes differ.
func files(t testing.TB, n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = pngOf(t, drawn(8+2*i, 8, i))
	}
	return list
}

func sourceOf(files [][]byte) Source {
	return func(ctx context.Context, item int) ([]byte, error) {
		if files[item] == nil {
			return nil, fmt.Errorf("picture %d is gone", item)
		}
		return files[item], ctx.Err()
	}
}

// ranked are rankings of n items, each of which is a query, by two methods: "ours" finds the next ones, "theirs" those before.
func ranked(n, top int) *retrieval.Rankings {
	r := &retrieval.Rankings{Data: "test", Split: "test", Top: top, Methods: []retrieval.RankedMethod{{Name: "ours", Kind: retrieval.Trained}, {Name: "theirs", Kind: retrieval.Baseline}}}
	for i := range n {
		r.Items = append(r.Items, retrieval.RankedItem{ID: fmt.Sprint(i)})
		q := retrieval.RankedQuery{Item: i, Rows: make([][]retrieval.RankedHit, 2)}
		for k := 1; k <= top; k++ {
			q.Rows[0] = append(q.Rows[0], retrieval.RankedHit{Item: (i + k) % n})
			q.Rows[1] = append(q.Rows[1], retrieval.RankedHit{Item: (i + n - k) % n})
		}
		r.Queries = append(r.Queries, q)
	}
	return r
}

func config(change ...func(*Config)) Config {
	c := DefaultConfig()
	c.Model = "gpt-4o"
	for _, f := range change {
		f(&c)
	}
	return c
}

func newPlan(t testing.TB, r *retrieval.Rankings, c Config, files [][]byte) *Plan {
	t.Helper()
	p, err := NewPlan(context.Background(), r, c, sourceOf(files), 2)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func openStore(t testing.TB) *Store {
	t.Helper()
	s, err := OpenStore(filepath.Join(t.TempDir(), "judge.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// quick are options for a server that is at hand.
func quick(change ...func(*RunOptions)) RunOptions {
	o := DefaultRunOptions()
	o.Backoff, o.MaxBackoff, o.Timeout = time.Millisecond, 4*time.Millisecond, 5*time.Second
	for _, f := range change {
		f(&o)
	}
	return o
}
