package dataloader

import (
	"fmt"
	"image"
	"math"

	"relsim/kernel"
)

// Geometry says how a picture of any size becomes one of the size that a network
// takes. The zero value is relsim's own way: the largest square is cut out of the
// middle and resized by a Lanczos filter. The others are those of published models
// (see [ReadPreprocessor]): the whole picture is resized, and what is wanted is cut out
// of its middle. Where the resized picture is smaller than that, black surrounds it.
type Geometry struct {
	Resize Resize `json:"resize,omitempty"`
	Side   int    `json:"side,omitempty"`   // of ResizeShortest
	Height int    `json:"height,omitempty"` // of ResizeExact
	Width  int    `json:"width,omitempty"`
	Filter string `json:"filter,omitempty"` // a name of [kernel.Filter]; of ResizeShortest and ResizeExact
	Middle Middle `json:"middle,omitempty"`
}

// Resize is what is done to a picture before the crop.
type Resize string

// The values of [Resize].
const (
	CropSquare     Resize = ""         // relsim's: the crop comes first, and is resized
	ResizeShortest Resize = "shortest" // the shorter side to Side, the longer one to Side·longer/shorter, rounded down
	ResizeExact    Resize = "exact"    // to Height×Width, whatever its shape
	ResizeNone     Resize = "none"
)

// Middle says where the crop of W pixels lies in an axis of N when N-W is odd.
type Middle string

// The values of [Middle].
const (
	MiddleDown Middle = ""     // ⌊(N-W)/2⌋: Hugging Face's processors
	MiddleEven Middle = "even" // (N-W)/2 rounded to even, and ⌊(W-N)/2⌋ of black before a smaller picture: torchvision
)

func (m Middle) of(n, w int) int {
	switch {
	case m == MiddleDown:
		return (n - w) >> 1 // down for negative numbers too
	case n < w:
		return -((w - n) / 2)
	}
	return int(math.RoundToEven(float64(n-w) / 2))
}

const (
	maxSize = 8192 // of a result, and of a resized picture as far as that is asked for
	// maxSide bounds the sides of pictures that are resized to sizes of another shape,
	// and maxResized the resized pictures, of which a part is computed.
	maxSide    = 1 << 18
	maxResized = 1 << 24
)

var filters = map[string]kernel.Filter{}

func init() {
	for _, f := range []kernel.Filter{kernel.Nearest, kernel.Box, kernel.Bilinear, kernel.Bicubic, kernel.Lanczos} {
		filters[f.String()] = f
	}
}

// validate returns an error that names the field that does not fit.
func (g Geometry) validate() error {
	fail := func(field string, got any, want string) error {
		return fmt.Errorf("dataloader: transform: geometry: %s is %v: want %s", field, got, want)
	}
	side, exact := 0, 0
	switch g.Resize {
	case CropSquare, ResizeNone:
	case ResizeShortest:
		side = maxSize
	case ResizeExact:
		exact = maxSize
	default:
		return fail("resize", fmt.Sprintf("%q", g.Resize), fmt.Sprintf("%q, %q or %q", ResizeShortest, ResizeExact, ResizeNone))
	}
	for _, f := range []struct {
		name   string
		got, n int
	}{{"side", g.Side, side}, {"height", g.Height, exact}, {"width", g.Width, exact}} {
		switch {
		case f.n == 0 && f.got != 0:
			return fail(f.name, f.got, fmt.Sprintf("none with resize %q", g.Resize))
		case f.n > 0 && (f.got < 1 || f.got > f.n):
			return fail(f.name, f.got, fmt.Sprintf("1 to %d", f.n))
		}
	}
	_, known := filters[g.Filter]
	switch resizes := side+exact > 0; {
	case resizes && !known:
		return fail("filter", fmt.Sprintf("%q", g.Filter), `"nearest", "box", "bilinear", "bicubic" or "lanczos"`)
	case !resizes && g.Filter != "":
		return fail("filter", fmt.Sprintf("%q", g.Filter), fmt.Sprintf("none with resize %q", g.Resize))
	}
	if g.Middle != MiddleDown && (g.Middle != MiddleEven || g.Resize == CropSquare) {
		return fail("middle", fmt.Sprintf("%q", g.Middle), fmt.Sprintf("%q, and none with resize %q", MiddleEven, CropSquare))
	}
	return nil
}

// frame says where the pixels of a result come from: crop of the picture is resized,
// and to.Part of that lies at the point at of the result, which is black around it.
type frame struct {
	crop   image.Rectangle
	to     kernel.View
	at     image.Point
	filter kernel.Filter
}

// frame returns that of t and pictures of width×height.
func (t Transform) frame(width, height int) (frame, error) {
	w, h := t.bounds()
	g := t.Geometry
	if g.Resize == CropSquare {
		side := min(width, height)
		left, top := (width-side)/2, (height-side)/2
		return frame{crop: image.Rect(left, top, left+side, top+side), to: kernel.Whole(w, h), filter: kernel.Lanczos}, nil
	}
	f := frame{crop: image.Rect(0, 0, width, height), filter: filters[g.Filter]}
	switch g.Resize {
	case ResizeShortest:
		short := min(width, height)
		f.to.Width, f.to.Height = g.Side, g.Side
		// One of them is the shorter side itself.
		if long := int64(g.Side) * int64(max(width, height)) / int64(short); long > maxResized {
			return frame{}, fmt.Errorf("%d×%d pixels: with its shorter side resized to %d it would be %d long, want at most %d", width, height, g.Side, long, maxResized)
		}
		f.to.Width = int(int64(g.Side) * int64(width) / int64(short))
		f.to.Height = int(int64(g.Side) * int64(height) / int64(short))
	case ResizeExact:
		if max(width, height) > maxSide {
			return frame{}, fmt.Errorf("%d×%d pixels: a picture that is resized to %d×%d may have sides of %d at most", width, height, g.Width, g.Height, maxSide)
		}
		f.to.Width, f.to.Height = g.Width, g.Height
	case ResizeNone:
		f.to.Width, f.to.Height, f.filter = width, height, kernel.Lanczos // of which there is nothing to do
	}
	left, top := g.Middle.of(f.to.Width, w), g.Middle.of(f.to.Height, h)
	f.to.Part = image.Rect(left, top, left+w, top+h).Intersect(image.Rect(0, 0, f.to.Width, f.to.Height))
	f.at = f.to.Part.Min.Sub(image.Pt(left, top))
	return f, nil
}

// stored returns f, of a picture as it is seen, for the picture as it is stored with
// an EXIF orientation, width×height, see [orient]. What it gives has to be oriented
// before it is put at f.at.
func (f frame) stored(orientation, width, height int) frame {
	if orientation >= 5 {
		f.to.Width, f.to.Height = f.to.Height, f.to.Width
	}
	f.crop = storedRect(f.crop, orientation, width, height)
	f.to.Part = storedRect(f.to.Part, orientation, f.to.Width, f.to.Height)
	return f
}

// storedRect moves a rectangle of a picture as it is seen to where its pixels are
// stored, in width×height.
func storedRect(r image.Rectangle, orientation, width, height int) image.Rectangle {
	if orientation >= 5 {
		r = image.Rect(r.Min.Y, r.Min.X, r.Max.Y, r.Max.X)
	}
	switch orientation {
	case 2, 3, 7, 8:
		r.Min.X, r.Max.X = width-r.Max.X, width-r.Min.X
	}
	switch orientation {
	case 3, 4, 6, 7:
		r.Min.Y, r.Max.Y = height-r.Max.Y, height-r.Min.Y
	}
	return r
}

// shape is what pixels of a result depend on, besides the decoder.
type shape struct {
	width, height int
	geometry      Geometry
}

// shape is that of pictures that t has made; of relsim's own geometry it is zero, for
// there the size says all.
func (t Transform) shape() shape {
	if t.Geometry.Resize == CropSquare {
		return shape{}
	}
	w, h := t.bounds()
	return shape{w, h, t.Geometry}
}

// fits says that im needs no more than augmentation and normalising: t has made it, or
// it has the size already and the crop would take all of it and leave it alone.
func (t Transform) fits(im *Image) bool {
	w, h := t.bounds()
	return im.Width == w && im.Height == h && im.made == t.shape()
}

// bounds is the size of a result.
func (t Transform) bounds() (width, height int) {
	if t.Width != 0 {
		return t.Width, t.Size
	}
	return t.Size, t.Size
}

// WithSize returns t for results of another size, as recipes for higher resolutions
// have it: the sizes of the resized picture change in proportion to that of the crop,
// rounded to the nearest. size is the side, or the height where t has a width of its own.
func (t Transform) WithSize(size int) (Transform, error) {
	if t.Size < 1 || size < 1 || size > maxSize {
		return Transform{}, fmt.Errorf("dataloader: transform: size %d to %d: want 1 to %d", t.Size, size, maxSize)
	}
	scale := func(v *int) { *v = (2**v*size + t.Size) / (2 * t.Size) }
	for _, v := range []*int{&t.Width, &t.Geometry.Side, &t.Geometry.Height, &t.Geometry.Width} {
		scale(v)
	}
	t.Size = size
	return t, t.Validate()
}
