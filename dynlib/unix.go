//go:build (linux || darwin) && (amd64 || arm64) && !android && !ios

package dynlib

import "github.com/ebitengine/purego"

func load(name string) (uintptr, error) {
	return purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
}

func lookUp(handle uintptr, name string) (uintptr, error) { return purego.Dlsym(handle, name) }
