package embeddings

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxMembers is the number of files in an archive: there are four to look for.
const maxMembers = 4096

// readNPZ reads an archive of arrays.
func readNPZ(r io.ReaderAt, size int64) (*Table, error) {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("not a .npz archive: %w", err)
	}
	if len(archive.File) > maxMembers {
		return nil, fmt.Errorf("%d files in the archive: want at most %d", len(archive.File), maxMembers)
	}
	members := make(map[string]*zip.File, len(archive.File))
	var names []string
	for _, f := range archive.File {
		name := strings.TrimSuffix(f.Name, ".npy")
		if members[name] != nil {
			return nil, fmt.Errorf("two arrays %.60q in the archive", name)
		}
		members[name] = f
		names = append(names, name)
	}
	// open calls read with the bytes of a member, their number, and what they take on disk.
	open := func(name string, read func(r io.Reader, size, stored int64) error) error {
		f := members[name]
		stored := min(int64(min(f.CompressedSize64, 1<<62)), size) // whatever the directory says
		if f.UncompressedSize64 > 1<<62 {
			return fmt.Errorf("%s: %d bytes", name, f.UncompressedSize64)
		}
		body, err := f.Open()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		defer body.Close()
		if err := read(body, int64(f.UncompressedSize64), stored); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		// The checksum is compared at the end of the bytes.
		if n, err := io.Copy(io.Discard, io.LimitReader(body, 1)); err != nil || n > 0 {
			return fmt.Errorf("%s: %w", name, errors.Join(err, errIf(n > 0, "more bytes than the archive says")))
		}
		return nil
	}
	if members["embeddings"] == nil {
		return nil, fmt.Errorf("no array \"embeddings\" among %.200q: want embeddings (n, dim) and image_ids (n); captions and url_links are optional", names)
	}
	var t *Table
	err = open("embeddings", func(r io.Reader, size, stored int64) (err error) {
		t, err = readVectors(r, size, stored)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, column := range []struct {
		name string
		to   *[]string
	}{{"image_ids", &t.IDs}, {"captions", &t.Captions}, {"url_links", &t.URLs}} {
		if members[column.name] == nil {
			continue
		}
		err := open(column.name, func(r io.Reader, size, stored int64) (err error) {
			*column.to, err = readStrings(r, size, stored, t.Len())
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

// errIf is an error with this text, or nil.
func errIf(is bool, text string) error {
	if !is {
		return nil
	}
	return errors.New(text)
}

// writeNPZ writes an archive of arrays: the embeddings as they are, since their bits look random, strings compressed.
func writeNPZ(w io.Writer, t *Table) error {
	archive := zip.NewWriter(w)
	add := func(name string, method uint16, write func(io.Writer) error) error {
		body, err := archive.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: method})
		if err == nil {
			err = write(body)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	if err := add("embeddings", zip.Store, func(w io.Writer) error { return writeVectors(w, t) }); err != nil {
		return err
	}
	for _, column := range []struct {
		name string
		list []string
	}{{"image_ids", t.IDs}, {"captions", t.Captions}, {"url_links", t.URLs}} {
		if column.list == nil {
			continue
		}
		if err := add(column.name, zip.Deflate, func(w io.Writer) error { return writeStrings(w, column.list) }); err != nil {
			return err
		}
	}
	return archive.Close()
}
