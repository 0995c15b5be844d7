package retrieval

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strconv"

	"relsim/checkpoints"
	"relsim/kernel"
)

// quantizedFormat names the file of a [Quantized]: safetensors with
//
//	codes   U8  (n, stride)   128 stands for zero; stride is the width, rounded up to 64
//	scales  F32 (n)
//	bounds  F64 (2)           the largest error and the largest norm of a quantised vector
//
// and the width and the CRC-32C of the data, in this order, in the metadata.
const quantizedFormat = "relsim-quantized-1"

// Encode writes the index as a safetensors file; [checkpoints.WriteFile] puts it in place safely.
func (x *Quantized) Encode(w io.Writer) error {
	var bounds [16]byte
	binary.LittleEndian.PutUint64(bounds[:], math.Float64bits(x.maxError))
	binary.LittleEndian.PutUint64(bounds[8:], math.Float64bits(x.maxNorm))
	tensors := []checkpoints.Tensor{
		{Name: "codes", DType: checkpoints.U8, Shape: []int{x.n, x.stride}, Data: x.codes},
		checkpoints.FromFloat32("scales", []int{x.n}, x.scales),
		{Name: "bounds", DType: checkpoints.F64, Shape: []int{2}, Data: bounds[:]},
	}
	err := checkpoints.Encode(w, tensors, map[string]string{
		"format": quantizedFormat,
		"dim":    strconv.Itoa(x.dim),
		"crc32c": checksum(tensors[0].Data, tensors[1].Data, tensors[2].Data),
	})
	if err != nil {
		return fmt.Errorf("retrieval: encode quantized index: %w", err)
	}
	return nil
}

// checksum is the CRC-32C of the data, in hexadecimal.
func checksum(data ...[]byte) string {
	table := crc32.MakeTable(crc32.Castagnoli)
	var sum uint32
	for _, b := range data {
		sum = crc32.Update(sum, table, b)
	}
	return fmt.Sprintf("%08x", sum)
}

// ReadQuantized reads an index that [Quantized.Encode] wrote. A file that is cut, changed or something else is an error.
func ReadQuantized(f *checkpoints.File) (*Quantized, error) {
	x, err := readQuantized(f)
	if err != nil {
		return nil, fmt.Errorf("retrieval: read quantized index: %w", err)
	}
	return x, nil
}

func readQuantized(f *checkpoints.File) (*Quantized, error) {
	meta := f.Metadata()
	if meta["format"] != quantizedFormat {
		return nil, fmt.Errorf("the format is %q, want %q", meta["format"], quantizedFormat)
	}
	dim, err := strconv.Atoi(meta["dim"])
	if err != nil || dim < 1 || dim > maxDim {
		return nil, fmt.Errorf("the width is %q, want 1 to %d", meta["dim"], maxDim)
	}
	x := &Quantized{dim: dim, stride: kernel.CodeStride(dim)}
	// Shapes first: the file's size bounds what they say, and data is read after.
	for _, want := range []struct {
		name  string
		dtype checkpoints.DType
		rank  int
	}{{"codes", checkpoints.U8, 2}, {"scales", checkpoints.F32, 1}, {"bounds", checkpoints.F64, 1}} {
		info, ok := f.Info(want.name)
		if !ok || info.DType != want.dtype || len(info.Shape) != want.rank {
			return nil, fmt.Errorf("tensor %q is %s %v, want %s of rank %d", want.name, info.DType, info.Shape, want.dtype, want.rank)
		}
		switch want.name {
		case "codes":
			x.n = info.Shape[0]
			if info.Shape[1] != x.stride {
				return nil, fmt.Errorf("rows of %d codes for vectors of width %d, want %d", info.Shape[1], dim, x.stride)
			}
		case "scales":
			if info.Shape[0] != x.n {
				return nil, fmt.Errorf("%d scales for %d vectors", info.Shape[0], x.n)
			}
		case "bounds":
			if info.Shape[0] != 2 {
				return nil, fmt.Errorf("%d bounds, want 2", info.Shape[0])
			}
		}
	}
	scales, err := f.Bytes("scales")
	if err != nil {
		return nil, err
	}
	bounds, err := f.Bytes("bounds")
	if err != nil {
		return nil, err
	}
	if x.codes, err = f.Bytes("codes"); err != nil {
		return nil, err
	}
	if sum := checksum(x.codes, scales, bounds); sum != meta["crc32c"] {
		return nil, fmt.Errorf("the checksum of the data is %s, and the file says %q: it is damaged", sum, meta["crc32c"])
	}
	x.scales = make([]float32, x.n)
	for i := range x.scales {
		s := math.Float32frombits(binary.LittleEndian.Uint32(scales[4*i:]))
		if !(s >= 0 && s <= math.MaxFloat32) {
			return nil, fmt.Errorf("vector %d has the scale %v", i, s)
		}
		x.scales[i] = s
	}
	x.maxError = math.Float64frombits(binary.LittleEndian.Uint64(bounds))
	x.maxNorm = math.Float64frombits(binary.LittleEndian.Uint64(bounds[8:]))
	for _, b := range []float64{x.maxError, x.maxNorm} {
		if !(b >= 0 && b <= math.MaxFloat64) {
			return nil, fmt.Errorf("the bounds %v and %v are no lengths", x.maxError, x.maxNorm)
		}
	}
	if x.stride > dim {
		rest := bytes.Repeat([]byte{128}, x.stride-dim)
		for i := range x.n {
			if !bytes.Equal(x.codes[i*x.stride+dim:(i+1)*x.stride], rest) {
				return nil, errors.New("codes behind the width of vector " + strconv.Itoa(i))
			}
		}
	}
	return x, nil
}
