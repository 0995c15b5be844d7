//go:build !linux

package kernel

// adviseHuge does nothing: the system chooses its pages itself.
func adviseHuge([]byte) {}
