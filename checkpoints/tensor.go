// Package checkpoints keeps the state of a training run in files.
//
// Tensors are stored as safetensors: 8 bytes of header length, a JSON header with
// name, type, shape and place of each tensor, and the data. [Open] reads such a
// file from anywhere, also a hostile one; [Write] and [Encode] write it as the
// reference implementation does.
//
// A checkpoint is a folder:
//
//	run/checkpoints/
//	    step-00001200/          written beside, synced, renamed
//	        model.safetensors
//	        optimizer.safetensors
//	        state.json
//	        config.json
//	        vocabulary.json     …and what else the run needs
//	    latest                  name of the newest folder; moves last
//	    best                    name and score of the best one
//
// [Save] makes one, [Load] reads it, [Resolve] and [Latest] find it, [MarkBest]
// marks it, [Prune] removes old ones. Whatever moment a process is killed at, the
// folder before stays whole and `latest` names a whole folder. One process at a
// time writes into a run folder.
//
// Source of the format: https://github.com/huggingface/safetensors.
package checkpoints

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync"
)

// DType is the type of a tensor's values, by its name in the format.
type DType string

// The types of values. All are little-endian.
const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
	I64  DType = "I64"
	I32  DType = "I32"
	I16  DType = "I16"
	I8   DType = "I8"
	U64  DType = "U64"
	U32  DType = "U32"
	U16  DType = "U16"
	U8   DType = "U8"
	Bool DType = "BOOL"
)

// dtypes holds every type, in the order in which the reference implementation
// writes them: widest first, so that every tensor is aligned.
var dtypes = []DType{U64, I64, F64, F32, U32, I32, BF16, F16, U16, I16, I8, U8, Bool}

// Size is the number of bytes of a value; 0 for a type that is not known.
func (d DType) Size() int {
	switch d {
	case F64, I64, U64:
		return 8
	case F32, I32, U32:
		return 4
	case F16, BF16, I16, U16:
		return 2
	case I8, U8, Bool:
		return 1
	}
	return 0
}

// Tensor is a tensor in memory: its values lie in Data, row-major and
// little-endian.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte
}

// FromFloat32 returns a tensor of type F32 with a copy of the values.
//
// FromFloat32 panics if the shape asks for another number of values.
func FromFloat32(name string, shape []int, data []float32) Tensor {
	n, err := elements(shape)
	if err != nil || n != int64(len(data)) {
		panic(fmt.Sprintf("checkpoints: FromFloat32: %s: shape %v with %d values", name, shape, len(data)))
	}
	b := make([]byte, 4*len(data))
	for i, v := range data {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	return Tensor{Name: name, DType: F32, Shape: slices.Clone(shape), Data: b}
}

// Float32s returns the values of t as float32, rounded to nearest; false is 0 and
// true is 1.
func Float32s(t Tensor) ([]float32, error) {
	n, err := t.check()
	if err != nil {
		return nil, fmt.Errorf("checkpoints: tensor %q: %w", t.Name, err)
	}
	dst := make([]float32, n)
	toFloat32(dst, t.Data, t.DType)
	return dst, nil
}

// check returns the number of values, or an error if type, shape and data do not
// fit.
func (t Tensor) check() (int, error) {
	if t.DType.Size() == 0 {
		return 0, fmt.Errorf("unknown type %q", t.DType)
	}
	n, err := elements(t.Shape)
	if err != nil {
		return 0, err
	}
	if hi, size := bits.Mul64(uint64(n), uint64(t.DType.Size())); hi != 0 || size != uint64(len(t.Data)) {
		return 0, fmt.Errorf("shape %v of %s with %d bytes", t.Shape, t.DType, len(t.Data))
	}
	return int(n), nil
}

// elements is the number of values of a tensor of this shape, at most 2⁶³-1.
func elements(shape []int) (int64, error) {
	n, zero := uint64(1), false
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, fmt.Errorf("shape %v has a negative side", shape)
		case d == 0:
			zero = true
			continue
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, fmt.Errorf("shape %v has more than 2⁶³-1 values", shape)
		}
		n = lo
	}
	if zero {
		return 0, nil
	}
	return int64(n), nil
}

// toFloat32 converts len(dst) values of type d.
func toFloat32(dst []float32, src []byte, d DType) {
	le := binary.LittleEndian
	switch d {
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
		}
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		}
	case F16:
		half := halves()
		for ; len(dst) >= 4; dst, src = dst[4:], src[8:] { // four with one access
			v := le.Uint64(src)
			dst[0], dst[1], dst[2], dst[3] = half[uint16(v)], half[uint16(v>>16)], half[uint16(v>>32)], half[uint16(v>>48)]
		}
		for i := range dst {
			dst[i] = half[le.Uint16(src[2*i:])]
		}
	case BF16:
		for ; len(dst) >= 4; dst, src = dst[4:], src[8:] {
			v := le.Uint64(src)
			dst[0], dst[1] = math.Float32frombits(uint32(v)<<16), math.Float32frombits(uint32(v)&0xffff0000)
			dst[2], dst[3] = math.Float32frombits(uint32(v>>32)<<16), math.Float32frombits(uint32(v>>32)&0xffff0000)
		}
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(le.Uint16(src[2*i:])) << 16)
		}
	case U64: // does not fit in an int64
		for i := range dst {
			dst[i] = float32(le.Uint64(src[8*i:]))
		}
	default:
		for i := range dst {
			dst[i] = float32(integer(src, i, d))
		}
	}
}

// integer reads value i of an integer type or BOOL; a U64 wraps.
func integer(src []byte, i int, d DType) int64 {
	le := binary.LittleEndian
	switch d {
	case I64, U64:
		return int64(le.Uint64(src[8*i:]))
	case I32:
		return int64(int32(le.Uint32(src[4*i:])))
	case U32:
		return int64(le.Uint32(src[4*i:]))
	case I16:
		return int64(int16(le.Uint16(src[2*i:])))
	case U16:
		return int64(le.Uint16(src[2*i:]))
	case I8:
		return int64(int8(src[i]))
	case U8:
		return int64(src[i])
	case Bool:
		if src[i] != 0 {
			return 1
		}
		return 0
	}
	panic("checkpoints: integer of type " + string(d))
}

// halves holds the value of every binary16: the numbers of a model are alike, and
// most lookups are in the cache.
var halves = sync.OnceValue(func() *[1 << 16]float32 {
	table := new([1 << 16]float32)
	for h := range table {
		table[h] = halfToFloat32(uint16(h))
	}
	return table
})

// halfToFloat32 converts an IEEE 754 binary16, exactly.
func halfToFloat32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, fraction := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0: // zero and subnormal: fraction · 2⁻²⁴
		v := float32(fraction) / (1 << 24)
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 0x1f: // infinity and NaN
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}
