// Package embeddings reads and writes tables of embeddings: NumPy's .npz and .npy, and Parquet.
//
//	.npz      arrays embeddings (n, dim), image_ids (n), captions (n), url_links (n); the last two, or all three, may be missing
//	.npy      one array (n, dim), without ids
//	.parquet  columns embedding (a list of numbers), image_id, caption, url_link; the names of .npz will do as well
//
// Numbers are float16, float32 or float64 in a file and float32 in a [Table]; strings are NumPy's fixed-width ones. An
// array of Python objects is a pickle, which could run any code, and is refused. Every value has to be finite.
//
// Files come from anywhere. Memory is bounded by the size of the file: what takes more than 64 times its bytes (and more
// than 64 MiB) is refused, whatever a header claims.
//
// Sources: the NumPy Enhancement Proposal 1, numpy.lib.format; https://parquet.apache.org/docs/file-format.
package embeddings

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"relsim/checkpoints"
	"relsim/kernel"
	"relsim/regular"
)

// Table is a list of embeddings with what they belong to.
type Table struct {
	IDs      []string  // of the pictures; nil: not known
	Captions []string  // nil: not known
	URLs     []string  // where the pictures came from; nil: not known
	Dim      int       // width of an embedding
	Vectors  []float32 // (Len(), Dim), row-major
}

// Len is the number of rows.
func (t *Table) Len() int {
	if t.Dim < 1 {
		return 0
	}
	return len(t.Vectors) / t.Dim
}

// Row is embedding i. It is not a copy.
func (t *Table) Row(i int) []float32 { return t.Vectors[i*t.Dim : (i+1)*t.Dim] }

// Bounds of what a file may ask for: so many times its own bytes, and so much in any case.
const (
	maxRatio = 64
	freeSize = 64 << 20
)

// allowed is the memory that a file, or a part of one, may ask for.
func allowed(size int64) int64 {
	if size > math.MaxInt64/maxRatio {
		return math.MaxInt64
	}
	return max(freeSize, maxRatio*size)
}

// Formats are the endings that [Read] and [Write] know.
var Formats = []string{".npz", ".npy", ".parquet"}

// CheckPath returns an error if the ending of a path is none of [Formats].
func CheckPath(path string) error {
	if !slices.Contains(Formats, strings.ToLower(filepath.Ext(path))) {
		return fmt.Errorf("embeddings: %s: the ending says no format: want %s", path, strings.Join(Formats, ", "))
	}
	return nil
}

// Read reads a table from a file, by its ending.
func Read(path string) (*Table, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	f, size, err := regular.Open(path)
	if err != nil {
		return nil, fmt.Errorf("embeddings: %w", err)
	}
	defer f.Close()
	t, err := ReadFrom(f, size, strings.ToLower(filepath.Ext(path)))
	if err != nil {
		return nil, fmt.Errorf("embeddings: %s: %w", path, errors.Unwrap(err))
	}
	return t, nil
}

// ReadFrom reads a table of size bytes in one of [Formats].
func ReadFrom(r io.ReaderAt, size int64, format string) (*Table, error) {
	var t *Table
	var err error
	switch format {
	case ".npz":
		t, err = readNPZ(r, size)
	case ".npy":
		t, err = readVectors(io.NewSectionReader(r, 0, size), size, size)
	case ".parquet":
		t, err = readParquet(r, size)
	default:
		err = fmt.Errorf("format %q: want %s", format, strings.Join(Formats, ", "))
	}
	if err == nil {
		err = t.check()
	}
	if err != nil {
		return nil, fmt.Errorf("embeddings: %w", err)
	}
	return t, nil
}

// Write writes a table to a file, by its ending: beside it first, and then into place. A .npy has room for the vectors
// alone.
func Write(path string, t *Table) error {
	if err := CheckPath(path); err != nil {
		return err
	}
	if err := t.check(); err != nil {
		return fmt.Errorf("embeddings: write %s: %w", path, err)
	}
	write := map[string]func(io.Writer, *Table) error{".npz": writeNPZ, ".npy": writeVectors, ".parquet": writeParquet}
	err := checkpoints.WriteFile(path, func(w io.Writer) error { return write[strings.ToLower(filepath.Ext(path))](w, t) })
	if err != nil {
		return fmt.Errorf("embeddings: write %s: %w", path, err)
	}
	return nil
}

// check returns an error if the parts do not fit or a value is not finite.
func (t *Table) check() error {
	if t.Dim < 1 || len(t.Vectors) == 0 || len(t.Vectors)%t.Dim != 0 {
		return fmt.Errorf("%d values of width %d: want one row or more, of one value or more", len(t.Vectors), t.Dim)
	}
	for _, column := range []struct {
		name string
		list []string
	}{{"image_ids", t.IDs}, {"captions", t.Captions}, {"url_links", t.URLs}} {
		if column.list == nil {
			continue
		}
		if len(column.list) != t.Len() {
			return fmt.Errorf("%d embeddings with %d %s", t.Len(), len(column.list), column.name)
		}
		for i, s := range column.list {
			if !utf8.ValidString(s) {
				return fmt.Errorf("%s: row %d: %.40q is not UTF-8", column.name, i, s)
			}
		}
	}
	for i, id := range t.IDs {
		if id == "" {
			return fmt.Errorf("image_ids: row %d has no id", i)
		}
	}
	if !kernel.AllFinite(t.Vectors) {
		for i, v := range t.Vectors {
			if !(math.Abs(float64(v)) <= math.MaxFloat32) {
				return fmt.Errorf("embeddings: row %d%s has the value %v at %d: every value must be finite (in float32)", i/t.Dim, t.name(i/t.Dim), v, i%t.Dim)
			}
		}
	}
	return nil
}

// name is the id of a row in brackets, where it has one.
func (t *Table) name(row int) string {
	if t.IDs == nil {
		return ""
	}
	return fmt.Sprintf(" (%s)", t.IDs[row])
}

// Select returns the embeddings of pictures in the order asked for, (len(ids), Dim), and the ids that have none; those
// rows are zero. An id that several rows have is an error, unless they have one embedding.
func (t *Table) Select(ids []string) (vectors []float32, missing []string, err error) {
	if t.IDs == nil {
		return nil, nil, errors.New("embeddings: select: the table has no image ids")
	}
	rows := make(map[string]int, len(t.IDs))
	for i, id := range t.IDs {
		if j, ok := rows[id]; !ok {
			rows[id] = i
		} else if !slices.Equal(t.Row(i), t.Row(j)) {
			return nil, nil, fmt.Errorf("embeddings: select: rows %d and %d both belong to %q, and differ", j, i, id)
		}
	}
	vectors = make([]float32, len(ids)*t.Dim)
	for k, id := range ids {
		i, ok := rows[id]
		if !ok {
			missing = append(missing, id)
			continue
		}
		copy(vectors[k*t.Dim:(k+1)*t.Dim], t.Row(i))
	}
	return vectors, missing, nil
}
