// Package jpeg decodes JPEG pictures to planes of luma and colour differences, for
// [kernel.ResizeYCbCr].
//
// [Go] decodes in Go, [Turbo] by libturbojpeg where that library is installed. Both
// use the accurate integer transform and give the same samples of a picture that is
// not damaged. They take what cameras and programs write:
// baseline, extended and progressive Huffman coding of 8 bits, grey or YCbCr, chroma
// as fine as luma or of every second sample along one axis or both. The rest
// (CMYK, RGB, arithmetic coding, 12 bits, lossless, hierarchical, other sampling) is
// [ErrUnsupported]; image/jpeg decodes some of it.
//
// Files are hostile until decoded: sizes are bounded by what the file could hold
// before memory is taken, and data that ends early, has a code that does not exist or
// lacks its end marker is an error, never filled in.
package jpeg

import (
	"bytes"
	"errors"
	"fmt"

	"relsim/kernel"
)

// ErrUnsupported is the error of a picture that may be right and is of a kind that
// this package leaves to others.
var ErrUnsupported = errors.New("unsupported")

func unsupported(format string, args ...any) error {
	return fmt.Errorf("jpeg: %w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

func broken(format string, args ...any) error {
	return fmt.Errorf("jpeg: "+format, args...)
}

func truncated(where string) error { return broken("the file is truncated (%s)", where) }

// Rect is a part of a picture: X0 ≤ x < X1, Y0 ≤ y < Y1, in luma samples.
type Rect struct{ X0, Y0, X1, Y1 int }

// Decoder makes planes of a picture.
type Decoder interface {
	// Decode decodes data. Only samples of part, and chroma one sample around it,
	// are set; the others are left as they come. The planes belong to the decoder
	// and are valid until its next call.
	//
	// shrink is 1, or 4 or 8 for planes of 1/shrink of the size, rounded up, made
	// of the low frequencies only. part is in samples of the whole picture.
	Decode(data []byte, part Rect, shrink int) (*kernel.YCbCr, error)
}

// Header is what a picture says before its pixels.
type Header struct {
	Width, Height int
	Components    int  // 1 grey, 3 YCbCr
	SubX, SubY    int  // luma samples per chroma sample: 1 or 2
	Progressive   bool // several passes of rising precision
	OneScan       bool // the first scan has all components
}

// Scans counts the scans of a picture by its markers, without decoding. It counts no
// further than to MaxScans+1.
func Scans(data []byte) int {
	n := 0
	for n <= MaxScans {
		i := bytes.IndexByte(data, 0xff)
		if i < 0 || i+1 >= len(data) {
			break
		}
		mark := data[i+1]
		if mark == 0xff { // fill byte
			data = data[i+1:]
			continue
		}
		data = data[i+2:]
		switch {
		case mark == 0 || mark == 0x01 || mark >= 0xd0 && mark <= 0xd8: // coded data, or a marker without a segment
			continue
		case mark == markEOI:
			return n
		case mark == markSOS:
			n++
		}
		if len(data) < 2 {
			break
		}
		length := int(data[0])<<8 | int(data[1])
		if length < 2 || length > len(data) {
			break
		}
		data = data[length:]
	}
	return n
}

// ReadHeader parses data up to the first scan. Its error is [ErrUnsupported] for
// a picture that Decode would not take.
func ReadHeader(data []byte) (Header, error) {
	p := parser{data: data}
	if err := p.header(); err != nil {
		return Header{}, err
	}
	return p.Header, nil
}
