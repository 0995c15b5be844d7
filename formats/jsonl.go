package formats

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"relsim/dataloader"
)

// maxLine bounds a row of JSON lines, in bytes.
const maxLine = 1 << 20

func isJSONL(name string, head []byte) bool {
	head = bytes.TrimLeft(head, " \t\r\n")
	return len(head) > 0 && head[0] == '{' || strings.HasSuffix(name, ".jsonl") || strings.HasSuffix(name, ".ndjson")
}

// openJSONL opens a data set of one JSON object per line:
//
//	{"image_hash": "4f0c…", "caption": "{Subject} growing step by step", "url_link": "https://…"}
//
// Only image_hash is needed; captions, literal_caption, relation, family, profile, pair, split, count, ink, held_out,
// gravity and group are read when they are there, and other keys are passed by. caption may be a list, too, and captions
// has the captions besides it. Quotes around a whole caption are taken off. The picture is that of [findPictures].
//
// A row that cannot be read is an error that names its line. A picture that is missing or broken is one only when it is
// asked for: see [dataloader.Loader].
//
// The fingerprint is a hash of the file's bytes, unpacked; the pictures are not part of it.
func openJSONL(ctx context.Context, paths []string, o Options) (dataloader.Dataset, error) {
	f, err := openFile(paths[0])
	if err != nil {
		return nil, fmt.Errorf("formats: open %s: %w", paths[0], err)
	}
	defer f.Close()
	images, err := imageFolder(paths[0], o.Images, o.Bare)
	if err != nil {
		return nil, err
	}
	name, hash := filepath.Base(paths[0]), sha256.New()
	items, err := readRows(ctx, io.TeeReader(f, hash), name)
	if err != nil {
		return nil, err
	}
	if err := findPictures(items, images); err != nil {
		return nil, err
	}
	return dataloader.NewRows(name, hex.EncodeToString(hash.Sum(nil)[:16]), items, nil), nil
}

// readRows reads JSON lines; name stands for the file in errors. Blank lines are passed by.
func readRows(ctx context.Context, r io.Reader, name string) ([]dataloader.Item, error) {
	var items []dataloader.Item
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	line := 0
	for s.Scan() {
		if line++; line%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		b := s.Bytes()
		if line == 1 {
			b = bytes.TrimPrefix(b, []byte(byteOrderMark))
		}
		if b = bytes.TrimSpace(b); len(b) == 0 {
			continue
		}
		it, err := parseRow(b)
		if err != nil {
			return nil, fmt.Errorf("formats: %s:%d: %w", name, line, err)
		}
		it.File, it.Line = name, line
		items = append(items, it)
	}
	if err := s.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return nil, fmt.Errorf("formats: %s:%d: line longer than %d bytes", name, line+1, maxLine)
		}
		return nil, fmt.Errorf("formats: %s:%d: %w", name, line+1, err)
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("formats: %s: no rows: want one JSON object per line", name)
	}
	return items, nil
}
