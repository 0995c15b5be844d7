package judge

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"path/filepath"
	"testing"
	"time"

	"relsim/retrieval"
)

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

func sourceOf(files [][]byte) Source {
	return func(ctx context.Context, item int) ([]byte, error) {
		if files[item] == nil {
			return nil, fmt.Errorf("picture %d is gone", item)
		}
		return files[item], ctx.Err()
	}
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
