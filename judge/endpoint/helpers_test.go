package endpoint

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"relsim/judge"
	"relsim/retrieval"
)

const testKey = "sk-very-secret"

func newClient(t testing.TB, address string) *Client {
	t.Helper()
	c, err := New(Options{Endpoint: address, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// question is one with two small pictures.
func question() judge.Request {
	return judge.Request{
		Model: "gpt-4o", Prompt: judge.DefaultPrompt(),
		Pictures: [2]judge.Picture{{Kind: "png", Data: []byte("a")}, {Kind: "png", Data: []byte("b")}},
	}
}

func index(list [][]byte, data []byte) int {
	for i, have := range list {
		if bytes.Equal(have, data) {
			return i
		}
	}
	return -1
}

func sourceOf(files [][]byte) judge.Source {
	return func(ctx context.Context, item int) ([]byte, error) { return files[item], ctx.Err() }
}

func config(change ...func(*judge.Config)) judge.Config {
	c := judge.DefaultConfig()
	c.Model = "gpt-4o"
	for _, f := range change {
		f(&c)
	}
	return c
}

func newPlan(t testing.TB, r *retrieval.Rankings, c judge.Config, files [][]byte) *judge.Plan {
	t.Helper()
	p, err := judge.NewPlan(t.Context(), r, c, sourceOf(files), 2)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func openStore(t testing.TB) *judge.Store {
	t.Helper()
	s, err := judge.OpenStore(filepath.Join(t.TempDir(), "judge.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// quick are options for a server that is at hand.
func quick(change ...func(*judge.RunOptions)) judge.RunOptions {
	o := judge.DefaultRunOptions()
	o.Backoff, o.MaxBackoff, o.Timeout = time.Millisecond, 4*time.Millisecond, 5*time.Second
	for _, f := range change {
		f(&o)
	}
	return o
}
