package retrieval

import (
	"context"
	"fmt"

	"relsim/kernel"
	"relsim/metrics"
)

// measureCaptions fills in toText and toImage.
func (e *evaluation) measureCaptions(ctx context.Context, m Method, v *values) error {
	text, gallery := m.Text, len(e.set.Items)
	if err := finite("evaluate: method "+m.Name+": pictures", text.Pictures, text.Dim); err != nil {
		return err
	}
	if err := finite("evaluate: method "+m.Name+": captions", text.Captions, text.Dim); err != nil {
		return err
	}
	// The captions of each group, and the vectors of the captions of seen relations side by side.
	of := make(map[int][]int)
	seenOf := make(map[int][]int)
	var seen []float32
	seenCount := 0
	for c, cap := range e.captions {
		if cap.group >= 0 {
			of[cap.group] = append(of[cap.group], c)
		}
		if !cap.HeldOut {
			if cap.group >= 0 {
				seenOf[cap.group] = append(seenOf[cap.group], seenCount)
			}
			seen = append(seen, text.Captions[c*text.Dim:(c+1)*text.Dim]...)
			seenCount++
		}
	}
	v.toText = e.columns(len(e.queries))
	rankings := make([]metrics.Ranking, e.cfg.Workers)
	buffers := make([][]float32, e.cfg.Workers)
	// scores writes the products of one vector with n others.
	scores := func(worker int, x, others []float32, n int) []float32 {
		if len(buffers[worker]) < n {
			buffers[worker] = make([]float32, n)
		}
		s := buffers[worker][:n]
		kernel.Gemm(nil, false, true, 1, n, text.Dim, x, text.Dim, others, text.Dim, s, n, false)
		return s
	}
	err := parallel(ctx, len(e.queries), e.cfg.Workers, func(worker, j int) error {
		q := e.queries[j]
		x := text.Pictures[q*text.Dim : (q+1)*text.Dim]
		positives, others, n := seenOf[e.truth.group[q]], seen, seenCount
		if e.truth.isHeldOut(q) {
			positives, others, n = of[e.truth.group[q]], text.Captions, len(e.captions)
		}
		if len(positives) == 0 {
			return nil
		}
		r := &rankings[worker]
		if err := r.RankPositives(scores(worker, x, others, n), positives, -1, metrics.TieMean); err != nil {
			return fmt.Errorf("retrieval: evaluate: method %q: captions of picture %q: %w", m.Name, e.set.Items[q].ID, err)
		}
		e.record(v.toText, j, r)
		return nil
	})
	if err != nil {
		return err
	}
	v.toImage = e.columns(len(e.captions))
	return parallel(ctx, len(e.captions), e.cfg.Workers, func(worker, c int) error {
		g := e.captions[c].group
		if g < 0 || len(e.truth.members[g]) == 0 {
			return nil
		}
		r := &rankings[worker]
		s := scores(worker, text.Captions[c*text.Dim:(c+1)*text.Dim], text.Pictures[:gallery*text.Dim], gallery)
		if err := r.RankPositives(s, e.truth.members[g], -1, metrics.TieMean); err != nil {
			return fmt.Errorf("retrieval: evaluate: method %q: caption %q: %w", m.Name, e.captions[c].Text, err)
		}
		e.record(v.toImage, c, r)
		return nil
	})
}
