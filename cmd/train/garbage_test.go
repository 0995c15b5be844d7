package main

import "testing"

// Garbage is bounded where much is live, and collections are not made more frequent where little is.
func TestGarbagePercent(t *testing.T) {
	for _, tt := range []struct {
		live uint64
		want int
	}{{0, 100}, {1 << 20, 100}, {256 << 20, 100}, {1 << 30, 25}, {2 << 30, 12}, {100 << 30, 5}} {
		if got := garbagePercent(tt.live); got != tt.want {
			t.Errorf("%d bytes live: %d %%, want %d %%", tt.live, got, tt.want)
		}
	}
}
