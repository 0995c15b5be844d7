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
// is an empty list, and a last line without an end, which a kill has cut off, is
// dropped; a broken line elsewhere is an error with its number.
func ReadSkipped(path string) ([]Broken, error) {
	list, _, err := readSkipped(path)
	return list, err
}

// readSkipped is [ReadSkipped]; whole is the length of the lines that have an end.
func readSkipped(path string) (list []Broken, whole int64, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("dataloader: read list of skipped pictures: %w", err)
	}
	for number := 1; ; number++ {
		line, rest, ended := bytes.Cut(data, []byte{'\n'})
		if !ended {
			return list, whole, nil
		}
		data = rest
		whole += int64(len(line)) + 1
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var b Broken
		if err := json.Unmarshal(line, &b); err != nil {
			return nil, 0, fmt.Errorf("dataloader: %s:%d: %w", path, number, err)
		}
		if b.ID == "" && b.Reason == "" {
			return nil, 0, fmt.Errorf("dataloader: %s:%d: missing %q and %q", path, number, "image_hash", "reason")
		}
		list = append(list, b)
	}
}

// WriteSkipped makes the list of skipped pictures at path hold list and nothing
// else, all or nothing; an empty list removes the file. Loaders that append to it are started
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
	err := writeSynced(beside, text.Bytes())
	if err == nil {
		err = os.Rename(beside, path)
	}
	if err != nil {
		return fmt.Errorf("dataloader: list skipped pictures: %w", errors.Join(err, os.RemoveAll(beside)))
	}
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
