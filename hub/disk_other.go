//go:build !linux && !darwin && !windows

package hub

// freeBytes does not know.
func freeBytes(string) (int64, bool) { return 0, false }
