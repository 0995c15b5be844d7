package download

import (
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"time"

	"relsim/formats"
)

// Options of a download. [Default] has those that are not asked for.
type Options struct {
	From   string          // file of rows: what package formats opens, with an address for each picture
	Rows   formats.Options // how to read it; Images is not used
	Dir    string          // folder to fill
	Limit  int             // pictures to look after in this run; 0: all
	Retry  string          // RetryNone, RetryFailed, RetryTimeouts or RetryAll
	Encode string          // "": as received; PNG, JPEG or WebP
	Resize int             // with Encode: shorter sides that are longer become so many pixels; 0: none

	Quality  int    // of JPEG and WebP, 1 to 100
	Fallback string // where else a picture may be had: an address that has {image_hash} in it; "": nowhere

	Workers int // requests at the same time
	PerHost int // those to one host
	Tries   int // requests for one address in one run, until it is given up

	UserAgent    string // what is before the first "/" names us in X-Robots-Tag, too
	IgnoreOptOut bool   // take what X-Robots-Tag says not to take
	AllowPrivate bool   // connect to private, loopback and other addresses that are not of the public internet

	Connect   time.Duration // limit for a connection, and for its TLS handshake
	FirstByte time.Duration // limit from the request to the headers of the answer
	Idle      time.Duration // in which at least 1 kB of a picture has to come
	Whole     time.Duration // limit for all of a request, with its redirections
	Backoff   time.Duration // before the second try; doubled for each that follows
	MaxWait   time.Duration // what a server may ask us to wait; its pictures are left for the next run if it is more

	MaxBytes  int64 // size of a picture as received
	MaxPixels int64 // width × height

	Resolver Resolver       `json:"-"` // finds hosts; nil: the system's
	RootCAs  *x509.CertPool `json:"-"` // whom to believe; nil: the system's

	Progress func(Progress)                   `json:"-"` // called a few times a second
	Notice   func(format string, args ...any) `json:"-"` // what happens beside pictures
}

// The values of Options.Retry: which rows that earlier runs have given up are looked after again. Rows whose address has
// changed always are.
const (
	RetryNone     = ""
	RetryFailed   = "failed"   // those that failed
	RetryTimeouts = "timeouts" // those that failed as something took too long
	RetryAll      = "all"      // those that failed, and those that are gone
)

// DefaultUserAgent says who asks.
const DefaultUserAgent = "relsim/1.0 (downloads pictures that data sets name; respects X-Robots-Tag)"

// Default returns the usual options.
func Default() Options {
	return Options{
		Quality: 90, Workers: 64, PerHost: 8, Tries: 4, UserAgent: DefaultUserAgent,
		Connect: 10 * time.Second, FirstByte: 20 * time.Second, Idle: 10 * time.Second, Whole: 2 * time.Minute,
		Backoff: time.Second, MaxWait: 2 * time.Minute,
		MaxBytes: 64 << 20, MaxPixels: 100_000_000,
	}
}

const hashField = "{image_hash}"

// Validate returns an error that says which option cannot be.
func (o *Options) Validate() error {
	fail := func(format string, args ...any) error { return fmt.Errorf("download: "+format, args...) }
	for name, d := range map[string]time.Duration{"connect": o.Connect, "first byte": o.FirstByte, "idle": o.Idle, "whole": o.Whole, "back-off": o.Backoff, "longest wait": o.MaxWait} {
		if d <= 0 {
			return fail("time for %s is %v, want more than 0", name, d)
		}
	}
	switch {
	case o.From == "":
		return fail("no file of rows")
	case o.Dir == "":
		return fail("no folder to write to")
	case o.Retry != RetryNone && o.Retry != RetryFailed && o.Retry != RetryTimeouts && o.Retry != RetryAll:
		return fail("retry %q: want %s, %s or %s", o.Retry, RetryFailed, RetryTimeouts, RetryAll)
	case o.Workers < 1 || o.Workers > 4096:
		return fail("%d workers: want 1 to 4096", o.Workers)
	case o.PerHost < 1:
		return fail("%d requests to a host: want 1 or more", o.PerHost)
	case o.Tries < 1:
		return fail("%d tries: want 1 or more", o.Tries)
	case o.Limit < 0:
		return fail("limit of %d pictures: want 0 or more", o.Limit)
	case o.MaxBytes < 1 || o.MaxBytes > 1<<30:
		return fail("pictures of at most %d bytes: want 1 to %d", o.MaxBytes, 1<<30)
	case o.MaxPixels < 1:
		return fail("pictures of at most %d pixels: want 1 or more", o.MaxPixels)
	case o.UserAgent == "" || strings.ContainsFunc(o.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }):
		return fail("user agent %q: want printable ASCII", o.UserAgent)
	}
	if err := o.ValidateEncode(); err != nil {
		return err
	}
	if o.Fallback != "" {
		if !strings.Contains(o.Fallback, hashField) {
			return fail("fallback %q: want an address with %s in it", o.Fallback, hashField)
		}
		if _, err := checkURL(o.fallback("0")); err != nil {
			return fail("fallback %q: %v", o.Fallback, err)
		}
	}
	return nil
}

// fill puts in what the zero values stand for.
func (o *Options) fill() {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Notice == nil {
		o.Notice = func(string, ...any) {}
	}
}

// Progress says how far a run is.
type Progress struct {
	Total   int // rows with different pictures
	Done    int // of these, with those of earlier runs
	Failed  int
	Gone    int
	Tried   int   // pictures that this run has settled, one way or the other
	Fetched int   // those of them that are done
	Bytes   int64 // received in this run
	Elapsed time.Duration
}

var _ Resolver = (*net.Resolver)(nil)
