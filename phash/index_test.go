package phash_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"relsim/phash"
)

// clustered returns n hashes, each third one a few bits away from an earlier one, or equal to it.
func clustered(n int, rng *rand.Rand) []phash.Hash {
	hashes := make([]phash.Hash, n)
	for i := range hashes {
		hashes[i] = phash.Hash(rng.Uint64())
		if i%3 == 2 {
			hashes[i] = hashes[rng.IntN(i)]
			for range rng.IntN(12) {
				hashes[i] ^= 1 << rng.IntN(64)
			}
		}
	}
	return hashes
}

func TestPairsAndGroups(t *testing.T) {
	hashes := clustered(1500, rand.New(rand.NewPCG(1, 2)))
	hashes = append(hashes, phash.Flat, phash.Flat, phash.Flat)
	for _, d := range []int{-1, 0, 1, 3, 6, 7, 11, 30, 64} {
		var want []phash.Pair
		parent := make([]int, len(hashes)) // component: the smallest member
		for i := range parent {
			parent[i] = i
		}
		for i, a := range hashes {
			for j := i + 1; j < len(hashes); j++ {
				n := 0
				for x := a ^ hashes[j]; x != 0; x >>= 1 {
					n += int(x & 1)
				}
				if n <= d {
					want = append(want, phash.Pair{A: i, B: j, Distance: n})
					if from, to := max(parent[i], parent[j]), min(parent[i], parent[j]); from != to {
						for k, p := range parent {
							if p == from {
								parent[k] = to
							}
						}
					}
				}
			}
		}
		if got := phash.Pairs(hashes, d); !slices.Equal(got, want) {
			t.Errorf("d = %d: %d pairs, want %d", d, len(got), len(want))
		}
		members := map[int][]int{}
		for i, p := range parent {
			members[p] = append(members[p], i)
		}
		var groups [][]int
		for _, g := range members {
			if len(g) > 1 {
				groups = append(groups, g)
			}
		}
		slices.SortFunc(groups, func(a, b []int) int { return cmp.Compare(a[0], b[0]) })
		if got := phash.Groups(hashes, d); !slices.EqualFunc(got, groups, slices.Equal) {
			t.Errorf("d = %d: %d groups, want %d", d, len(got), len(groups))
		}
	}
}

func TestNear(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	hashes := clustered(2000, rng)
	x := phash.NewIndex(hashes)
	for _, d := range []int{0, 2, 6, 9, 40} {
		for q := range 50 {
			h := hashes[rng.IntN(len(hashes))] ^ 1<<rng.IntN(64)
			var got, want []int
			x.Near(h, d, func(m phash.Match) bool {
				if m.Distance != h.Distance(hashes[m.Item]) {
					t.Fatalf("distance %d of item %d", m.Distance, m.Item)
				}
				got = append(got, m.Item)
				return true
			})
			for i, other := range hashes {
				if h.Distance(other) <= d {
					want = append(want, i)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("d = %d, query %d: %v, want %v", d, q, got, want)
			}
		}
	}
	calls := 0
	x.Near(hashes[0], 64, func(phash.Match) bool { calls++; return false })
	phash.NewIndex(nil).Near(0, 64, func(phash.Match) bool { calls++; return true })
	if calls != 1 {
		t.Errorf("%d calls, want the one that says stop", calls)
	}
}

func TestHash(t *testing.T) {
	h, err := phash.Parse("8f3c00000000a01E")
	if err != nil || h != 0x8f3c00000000a01e || h.String() != "8f3c00000000a01e" {
		t.Errorf("%v, %v", h, err)
	}
	for _, bad := range []string{"", "8f", "8f3c00000000a01ef", "8f3c00000000a01g", "-f3c00000000a01e", "0x3c00000000a01e", "8f3c_0000000a01e"} {
		if h, err := phash.Parse(bad); err == nil {
			t.Errorf("%q is %v", bad, h)
		}
	}
	var back phash.Hash
	if text, err := h.MarshalText(); err != nil || back.UnmarshalText(text) != nil || back != h {
		t.Errorf("%v after %s", back, text)
	}
	if back.UnmarshalText([]byte("no")) == nil || back != h {
		t.Error("a bad text changed the hash")
	}
	if got := phash.Hash(0xf0).Distance(0x0f); got != 8 {
		t.Errorf("distance %d, want 8", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("8000000000000000")
	f.Add("zz")
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := phash.Parse(s); err == nil {
			if again, err := phash.Parse(h.String()); err != nil || again != h || len(s) != 16 {
				t.Errorf("%q: %v, %v", s, again, err)
			}
		}
	})
}

func TestOfPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic without a picture")
		}
	}()
	phash.Of(nil)
}

func BenchmarkPairs(b *testing.B) {
	hashes := clustered(114_881, rand.New(rand.NewPCG(5, 6)))
	for _, d := range []int{0, 3, 6, 10} {
		b.Run(fmt.Sprintf("d=%d", d), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(float64(len(phash.Pairs(hashes, d))), "pairs")
			}
		})
	}
	b.Run("groups/d=6", func(b *testing.B) {
		for b.Loop() {
			phash.Groups(hashes, 6)
		}
	})
}

func BenchmarkOf(b *testing.B) {
	im := picture(512, 384, func(x, y int) (int, int, int) { return x, y, x * y })
	for b.Loop() {
		phash.Of(im)
	}
}
