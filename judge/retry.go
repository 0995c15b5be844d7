package judge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// verdict is what is done after a try that failed.
type verdict int

const (
	tryAgain verdict = iota
	giveUp           // the question, not the run
	endRun
)

// judge says what follows from the error of a try.
func (r *run) judge(err error) verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	nothingYet := r.refused >= 0
	var status *StatusError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dial *net.OpError
	switch {
	case errors.As(err, &status):
		return r.judgeStatus(status, nothingYet)
	case errors.Is(err, ErrTooLong):
		return giveUp
	case errors.As(err, &certificate), errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch), noSuchHost(err):
		return endRun
	case errors.As(err, &dial) && dial.Op == "dial" && !dial.Timeout() && nothingYet:
		return endRun // no such port, no way there: an address that is wrong, rather than a server that rests
	}
	return tryAgain
}

// judgeStatus says what follows from a status of HTTP. r.mu is held.
func (r *run) judgeStatus(e *StatusError, nothingYet bool) verdict {
	switch s := e.Status; {
	case e.Code == "insufficient_quota" || s == http.StatusPaymentRequired:
		return endRun
	case s == http.StatusTooManyRequests:
		if e.RetryAfter > r.o.Patience {
			return endRun
		}
		return tryAgain
	case s == http.StatusRequestTimeout, s == http.StatusConflict, s == http.StatusTooEarly:
		return tryAgain
	case s >= 500 && s != http.StatusNotImplemented && s != http.StatusHTTPVersionNotSupported:
		return tryAgain
	case s < 400, s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusNotFound, s == http.StatusMethodNotAllowed:
		return endRun
	}
	if nothingYet {
		if r.refused++; r.refused >= refusedFirst {
			return endRun
		}
	}
	return giveUp
}

// wait waits after a try that failed. Where the endpoint bounds the rate, everybody waits.
func (r *run) wait(ctx context.Context, err error, try int) error {
	r.mu.Lock()
	r.outcome.Retries++
	pause := r.o.MaxBackoff
	if try < 30 {
		pause = min(pause, r.o.Backoff<<(try-1))
	}
	pause -= time.Duration(r.rng.Int64N(int64(pause)/4 + 1)) // so that not all come back at once
	var status *StatusError
	if errors.As(err, &status) {
		if status.RetryAfter >= 0 {
			pause = min(status.RetryAfter, r.o.Patience)
		}
		if status.Status == http.StatusTooManyRequests {
			if at := time.Now().Add(pause); at.After(r.gate) {
				r.gate = at
			}
			if !r.slowed && r.o.Notice != nil {
				r.slowed = true
				r.o.Notice("the endpoint bounds the rate: waiting when it says so (--rate, --tokens-per-minute and --workers spare the tries)")
			}
		}
	}
	r.mu.Unlock()
	return sleep(ctx, pause)
}

// await waits until a try may be made.
func (r *run) await(ctx context.Context, estimate Usage) error {
	if err := r.pass(ctx); err != nil {
		return err
	}
	if r.tokens != nil {
		for n := estimate.Input + estimate.Output; n > 0; {
			part := min(n, r.tokens.Burst())
			if err := r.tokens.WaitN(ctx, part); err != nil {
				return fmt.Errorf("judge: wait: %w", err)
			}
			n -= part
		}
	}
	if r.requests != nil {
		if err := r.requests.Wait(ctx); err != nil {
			return fmt.Errorf("judge: wait: %w", err)
		}
	}
	return r.pass(ctx) // it may have closed meanwhile
}

// pass waits until the gate is open.
func (r *run) pass(ctx context.Context) error {
	for {
		r.mu.Lock()
		pause := time.Until(r.gate)
		r.mu.Unlock()
		if pause <= 0 {
			return ctx.Err()
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// sleep waits, or returns why not.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// noSuchHost reports whether err says that the endpoint's name is not known.
func noSuchHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}
