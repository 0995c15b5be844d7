package metrics

import (
	"encoding/binary"
	"encoding/json"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// tensor is one entry of a safetensors file: values widened to float64.
type tensor struct {
	shape  []int
	values []float64
}

// readTensors reads a small safetensors file; the package stands below the one that has the real reader.
func readTensors(t *testing.T, path string) map[string]tensor {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(data)
	var header map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	body := data[8+n:]
	out := make(map[string]tensor)
	for name, raw := range header {
		if name == "__metadata__" {
			continue
		}
		var info struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &info); err != nil {
			t.Fatal(err)
		}
		b := body[info.Offsets[0]:info.Offsets[1]]
		x := tensor{shape: info.Shape}
		switch info.DType {
		case "F32":
			for ; len(b) > 0; b = b[4:] {
				x.values = append(x.values, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
			}
		case "I64":
			for ; len(b) > 0; b = b[8:] {
				x.values = append(x.values, float64(int64(binary.LittleEndian.Uint64(b))))
			}
		case "U8":
			for _, v := range b {
				x.values = append(x.values, float64(v))
			}
		default:
			t.Fatalf("%s: %s: dtype %s", path, name, info.DType)
		}
		out[name] = x
	}
	return out
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %.12g, want %.12g", what, got, want)
	}
}

// at returns the figure that the fixture calls name.
func (r *Ranking) at(t *testing.T, name string) float64 {
	base, cut, ok := strings.Cut(name, "@")
	k := 0
	if ok {
		var err error
		if k, err = strconv.Atoi(cut); err != nil {
			t.Fatal(err)
		}
	}
	switch base {
	case "first_positive_rank":
		return r.FirstRank()
	case "first_positive_rank_optimistic":
		return float64(r.Optimistic())
	case "first_positive_rank_pessimistic":
		return float64(r.Pessimistic())
	case "reciprocal_rank":
		return r.ReciprocalRank()
	case "hit":
		return r.Hit(k)
	case "recall":
		return r.Recall(k)
	case "precision":
		return r.Precision(k)
	case "ndcg":
		return r.NDCG(k)
	case "ap":
		if ok {
			return r.APAt(k)
		}
		return r.AP()
	}
	t.Fatalf("unknown figure %q", name)
	return 0
}

func TestRetrievalFixture(t *testing.T) {
	tensors := readTensors(t, "testdata/retrieval_metrics/golden.safetensors")
	var golden struct {
		Cases map[string]struct {
			ExcludeSelf bool                  `json:"exclude_self"`
			Aggregate   map[string]float64    `json:"aggregate"`
			PerQuery    []map[string]*float64 `json:"per_query"`
		} `json:"cases"`
	}
	readJSON(t, "testdata/retrieval_metrics/golden.json", &golden)
	if len(golden.Cases) != 6 {
		t.Fatalf("%d cases", len(golden.Cases))
	}
	for name, c := range golden.Cases {
		t.Run(name, func(t *testing.T) {
			similarity, relevance := tensors[name+".similarity"], tensors[name+".relevance"]
			queries, candidates := similarity.shape[0], similarity.shape[1]
			figures := make(map[string][]float64)
			var r Ranking
			for q := range queries {
				scores, grades := make([]float32, candidates), make([]int, candidates)
				for i := range candidates {
					scores[i] = float32(similarity.values[q*candidates+i])
					grades[i] = int(relevance.values[q*candidates+i])
				}
				exclude := -1
				if c.ExcludeSelf {
					exclude = q
				}
				if err := r.Rank(scores, grades, exclude, LowerIndexFirst); err != nil {
					t.Fatal(err)
				}
				if c.PerQuery[q] == nil {
					if r.Positives() != 0 {
						t.Errorf("query %d: %d positives, want none", q, r.Positives())
					}
					continue
				}
				for figure, want := range c.PerQuery[q] {
					got := r.at(t, figure)
					near(t, "query "+strconv.Itoa(q)+" "+figure, got, *want, 1e-9)
					figures[figure] = append(figures[figure], got)
				}
			}
			for figure, want := range c.Aggregate {
				switch figure {
				case "queries_counted":
					near(t, figure, float64(len(figures["ap"])), want, 0)
				case "MRR":
					near(t, figure, Mean(figures["reciprocal_rank"]), want, 1e-9)
				case "mean_first_positive_rank":
					near(t, figure, Mean(figures["first_positive_rank"]), want, 1e-9)
				default:
					if m, ok := strings.CutPrefix(figure, "median_"); ok {
						near(t, figure, Median(figures[m]), want, 1e-9)
						continue
					}
					of := strings.Replace(figure, "mAP", "ap", 1)
					if figures[of] == nil {
						t.Fatalf("no values for %s", figure)
					}
					near(t, figure, Mean(figures[of]), want, 1e-9)
				}
			}
		})
	}
}

// channels returns the red, green and blue values of a picture, and its luma as Pillow rounds it.
func channels(t *testing.T, path string) (rgb [3][]float64, grey []float64, size image.Point) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	im, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	b := im.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, bl, _ := im.At(x, y).RGBA()
			r, g, bl = r>>8, g>>8, bl>>8
			rgb[0], rgb[1], rgb[2] = append(rgb[0], float64(r)), append(rgb[1], float64(g)), append(rgb[2], float64(bl))
			grey = append(grey, float64((19595*r+38470*g+7471*bl+1<<15)>>16))
		}
	}
	return rgb, grey, b.Size()
}

func TestSSIMFixture(t *testing.T) {
	const dir = "testdata/ssim"
	var golden struct{ Cases []map[string]any }
	readJSON(t, filepath.Join(dir, "golden.json"), &golden)
	if len(golden.Cases) != 15 {
		t.Fatalf("%d cases", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		ref, img := c["ref"].(string), c["img"].(string)
		t.Run(strings.TrimSuffix(img, ".png"), func(t *testing.T) {
			a, greyA, size := channels(t, filepath.Join(dir, "images", ref))
			b, greyB, _ := channels(t, filepath.Join(dir, "images", img))
			colour := func(w Window, scale float64) float64 {
				var sum float64
				for i := range a {
					x, y := make([]float64, len(a[i])), make([]float64, len(a[i]))
					for j := range x {
						x[j], y[j] = a[i][j]*scale, b[i][j]*scale
					}
					v, err := SSIM(x, y, size.X, size.Y, 255*scale, w)
					if err != nil {
						t.Fatal(err)
					}
					sum += v
				}
				return sum / 3
			}
			grey := func(w Window) float64 {
				v, err := SSIM(greyA, greyB, size.X, size.Y, 255, w)
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			all := func(x [3][]float64) []float64 {
				return append(append(append([]float64(nil), x[0]...), x[1]...), x[2]...)
			}
			for name, want := range c {
				var got float64
				switch name {
				case "ref", "img":
					continue
				case "rgb_uniform7":
					got = colour(UniformWindow(7), 1)
				case "rgb_uniform_win5":
					got = colour(UniformWindow(5), 1)
				case "rgb_gaussian_wang2004":
					got = colour(GaussianWindow(false), 1)
				case "rgb_gaussian_sample_cov":
					got = colour(GaussianWindow(true), 1)
				case "grey_uniform7":
					got = grey(UniformWindow(7))
				case "grey_gaussian_wang2004":
					got = grey(GaussianWindow(false))
				case "float01_rgb_uniform7":
					got = colour(UniformWindow(7), 1.0/255)
				case "mse":
					got = MSE(all(a), all(b))
				case "psnr":
					got = PSNR(all(a), all(b), 255)
					if want == nil {
						want = math.Inf(1)
						if got != want {
							t.Errorf("psnr = %v, want +Inf", got)
						}
						continue
					}
				default:
					t.Fatalf("unknown figure %q", name)
				}
				near(t, name, got, want.(float64), 1e-9)
			}
		})
	}

	tensors := readTensors(t, filepath.Join(dir, "golden.safetensors"))
	a, b := tensors["p0.ref_grey"], tensors["p0_noise.grey"]
	for name, w := range map[string]Window{"grey_uniform7": UniformWindow(7), "grey_gaussian_wang2004": GaussianWindow(false)} {
		got, err := SSIMMap(a.values, b.values, a.shape[1], a.shape[0], 255, w)
		if err != nil {
			t.Fatal(err)
		}
		want := tensors["p0_noise."+name+".full_map"].values
		if len(want) == 0 || len(want) != len(got) {
			t.Fatalf("%s: %d values, want %d", name, len(got), len(want))
		}
		for i := range want {
			near(t, name+" map at "+strconv.Itoa(i), got[i], want[i], 1e-5)
		}
	}
}
