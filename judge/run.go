package judge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// RunOptions say how fast questions are asked, how often, and for how much.
type RunOptions struct {
	Workers int // questions at once
	// PerMinute and TokensPerMinute bound requests and estimated tokens, those of tries that fail too; 0: no bound.
	PerMinute       float64
	TokensPerMinute int
	// Timeout is that of a try; Tries is how often a question is asked at most.
	Timeout time.Duration
	Tries   int
	// Backoff is the wait after the first try; it doubles up to MaxBackoff. What the endpoint asks for (Retry-After) wins.
	Backoff, MaxBackoff time.Duration
	// Patience is the longest wait that an endpoint may ask for.
	Patience time.Duration
	// MaxCost stops before a question that could take the cost above it, by Price; 0: no bound. A try whose usage nobody
	// says counts as estimated.
	MaxCost     float64
	Price       Price
	ImageTokens ImageTokens
	// Again asks questions again whose answers are no scores.
	Again bool
	// Progress is told of every question that is done with, and Notice of what the user should know at once; both by one
	// goroutine at a time. They may be nil.
	Progress func(Progress)
	Notice   func(format string, args ...any)
}

// DefaultRunOptions are gentle enough for an account of the lowest tier.
func DefaultRunOptions() RunOptions {
	return RunOptions{
		Workers: 4, Timeout: 2 * time.Minute, Tries: 6, Backoff: time.Second, MaxBackoff: time.Minute, Patience: 10 * time.Minute,
		ImageTokens: tiles,
	}
}

// Validate returns an error that names what cannot be used.
func (o RunOptions) Validate() error {
	switch {
	case o.Workers < 1 || o.Workers > 1024:
		return fmt.Errorf("judge: Workers is %d: want 1 to 1024", o.Workers)
	case !(o.PerMinute >= 0 && o.PerMinute <= 1e6):
		return fmt.Errorf("judge: PerMinute is %v: want 0 for no bound, to 1000000", o.PerMinute)
	case o.TokensPerMinute < 0:
		return fmt.Errorf("judge: TokensPerMinute is %d: want 0 for no bound, or more", o.TokensPerMinute)
	case o.Timeout <= 0 || o.Tries < 1 || o.Tries > 100 || o.Backoff <= 0 || o.MaxBackoff < o.Backoff || o.Patience < 0:
		return fmt.Errorf("judge: Timeout %v, Tries %d, Backoff %v to %v, Patience %v: want 1 to 100 tries, and times above 0",
			o.Timeout, o.Tries, o.Backoff, o.MaxBackoff, o.Patience)
	case !(o.MaxCost >= 0):
		return fmt.Errorf("judge: MaxCost is %v: want 0 for no bound, or more", o.MaxCost)
	case !(o.Price.Input >= 0 && o.Price.Output >= 0):
		return fmt.Errorf("judge: Price is %v and %v: want 0 or more", o.Price.Input, o.Price.Output)
	case o.MaxCost > 0 && !o.Price.Known():
		return errors.New("judge: MaxCost needs a Price")
	case o.ImageTokens == nil:
		return errors.New("judge: no ImageTokens")
	}
	return nil
}

// Progress is how far a run is.
type Progress struct {
	Done, Total int   // questions, of those this run asks
	Answered    int   // of Done
	Unparsed    int   // of Answered: no score
	Failed      int   // of Done: no answer
	Retries     int   // tries after a first
	Usage       Usage // of the answers; estimated where the endpoint does not say
	Cost        float64
}

// Outcome is what a run did. Reasons says of what there is no answer to, why, and how often.
type Outcome struct {
	Progress
	Reasons map[string]int
}

// ErrMaxCost is wrapped by the error of a run that stopped at its MaxCost.
var ErrMaxCost = errors.New("the next question could cost more than is allowed")

const (
	// inARow questions without an answer end a run: the endpoint is down.
	inARow = 10
	// refusedFirst requests that are refused before any is answered end a run: they will all be.
	refusedFirst = 3
)

// Run asks the questions of a plan that s has no answer to, and puts the answers into s. A question without an answer
// after all its tries is no error: it is counted, and asked by the next run. An endpoint that answers nothing, or refuses
// the key, the model or every request, ends the run with an error, and so does the end of ctx; what was answered by then
// is in s.
func Run(ctx context.Context, p *Plan, s *Store, a Asker, source Source, o RunOptions) (Outcome, error) {
	if err := o.Validate(); err != nil {
		return Outcome{}, err
	}
	r := &run{
		plan: p, store: s, asker: a, o: o, pictures: newPictures(p, source), rng: rand.New(rand.NewPCG(p.Config.Seed, 1)),
		outcome: Outcome{Reasons: make(map[string]int)},
	}
	todo := p.toAsk(s, o.Again)
	r.outcome.Total = len(todo)
	if o.PerMinute > 0 {
		r.requests = rate.NewLimiter(rate.Limit(o.PerMinute/60), 1)
	}
	if o.TokensPerMinute > 0 {
		r.tokens = rate.NewLimiter(rate.Limit(float64(o.TokensPerMinute)/60), max(1, o.TokensPerMinute/60))
	}
	// What ends the run stops what waits. Questions that have been asked are paid for: their answers are waited for.
	going, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	questions := make(chan Question)
	var workers sync.WaitGroup
	for range min(o.Workers, max(1, len(todo))) {
		workers.Go(func() {
			for q := range questions {
				if err := r.question(ctx, going, q); err != nil {
					stop(err)
				}
			}
		})
	}
feed:
	for _, q := range todo {
		select {
		case questions <- q:
		case <-going.Done():
			break feed
		}
	}
	close(questions)
	workers.Wait()
	if going.Err() != nil {
		return r.outcome, context.Cause(going)
	}
	return r.outcome, nil
}

// run is the state of a run.
type run struct {
	plan     *Plan
	store    *Store
	asker    Asker
	o        RunOptions
	pictures *pictures
	requests *rate.Limiter // nil: no bound
	tokens   *rate.Limiter // nil: no bound

	mu       sync.Mutex // of what follows
	rng      *rand.Rand // of waits
	outcome  Outcome
	reserved float64   // cost of the tries that are under way
	gate     time.Time // nobody asks before
	failed   int       // questions in a row
	refused  int       // requests, before any was answered
	slowed   bool      // the user knows that the endpoint bounds the rate
}

// question asks until there is an answer, under ctx, and waits under going. An error ends the run.
func (r *run) question(ctx, going context.Context, q Question) error {
	var request Request
	for i, item := range q.Items {
		picture, err := r.pictures.get(going, item)
		if going.Err() != nil {
			return going.Err()
		}
		if err != nil {
			return r.fail(fmt.Errorf("a picture: %w", err), false)
		}
		request.Pictures[i] = picture
	}
	c := r.plan.Config
	request.Model, request.Prompt, request.Temperature, request.Detail, request.MaxTokens = c.Model, c.Prompt, c.Temperature, c.Detail, c.MaxTokens
	estimate := r.plan.tokens(q, r.o.ImageTokens)
	for try := 1; ; try++ {
		if err := r.await(going, estimate); err != nil {
			return err
		}
		if err := r.reserve(estimate); err != nil {
			return err
		}
		began := time.Now()
		reply, err := r.ask(ctx, request)
		r.settle(estimate, reply, err)
		if ctx.Err() != nil && err != nil {
			return ctx.Err()
		}
		if err == nil {
			return r.answered(q, reply, try, time.Since(began))
		}
		verdict := r.judge(err)
		if verdict == endRun {
			return err
		}
		if verdict == giveUp || try >= r.o.Tries {
			return r.fail(err, true)
		}
		if err := r.wait(going, err, try); err != nil {
			return err
		}
	}
}

// ask is one try.
func (r *run) ask(ctx context.Context, request Request) (*Reply, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.o.Timeout, errTimeout)
	defer cancel()
	reply, err := r.asker.Ask(ctx, request)
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		err = fmt.Errorf("%w of %v", errTimeout, r.o.Timeout)
	}
	return reply, err
}

// errTimeout is what a try gives that takes too long.
var errTimeout = errors.New("no answer within the time limit")

// answered puts down an answer.
func (r *run) answered(q Question, reply *Reply, tries int, took time.Duration) error {
	a := Answer{
		Key: q.Key, AnsweredBy: reply.Model, Text: reply.Text, Raw: reply.Raw, Refusal: reply.Refusal, Finish: reply.Finish, ID: reply.ID, Usage: reply.Usage,
		Tries: tries, Seconds: took.Seconds(), When: time.Now().UTC().Truncate(time.Millisecond),
	}
	if score, failure := scoreOf(reply); failure != "" {
		a.Failure = failure
	} else {
		a.Score = &score
	}
	if err := r.store.Add(a); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = 0
	r.outcome.Done++
	r.outcome.Answered++
	if a.Score == nil {
		if r.outcome.Unparsed++; r.outcome.Unparsed == 1 && r.o.Notice != nil {
			r.o.Notice("an answer is no score (%s: %s); such answers are counted, and take no part", a.Failure, quoted(cmp.Or(a.Text, a.Refusal)))
		}
	}
	r.tell()
	return nil
}

// Why an answer is no score.
const (
	FailureRefused  = "refused"  // the model does not want to
	FailureFiltered = "filtered" // the endpoint's filter took the answer away
	FailureCutOff   = "cut off"  // it is longer than MaxTokens
	FailureNoScore  = "no score" // see [ParseScore]
)

// scoreOf reads the score of a reply, or says why there is none. One that is cut off may have lost a digit.
func scoreOf(reply *Reply) (score float64, failure string) {
	switch {
	case reply.Refusal != "":
		return 0, FailureRefused
	case reply.Finish == "content_filter":
		return 0, FailureFiltered
	case reply.Finish == "length":
		return 0, FailureCutOff
	}
	score, err := ParseScore(reply.Text)
	if err != nil {
		return 0, FailureNoScore
	}
	return score, ""
}

// fail counts a question without an answer.
func (r *run) fail(err error, endpoint bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcome.Done++
	r.outcome.Failed++
	r.outcome.Reasons[reason(err)]++
	if endpoint {
		r.failed++
	}
	r.tell()
	if r.failed >= inARow {
		return fmt.Errorf("judge: %d questions in a row have no answer, the last: %w", r.failed, err)
	}
	return nil
}

// reason is what an error is counted under: without what differs from one to the next.
func reason(err error) string {
	var status *StatusError
	var reply *ReplyError
	switch {
	case errors.As(err, &status):
		return status.Error()
	case errors.As(err, &reply):
		return reply.Error()
	case errors.Is(err, errTimeout):
		return errTimeout.Error()
	}
	return shortened(err.Error(), 200)
}

// tell reports the progress. r.mu is held.
func (r *run) tell() {
	if r.o.Progress != nil {
		r.o.Progress(r.outcome.Progress)
	}
}

// reserve sets the cost of a try aside.
func (r *run) reserve(estimate Usage) error {
	cost := r.o.Price.Of(estimate)
	r.mu.Lock()
	defer r.mu.Unlock()
	if spent := r.outcome.Cost + r.reserved; r.o.MaxCost > 0 && spent+cost > r.o.MaxCost {
		return fmt.Errorf("judge: spent or under way are %.4f of %.4f, and %w", spent, r.o.MaxCost, ErrMaxCost)
	}
	r.reserved += cost
	return nil
}

// settle counts what a try took. Nobody says it of one that failed: refused requests cost nothing, others may.
func (r *run) settle(estimate Usage, reply *Reply, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reserved -= r.o.Price.Of(estimate)
	var status *StatusError
	used := estimate
	switch {
	case err == nil && reply.Usage != Usage{}:
		used = reply.Usage
	case errors.As(err, &status):
		used = Usage{}
	}
	r.outcome.Usage.Input += used.Input
	r.outcome.Usage.Output += used.Output
	r.outcome.Cost += r.o.Price.Of(used)
	if err == nil {
		r.refused = -1
	}
}
