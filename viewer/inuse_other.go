//go:build !windows

package viewer

// isInUse knows the errors of an address in use that errors.Is does not.
func isInUse(error) bool { return false }
