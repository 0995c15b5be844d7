package main

import (
	"context"
	"testing"
)

// TestCodes runs the search over codes on few vectors.
func TestCodes(t *testing.T) {
	w, err := newCodes(context.Background(), job{Threads: 2, N: 20000, Queries: 100, Dim: 32, K: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if err := w.once(); err != nil {
		t.Fatal(err)
	}
	parts := w.(parted).parts()
	if len(parts) != 7 {
		t.Fatalf("%d parts, want 7: %v", len(parts), parts)
	}
	if last := parts[6]; last.Pass != "recall@10" || !(last.Speed >= .95 && last.Speed <= 1) {
		t.Errorf("%s is %v", last.Pass, last.Speed)
	}
}
