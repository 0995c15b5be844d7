package judge

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"relsim/judge/judgetest"
)

// asker answers by a function.
type asker func(ctx context.Context, r Request) (*Reply, error)

func (a asker) Ask(ctx context.Context, r Request) (*Reply, error) { return a(ctx, r) }

// TestInterrupt: what was answered is on the disk, the next run asks the rest, and nothing is asked twice.
func TestInterrupt(t *testing.T) {
	pictures := judgetest.Pictures(30)
	p := newPlan(t, judgetest.Rankings(30, 1), config(), pictures)
	path := filepath.Join(t.TempDir(), "judge.jsonl")
	store, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int64
	a := asker(func(ctx context.Context, r Request) (*Reply, error) {
		if asked.Add(1) == 20 {
			cancel()
		}
		return &Reply{Text: "5"}, ctx.Err()
	})
	o := quick(func(o *RunOptions) { o.Workers = 3 })
	if _, err := Run(ctx, p, store, a, sourceOf(pictures), o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	n := store.Len()
	if n < 17 || n > 20 {
		t.Errorf("%d answers, want all but those under way", n)
	}
	store.Close()
	if store, err = OpenStore(path); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	asked.Store(100)
	if outcome, err := Run(t.Context(), p, store, a, sourceOf(pictures), o); err != nil || outcome.Answered != 60-n || asked.Load() != int64(160-n) {
		t.Errorf("%+v, %v: want %d answers", outcome, err, 60-n)
	}
}

// TestTimeout: a try that takes too long is one that failed.
func TestTimeout(t *testing.T) {
	pictures := judgetest.Pictures(3)
	p := newPlan(t, judgetest.Rankings(3, 1), config(), pictures)
	var asked atomic.Int64
	a := asker(func(ctx context.Context, r Request) (*Reply, error) {
		if asked.Add(1)%2 == 1 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &Reply{Text: "5"}, nil
	})
	o := quick(func(o *RunOptions) { o.Workers, o.Timeout, o.Price = 1, 5*time.Millisecond, Price{Input: 1} })
	outcome, err := Run(t.Context(), p, openStore(t), a, sourceOf(pictures), o)
	if err != nil || outcome.Retries != len(p.Questions) || outcome.Answered != len(p.Questions) {
		t.Errorf("%+v, %v", outcome, err)
	}
	// Nobody says what they took: all tries count as estimated.
	if want := 2 * p.Estimate(Kept(nil), quick()).Input; outcome.Usage.Input != want {
		t.Errorf("%d tokens, want %d", outcome.Usage.Input, want)
	}
	o.Tries = 1
	asked.Store(0)
	outcome, err = Run(t.Context(), p, openStore(t), a, sourceOf(pictures), o)
	if err != nil || outcome.Failed != 3 || outcome.Reasons["no answer within the time limit"] != 3 {
		t.Errorf("%+v, %v", outcome, err)
	}
}

// TestMaxCost: no question is asked that could cost too much, however many are under way.
func TestMaxCost(t *testing.T) {
	pictures := judgetest.Pictures(30)
	p := newPlan(t, judgetest.Rankings(30, 1), config(), pictures)
	each := p.Estimate(Kept(nil), quick(func(o *RunOptions) { o.Price = Price{1, 1} })).Cost / 60
	a := asker(func(ctx context.Context, r Request) (*Reply, error) {
		time.Sleep(time.Millisecond)
		return &Reply{Text: "5"}, nil
	})
	o := quick(func(o *RunOptions) { o.Workers, o.Price, o.MaxCost = 8, Price{1, 1}, 20.5*each })
	store := openStore(t)
	outcome, err := Run(t.Context(), p, store, a, sourceOf(pictures), o)
	if !errors.Is(err, ErrMaxCost) || outcome.Answered != 20 || store.Len() != 20 || outcome.Cost > o.MaxCost {
		t.Errorf("%+v, %v: want 20 answers", outcome, err)
	}
}

// TestRates: requests and tokens come no faster than they may.
func TestRates(t *testing.T) {
	pictures := judgetest.Pictures(5)
	p := newPlan(t, judgetest.Rankings(5, 1), config(), pictures) // 10 questions
	e := p.Estimate(Kept(nil), quick())
	a := asker(func(ctx context.Context, r Request) (*Reply, error) { return &Reply{Text: "5"}, nil })
	for name, tt := range map[string]struct {
		change  func(*RunOptions)
		atLeast time.Duration
	}{
		"requests": {func(o *RunOptions) { o.PerMinute = 3000 }, 9 * 20 * time.Millisecond},
		// What may come in a second comes at once, the last sixth in the fifth of a second.
		"tokens": {func(o *RunOptions) { o.TokensPerMinute = (e.Input + e.Output) * 50 }, 190 * time.Millisecond},
	} {
		began := time.Now()
		outcome, err := Run(t.Context(), p, openStore(t), a, sourceOf(pictures), quick(tt.change, func(o *RunOptions) { o.Workers = 10 }))
		if took := time.Since(began); err != nil || outcome.Answered != 10 || took < tt.atLeast {
			t.Errorf("%s: %+v, %v in %v, want %v or more", name, outcome, err, took, tt.atLeast)
		}
	}
}

// TestGate: where the endpoint bounds the rate, all wait.
func TestGate(t *testing.T) {
	pictures := judgetest.Pictures(10)
	p := newPlan(t, judgetest.Rankings(10, 1), config(), pictures)
	var open, early atomic.Int64
	a := asker(func(ctx context.Context, r Request) (*Reply, error) {
		now := time.Now().UnixNano()
		if open.CompareAndSwap(0, now+int64(100*time.Millisecond)) {
			return nil, &StatusError{Status: 429, RetryAfter: 100 * time.Millisecond}
		}
		if now < open.Load() {
			early.Add(1)
		}
		return &Reply{Text: "5"}, nil
	})
	var notices atomic.Int64
	o := quick(func(o *RunOptions) {
		o.Workers, o.PerMinute = 2, 6000 // the second comes 10 ms after the first
		o.Notice = func(string, ...any) { notices.Add(1) }
	})
	outcome, err := Run(t.Context(), p, openStore(t), a, sourceOf(pictures), o)
	if err != nil || outcome.Answered != 20 || outcome.Retries != 1 || early.Load() > 0 || notices.Load() != 1 {
		t.Errorf("%+v, %v: %d came early, %d notices", outcome, err, early.Load(), notices.Load())
	}
}

// TestBroken: pictures that are gone, broken, or changed.
func TestBroken(t *testing.T) {
	pictures := judgetest.Pictures(6)
	pictures[1] = nil                               // gone
	pictures[3] = pictures[3][:len(pictures[3])-20] // its header is whole
	p := newPlan(t, judgetest.Rankings(6, 1), config(), pictures)
	if b := p.Broken(); len(b) != 1 || b[1] == nil || len(p.Questions) != 8 {
		t.Errorf("%v, %d questions", b, len(p.Questions))
	}
	store := openStore(t)
	changed := append([][]byte(nil), pictures...)
	changed[5] = pictures[4]
	a := asker(func(ctx context.Context, r Request) (*Reply, error) { return &Reply{Text: "5"}, nil })
	outcome, err := Run(t.Context(), p, store, a, sourceOf(changed), quick())
	if err != nil || outcome.Answered != 0 || outcome.Failed != 8 || len(outcome.Reasons) != 2 {
		t.Errorf("%+v, %v", outcome, err)
	}
	outcome, err = Run(t.Context(), p, store, a, sourceOf(pictures), quick())
	if err != nil || outcome.Answered != 4 || outcome.Failed != 4 {
		t.Errorf("%+v, %v", outcome, err)
	}
	r := p.Tally(store, 10)
	// Of six queries, those of 1 and 3 and their neighbours lack something.
	if r.Complete != 1 || r.Queries != 6 || r.Methods[0].Missing != 4 || r.Methods[1].Missing != 4 || r.Questions != 12 || r.Unanswered != 8 || r.Broken != 4 {
		t.Errorf("%+v", r)
	}
}
