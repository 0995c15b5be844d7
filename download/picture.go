package download

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"mime"
	"net/http"
	"strings"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"relsim/dataloader"
	"relsim/kernel"
)

// sniffBytes is how much of a body says what it is.
const sniffBytes = 512

// kind is what a body is by its first bytes.
type kind struct {
	name    string
	ext     string // that it is stored with
	refused string // why it is not taken
	config  func(data []byte) (image.Config, error)
	convert func(data []byte) (image.Image, error) // makes it a picture that can be stored; nil: it is one
}

// brands are formats of the ISO base media file format, by the brand in the first box.
var brands = map[string]string{
	"avif": "AVIF", "avis": "AVIF", "heic": "HEIC", "heix": "HEIC", "hevc": "HEIC", "hevx": "HEIC", "heim": "HEIC", "mif1": "HEIF", "msf1": "HEIF",
}

func config[R any](f func(*bytes.Reader) (R, error)) func([]byte) (R, error) {
	return func(data []byte) (R, error) { return f(bytes.NewReader(data)) }
}

// sniff says what a body is that begins with head; contentType is what the server calls it.
func sniff(head []byte, contentType string) kind {
	has := func(prefix string) bool { return bytes.HasPrefix(head, []byte(prefix)) }
	unsupported := func(name string) kind { return kind{name: name, refused: "unsupported format " + name} }
	switch {
	case len(head) == 0:
		return kind{refused: "empty"}
	case has("\x89PNG\r\n\x1a\n"):
		return kind{name: "PNG", ext: ".png", config: config(func(r *bytes.Reader) (image.Config, error) { return png.DecodeConfig(r) })}
	case has("\xff\xd8\xff"):
		return kind{name: "JPEG", ext: ".jpg", config: config(func(r *bytes.Reader) (image.Config, error) { return jpeg.DecodeConfig(r) })}
	case has("RIFF") && len(head) >= 12 && string(head[8:12]) == "WEBP":
		if len(head) >= 21 && string(head[12:16]) == "VP8X" && head[20]&2 != 0 {
			return unsupported("animated WebP")
		}
		return kind{name: "WebP", ext: ".webp", config: config(func(r *bytes.Reader) (image.Config, error) { return webp.DecodeConfig(r) })}
	case has("GIF87a"), has("GIF89a"):
		return kind{name: "GIF", ext: ".png", config: config(func(r *bytes.Reader) (image.Config, error) { return gif.DecodeConfig(r) }),
			convert: config(func(r *bytes.Reader) (image.Image, error) { return gif.Decode(r) })}
	case has("BM") && len(head) >= 18 && bytes.Equal(head[6:10], make([]byte, 4)):
		return kind{name: "BMP", ext: ".png", config: config(func(r *bytes.Reader) (image.Config, error) { return bmp.DecodeConfig(r) }),
			convert: config(func(r *bytes.Reader) (image.Image, error) { return bmp.Decode(r) })}
	case has("II*\x00"), has("MM\x00*"):
		return kind{name: "TIFF", ext: ".png", config: config(func(r *bytes.Reader) (image.Config, error) { return tiff.DecodeConfig(r) }),
			convert: config(func(r *bytes.Reader) (image.Image, error) { return tiff.Decode(r) })}
	case len(head) >= 12 && string(head[4:8]) == "ftyp" && brands[string(head[8:12])] != "":
		return unsupported(brands[string(head[8:12])])
	case has("\xff\x0a"), has("\x00\x00\x00\x0cJXL "):
		return unsupported("JPEG XL")
	case has("\x00\x00\x00\x0cjP  "), has("\xff\x4f\xff\x51"):
		return unsupported("JPEG 2000")
	case has("8BPS"):
		return unsupported("PSD")
	case has("\x00\x00\x01\x00"):
		return unsupported("ICO")
	}
	start := bytes.ToLower(head[:min(len(head), sniffBytes)])
	found := http.DetectContentType(head)
	if bytes.Contains(start, []byte("<svg")) && !strings.HasPrefix(found, "text/html") {
		return unsupported("SVG")
	}
	if found == "application/octet-stream" || strings.HasPrefix(found, "text/plain") { // the server may know better
		if said, _, err := mime.ParseMediaType(contentType); err == nil && !strings.HasPrefix(said, "image/") {
			found = said
		}
	}
	found, _, _ = strings.Cut(found, ";")
	return kind{refused: "not an image: " + shorten(found, 60)}
}

// picture is one that has been decoded.
type picture struct {
	data []byte // to store
	ext  string
	note string // what was changed about it
	*dataloader.Image
}

// The formats of Options.Encode.
const (
	PNG  = "png"
	JPEG = "jpeg"
	WebP = "webp"
)

// cost estimates the memory that decoding takes, in bytes. Progressive JPEG keeps all coefficients.
func cost(k kind, cfg image.Config, size int) int64 {
	perPixel := int64(7) // four bytes as decoded, three as RGB
	switch {
	case k.name == "JPEG":
		perPixel = 18
	case cfg.ColorModel == color.NRGBA64Model || cfg.ColorModel == color.RGBA64Model:
		perPixel = 11
	}
	return int64(size) + perPixel*int64(cfg.Width)*int64(cfg.Height)
}

// header reads the size of a picture and holds it against the limit.
func header(k kind, data []byte, maxPixels int64) (cfg image.Config, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("broken picture: %s header: %v", k.name, r)
		}
	}()
	if cfg, err = k.config(data); err != nil {
		return cfg, fmt.Errorf("broken picture: %s header: %v", k.name, err)
	}
	if cfg.Width < 1 || cfg.Height < 1 {
		return cfg, fmt.Errorf("broken picture: %s of %d×%d pixels", k.name, cfg.Width, cfg.Height)
	}
	if int64(cfg.Width) > maxPixels/int64(cfg.Height) {
		return cfg, fmt.Errorf("too many pixels: %d×%d", cfg.Width, cfg.Height)
	}
	return cfg, nil
}

// decode decodes a picture, and makes of it what is stored.
func (o *Options) decode(k kind, data []byte) (p *picture, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("broken picture: %s: the decoder failed: %v", k.name, r)
		}
	}()
	p = &picture{data: data, ext: k.ext}
	if k.convert != nil {
		im, err := k.convert(data)
		if err != nil {
			return nil, fmt.Errorf("broken picture: %s: %v", k.name, err)
		}
		if p.data, err = encodePNG(im); err != nil {
			return nil, err
		}
		p.note = k.name + " stored as PNG"
		if k.name == "GIF" {
			p.note = "GIF stored as PNG, its first frame"
		}
	}
	limits := dataloader.Limits{Bytes: max(int64(len(p.data)), o.MaxBytes), Pixels: o.MaxPixels}
	if p.Image, err = dataloader.Decode(p.data, limits); err != nil {
		return nil, fmt.Errorf("broken picture: %s", strings.TrimPrefix(err.Error(), "dataloader: decode: "))
	}
	if o.Encode == "" {
		return p, nil
	}
	im := p.Image
	if o.Resize > 0 && min(im.Width, im.Height) > o.Resize {
		im = shrink(im, o.Resize)
		p.note = fmt.Sprintf("%s of %d×%d pixels, resized", k.name, p.Width, p.Height)
	} else {
		p.note = k.name + " encoded anew"
	}
	p.Image = im
	p.data, p.ext, err = o.encode(im)
	return p, err
}

// shrink makes the shorter side of a picture side pixels long, with Lanczos's filter as Pillow has it.
func shrink(im *dataloader.Image, side int) *dataloader.Image {
	w, h := side, side
	if im.Width < im.Height {
		h = max(1, int((int64(im.Height)*int64(side)+int64(im.Width)/2)/int64(im.Width)))
	} else {
		w = max(1, int((int64(im.Width)*int64(side)+int64(im.Height)/2)/int64(im.Height)))
	}
	out := &dataloader.Image{Width: w, Height: h, Pix: make([]byte, 3*w*h)}
	kernel.ResizeRGB(out.Pix, w, h, im.Pix, im.Width, im.Height, kernel.Lanczos)
	return out
}

// asNRGBA copies a picture into one of package image.
func asNRGBA(im *dataloader.Image) *image.NRGBA {
	out := image.NewNRGBA(image.Rect(0, 0, im.Width, im.Height))
	for i := range im.Width * im.Height {
		copy(out.Pix[4*i:], im.Pix[3*i:3*i+3])
		out.Pix[4*i+3] = 255
	}
	return out
}

func encodePNG(im image.Image) ([]byte, error) {
	var b bytes.Buffer
	err := png.Encode(&b, im)
	return b.Bytes(), err
}

// encode encodes a picture as the options say.
func (o *Options) encode(im *dataloader.Image) (data []byte, ext string, err error) {
	var b bytes.Buffer
	switch o.Encode {
	case PNG:
		data, err = encodePNG(asNRGBA(im))
		return data, ".png", err
	case JPEG:
		err = jpeg.Encode(&b, asNRGBA(im), &jpeg.Options{Quality: o.Quality})
		return b.Bytes(), ".jpg", err
	case WebP:
		err = encodeWebP(&b, asNRGBA(im), o.Quality)
		return b.Bytes(), ".webp", err
	}
	return nil, "", errors.New("unknown format")
}
