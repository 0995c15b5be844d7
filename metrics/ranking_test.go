package metrics

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// figures lists what the property tests compare.
func figures(r *Ranking) map[string]float64 {
	m := map[string]float64{"first rank": r.FirstRank(), "reciprocal rank": r.ReciprocalRank(), "ap": r.AP(), "ndcg": r.NDCG(0)}
	for _, k := range []int{1, 2, 3, 5, 20} {
		s := "@" + strconv.Itoa(k)
		m["hit"+s], m["recall"+s], m["precision"+s] = r.Hit(k), r.Recall(k), r.Precision(k)
		m["ap"+s], m["ndcg"+s] = r.APAt(k), r.NDCG(k)
	}
	return m
}

// naive computes the same figures from grades in ranked order, by their textbook definitions.
func naive(ranked []int) map[string]float64 {
	var positives, first int
	var ap float64
	ideal := slices.Clone(ranked)
	slices.SortFunc(ideal, func(a, b int) int { return b - a })
	for i, g := range ranked {
		if g > 0 {
			positives++
			if first == 0 {
				first = i + 1
			}
			ap += float64(positives) / float64(i+1)
		}
	}
	dcg := func(list []int, k int) float64 {
		var sum float64
		for i, g := range list[:min(k, len(list))] {
			sum += (math.Pow(2, float64(g)) - 1) / math.Log2(float64(i)+2)
		}
		return sum
	}
	m := map[string]float64{"first rank": float64(first), "reciprocal rank": 1 / float64(first), "ap": ap / float64(positives),
		"ndcg": dcg(ranked, len(ranked)) / dcg(ideal, len(ranked))}
	for _, k := range []int{1, 2, 3, 5, 20} {
		found, sum := 0, 0.0
		for i, g := range ranked[:min(k, len(ranked))] {
			if g > 0 {
				found++
				sum += float64(found) / float64(i+1)
			}
		}
		s := "@" + strconv.Itoa(k)
		m["hit"+s] = float64(min(found, 1))
		m["recall"+s] = float64(found) / float64(positives)
		m["precision"+s] = float64(found) / float64(k)
		m["ap"+s] = sum / float64(min(k, positives))
		m["ndcg"+s] = dcg(ranked, k) / dcg(ideal, k)
	}
	return m
}

// orders calls f with every permutation of list.
func orders(list []int, f func([]int)) {
	var permute func(n int)
	permute = func(n int) {
		if n <= 1 {
			f(list)
			return
		}
		for i := range n {
			list[i], list[n-1] = list[n-1], list[i]
			permute(n - 1)
			list[i], list[n-1] = list[n-1], list[i]
		}
	}
	permute(len(list))
}

// TestTiesAreTheMeanOverOrders compares the closed forms with the mean over all permutations of the candidates, each
// stably sorted: every order of the tied candidates is then equally frequent.
func TestTiesAreTheMeanOverOrders(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for trial := range 60 {
		n := 2 + rng.IntN(6)
		levels := 1 + rng.IntN(3)
		scores, grades := make([]float32, n), make([]int, n)
		for i := range scores {
			scores[i] = float32(rng.IntN(levels)) - 0.5
			if rng.IntN(2) == 0 {
				grades[i] = 1 + rng.IntN(3)
			}
		}
		grades[rng.IntN(n)] = 1
		var r Ranking
		if err := r.Rank(scores, grades, -1, TieMean); err != nil {
			t.Fatal(err)
		}
		got := figures(&r)
		want := make(map[string]float64)
		index := make([]int, n)
		for i := range index {
			index[i] = i
		}
		count := 0
		orders(index, func(order []int) {
			sorted := slices.Clone(order)
			slices.SortStableFunc(sorted, func(a, b int) int {
				switch {
				case scores[a] > scores[b]:
					return -1
				case scores[a] < scores[b]:
					return 1
				}
				return 0
			})
			ranked := make([]int, n)
			for i, at := range sorted {
				ranked[i] = grades[at]
			}
			for name, v := range naive(ranked) {
				want[name] += v
			}
			count++
		})
		for name := range got {
			near(t, "trial "+strconv.Itoa(trial)+" "+name, got[name], want[name]/float64(count), 1e-12)
		}
	}
}

// TestLowerIndexFirst compares the other rule with one stable sort, on larger cases with an excluded candidate.
func TestLowerIndexFirst(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var r Ranking
	for trial := range 200 {
		n := 2 + rng.IntN(40)
		scores, grades := make([]float32, n), make([]int, n)
		var positives []int
		for i := range scores {
			scores[i] = float32(rng.IntN(6))
			if rng.IntN(3) == 0 {
				grades[i] = 1
				positives = append(positives, i)
			}
		}
		exclude := rng.IntN(n+1) - 1
		order := make([]int, 0, n)
		for i := range n {
			if i != exclude {
				order = append(order, i)
			}
		}
		slices.SortStableFunc(order, func(a, b int) int { return int(scores[b] - scores[a]) })
		ranked := make([]int, len(order))
		any := false
		for i, at := range order {
			ranked[i] = grades[at]
			any = any || grades[at] > 0
		}
		if !any {
			continue
		}
		if err := r.Rank(scores, grades, exclude, LowerIndexFirst); err != nil {
			t.Fatal(err)
		}
		got, want := figures(&r), naive(ranked)
		for name := range want {
			near(t, "trial "+strconv.Itoa(trial)+" "+name, got[name], want[name], 1e-12)
		}
		if err := r.RankPositives(scores, append(positives, positives...), exclude, LowerIndexFirst); err != nil {
			t.Fatal(err)
		}
		for name, v := range figures(&r) {
			near(t, "by index: trial "+strconv.Itoa(trial)+" "+name, v, want[name], 1e-12)
		}
		if r.Candidates() != len(order) {
			t.Errorf("%d candidates, want %d", r.Candidates(), len(order))
		}
	}
}

// TestAllTiedIsChance states the closed forms of a random ranking.
func TestAllTiedIsChance(t *testing.T) {
	const n, p = 1599, 49
	scores := make([]float32, n+1)
	positives := make([]int, p+1)
	for i := range positives {
		positives[i] = 7 * i
	}
	var r Ranking
	if err := r.RankPositives(scores, positives, 7, TieMean); err != nil {
		t.Fatal(err)
	}
	near(t, "hit@1", r.Hit(1), p/float64(n), 1e-15)
	near(t, "recall@10", r.Recall(10), 10/float64(n), 1e-15)
	near(t, "first rank", r.FirstRank(), (n+1)/float64(p+1), 1e-12)
	miss := 1.0
	for j := range 10 {
		miss *= float64(n-p-j) / float64(n-j)
	}
	near(t, "hit@10", r.Hit(10), 1-miss, 1e-12)
	if r.Optimistic() != 1 || r.Pessimistic() != n-p+1 {
		t.Errorf("best rank from %d to %d", r.Optimistic(), r.Pessimistic())
	}
}

func TestRankRefuses(t *testing.T) {
	var r Ranking
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		for at := range 3 {
			scores := []float32{1, 2, 3}
			scores[at] = bad
			if err := r.Rank(scores, []int{0, 1, 0}, -1, TieMean); err == nil || !strings.Contains(err.Error(), "candidate "+strconv.Itoa(at)) {
				t.Errorf("score %v at %d: error %v", bad, at, err)
			}
			if r.Positives() != 0 || r.Hit(1) != 0 {
				t.Errorf("score %v at %d: the ranking is not empty after an error", bad, at)
			}
			if _, err := TopShare(scores, make([]bool, 3), -1); err == nil {
				t.Errorf("top share of %v: no error", bad)
			}
			if _, err := AUC(scores, []float32{1}); err == nil {
				t.Errorf("auc of %v: no error", bad)
			}
			if _, err := AUC([]float32{1}, scores); err == nil {
				t.Errorf("auc of %v: no error", bad)
			}
		}
	}
	if err := r.Rank([]float32{1}, []int{-1}, -1, TieMean); err == nil {
		t.Error("grade -1: no error")
	}
	if err := r.Rank([]float32{1}, []int{61}, -1, TieMean); err == nil {
		t.Error("grade 61: no error")
	}
	if err := r.Rank([]float32{1, 2}, []int{0, 0}, -1, TieMean); err != nil || r.Positives() != 0 || r.AP() != 0 || r.NDCG(0) != 0 || r.FirstRank() != 0 || r.ReciprocalRank() != 0 || r.Recall(1) != 0 {
		t.Errorf("no positive: %v, %v", err, figures(&r))
	}
	for name, f := range map[string]func(){
		"lengths":   func() { _ = r.Rank([]float32{1}, []int{1, 1}, -1, TieMean) },
		"exclude":   func() { _ = r.Rank([]float32{1}, []int{1}, 1, TieMean) },
		"precision": func() { r.Precision(0) },
		"ap":        func() { r.APAt(0) },
		"members":   func() { _, _ = TopShare([]float32{1}, nil, -1) },
		"window":    func() { UniformWindow(4) },
		"mse":       func() { MSE(nil, nil) },
	} {
		panics(t, name, f)
	}
}

func panics(t *testing.T, name string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", name)
		}
	}()
	f()
}

// FuzzRank checks that under TieMean neither the order of the candidates nor a monotonic change of the scores matters,
// that every figure keeps its range, and that the tied ranks lie between the optimistic and the pessimistic one.
func FuzzRank(f *testing.F) {
	f.Add(uint64(1), []byte{3, 1, 200, 7, 7, 7, 129})
	f.Add(uint64(2), []byte{255, 255, 255, 0, 0, 128})
	f.Add(uint64(3), []byte{0})
	f.Fuzz(func(t *testing.T, seed uint64, data []byte) {
		if len(data) == 0 || len(data) > 300 {
			return
		}
		n := len(data)
		scores, grades := make([]float32, n), make([]int, n)
		for i, b := range data {
			scores[i] = float32(b & 15)
			grades[i] = int(b >> 6)
		}
		var r Ranking
		if err := r.Rank(scores, grades, -1, TieMean); err != nil {
			t.Fatal(err)
		}
		want := figures(&r)
		for name, v := range want {
			if math.IsNaN(v) || v < 0 || name != "first rank" && v > 1+1e-12 {
				t.Errorf("%s = %v", name, v)
			}
		}
		if r.Positives() > 0 && (r.FirstRank() < float64(r.Optimistic()) || r.FirstRank() > float64(r.Pessimistic())) {
			t.Errorf("first rank %v is not in %d..%d", r.FirstRank(), r.Optimistic(), r.Pessimistic())
		}
		rng := rand.New(rand.NewPCG(seed, 0))
		rng.Shuffle(n, func(i, j int) {
			scores[i], scores[j] = scores[j], scores[i]
			grades[i], grades[j] = grades[j], grades[i]
		})
		for i := range scores {
			scores[i] = -100 + 3*scores[i]
		}
		if err := r.Rank(scores, grades, -1, TieMean); err != nil {
			t.Fatal(err)
		}
		for name, v := range figures(&r) {
			near(t, name+" after a permutation", v, want[name], 1e-9)
		}
		// Scores without ties: the rules agree.
		for i := range scores {
			scores[i] = float32(i)
		}
		rng.Shuffle(n, func(i, j int) { scores[i], scores[j] = scores[j], scores[i] })
		var other Ranking
		if err := r.Rank(scores, grades, n-1, TieMean); err != nil {
			t.Fatal(err)
		}
		if err := other.Rank(scores, grades, n-1, LowerIndexFirst); err != nil {
			t.Fatal(err)
		}
		o := figures(&other)
		for name, v := range figures(&r) {
			near(t, name+" without ties", v, o[name], 1e-9)
		}
	})
}

func TestTopShare(t *testing.T) {
	scores := []float32{9, 5, 5, 1, 5}
	members := []bool{true, false, true, true, true}
	for _, tt := range []struct {
		exclude int
		want    float64
	}{{-1, 1}, {0, 2.0 / 3}} {
		got, err := TopShare(scores, members, tt.exclude)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "top share", got, tt.want, 1e-15)
	}
	if got, err := TopShare([]float32{1}, []bool{true}, 0); err != nil || got != 0 {
		t.Errorf("no candidate: %v, %v", got, err)
	}
}

func TestAUC(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		p, n := make([]float32, 1+rng.IntN(9)), make([]float32, 1+rng.IntN(9))
		var want float64
		for i := range p {
			p[i] = float32(rng.IntN(5))
		}
		for i := range n {
			n[i] = float32(rng.IntN(5))
		}
		for _, a := range p {
			for _, b := range n {
				want += Triplet(a, b)
			}
		}
		got, err := AUC(p, n)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "auc", got, want/float64(len(p)*len(n)), 1e-15)
	}
	if _, err := AUC(nil, []float32{1}); err == nil {
		t.Error("no positives: no error")
	}
	if got := Triplet(float32(math.NaN()), 0); got != 0 {
		t.Errorf("triplet with NaN = %v", got)
	}
}

func BenchmarkRankPositives(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	scores := make([]float32, 1600)
	for i := range scores {
		scores[i] = rng.Float32()
	}
	positives := make([]int, 49)
	for i := range positives {
		positives[i] = 31 * i
	}
	var r Ranking
	for b.Loop() {
		if err := r.RankPositives(scores, positives, 5, TieMean); err != nil {
			b.Fatal(err)
		}
		r.AP()
	}
}
