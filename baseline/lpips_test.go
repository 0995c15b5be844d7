package baseline

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"relsim/dataloader"
	"relsim/lpips"
)

func openLPIPS(t *testing.T, kind string) *lpips.Net {
	t.Helper()
	net, err := lpips.Open(filepath.Join("..", "lpips", "testdata", kind, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// TestLPIPS compares the scores, in both modes, with the distances of the pairs computed one by one. That the
// distances are right is tested in their package.
func TestLPIPS(t *testing.T) {
	images := blobs(40, 64, 3)
	images = append(images, blobs(2, 91, 4)...) // another size
	images = append(images, noise(3, 64, 5)...)
	copied := *images[0]
	images = append(images, &copied) // an equal picture
	for _, kind := range []string{"alex", "vgg", "squeeze"} {
		t.Run(kind, func(t *testing.T) {
			net := openLPIPS(t, kind)
			width, err := net.Width(64, 64)
			if err != nil {
				t.Fatal(err)
			}
			queries := []int{0, 41, 44, 45, 40}
			want := make([][]float32, len(queries))
			for r, q := range queries {
				var pairs []lpips.Pair
				for _, im := range images {
					a, err := Fit(images[q], 64)
					if err != nil {
						t.Fatal(err)
					}
					b, err := Fit(im, 64)
					if err != nil {
						t.Fatal(err)
					}
					pairs = append(pairs, lpips.Pair{A: a, B: b})
				}
				if want[r], err = net.Distances(context.Background(), pairs, 0); err != nil {
					t.Fatal(err)
				}
			}
			for _, tt := range []struct {
				what   string
				config LPIPSConfig
				mode   string
			}{
				{"cached", LPIPSConfig{}, "cached in half precision"},
				{"within its bound", LPIPSConfig{Memory: int64(2 * width * len(images)), Threads: 1}, "cached in half precision"},
				{"computed again", LPIPSConfig{Memory: int64(2 * width * 17), Recompute: true}, "computed again for each block of queries"},
				{"two at a time", LPIPSConfig{Memory: int64(2 * width * 2), Recompute: true, Threads: 2}, "computed again for each block of queries"},
			} {
				m := LPIPS(net, tt.config)
				if err := m.Prepare(context.Background(), images); err != nil {
					t.Fatalf("%s: %v", tt.what, err)
				}
				if m.Name() != "lpips-"+kind || !strings.Contains(m.Mode(), tt.mode) || !strings.Contains(m.Mode(), "46 pictures at 64×64") {
					t.Errorf("%s: %s: mode %q", tt.what, m.Name(), m.Mode())
				}
				queries := queries
				if tt.what == "two at a time" {
					queries = queries[:2]
				}
				for _, n := range []int{len(images), 30} {
					got := make([]float32, len(queries)*n)
					if err := m.ScoresBlock(queries, got); err != nil {
						t.Fatal(err)
					}
					worst := 0.0
					for r, q := range queries {
						for i, d := range want[r][:n] {
							diff := math.Abs(float64(got[r*n+i]) + float64(d))
							worst = max(worst, diff)
							if !(diff <= 2e-4*float64(d)+2e-6) {
								t.Fatalf("%s: picture %d to %d: %v, want %v", tt.what, q, i, got[r*n+i], -d)
							}
						}
						if q < n && got[r*n+q] != 0 {
							t.Errorf("%s: picture %d to itself: %v", tt.what, q, got[r*n+q])
						}
					}
					t.Logf("%s, %d pictures: largest difference %.2g", tt.what, n, worst)
				}
				// One query is a block of one.
				block, row := make([]float32, len(images)), make([]float32, len(images))
				if err := m.ScoresBlock([]int{5}, block); err != nil {
					t.Fatal(err)
				}
				if err := m.Scores(5, row); err != nil {
					t.Fatal(err)
				}
				for i := range row {
					if row[i] != block[i] {
						t.Fatalf("%s: picture 5 to %d: %v alone, %v in a block", tt.what, i, row[i], block[i])
					}
				}
			}
		})
	}
}

func TestLPIPSErrors(t *testing.T) {
	net := openLPIPS(t, "alex")
	images := blobs(5, 64, 1)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, tt := range []struct {
		what   string
		ctx    context.Context
		config LPIPSConfig
		images []*dataloader.Image
		want   string
	}{
		{"too much", context.Background(), LPIPSConfig{Memory: 20000}, images,
			"baseline: lpips-alex: prepare: the features of 5 pictures at 64×64 pixels take 7968 bytes each in half precision"},
		{"not even two", context.Background(), LPIPSConfig{Memory: 10000, Recompute: true}, images, "the features of two pictures take 15936 bytes: more than the 10000 allowed"},
		{"too small a side", context.Background(), LPIPSConfig{Side: 8}, images, "pictures of 8×8 are too small for alex"},
		{"a negative side", context.Background(), LPIPSConfig{Side: -1}, images, "a setting is negative"},
		{"a broken picture", context.Background(), LPIPSConfig{}, []*dataloader.Image{{Width: 3, Height: 3}}, "not an RGB picture"},
		{"cancelled", ended, LPIPSConfig{}, images, context.Canceled.Error()},
	} {
		m := LPIPS(net, tt.config)
		err := m.Prepare(tt.ctx, tt.images)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.want)
		}
		if tt.ctx == ended && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", tt.what, err)
		}
		if err := m.Scores(0, make([]float32, 1)); err == nil || m.Mode() != "" {
			t.Errorf("%s: scores after it: %v, mode %q", tt.what, err, m.Mode())
		}
	}
	m := LPIPS(net, LPIPSConfig{})
	if err := m.Prepare(context.Background(), images); err != nil {
		t.Fatal(err)
	}
	if err := m.Scores(5, make([]float32, 5)); err == nil {
		t.Error("query 5 of 5 pictures: no error")
	}
	if err := m.Prepare(context.Background(), nil); err != nil || m.kept != nil || m.Mode() != "" {
		t.Errorf("nil: %v, mode %q", err, m.Mode())
	}
}

// TestLPIPSKeepsNoPicture changes the caller's pictures after Prepare.
func TestLPIPSKeepsNoPicture(t *testing.T) {
	net := openLPIPS(t, "alex")
	images := blobs(4, 64, 1)
	m := LPIPS(net, LPIPSConfig{Memory: 3 * 7968, Recompute: true})
	if err := m.Prepare(context.Background(), images); err != nil {
		t.Fatal(err)
	}
	want, got := make([]float32, 4), make([]float32, 4)
	if err := m.Scores(1, want); err != nil {
		t.Fatal(err)
	}
	for _, im := range images {
		clear(im.Pix)
	}
	// Several goroutines at once, as callers do.
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			got := make([]float32, 4)
			if err := m.Scores(1, got); err != nil || got[0] != want[0] {
				t.Errorf("%v, %v, want %v", err, got, want)
			}
		})
	}
	wg.Wait()
	if err := m.Scores(1, got); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("picture %d: %v, want %v", i, got[i], want[i])
		}
	}
	var slow SlowMeasure = m
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := slow.ScoresContext(ended, []int{1}, got); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
