// Package phash computes perceptual hashes of pictures: 64 bits that stay nearly the same when a picture is resized,
// compressed or slightly recoloured. An [Index] finds the pictures of a set whose hashes lie close together.
//
// The hash is that of the function phash of Python's imagehash, bit for bit, so that hashes can be compared with those
// of other tools: luma, resized to 32×32, discrete cosine transform, and of the 8×8 lowest frequencies the ones above
// their median.
//
// What it tells: two pictures at a distance of 0 to 6 bits are in most cases the same picture in another file. What
// it does not: mirrored, turned and strongly cropped pictures have other hashes; pictures of one colour have all the
// same, [Flat].
package phash

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"

	"relsim/dataloader"
)

// Hash is a perceptual hash. Its highest bit belongs to the lowest frequency, then row by row.
type Hash uint64

// Flat is the hash of every picture that has one colour: nothing but its mean lies above the median.
const Flat Hash = 1 << 63

const (
	side = 32 // of the resized picture, in pixels
	low  = 8  // lowest frequencies along one axis
)

// Of returns the hash of im, which is that of imagehash.phash(PIL.Image.fromarray(pixels)). Of a file imagehash reads
// other pixels where it has transparency, 16-bit channels or an EXIF orientation (see [dataloader.Decode]), and those
// of a JPEG may differ by one level; testdata/README.md says how often that matters.
//
// Of panics if im has not the pixels that its size asks for.
//
// Source: imagehash 4.3.2, phash with hash_size 8 and highfreq_factor 4.
func Of(im *dataloader.Image) Hash {
	if im == nil || im.Width < 1 || im.Height < 1 || len(im.Pix) != 3*im.Width*im.Height {
		panic("phash: Of: the picture has not the pixels that its size asks for")
	}
	var pixels [side * side]float64
	for i, v := range thumbnail(im) {
		pixels[i] = float64(v)
	}
	var column [side]float64
	for x := range side {
		for y := range side {
			column[y] = pixels[y*side+x]
		}
		dct(&column)
		for y := range low {
			pixels[y*side+x] = column[y]
		}
	}
	var coefficients [low * low]float64
	for y := range low {
		row := (*[side]float64)(pixels[y*side:])
		dct(row)
		copy(coefficients[y*low:], row[:low])
	}
	sorted := coefficients
	slices.Sort(sorted[:])
	median := (sorted[low*low/2-1] + sorted[low*low/2]) / 2
	var h Hash
	for _, v := range coefficients {
		h <<= 1
		if v > median {
			h |= 1
		}
	}
	return h
}

// Distance is the number of bits in which two hashes differ, 0 to 64.
func (h Hash) Distance(other Hash) int { return bits.OnesCount64(uint64(h ^ other)) }

// String writes h as 16 hexadecimal digits, as imagehash does.
func (h Hash) String() string { return fmt.Sprintf("%016x", uint64(h)) }

// Parse reads what String writes.
func Parse(s string) (Hash, error) {
	v, err := strconv.ParseUint(s, 16, 64)
	if len(s) != 16 || err != nil {
		return 0, fmt.Errorf("phash: parse %.40q: want 16 hexadecimal digits", s)
	}
	return Hash(v), nil
}

// MarshalText writes h as 16 hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (h *Hash) UnmarshalText(text []byte) error {
	v, err := Parse(string(text))
	if err == nil {
		*h = v
	}
	return err
}
