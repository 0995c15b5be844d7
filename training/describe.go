package training

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"relsim/checkpoints"
	"relsim/hub"
)

// Description is what a model says of itself.
type Description struct {
	Config    Config
	Source    *Source // nil if it does not say what it was trained on
	Published bool    // it is a published model, and no checkpoint
}

// Describe reads it, and no weights. path is what [OpenWith] takes.
func Describe(ctx context.Context, path string, o hub.Options) (*Description, error) {
	if isPublished(path) || isName(path) {
		base, err := OpenBase(ctx, path, o)
		if err != nil {
			return nil, err
		}
		return &Description{Config: base.config(), Published: true}, nil
	}
	dir, err := checkpoints.Resolve(path)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Description, error) { return nil, fmt.Errorf("training: open %s: %w", dir, err) }
	data, err := readSmall(filepath.Join(dir, "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return fail(errNoConfig)
	}
	if err != nil {
		return fail(err)
	}
	d := new(Description)
	if d.Config, err = parseConfig(data); err != nil {
		return fail(err)
	}
	data, err = readSmall(filepath.Join(dir, sourceFile))
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return fail(err)
	}
	source, err := parseSource(data)
	if err != nil {
		return fail(err)
	}
	d.Source = &source
	return d, nil
}

var errNoConfig = errors.New("no config.json: the checkpoint of another program")

// readSmall reads a file of at most 16 MiB.
func readSmall(path string) ([]byte, error) {
	const most = 16 << 20
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s: want a file of at most %d bytes", path, most)
	}
	return os.ReadFile(path)
}
