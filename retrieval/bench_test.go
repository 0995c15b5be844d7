package retrieval

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"relsim/kernel"
)

// benchVectors draws n normalised vectors of the given width.
func benchVectors(seed uint64, n, dim int) []float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n*dim)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	kernel.L2Normalize(nil, x, x, n, dim, 1e-12)
	return x
}

// BenchmarkSearchExact is the top 10 of 28,000 vectors of width 384; bench/search.sh compares it with NumPy.
func BenchmarkSearchExact(b *testing.B) {
	const n, dim = 28000, 384
	index, err := NewIndex(benchVectors(1, n, dim), dim)
	if err != nil {
		b.Fatal(err)
	}
	for _, m := range []int{1, 16, 1000} {
		queries := benchVectors(2, m, dim)
		for _, threads := range []int{1, runtime.NumCPU()} {
			b.Run(fmt.Sprintf("queries=%d/threads=%d", m, threads), func(b *testing.B) {
				for b.Loop() {
					if _, err := index.Search(context.Background(), queries, 10, nil, threads); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(m)*float64(b.N)/b.Elapsed().Seconds(), "queries/s")
			})
		}
	}
}

// stream draws the vectors of an index too large to be held: unit vectors in clusters, each a pure function of its number.
type stream struct {
	dim     int
	centers []float32
}

func newStream(dim int) *stream { return &stream{dim, benchVectors(3, 4096, dim)} }

// mix is a step of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Original draws vector i. It makes the stream [Originals].
func (s *stream) Original(i int, dst []float32) error {
	key := mix(uint64(i))
	center := s.centers[int(key%4096)*s.dim:][:s.dim]
	noise := 1.5 / math.Sqrt(float64(s.dim)) / (1 << 15)
	for d := 0; d < s.dim; d += 4 {
		bits := mix(key + uint64(d))
		for l := d; l < min(s.dim, d+4); l++ {
			dst[l] = center[l] + float32(noise)*float32(int16(bits))
			bits >>= 16
		}
	}
	kernel.L2Normalize(nil, dst, dst, 1, s.dim, 1e-12)
	return nil
}

// BenchmarkSearchQuantized is the top 10 over codes of many vectors of width 384, re-ranked exactly; RELSIM_BENCH_VECTORS
// says how many (default 1,000,000; the table has 10,000,000, which takes 4.5 GB and a minute and a half). The codes a
// search reads in a second are compared with what the same number of threads reads of the same memory when they do nothing
// else, in turns. Recall is that of 64 queries against exact search in float32.
func BenchmarkSearchQuantized(b *testing.B) {
	const dim, k, judged = 384, 10, 64
	n := 1000000
	if s := os.Getenv("RELSIM_BENCH_VECTORS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	ctx, threads := context.Background(), runtime.NumCPU()
	source := newStream(dim)
	queries := make([]float32, 1000*dim)
	for q := range 1000 {
		if err := source.Original(1<<40+q, queries[q*dim:(q+1)*dim]); err != nil {
			b.Fatal(err)
		}
	}
	x, err := NewQuantized(dim, n)
	if err != nil {
		b.Fatal(err)
	}
	truth := make([]best, judged)
	for q := range truth {
		truth[q] = best{k: k}
	}
	block := make([]float32, 16384*dim)
	for first := 0; first < n; first += 16384 {
		count := min(16384, n-first)
		err := parallel(ctx, count, threads, func(_, i int) error { return source.Original(first+i, block[i*dim:(i+1)*dim]) })
		if err != nil {
			b.Fatal(err)
		}
		if err := x.Add(block[:count*dim]); err != nil {
			b.Fatal(err)
		}
		index, err := NewIndex(block[:count*dim], dim)
		if err != nil {
			b.Fatal(err)
		}
		part, err := index.Search(ctx, queries[:judged*dim], k, nil, threads)
		if err != nil {
			b.Fatal(err)
		}
		for q := range truth {
			for _, found := range part[q] {
				truth[q].offer(Neighbor{first + found.Index, found.Score})
			}
		}
	}
	words := unsafe.Slice((*uint64)(unsafe.Pointer(&x.codes[0])), len(x.codes)/8)
	pool := kernel.NewPool(threads)
	defer pool.Close()
	for _, m := range []int{1, 4, 16, 64, 1000} {
		b.Run(fmt.Sprintf("vectors=%d/queries=%d/threads=%d", n, m, threads), func(b *testing.B) {
			var searches, reads []float64
			var found []Found
			for b.Loop() {
				begin := time.Now()
				kernel.Xor(pool, words)
				reads = append(reads, time.Since(begin).Seconds())
				begin = time.Now()
				var err error
				if found, err = x.Search(ctx, queries[:m*dim], QuantizedSearch{K: k, Originals: source, Workers: threads}); err != nil {
					b.Fatal(err)
				}
				searches = append(searches, time.Since(begin).Seconds())
			}
			slices.Sort(searches)
			slices.Sort(reads)
			search, read := searches[len(searches)/2], reads[len(reads)/2]
			b.ReportMetric(float64(len(x.codes))/search/1e9, "GB/s")
			b.ReportMetric(float64(len(x.codes))/read/1e9, "read-GB/s")
			b.ReportMetric(100*read/search, "%read")
			b.ReportMetric(float64(m)/search, "queries/s")
			if m < judged {
				return
			}
			hit, exact := 0, 0
			for q, f := range found[:judged] {
				for _, want := range truth[q].heap {
					if slices.ContainsFunc(f.Neighbors, func(n Neighbor) bool { return n.Index == want.Index }) {
						hit++
					}
				}
				if f.Exact {
					exact++
				}
			}
			b.ReportMetric(float64(hit)/(judged*k), "recall@10")
			b.ReportMetric(float64(exact)/judged, "exact")
		})
	}
}
