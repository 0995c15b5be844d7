package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"relsim/dataloader"
)

// result is what is printed; marshalled it is the output of --json.
type result struct {
	Model string `json:"model"`
	about
	Pictures []string            `json:"pictures"`
	Pairs    []pair              `json:"pairs"` // with -k, of each picture the nearest, one after another
	Broken   []dataloader.Broken `json:"broken,omitempty"`
}

// pair is a score of two pictures.
type pair struct {
	A     string  `json:"a"`
	B     string  `json:"b"`
	Rank  int     `json:"rank,omitempty"` // with -k, of b among what a is compared with
	Score float64 `json:"score"`
}

// blockScores is the number of scores that are computed at a time.
const blockScores = 1 << 20

// collect computes the scores: of every pair once, or with k, of each picture the k nearest; equal ones in the order of
// the pictures.
func (r *result) collect(ctx context.Context, c comparer, k int) error {
	n := len(r.Pictures)
	step := max(1, min(128, blockScores/n))
	scores := make([]float32, step*n)
	for first := 0; first < n; first += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		last := min(n, first+step)
		if err := c.rows(ctx, first, last, scores[:(last-first)*n]); err != nil {
			return err
		}
		for i := first; i < last; i++ {
			row := scores[(i-first)*n:][:n]
			if j := slices.IndexFunc(row, func(s float32) bool { return !(math.Abs(float64(s)) <= math.MaxFloat32) }); j >= 0 {
				return fmt.Errorf("the score of %s and %s is %v", r.Pictures[i], r.Pictures[j], row[j])
			}
			if k == 0 {
				for j := i + 1; j < n; j++ {
					r.Pairs = append(r.Pairs, pair{A: r.Pictures[i], B: r.Pictures[j], Score: decimal(row[j])})
				}
				continue
			}
			for rank, j := range nearest(row, i, k, r.Nearer == "lower") {
				r.Pairs = append(r.Pairs, pair{r.Pictures[i], r.Pictures[j], rank + 1, decimal(row[j])})
			}
		}
	}
	return nil
}

// decimal is the number that the shortest digits of a float32 stand for: what is printed has no more of them.
func decimal(v float32) float64 {
	if v == 0 {
		return 0 // not -0
	}
	d, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
	if err != nil { // of a finite number there is none
		panic(err)
	}
	return d
}

// nearest returns the k pictures nearest to picture i, best first.
func nearest(scores []float32, i, k int, lower bool) []int {
	order := make([]int, 0, len(scores))
	for j := range scores {
		if j != i {
			order = append(order, j)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch x, y := scores[a], scores[b]; {
		case x == y:
			return 0
		case (x < y) == lower:
			return -1
		}
		return 1
	})
	return order[:min(k, len(order))]
}

// write prints the result.
func (r *result) write(w io.Writer, o *options) error {
	switch {
	case o.json:
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", " ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(r)
	case o.csv:
		out := csv.NewWriter(w)
		header := []string{"a", "b", r.Score}
		if o.k > 0 {
			header = []string{"a", "rank", "b", r.Score}
		}
		rows := [][]string{header}
		for _, p := range r.Pairs {
			row := []string{p.A, p.B, strconv.FormatFloat(p.Score, 'g', -1, 64)}
			if o.k > 0 {
				row = slices.Insert(row, 1, strconv.Itoa(p.Rank))
			}
			rows = append(rows, row)
		}
		return out.WriteAll(rows)
	}
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# %s by %s: %s; %s is nearer\n", r.Score, r.Model, r.How, r.Nearer)
	for _, p := range r.Pairs {
		fmt.Fprintf(out, "%8.5f  %s  %s\n", p.Score, p.A, p.B)
	}
	return out.Flush()
}
