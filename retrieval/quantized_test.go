package retrieval

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"relsim/checkpoints"
	"relsim/kernel"
)

// clustered draws n unit vectors as embeddings are: in clusters of very different sizes, with a few dimensions that vary
// much more than the others.
func clustered(rng *rand.Rand, n, dim, clusters int) []float32 {
	spread := make([]float64, dim)
	for d := range spread {
		spread[d] = 1 / math.Sqrt(1+float64(d)/4)
	}
	rng.Shuffle(dim, func(i, j int) { spread[i], spread[j] = spread[j], spread[i] })
	centers := make([]float64, clusters*dim)
	for i := range centers {
		centers[i] = rng.NormFloat64() * spread[i%dim]
	}
	x := make([]float32, n*dim)
	for i := range n {
		c := int(float64(clusters) * math.Pow(rng.Float64(), 3))
		for d := range dim {
			x[i*dim+d] = float32(centers[c*dim+d] + 0.4*rng.NormFloat64()*spread[d])
		}
	}
	kernel.L2Normalize(nil, x, x, n, dim, 1e-12)
	return x
}

func newQuantized(t testing.TB, vectors []float32, dim int) *Quantized {
	t.Helper()
	x, err := NewQuantized(dim, len(vectors)/dim)
	if err != nil {
		t.Fatal(err)
	}
	for len(vectors) > 0 { // as a stream would
		n := min(len(vectors), 1000*dim)
		if err := x.Add(vectors[:n]); err != nil {
			t.Fatal(err)
		}
		vectors = vectors[n:]
	}
	return x
}

// nearest64 is the oracle: all products, summed in float64, rounded to float32 and sorted.
func nearest64(vectors, query []float32, k, exclude int) []int {
	dim := len(query)
	scores := make([]float64, len(vectors)/dim)
	order := make([]int, 0, len(scores))
	for i := range scores {
		for d, v := range query {
			scores[i] += float64(v) * float64(vectors[i*dim+d])
		}
		if i != exclude {
			order = append(order, i)
		}
	}
	sort.SliceStable(order, func(a, b int) bool { return float32(scores[order[a]]) > float32(scores[order[b]]) })
	return order[:min(k, len(order))]
}

func indices(list []Neighbor) []int {
	out := make([]int, len(list))
	for i, n := range list {
		out[i] = n.Index
	}
	return out
}

// TestQuantizedRecall: on vectors as embeddings are, the true ten are found, and what is called exact is.
func TestQuantizedRecall(t *testing.T) {
	const n, m, dim, k = 20000, 40, 384, 10
	rng := rand.New(rand.NewPCG(31, 1))
	vectors := clustered(rng, n+m, dim, 300)
	queries := vectors[n*dim:]
	vectors = vectors[:n*dim]
	x := newQuantized(t, vectors, dim)
	if x.Len() != n || x.Dim() != dim {
		t.Fatalf("%d vectors of width %d", x.Len(), x.Dim())
	}
	truth := make([][]int, m)
	for q := range truth {
		truth[q] = nearest64(vectors, queries[q*dim:(q+1)*dim], k, -1)
	}
	for _, candidates := range []int{10, 0, 2000} {
		found, err := x.Search(context.Background(), queries, QuantizedSearch{K: k, Candidates: candidates, Originals: InMemory(vectors, dim), Workers: 3})
		if err != nil {
			t.Fatal(err)
		}
		hit, exact := 0, 0
		for q, f := range found {
			want := truth[q]
			for _, i := range indices(f.Neighbors) {
				if slices.Contains(want, i) {
					hit++
				}
			}
			if f.Exact {
				exact++
				if got := indices(f.Neighbors); !slices.Equal(got, want) {
					t.Errorf("%d candidates, query %d: %v is called exact, and %v is", candidates, q, got, want)
				}
			}
		}
		recall := float64(hit) / (m * k)
		t.Logf("%d candidates: recall@10 %.4f, %d of %d exact", candidates, recall, exact, m)
		switch candidates {
		case 10:
			if recall < 0.9 || recall == 1 || exact == m {
				t.Errorf("10 candidates: recall@10 is %v, %d exact: the test has become too easy or the codes too bad", recall, exact)
			}
		default:
			if recall < 0.99 {
				t.Errorf("%d candidates: recall@10 is %v", candidates, recall)
			}
			if candidates == 2000 && exact < m/2 {
				t.Errorf("%d candidates: only %d of %d are known to be exact", candidates, exact, m)
			}
		}
	}
}

// TestQuantizedTiers: small and large batches on every tier and for every number of workers find the same, bit for bit.
func TestQuantizedTiers(t *testing.T) {
	const n, dim = 3000, 100
	rng := rand.New(rand.NewPCG(32, 1))
	vectors := clustered(rng, n, dim, 10)
	copy(vectors[2000*dim:], vectors[:500*dim]) // ties
	x := newQuantized(t, vectors, dim)
	for _, m := range []int{1, 6, 150} {
		exclude := make([]int, m)
		for q := range exclude {
			exclude[q] = q
		}
		var first []Found
		for _, tier := range kernel.Tiers() {
			restore, err := kernel.SetTier(tier)
			if err != nil {
				t.Fatal(err)
			}
			for _, workers := range []int{1, 4} {
				o := QuantizedSearch{K: 7, Candidates: 40, Exclude: exclude, Workers: workers}
				got, err := x.Search(context.Background(), vectors[:m*dim], o)
				if err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = got
				} else if !reflect.DeepEqual(got, first) {
					t.Fatalf("%d queries: %v with %d workers finds something else", m, tier, workers)
				}
				o.Originals = InMemory(vectors, dim)
				ranked, err := x.Search(context.Background(), vectors[:m*dim], o)
				if err != nil {
					t.Fatal(err)
				}
				for q, f := range ranked {
					if want := nearest64(vectors, vectors[q*dim:(q+1)*dim], 7, q); f.Exact && !slices.Equal(indices(f.Neighbors), want) {
						t.Fatalf("%v, query %d: %v is called exact, and %v is", tier, q, indices(f.Neighbors), want)
					}
					if f.Neighbors[0].Index != 2000+q {
						t.Fatalf("%v, query %d: its twin %d is not first: %v", tier, q, 2000+q, f.Neighbors)
					}
				}
			}
			restore()
		}
	}
}

// TestQuantizedSmall compares with all products where everything is a candidate: fewer vectors than neighbours, ties,
// none at all, zeros, and sizes that a code cannot have.
func TestQuantizedSmall(t *testing.T) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(33, 1))
	for range 60 {
		n, m, dim, k := rng.IntN(30), 1+rng.IntN(12), 1+rng.IntN(70), 1+rng.IntN(40)
		draw := func(count int) []float32 {
			size := math.Pow(10, float64(rng.IntN(60)-45))
			v := make([]float32, count*dim)
			for i := range v {
				v[i] = float32(float64(rng.IntN(3)-1) * size)
			}
			return v
		}
		vectors, queries := draw(n), draw(m)
		exclude := make([]int, m)
		for q := range exclude {
			exclude[q] = rng.IntN(n+1) - 1
		}
		x := newQuantized(t, vectors, dim)
		found, err := x.Search(ctx, queries, QuantizedSearch{K: k, Exclude: exclude, Originals: InMemory(vectors, dim), Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		for q, f := range found {
			if want := nearest64(vectors, queries[q*dim:(q+1)*dim], k, exclude[q]); !f.Exact || !slices.Equal(indices(f.Neighbors), want) {
				t.Fatalf("n %d, dim %d, k %d: exact %v, %v, want %v", n, dim, k, f.Exact, indices(f.Neighbors), want)
			}
		}
	}
}

func TestQuantizedRefuses(t *testing.T) {
	ctx := context.Background()
	nan := float32(math.NaN())
	vectors := []float32{1, 0, 0, 1}
	x := newQuantized(t, vectors, 2)
	if err := x.Add([]float32{1, 2, nan, 1}); err == nil || !strings.Contains(err.Error(), "vector 1") || x.Len() != 2 {
		t.Errorf("NaN: %v, %d vectors", err, x.Len())
	}
	if err := x.Add([]float32{1}); err == nil || x.Len() != 2 {
		t.Errorf("width: %v", err)
	}
	for _, dim := range []int{0, -1, maxDim + 1} {
		if _, err := NewQuantized(dim, 0); err == nil {
			t.Errorf("width %d: no error", dim)
		}
	}
	if _, err := NewQuantized(64, math.MaxInt/32); err == nil {
		t.Error("room for more than memory: no error")
	}
	good := QuantizedSearch{K: 1, Workers: 1, Originals: InMemory(vectors, 2)}
	for name, change := range map[string]func(o *QuantizedSearch, q *[]float32){
		"nan":        func(_ *QuantizedSearch, q *[]float32) { *q = []float32{nan, 0} },
		"width":      func(_ *QuantizedSearch, q *[]float32) { *q = []float32{1} },
		"K":          func(o *QuantizedSearch, _ *[]float32) { o.K = 0 },
		"workers":    func(o *QuantizedSearch, _ *[]float32) { o.Workers = 0 },
		"candidates": func(o *QuantizedSearch, _ *[]float32) { o.Candidates = -1 },
		"exclude":    func(o *QuantizedSearch, _ *[]float32) { o.Exclude = []int{1, 1} },
		"originals":  func(o *QuantizedSearch, _ *[]float32) { o.Originals = InMemory(vectors[:2], 2) },
		"of a width": func(o *QuantizedSearch, _ *[]float32) { o.Originals = InMemory(vectors, 1) },
		"not finite": func(o *QuantizedSearch, _ *[]float32) { o.Originals = InMemory([]float32{nan, 0, 0, nan}, 2) },
	} {
		o, q := good, []float32{1, 0}
		if _, err := x.Search(ctx, q, o); err != nil {
			t.Fatal(err)
		}
		change(&o, &q)
		if _, err := x.Search(ctx, q, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := x.Search(stopped, []float32{1, 0}, good); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOriginalsInFile(t *testing.T) {
	vectors := []float32{1, 2, 3, 4, 5, 6}
	file := []byte("head")
	for _, v := range vectors {
		file = binary.LittleEndian.AppendUint32(file, math.Float32bits(v))
	}
	o := InFile(bytes.NewReader(file), 4, 2)
	got := make([]float32, 2)
	for i := range 3 {
		if err := o.Original(i, got); err != nil || !slices.Equal(got, vectors[2*i:2*i+2]) {
			t.Errorf("vector %d: %v, %v", i, got, err)
		}
	}
	if err := o.Original(3, got); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a vector behind the end: %v", err)
	}
	for _, i := range []int{-1, math.MaxInt, math.MaxInt / 8} {
		if err := o.Original(i, got); err == nil {
			t.Errorf("vector %d: no error", i)
		}
	}
	if err := o.Original(0, got[:1]); err == nil {
		t.Error("another width: no error")
	}
}

// encoded is an index as a file, after a change of its tensors and metadata; the checksum is put right if it was there.
func encoded(t testing.TB, x *Quantized, change func(tensors map[string]checkpoints.Tensor, meta map[string]string)) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := x.Encode(&b); err != nil {
		t.Fatal(err)
	}
	if change == nil {
		return b.Bytes()
	}
	f, err := checkpoints.NewFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	meta, tensors := f.Metadata(), map[string]checkpoints.Tensor{}
	for _, name := range f.Names() {
		data, err := f.Bytes(name)
		if err != nil {
			t.Fatal(err)
		}
		info, _ := f.Info(name)
		tensors[name] = checkpoints.Tensor{Name: name, DType: info.DType, Shape: info.Shape, Data: data}
	}
	change(tensors, meta)
	if meta["crc32c"] != "" {
		meta["crc32c"] = checksum(tensors["codes"].Data, tensors["scales"].Data, tensors["bounds"].Data)
	}
	b.Reset()
	if err := checkpoints.Encode(&b, slices.Collect(maps.Values(tensors)), meta); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decode(b []byte) (*Quantized, error) {
	f, err := checkpoints.NewFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	return ReadQuantized(f)
}

func TestQuantizedFile(t *testing.T) {
	rng := rand.New(rand.NewPCG(34, 1))
	for _, dim := range []int{1, 64, 100} {
		for _, n := range []int{0, 1, 50} {
			x := newQuantized(t, clustered(rng, n, dim, 3), dim)
			got, err := decode(encoded(t, x, nil))
			if err != nil {
				t.Fatal(err)
			}
			same := got.n == x.n && got.dim == dim && got.stride == x.stride && bytes.Equal(got.codes, x.codes) &&
				slices.Equal(got.scales, x.scales) && got.maxError == x.maxError && got.maxNorm == x.maxNorm
			if !same || n > 0 && (got.maxError <= 0 || got.maxNorm < 0.9) {
				t.Errorf("%d vectors of width %d: read %+v", n, dim, got)
			}
		}
	}
}

// TestQuantizedHostileFile: whatever is wrong with a file, the error says what.
func TestQuantizedHostileFile(t *testing.T) {
	x := newQuantized(t, clustered(rand.New(rand.NewPCG(35, 1)), 9, 70, 2), 70)
	good := encoded(t, x, nil)
	for at := len(good) - 9*128 - 9*4 - 16; at < len(good); at += 31 {
		bad := bytes.Clone(good)
		bad[at] ^= 4
		if _, err := decode(bad); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
	for n := 0; n < len(good); n += 97 {
		if _, err := decode(good[:n]); err == nil {
			t.Errorf("cut at %d: no error", n)
		}
	}
	type tensors = map[string]checkpoints.Tensor
	type text = map[string]string
	inf := math.Float64bits(math.Inf(1))
	for want, change := range map[string]func(tensors, text){
		"format":      func(_ tensors, m text) { m["format"] = "relsim-quantized-2" },
		`width is ""`: func(_ tensors, m text) { delete(m, "dim") },
		"width is":    func(_ tensors, m text) { m["dim"] = "70000" },
		"want 192":    func(_ tensors, m text) { m["dim"] = "129" },
		"damaged":     func(_ tensors, m text) { delete(m, "crc32c") },
		`"codes"`: func(s tensors, _ text) {
			c := s["codes"]
			c.DType = checkpoints.I8
			s["codes"] = c
		},
		`"scales"`: func(s tensors, _ text) { delete(s, "scales") },
		"8 scales": func(s tensors, _ text) {
			s["scales"] = checkpoints.FromFloat32("scales", []int{8}, make([]float32, 8))
		},
		"scale NaN": func(s tensors, _ text) {
			binary.LittleEndian.PutUint32(s["scales"].Data, math.Float32bits(float32(math.NaN())))
		},
		"scale -1": func(s tensors, _ text) { binary.LittleEndian.PutUint32(s["scales"].Data, math.Float32bits(-1)) },
		"bounds +Inf": func(s tensors, _ text) {
			binary.LittleEndian.PutUint64(s["bounds"].Data, inf)
		},
		"1 bounds": func(s tensors, _ text) {
			s["bounds"] = checkpoints.Tensor{Name: "bounds", DType: checkpoints.F64, Shape: []int{1}, Data: make([]byte, 8)}
		},
		"behind the width": func(s tensors, _ text) { s["codes"].Data[128+71] = 3 },
	} {
		if _, err := decode(encoded(t, x, change)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q: %v", want, err)
		}
	}
}

// FuzzReadQuantized: no file makes reading or searching fall over.
func FuzzReadQuantized(f *testing.F) {
	x := newQuantized(f, clustered(rand.New(rand.NewPCG(36, 1)), 5, 3, 2), 3)
	f.Add(encoded(f, x, nil))
	f.Add(encoded(f, x, func(_ map[string]checkpoints.Tensor, m map[string]string) { delete(m, "crc32c") }))
	f.Add(encoded(f, x, func(_ map[string]checkpoints.Tensor, m map[string]string) { m["dim"] = "64" }))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := decode(b)
		if err != nil {
			return
		}
		query := make([]float32, x.Dim())
		query[0] = 1
		found, err := x.Search(context.Background(), query, QuantizedSearch{K: 3, Workers: 1})
		if err == nil && len(found[0].Neighbors) != min(3, x.Len()) {
			t.Errorf("%d vectors: found %v", x.Len(), found)
		}
	})
}
