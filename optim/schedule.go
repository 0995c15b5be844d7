package optim

import (
	"fmt"
	"math"
)

// Schedule is a learning rate that rises linearly and falls along a cosine:
//
//	lr(s) = Peak·(s+1)/Warmup                                          s < Warmup
//	lr(s) = Floor + (Peak-Floor)·(1 + cos(π·(s-Warmup)/(Total-Warmup)))/2   else
//
// for step s = 0, 1, …; the last step of the warm-up runs at Peak. Without
// warm-up it is PyTorch's CosineAnnealingLR with T_max = Total, beyond Total
// too: the rate rises again there.
//
// Source: Loshchilov and Hutter, arXiv:1608.03983, eq. 5; the warm-up is that
// of Goyal et al., arXiv:1706.02677.
type Schedule struct {
	Peak   float64 `json:"peak"`
	Floor  float64 `json:"floor"`
	Warmup int     `json:"warmup"` // steps; see [WarmupSteps] for a share
	Total  int     `json:"total"`  // steps, those of the warm-up among them
}

// Validate reports the first field that makes no sense.
func (s Schedule) Validate() error {
	switch {
	case !(s.Peak > 0) || math.IsInf(s.Peak, 0):
		return fmt.Errorf("optim: schedule: peak rate %v, want a positive number", s.Peak)
	case !(s.Floor >= 0 && s.Floor <= s.Peak):
		return fmt.Errorf("optim: schedule: floor %v, want 0 to the peak rate %v", s.Floor, s.Peak)
	case s.Total < 1:
		return fmt.Errorf("optim: schedule: %d steps in total, want at least 1", s.Total)
	case s.Warmup < 0 || s.Warmup > s.Total:
		return fmt.Errorf("optim: schedule: %d steps of warm-up, want 0 to the total of %d", s.Warmup, s.Total)
	}
	return nil
}

// At returns the learning rate of a step, counted from 0.
func (s Schedule) At(step int) float64 {
	if step < s.Warmup {
		return s.Peak * float64(step+1) / float64(s.Warmup)
	}
	decay := s.Total - s.Warmup
	if decay == 0 {
		return s.Floor
	}
	phase := math.Pi * float64(step-s.Warmup) / float64(decay)
	return s.Floor + (s.Peak-s.Floor)*(1+math.Cos(phase))/2
}

// WarmupSteps turns the length of a warm-up as users give it into steps: a
// number below 1 is a share of the total, rounded to whole steps; from 1 on it
// is a number of steps.
func WarmupSteps(warmup float64, total int) int {
	if warmup < 1 {
		warmup *= float64(total)
	}
	return int(math.Round(warmup))
}
