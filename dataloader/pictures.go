package dataloader

import (
	"context"
	"errors"
	"fmt"
	"image"
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

// Pictures says how a file becomes pixels. The last bits of a pixel depend on it, so
// that a training run records it.
//
// The zero value decodes JPEG in Go, to planes, and resamples these
// ([kernel.ResizeYCbCr]); it resamples RGB as Pillow does ([kernel.ResizeRGB]).
type Pictures struct {
	// JPEG is "" or JPEGGo, JPEGTurbo or JPEGReference. A picture that is not
	// damaged has the same pixels with the first two. The reference also resamples
	// RGB by package imaging, in relsim's own geometry.
	JPEG string `json:"jpeg,omitempty"`

	// Draft decodes JPEG at 1/4 or 1/8 of its size, from the low frequencies
	// only, where the square, or what is resized, is then no smaller than what it is
	// resized to. Its edges move by less than a pixel of that size.
	Draft bool `json:"draft,omitempty"`

	// Convert is "" for the conversion to RGB that [Decode] describes, or
	// ConvertPillow.
	Convert string `json:"convert,omitempty"`
}

// ConvertPillow, for Pictures.Convert, is what Image.open(file).convert("RGB") of Pillow
// does, which is how published models are usually given their pictures. It differs from
// [Decode] so:
//
//   - An EXIF orientation is not applied.
//   - Opacity is dropped, and colours under transparent pixels appear.
//   - The low byte of 16-bit channels is cut off, and 16-bit grey is clipped at 255: of
//     such a picture hardly more than white is left.
const ConvertPillow = "pillow"

// ChooseConvert returns Pictures.Convert for the name of a conversion: "relsim", the one
// that [Decode] describes, or ConvertPillow.
func ChooseConvert(name string) (string, error) {
	switch name {
	case "relsim":
		return "", nil
	case ConvertPillow:
		return name, nil
	}
	return "", fmt.Errorf("dataloader: conversion to RGB %q: want relsim or %s", name, ConvertPillow)
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

// Validate returns an error that names the decoder or the conversion that is not known.
func (p Pictures) Validate() error {
	if p.Convert != "" && p.Convert != ConvertPillow {
		return fmt.Errorf("dataloader: conversion of pictures %q: want %q, or none", p.Convert, ConvertPillow)
	}
	switch p.JPEG {
	case "", JPEGGo, JPEGTurbo, JPEGReference:
		return nil
	}
	return fmt.Errorf("dataloader: JPEG decoder %q: want %s, %s or %s", p.JPEG, JPEGGo, JPEGTurbo, JPEGReference)
}

// Squarer is a data set that cuts and resizes by itself. It gives what
// [Transform.Apply] makes of the picture, before augmentation, up to rounding, and
// sooner: without the whole picture in RGB.
type Squarer interface {
	// SquareImage returns the picture of item i, cut and resized as t says, to
	// t.Size×t.Size pixels, in the way of t.Pictures. The caller must not change it.
	SquareImage(ctx context.Context, i int, t Transform) (*Image, error)
}

// Image returns the picture of item i of ds, cut and resized to Size×Size pixels.
// Apply takes it as it is. The caller must not change it.
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
	case *rows:
		return d.square(ctx, i, t, w)
	case *subset:
		return t.image(ctx, d.ds, d.indices[i], w)
	case *mixed:
		set, k := d.of(i)
		return t.image(ctx, set, k, w)
	case Squarer:
		im, err := d.SquareImage(ctx, i, t)
		if err == nil && im != nil && im.made != t.shape() {
			marked := *im // it is said to be made by t
			marked.made = t.shape()
			im = &marked
		}
		return im, err
	}
	im, err := ds.Image(ctx, i)
	if err != nil {
		return nil, err
	}
	return t.Fit(im)
}

// read reads a file; the memory of a large one is not kept.
func (w *workspace) read(path string, l Limits) ([]byte, error) {
	data, err := readPicture(path, l, w.file)
	w.keep(data)
	return data, err
}

// keep keeps the memory of a file for the next one.
func (w *workspace) keep(data []byte) {
	if cap(data) <= 16<<20 {
		w.file = data
	}
}

// blank returns a picture to fill: that of w if its memory is large enough.
func (w *workspace) blank(width, height int) *Image {
	w.im = Image{Width: width, Height: height, Pix: w.im.Pix}
	if n := 3 * width * height; cap(w.im.Pix) < n {
		w.im.Pix = make([]byte, n)
	} else {
		w.im.Pix = w.im.Pix[:n]
	}
	return &w.im
}

// Square returns a view of ds whose pictures are cut and resized as Apply does it.
// Many of them fit in memory where photographs do not, and t gives the same values
// for both. Pictures that need no change are passed on as they are.
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

// DecodeSquare decodes a picture, and cuts and resizes it to t.Size×t.Size pixels as t
// says, in the way of t.Pictures. It takes and refuses what [Decode] and
// [Transform.Fit] do: an EXIF orientation is applied first (unless t.Pictures converts
// as Pillow does), a picture that is broken or larger than l is an error.
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
	im, err := decode(data, l, t.Pictures.Convert)
	if err != nil {
		return nil, err
	}
	return t.Fit(im)
}

var errNotFast = errors.New("for the reference path")

// squareOfJPEG makes the result from the planes of a JPEG picture.
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
	orientation := 1
	if t.Pictures.Convert != ConvertPillow {
		orientation = orientationOf(exifOfJPEG(data))
	}
	width, height := h.Width, h.Height
	if orientation >= 5 {
		width, height = height, width
	}
	f, err := t.frame(width, height) // of the picture as it is seen, which rounds it
	if err != nil {
		return nil, err
	}
	if orientation > 1 && (f.filter == kernel.Nearest || f.filter == kernel.Box) {
		return nil, errNotFast // filters with edges are not the same from the other side
	}
	f = f.stored(orientation, h.Width, h.Height)
	pool := &goDecoders
	if t.Pictures.JPEG == JPEGTurbo {
		pool = &turboDecoders
	}
	shrink := 1
	if t.Pictures.Draft {
		for _, s := range []int{4, 8} {
			if f.crop.Dx()/s >= f.to.Width && f.crop.Dy()/s >= f.to.Height {
				shrink = s
			}
		}
	}
	crop := f.crop
	if shrink > 1 && t.Geometry.Resize == CropSquare {
		crop = image.Rectangle{crop.Min.Div(shrink), crop.Min.Div(shrink).Add(crop.Size().Div(shrink))}
	} else if shrink > 1 {
		crop = image.Rect(0, 0, (h.Width+shrink/2)/shrink, (h.Height+shrink/2)/shrink)
	}
	need := f.crop
	if t.Geometry.Resize != CropSquare {
		r := f.to.Reach(crop.Dx(), crop.Dy(), f.filter)
		need = image.Rectangle{r.Min.Mul(shrink), r.Max.Mul(shrink)}.Intersect(f.crop)
	}
	d := pool.Get().(jpeg.Decoder)
	planes, err := d.Decode(data, jpeg.Rect{X0: need.Min.X, Y0: need.Min.Y, X1: need.Max.X, Y1: need.Max.Y}, shrink)
	if err != nil {
		pool.Put(d)
		return nil, err
	}
	im := w.blank(f.to.Part.Dx(), f.to.Part.Dy())
	kernel.ResizeYCbCr(im.Pix, f.to, planes, crop, f.filter)
	const keep = 20_000_000 // pixels; a decoder keeps the memory of its largest picture
	if h.Width*h.Height <= keep {
		pool.Put(d)
	}
	im = orient(im, orientation)
	resultWidth, resultHeight := t.bounds()
	im = frameIn(im, f.at, resultWidth, resultHeight)
	im.made = t.shape()
	return im, nil
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
