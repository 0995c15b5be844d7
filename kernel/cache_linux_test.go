package kernel

import "testing"

func TestParseCacheSize(t *testing.T) {
	for text, want := range map[string]int{"2048K\n": 2 << 20, "512K": 512 << 10, "": 0, "2M": 0, "K": 0, "-4K": 0, "99999999999K": 0} {
		if got := parseCacheSize(text); got != want {
			t.Errorf("parseCacheSize(%q) = %d, want %d", text, got, want)
		}
	}
}
