package retrieval

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sync"
)

// Originals has the float32 vectors that an index was made of, to re-rank candidates with.
type Originals interface {
	// Original writes vector i to dst, which has its width. Several goroutines call it at once.
	Original(i int, dst []float32) error
}

// InMemory has the vectors (n, dim), row-major, as originals.
func InMemory(vectors []float32, dim int) Originals { return &memoryOriginals{vectors, dim} }

type memoryOriginals struct {
	vectors []float32
	dim     int
}

func (o *memoryOriginals) Original(i int, dst []float32) error {
	if len(dst) != o.dim {
		return fmt.Errorf("width %d, want %d", o.dim, len(dst))
	}
	if i < 0 || i >= len(o.vectors)/o.dim {
		return errNoOriginal
	}
	copy(dst, o.vectors[i*o.dim:])
	return nil
}

// InFile has as originals the vectors of width dim that lie in r from offset on, as little-endian float32, one after
// another. Only what is asked for is read.
func InFile(r io.ReaderAt, offset int64, dim int) Originals {
	return &fileOriginals{r: r, offset: offset, dim: dim}
}

type fileOriginals struct {
	r      io.ReaderAt
	offset int64
	dim    int
	pool   sync.Pool // of *[]byte
}

func (o *fileOriginals) Original(i int, dst []float32) error {
	if len(dst) != o.dim {
		return fmt.Errorf("width %d, want %d", o.dim, len(dst))
	}
	size := 4 * o.dim
	if i < 0 || int64(i) > (math.MaxInt64-o.offset)/int64(size)-1 {
		return errNoOriginal
	}
	b, ok := o.pool.Get().(*[]byte)
	if !ok {
		b = new([]byte)
		*b = make([]byte, size)
	}
	defer o.pool.Put(b)
	if n, err := o.r.ReadAt(*b, o.offset+int64(i)*int64(size)); n < size {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	for d := range dst {
		dst[d] = math.Float32frombits(binary.LittleEndian.Uint32((*b)[4*d:]))
	}
	return nil
}
