package download

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestOptedOut(t *testing.T) {
	for _, tt := range []struct {
		headers []string
		want    string
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"noai"}, "noai"},
		{[]string{"noimageai, noai"}, "noimageai"},
		{[]string{" NoIndex ,nofollow"}, "noindex"},
		{[]string{"nofollow", "noarchive,noimageindex"}, "noimageindex"},
		{[]string{"none"}, "none"},
		{[]string{"all", "max-snippet: 20, max-image-preview:large"}, ""},
		{[]string{"unavailable_after: 25 Jun 2010 15:00:00 PST"}, ""},
		{[]string{"unavailable_after: 25 Jun 2010 15:00:00 PST, noai"}, "noai"},
		{[]string{"googlebot: noindex, noai"}, ""},
		{[]string{"googlebot: noindex, relsim: noai"}, "noai"},
		{[]string{"relsim: nofollow, noai"}, "noai"},
		{[]string{"RelSim:NOAI"}, "noai"},
		{[]string{"*: noai"}, "noai"},
		{[]string{"googlebot: max-snippet: 5, noai"}, ""},
		{[]string{"googlebot: noai", "noindex"}, "noindex"},
		{[]string{"noaipublic, xnoai"}, ""},
		{[]string{"googlebot: noindex, unavailable_after: 25 Jun 2010 15:00:00 PST, noai"}, ""},
	} {
		if got := optedOut(tt.headers, "relsim"); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.headers, got, tt.want)
		}
	}
	for agent, want := range map[string]string{DefaultUserAgent: "relsim", "My Bot/2 (x)": "my", "curl": "curl", "/": ""} {
		if got := robotName(agent); got != want {
			t.Errorf("robot of %q is %q, want %q", agent, got, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"0": 0, "120": 2 * time.Minute, " 7 ": 7 * time.Second,
		"99999999999999999999":             longest,
		"9223372036":                       longest,
		"Sat, 28 Nov 2026 08:01:30 GMT":    90 * time.Second,
		"Saturday, 28-Nov-26 08:00:05 GMT": 5 * time.Second,
		"Sat Nov 28 08:00:10 2026":         10 * time.Second,
		"Sat, 28 Nov 2025 08:00:00 GMT":    0,
		"Fri, 31 Dec 9999 23:59:59 GMT":    longest,
	} {
		if got, ok := retryAfter(s, now); !ok || got != want {
			t.Errorf("%q: %v, %v; want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "soon", "-5", "1.5", "1e3", "0x10", "12 s", "Sat, 28 Nov 2026"} {
		if got, ok := retryAfter(s, now); ok {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"1", "-1", "Sat, 28 Nov 2026 08:01:30 GMT", "99999999999999999999", "Sat Nov 28 08:00:10 2026"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if d, ok := retryAfter(s, now); d < 0 || d > longest || !ok && d != 0 {
			t.Errorf("%q: %v, %v", s, d, ok)
		}
	})
}

func FuzzOptedOut(f *testing.F) {
	for _, s := range []string{"noai", "googlebot: noindex, relsim: noai", "unavailable_after: 25 Jun 2010 15:00:00 PST, noai", "::,:,", "*:*:noai"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d := optedOut([]string{s}, "relsim"); d != "" && !(optOuts[d] && strings.Contains(strings.ToLower(s), d)) {
			t.Errorf("%q: %q", s, d)
		}
		if !strings.ContainsAny(s, ":,") && strings.EqualFold(strings.TrimSpace(s), "noai") != (optedOut([]string{s}, "x") == "noai") {
			t.Errorf("%q is not read as it stands", s)
		}
		if optedOut([]string{s, "noai"}, "relsim") == "" {
			t.Errorf("%q hides the header behind it", s)
		}
	})
}

func TestStatusFailure(t *testing.T) {
	now := time.Now()
	for code, want := range map[int]failure{
		204: {reason: "HTTP 204"}, 206: {reason: "HTTP 206"}, 400: {reason: "HTTP 400"}, 401: {reason: "HTTP 401"}, 403: {reason: "HTTP 403"}, 404: {gone: true}, 410: {gone: true}, 408: {again: true},
		425: {again: true}, 429: {again: true, pauseHost: true}, 451: {}, 500: {again: true}, 501: {}, 502: {again: true}, 503: {again: true},
		504: {again: true}, 505: {}, 522: {again: true},
	} {
		got := statusFailure(&http.Response{StatusCode: code}, now)
		if got.gone != want.gone || got.again != want.again || got.pauseHost != want.pauseHost || !strings.HasPrefix(got.reason, "HTTP ") {
			t.Errorf("status %d: %+v", code, got)
		}
	}
	got := statusFailure(&http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {"3"}}}, now)
	if got.after != 3*time.Second || !got.pauseHost {
		t.Errorf("503 with Retry-After: %+v", got)
	}
}
