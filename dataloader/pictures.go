package dataloader

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"relsim/jpeg"
	"relsim/kernel"
)

// Ways to decode JPEG pictures, for [ChoosePictures].
const (
	JPEGAuto      = "auto"      // JPEGGo
	JPEGGo        = "go"        // package jpeg
	JPEGTurbo     = "turbo"     // libturbojpeg, through package jpeg
	JPEGReference = "reference" // image/jpeg, then imaging
)

// Pictures says how a file becomes a square of pixels. The last bits of a pixel
// depend on it, so that a training run records it.
//
// The zero value decodes JPEG in Go, to planes, and resamples these
// ([kernel.ResizeYCbCr]); it resamples RGB as Pillow does ([kernel.ResizeRGB]).
type Pictures struct {
	// JPEG is "" or JPEGGo, JPEGTurbo or JPEGReference. A picture that is not
	// damaged has the same pixels with the first two. The reference also resamples
	// RGB by package imaging.
	JPEG string `json:"jpeg,omitempty"`

	// Draft decodes JPEG at 1/4 or 1/8 of its size, from the low frequencies
	// only, where the square is then no smaller than what is asked for. The edges of
	// the square move by less than a pixel of that size.
	Draft bool `json:"draft,omitempty"`
}

// ChoosePictures returns the settings for one of the names of JPEG decoders. The
// automatic choice is the decoder in Go, installed library or not: with the assembly
// of the kernels it is the faster one (bench/jpeg.sh), and a run that is resumed on
// another machine must not change its decoder. Without assembly, libturbojpeg is
// faster.
func ChoosePictures(name string) (Pictures, error) {
	switch name {
	case JPEGAuto, JPEGGo:
		return Pictures{}, nil
	case JPEGTurbo:
		if _, err := jpeg.HaveTurbo(); err != nil {
			return Pictures{}, err
		}
		return Pictures{JPEG: name}, nil
	case JPEGReference:
		return Pictures{JPEG: name}, nil
	}
	return Pictures{}, fmt.Errorf("dataloader: JPEG decoder %q: want %s, %s, %s or %s", name, JPEGAuto, JPEGGo, JPEGTurbo, JPEGReference)
}

// Validate returns an error that names the decoder that is not known.
func (p Pictures) Validate() error {
	switch p.JPEG {
	case "", JPEGGo, JPEGTurbo, JPEGReference:
		return nil
	}
	return fmt.Errorf("dataloader: JPEG decoder %q: want %s, %s or %s", p.JPEG, JPEGGo, JPEGTurbo, JPEGReference)
}

// Squarer is a data set that makes squares by itself. It gives what
// [Transform.Apply] makes of the picture, before augmentation, up to rounding, and
// sooner: without the whole picture in RGB.
type Squarer interface {
	// SquareImage returns the picture of item i, cut and resized to
	// t.Size×t.Size pixels in the way of t.Pictures. The caller must not change it.
	SquareImage(ctx context.Context, i int, t Transform) (*Image, error)
}

// Image returns the picture of item i of ds, cut to a square and resized to
// Size×Size pixels. Apply takes it as it is. The caller must not change it.
func (t Transform) Image(ctx context.Context, ds Dataset, i int) (*Image, error) {
	return t.image(ctx, ds, i, new(workspace))
}

// workspace is memory of one goroutine, for one picture after the other.
type workspace struct {
	file, entry []byte
	im          Image
}

// image is Image. The picture may lie in w.
func (t Transform) image(ctx context.Context, ds Dataset, i int, w *workspace) (*Image, error) {
	switch d := ds.(type) {
	case *jsonl:
		return d.square(ctx, i, t, w)
	case *subset:
		return t.image(ctx, d.ds, d.indices[i], w)
	case Squarer:
		return d.SquareImage(ctx, i, t)
	}
	im, err := ds.Image(ctx, i)
	if err != nil {
		return nil, err
	}
	return t.squareOf(im)
}

// read reads a file; the memory of a large one is not kept.
func (w *workspace) read(path string, l Limits) ([]byte, error) {
	data, err := readPicture(path, l, w.file)
	if cap(data) <= 16<<20 {
		w.file = data
	}
	return data, err
}

// blank returns a picture to fill: that of w if its memory is large enough.
func (w *workspace) blank(size int) *Image {
	w.im.Width, w.im.Height = size, size
	if n := 3 * size * size; cap(w.im.Pix) < n {
		w.im.Pix = make([]byte, n)
	} else {
		w.im.Pix = w.im.Pix[:n]
	}
	return &w.im
}

// squareOf cuts and resizes im, unless it has the size already.
func (t Transform) squareOf(im *Image) (*Image, error) {
	if err := im.check(); err != nil {
		return nil, err
	}
	if im.Width == t.Size && im.Height == t.Size {
		return im, nil
	}
	return cropAndResize(im, t.Size, t.Pictures).image(), nil
}

// Square returns a view of ds whose pictures are cut and resized as Apply does it.
// Many of them fit in memory where photographs do not, and t gives the same values
// for both. Square pictures of the size are passed on as they are.
//
// Square panics if t.Size is less than 1.
func (t Transform) Square(ds Dataset) Dataset {
	if t.Size < 1 {
		panic(fmt.Sprintf("dataloader: Square: size %d", t.Size))
	}
	return &squared{ds, t}
}

type squared struct {
	Dataset
	t Transform
}

func (s *squared) Image(ctx context.Context, i int) (*Image, error) {
	return s.t.Image(ctx, s.Dataset, i)
}

func (s *subset) SquareImage(ctx context.Context, i int, t Transform) (*Image, error) {
	return t.Image(ctx, s.ds, s.indices[i])
}

// SquareFile reads a picture from a file. See [DecodeSquare].
func SquareFile(path string, l Limits, t Transform) (*Image, error) {
	return squareFile(path, l, t, new(workspace))
}

func squareFile(path string, l Limits, t Transform, w *workspace) (*Image, error) {
	data, err := w.read(path, l)
	if err != nil {
		return nil, err
	}
	im, err := decodeSquare(data, l, t, w)
	if err != nil {
		return nil, fmt.Errorf("dataloader: decode %s: %w", path, err)
	}
	return im, nil
}

// DecodeSquare decodes a picture, cuts the largest square out of its middle and
// resizes it to t.Size×t.Size pixels, in the way of t.Pictures. It takes and refuses
// what [Decode] does: an EXIF orientation is applied, a picture that is broken or
// larger than l is an error.
//
// Of JPEG pictures of the kinds that package jpeg takes, chroma is interpolated as
// libjpeg does, where the reference repeats it; and a pixel is rounded once.
func DecodeSquare(data []byte, l Limits, t Transform) (*Image, error) {
	im, err := decodeSquare(data, l, t, new(workspace))
	if err != nil {
		return nil, fmt.Errorf("dataloader: decode: %w", err)
	}
	return im, nil
}

func decodeSquare(data []byte, l Limits, t Transform, w *workspace) (*Image, error) {
	if t.Pictures.JPEG != JPEGReference {
		im, err := guard(func() (*Image, error) { return squareOfJPEG(data, l, t, w) })
		if err == nil {
			return im, nil
		}
		// What package jpeg leaves to others, and what it calls broken, is for the
		// reference to judge.
	}
	im, err := decode(data, l)
	if err != nil {
		return nil, err
	}
	return t.squareOf(im)
}

var errNotFast = errors.New("for the reference path")

// squareOfJPEG makes the square from the planes of a JPEG picture.
func squareOfJPEG(data []byte, l Limits, t Transform, w *workspace) (*Image, error) {
	if int64(len(data)) > l.Bytes || len(data) < 3 || string(data[:3]) != "\xff\xd8\xff" {
		return nil, errNotFast
	}
	h, err := jpeg.ReadHeader(data)
	if err != nil {
		return nil, err
	}
	release, err := admit("JPEG", h.Width, h.Height, l)
	if err != nil {
		return nil, err
	}
	defer release()
	orientation := orientationOf(exifOfJPEG(data))
	side := min(h.Width, h.Height)
	left, top := (h.Width-side)/2, (h.Height-side)/2
	// The middle is rounded down in the picture as it is seen.
	switch orientation {
	case 2, 3, 7, 8:
		left = h.Width - side - left
	}
	switch orientation {
	case 3, 4, 6, 7:
		top = h.Height - side - top
	}
	pool := &goDecoders
	if t.Pictures.JPEG == JPEGTurbo {
		pool = &turboDecoders
	}
	d := pool.Get().(jpeg.Decoder)
	shrink := 1
	if t.Pictures.Draft {
		for _, s := range []int{4, 8} {
			if side/s >= t.Size {
				shrink = s
			}
		}
	}
	planes, err := d.Decode(data, jpeg.Rect{X0: left, Y0: top, X1: left + side, Y1: top + side}, shrink)
	if err != nil {
		pool.Put(d)
		return nil, err
	}
	im := w.blank(t.Size)
	kernel.ResizeYCbCr(im.Pix, t.Size, planes, left/shrink, top/shrink, side/shrink, kernel.Lanczos)
	const keep = 20_000_000 // pixels; a decoder keeps the memory of its largest picture
	if h.Width*h.Height <= keep {
		pool.Put(d)
	}
	return orient(im, orientation), nil
}

var (
	goDecoders    = sync.Pool{New: func() any { return jpeg.Go() }}
	turboDecoders = sync.Pool{New: func() any {
		if d, err := jpeg.Turbo(); err == nil {
			return d
		}
		return jpeg.Go() // a model may be used on a machine without the library
	}}
)

// Tensors reads pictures from files, at most workers at a time, and writes what t
// makes of them without augmentation to dst (len(files), 3, Size, Size) float32. The
// first file that cannot be read ends it with an error.
//
// Tensors panics if dst has another length.
func Tensors(ctx context.Context, dst []float32, files []string, workers int, t Transform) error {
	if err := t.Validate(); err != nil {
		return err
	}
	if len(dst) != len(files)*t.Len() {
		panic(fmt.Sprintf("dataloader: Tensors: dst of %d values, want %d·3·%d·%d", len(dst), len(files), t.Size, t.Size))
	}
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(max(workers, 1), len(files)) {
		group.Go(func() error {
			var w workspace
			for {
				i := int(next.Add(1)) - 1
				if i >= len(files) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				im, err := squareFile(files[i], DefaultLimits, t, &w)
				if err != nil {
					return err
				}
				t.Apply(dst[i*t.Len():(i+1)*t.Len()], im, nil)
			}
		})
	}
	return group.Wait()
}
