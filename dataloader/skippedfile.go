package dataloader

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ReadSkipped reads a list of skipped pictures ([Config].SkippedPath). No file
// is an empty list, and a last line that a kill has cut off is dropped; a broken
// line elsewhere is an error with its number.
func ReadSkipped(path string) ([]Broken, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("dataloader: read list of skipped pictures: %w", err)
	}
	var list []Broken
	for number := 1; len(data) > 0; number++ {
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		data = rest
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var b Broken
		if err := json.Unmarshal(line, &b); err != nil {
			if !whole {
				return list, nil
			}
			return nil, fmt.Errorf("dataloader: %s:%d: %w", path, number, err)
		}
		list = append(list, b)
	}
	return list, nil
}

// WriteSkipped makes the list of skipped pictures at path hold list and nothing
// else; an empty list removes the file. Loaders that append to it are started
// afterwards.
func WriteSkipped(path string, list []Broken) error {
	if len(list) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("dataloader: list skipped pictures: %w", err)
		}
		return nil
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	for _, b := range list {
		if err := encoder.Encode(b); err != nil {
			return fmt.Errorf("dataloader: list skipped pictures: %w", err)
		}
	}
	beside := path + ".tmp"
	err := os.WriteFile(beside, text.Bytes(), 0o666)
	if err == nil {
		err = os.Rename(beside, path)
	}
	if err != nil {
		return fmt.Errorf("dataloader: list skipped pictures: %w", errors.Join(err, os.RemoveAll(beside)))
	}
	return nil
}
