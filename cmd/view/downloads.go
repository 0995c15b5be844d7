package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"relsim/download"
	"relsim/viewer"
)

// downloads reads what became of the download of each row from the ledger in the folder dir, or, where that is "", of the
// data set's own folder; nil: that has none. A folder that was named must have one.
func downloads(dir, spec string) (map[string]viewer.Download, error) {
	named := dir != ""
	if !named {
		dir = spec
		if info, err := os.Stat(spec); err != nil || !info.IsDir() {
			dir = filepath.Dir(spec)
		}
	}
	states, err := download.States(dir)
	if !named && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	known := make(map[string]viewer.Download, len(states))
	for id, s := range states {
		known[id] = viewer.Download{Status: s.Status, Reason: s.Reason}
	}
	return known, nil
}
