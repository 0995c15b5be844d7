// Package parquetfile opens Parquet files that come from anywhere.
//
// The library that decodes them takes sizes in a file at their word and panics over some that are wrong. So the footer
// is walked before it is decoded, and the pages of a column are before they are: lengths must lie in the file, pages
// must unpack to the size that their headers say, numbers of values and rows must be those of the footer, and memory is
// bounded by the size of the file. What is left of panics becomes errors.
//
// Pages are plain or of a dictionary, of version 1 or 2, not compressed or by Snappy, gzip or zstd: those of pyarrow,
// pandas, Hugging Face's datasets, DuckDB and Polars by default. Delta encodings and encrypted files are refused.
//
// Source: https://parquet.apache.org/docs/file-format.
package parquetfile

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	codec "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Bounds of a file.
const (
	maxFooter  = 32 << 20
	maxColumns = 4096
	maxRows    = 1<<31 - 1
)

// File is an open Parquet file. It is for one goroutine, but for [Column.ByteArrays].
type File struct {
	*parquet.File
	r    io.ReaderAt
	end  int64 // of the pages
	left int64 // memory that may still be asked for
	may  int64 // memory that might be, in all

	// FooterSum is the SHA-256 of the footer, which has the number of rows, and the place and size of every column.
	FooterSum [sha256.Size]byte
}

// Open checks the footer of a file of size bytes and decodes it. No page is read. Columns that are read whole may take
// memory bytes, all together.
func Open(r io.ReaderAt, size, memory int64) (f *File, err error) {
	defer caught(&err)
	end, sum, err := checkFooter(r, size)
	if err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, err
	}
	return &File{File: file, r: r, end: end, left: memory, may: memory, FooterSum: sum}, nil
}

// caught makes a panic of the library an error.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("damaged: %v", p)
	}
}

// Take counts n bytes of memory for values, and returns an error once they are more than the file is allowed.
func (f *File) Take(n int64) error {
	if f.left -= n; f.left < 0 {
		return fmt.Errorf("unpacked, it takes more than the %d bytes of memory that it may", f.may)
	}
	return nil
}

// Names are the names of the columns, without those inside of groups.
func (f *File) Names() []string {
	var names []string
	for _, column := range f.Root().Columns() {
		names = append(names, column.Name())
	}
	return names
}

// checkFooter checks the lengths and counts in the footer, and returns where it begins, and its hash.
func checkFooter(r io.ReaderAt, size int64) (begin int64, sum [sha256.Size]byte, err error) {
	var head, tail [8]byte
	if size < 12 {
		return 0, sum, fmt.Errorf("%d bytes: too short for a Parquet file", size)
	}
	if _, err := r.ReadAt(head[:4], 0); err != nil {
		return 0, sum, short(err)
	}
	if _, err := r.ReadAt(tail[:], size-8); err != nil && !errors.Is(err, io.EOF) {
		return 0, sum, err
	}
	if string(head[:4]) != "PAR1" || string(tail[4:]) != "PAR1" {
		return 0, sum, fmt.Errorf("not a Parquet file: it begins with %q and ends with %q, not \"PAR1\"", head[:4], tail[4:])
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > maxFooter || n > size-12 {
		return 0, sum, fmt.Errorf("a footer of %d bytes in %d: want at most %d", n, size, maxFooter)
	}
	footer := make([]byte, n)
	if _, err := r.ReadAt(footer, size-8-n); err != nil {
		return 0, sum, short(err)
	}
	walk := &thrift{b: footer}
	if err := walk.structure(0); err != nil {
		return 0, sum, fmt.Errorf("footer: %w", err)
	}
	if walk.at != len(footer) {
		return 0, sum, fmt.Errorf("footer: %d bytes after its end", len(footer)-walk.at)
	}
	var meta format.FileMetaData
	if err := codec.Unmarshal(&codec.CompactProtocol{}, footer, &meta); err != nil {
		return 0, sum, fmt.Errorf("footer: %w", err)
	}
	if len(meta.Schema) == 0 || len(meta.Schema) > maxColumns {
		return 0, sum, fmt.Errorf("footer: %d columns: want 1 to %d", len(meta.Schema), maxColumns)
	}
	if meta.EncryptionAlgorithm.Value != nil {
		return 0, sum, errors.New("an encrypted file")
	}
	var rows int64
	for i := range meta.RowGroups {
		n := meta.RowGroups[i].NumRows
		if n < 0 || n > maxRows-rows {
			return 0, sum, fmt.Errorf("footer: row group %d has %d rows: want at most %d in all", i, n, maxRows)
		}
		rows += n
	}
	if rows != meta.NumRows {
		return 0, sum, fmt.Errorf("footer: %d rows, and %d in the row groups", meta.NumRows, rows)
	}
	return size - 8 - n, sha256.Sum256(footer), nil
}

// short is the error of a file that ends early.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
