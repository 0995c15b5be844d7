//go:build amd64 && !noasm && !linux

package kernel

// askForTiles reports false: how to get AMX's tile registers is known for Linux only.
func askForTiles() bool { return false }
