package dataloader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/webp"
	"golang.org/x/sync/semaphore"

	relsimjpeg "relsim/jpeg"
	"relsim/regular"
)

// Limits bounds what a picture may cost. Both are checked before pixels are
// allocated.
type Limits struct {
	Bytes  int64 // size of the file
	Pixels int64 // width × height that the header claims
}

// DefaultLimits admits what cameras and scanners make.
var DefaultLimits = Limits{Bytes: 256 << 20, Pixels: 100_000_000}

// DecodeFile reads a picture from a file. See [Decode].
func DecodeFile(path string, l Limits) (*Image, error) {
	data, err := readPicture(path, l, nil)
	if err != nil {
		return nil, err
	}
	im, err := decode(data, l, "")
	if err != nil {
		return nil, fmt.Errorf("dataloader: decode %s: %w", path, err)
	}
	return im, nil
}

// readPicture reads a file of at most l.Bytes, into buf if there is room.
func readPicture(path string, l Limits, buf []byte) ([]byte, error) {
	f, size, err := regular.Open(path)
	if err != nil {
		return nil, fmt.Errorf("dataloader: decode: %w", err)
	}
	defer f.Close()
	if size > l.Bytes {
		return nil, fmt.Errorf("dataloader: decode %s: %d bytes, more than the limit of %d", path, size, l.Bytes)
	}
	data := buf[:0]
	if int64(cap(buf)) < size {
		data = make([]byte, size)
	}
	data = data[:size]
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("dataloader: decode %s: %w", path, err)
	}
	return data, nil
}

// Decode reads a PNG, JPEG or WebP picture and makes it 8-bit RGB:
//
//   - An EXIF orientation (JPEG, PNG and WebP) is applied: the picture stands as
//     it is meant to be seen.
//   - Transparent pixels are composited over white: (a·c + (1-a)·255), rounded.
//   - 16-bit channels are rounded to 8 bits: (v + 128) / 257.
//   - Grey and palette pictures, CMYK and YCCK become RGB. Colour profiles are
//     not applied.
//   - Lossy WebP is converted from the video range that it is coded in, as
//     libwebp does.
//
// Pillow converts otherwise: see [ConvertPillow].
//
// A picture that is truncated or broken, larger than l, an animated WebP or of another
// format is an error, and so is a panic of a decoder. Of an animated PNG the still picture
// is taken, as programs without animation do.
func Decode(data []byte, l Limits) (*Image, error) {
	im, err := decode(data, l, "")
	if err != nil {
		return nil, fmt.Errorf("dataloader: decode: %w", err)
	}
	return im, nil
}

// pixelsAtOnce bounds the pixels that all goroutines decode at the same time:
// many workers and large pictures do not multiply. A picture beyond it is
// decoded alone.
const pixelsAtOnce = 100_000_000

var decoding = semaphore.NewWeighted(pixelsAtOnce)

// codec is a format that can be decoded.
type codec struct {
	name   string
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
	exif   func([]byte) []byte // finds the EXIF block, nil: none
	// check refuses what the decoder would take memory or time for, far beyond what a file of this length can be; nil:
	// there is no such check.
	check func(data []byte, width, height int) error
}

func codecOf(data []byte) (codec, bool) {
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return codec{"PNG", png.DecodeConfig, png.Decode, exifOfPNG, checkPNG}, true
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return codec{"JPEG", jpeg.DecodeConfig, jpeg.Decode, exifOfJPEG, checkJPEG}, true
	case len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return codec{"WebP", webp.DecodeConfig, webp.Decode, exifOfWebP, nil}, true
	}
	return codec{}, false
}

// guard runs f, and makes a panic of it an error: one bad file does not end a
// run.
func guard(f func() (*Image, error)) (im *Image, err error) {
	defer func() {
		if r := recover(); r != nil {
			im, err = nil, fmt.Errorf("the decoder failed: %v", r)
		}
	}()
	return f()
}

// decode is [Decode], or converts to RGB in another way: see [Pictures].
func decode(data []byte, l Limits, convert string) (*Image, error) {
	return guard(func() (*Image, error) { return decodeOrPanic(data, l, convert) })
}

func decodeOrPanic(data []byte, l Limits, convert string) (*Image, error) {
	if int64(len(data)) > l.Bytes {
		return nil, fmt.Errorf("%d bytes, more than the limit of %d", len(data), l.Bytes)
	}
	if len(data) == 0 {
		return nil, errors.New("the file is empty")
	}
	c, ok := codecOf(data)
	if !ok {
		return nil, errors.New("not a PNG, JPEG or WebP picture")
	}
	cfg, err := c.config(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s header: %w", c.name, truncated(err))
	}
	release, err := admit(c.name, cfg.Width, cfg.Height, l)
	if err != nil {
		return nil, err
	}
	defer release()
	if c.check != nil {
		if err := c.check(data, cfg.Width, cfg.Height); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	src, err := c.decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, truncated(err))
	}
	if b := src.Bounds(); b.Dx() != cfg.Width || b.Dy() != cfg.Height {
		return nil, fmt.Errorf("%s of %d×%d pixels, its header says %d×%d", c.name, b.Dx(), b.Dy(), cfg.Width, cfg.Height)
	}
	if convert == ConvertPillow {
		return asPillow(src, c.name == "WebP", c.name == "PNG" && greyPNG(data)), nil
	}
	im := toRGB(src, c.name == "WebP")
	return orient(im, orientationOf(c.exif(data))), nil
}

// errShort is what a file gives that is too short for the pixels that it claims.
var errShort = errors.New("the file is truncated (too short for its size)")

// checkJPEG refuses a file that has fewer bits than it takes to say that all its blocks
// are one colour, and one of more scans than are ever written: each is a pass over all
// blocks, and may have a few bytes.
func checkJPEG(data []byte, width, height int) error {
	blocks := (int64(width) + 7) / 8 * ((int64(height) + 7) / 8)
	if blocks/8 > int64(len(data)) { // the first coefficient of a block takes a bit
		return errShort
	}
	if relsimjpeg.Scans(data) > relsimjpeg.MaxScans {
		return fmt.Errorf("more than %d scans", relsimjpeg.MaxScans)
	}
	return nil
}

// checkPNG refuses a file that is shorter than its pixels can be packed by deflate, whose
// longest match has 258 bytes and takes two bits.
func checkPNG(data []byte, width, height int) error {
	const depthAt, colourAt, ratio = 24, 25, 258 * 4
	channels := map[byte]int64{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[data[colourAt]]
	if row := (int64(width)*channels*int64(data[depthAt]) + 7) / 8; row*int64(height)/ratio > int64(len(data)) {
		return errShort
	}
	return nil
}

// admit holds the size of a picture against l and waits until its pixels may be
// decoded. The caller calls release when they are.
func admit(name string, width, height int, l Limits) (release func(), err error) {
	if width < 1 || height < 1 {
		return nil, fmt.Errorf("%s of %d×%d pixels", name, width, height)
	}
	if int64(width) > l.Pixels/int64(height) {
		return nil, fmt.Errorf("%s of %d×%d pixels, more than the limit of %d", name, width, height, l.Pixels)
	}
	pixels := min(int64(width)*int64(height), pixelsAtOnce)
	if err := decoding.Acquire(context.Background(), pixels); err != nil {
		return nil, err
	}
	return func() { decoding.Release(pixels) }, nil
}

// truncated says what an unexpected end means.
func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("the file is truncated (%w)", err)
	}
	return err
}

// toRGB copies src into an Image. videoRange says that YCbCr values are those of
// ITU-R BT.601 (luma 16 to 235), as in WebP, not those of JFIF (0 to 255).
func toRGB(src image.Image, videoRange bool) *Image {
	b := src.Bounds()
	im := &Image{Width: b.Dx(), Height: b.Dy()}
	im.Pix = make([]byte, 3*im.Width*im.Height)
	dst := im.Pix
	switch src := src.(type) {
	case *image.RGBA: // how PNG stores opaque 8-bit RGB
		if src.Opaque() {
			for y := b.Min.Y; y < b.Max.Y; y++ {
				row := src.Pix[src.PixOffset(b.Min.X, y):]
				for x := range im.Width {
					dst[0], dst[1], dst[2] = row[4*x], row[4*x+1], row[4*x+2]
					dst = dst[3:]
				}
			}
			return im
		}
	case *image.NRGBA:
		for y := b.Min.Y; y < b.Max.Y; y++ {
			row := src.Pix[src.PixOffset(b.Min.X, y):]
			for x := range im.Width {
				p := row[4*x : 4*x+4 : 4*x+4]
				dst[0], dst[1], dst[2] = over8(p[0], p[3]), over8(p[1], p[3]), over8(p[2], p[3])
				dst = dst[3:]
			}
		}
		return im
	case *image.Gray:
		for y := b.Min.Y; y < b.Max.Y; y++ {
			row := src.Pix[src.PixOffset(b.Min.X, y):]
			for x := range im.Width {
				dst[0], dst[1], dst[2] = row[x], row[x], row[x]
				dst = dst[3:]
			}
		}
		return im
	case *image.Paletted:
		var table [256][3]byte
		for i, c := range src.Palette {
			table[i] = rgbOf(c)
		}
		for y := b.Min.Y; y < b.Max.Y; y++ {
			row := src.Pix[src.PixOffset(b.Min.X, y):]
			for x := range im.Width {
				copy(dst, table[row[x]][:])
				dst = dst[3:]
			}
		}
		return im
	case *image.YCbCr:
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				luma, c := src.Y[src.YOffset(x, y)], src.COffset(x, y)
				if videoRange {
					dst[0], dst[1], dst[2] = videoToRGB(luma, src.Cb[c], src.Cr[c])
				} else {
					dst[0], dst[1], dst[2] = color.YCbCrToRGB(luma, src.Cb[c], src.Cr[c])
				}
				dst = dst[3:]
			}
		}
		return im
	}
	at := atFunc(src, videoRange)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := at(x, y)
			copy(dst, c[:])
			dst = dst[3:]
		}
	}
	return im
}

// atFunc returns the function that gives the colour of a pixel. The types that
// decoders return go without an allocation for each pixel.
func atFunc(src image.Image, videoRange bool) func(x, y int) [3]byte {
	switch src := src.(type) {
	case *image.CMYK:
		return func(x, y int) [3]byte {
			c := src.CMYKAt(x, y)
			r, g, b := color.CMYKToRGB(c.C, c.M, c.Y, c.K)
			return [3]byte{r, g, b}
		}
	case *image.NYCbCrA:
		return func(x, y int) [3]byte { return overNYCbCrA(src.NYCbCrAAt(x, y), videoRange) }
	case *image.NRGBA64:
		return func(x, y int) [3]byte { return overNRGBA64(src.NRGBA64At(x, y)) }
	case image.RGBA64Image:
		return func(x, y int) [3]byte { return overRGBA64(src.RGBA64At(x, y)) }
	}
	return func(x, y int) [3]byte { return rgbOf(src.At(x, y)) }
}

// rgbOf converts one colour to 8 bits over white.
func rgbOf(c color.Color) [3]byte {
	if c, ok := c.(color.NRGBA); ok { // exact, where premultiplied values are rounded
		return [3]byte{over8(c.R, c.A), over8(c.G, c.A), over8(c.B, c.A)}
	}
	return overRGBA64(color.RGBA64Model.Convert(c).(color.RGBA64))
}

func overNYCbCrA(c color.NYCbCrA, videoRange bool) [3]byte {
	r, g, b := color.YCbCrToRGB(c.Y, c.Cb, c.Cr)
	if videoRange {
		r, g, b = videoToRGB(c.Y, c.Cb, c.Cr)
	}
	return [3]byte{over8(r, c.A), over8(g, c.A), over8(b, c.A)}
}

func overNRGBA64(c color.NRGBA64) [3]byte {
	return [3]byte{over16(c.R, c.A), over16(c.G, c.A), over16(c.B, c.A)}
}

// overRGBA64 composites a colour over white that is multiplied by its opacity
// already: white shows through by 1 - alpha.
func overRGBA64(c color.RGBA64) [3]byte {
	white := 0xffff - uint32(c.A)
	return [3]byte{to8(uint32(c.R) + white), to8(uint32(c.G) + white), to8(uint32(c.B) + white)}
}

// over8 composites the value c of opacity a/255 over white.
func over8(c, a byte) byte {
	return byte((uint32(c)*uint32(a) + 255*(255-uint32(a)) + 127) / 255)
}

// over16 composites the value c of opacity a/65535 over white and rounds it to 8
// bits, once.
func over16(c, a uint16) byte {
	const white = 0xffff
	v := uint64(c)*uint64(a) + white*(white-uint64(a))
	return byte((v + white*257/2) / (white * 257))
}

// to8 rounds a 16-bit value to 8 bits.
func to8(v uint32) byte {
	return byte((v + 128) / 257)
}

// videoToRGB converts a BT.601 colour of the video range in the 14-bit fixed
// point of libwebp (src/dsp/yuv.h):
//
//	R = 1.164·(Y-16)                  + 1.596·(V-128)
//	G = 1.164·(Y-16) - 0.391·(U-128)  - 0.813·(V-128)
//	B = 1.164·(Y-16) + 2.018·(U-128)
func videoToRGB(y, u, v byte) (r, g, b byte) {
	hi := func(v byte, coefficient int) int { return int(v) * coefficient >> 8 }
	clip := func(v int) byte { return byte(min(max(v, 0)>>6, 255)) }
	luma := hi(y, 19077)
	r = clip(luma + hi(v, 26149) - 14234)
	g = clip(luma - hi(u, 6419) - hi(v, 13320) + 8708)
	b = clip(luma + hi(u, 33050) - 17685)
	return r, g, b
}
