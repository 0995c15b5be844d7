//go:build windows && (amd64 || arm64)

package dynlib

import "golang.org/x/sys/windows"

// load searches the folders of the program and of the system, and not the working folder, where anything may lie.
func load(name string) (uintptr, error) {
	h, err := windows.LoadLibraryEx(name, 0, windows.LOAD_LIBRARY_SEARCH_DEFAULT_DIRS)
	return uintptr(h), err
}

func lookUp(handle uintptr, name string) (uintptr, error) {
	return windows.GetProcAddress(windows.Handle(handle), name)
}
