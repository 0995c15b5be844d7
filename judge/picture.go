package judge

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"

	"github.com/disintegration/imaging"

	"relsim/dataloader"
)

// MaxPicture is the size in bytes of a picture as it is sent.
const MaxPicture = 4 << 20

// DefaultMaxSide is the longer side in pixels of a picture as it is sent.
const DefaultMaxSide = 1024

// Picture is one as it is sent.
type Picture struct {
	Kind          string // png or jpeg
	Data          []byte
	Width, Height int
}

// DataURI returns the picture as an address.
func (p Picture) DataURI() string {
	return "data:image/" + p.Kind + ";base64," + base64.StdEncoding.EncodeToString(p.Data)
}

// NewPicture makes a file ready to be sent. A PNG or JPEG file goes as it is, unless one of its sides has more than maxSide
// pixels, it has more than [MaxPicture] bytes, or models could see it in several ways: PNG with transparency, JPEG that is
// stored turned. Others are decoded, put upright and over white, and reduced: WebP, too, which not all endpoints read.
// Files that are broken are errors.
func NewPicture(data []byte, maxSide int) (Picture, error) {
	if maxSide < 1 {
		return Picture{}, fmt.Errorf("judge: picture: longer side of %d pixels, want 1 or more", maxSide)
	}
	im, err := dataloader.Decode(data, dataloader.DefaultLimits)
	if err != nil {
		return Picture{}, fmt.Errorf("judge: picture: %w", err)
	}
	if kind := asStored(data, im.Width, im.Height); kind != "" && max(im.Width, im.Height) <= maxSide && len(data) <= MaxPicture {
		return Picture{kind, data, im.Width, im.Height}, nil
	}
	nrgba := image.NewNRGBA(image.Rect(0, 0, im.Width, im.Height))
	for i := range im.Width * im.Height {
		copy(nrgba.Pix[4*i:], im.Pix[3*i:3*i+3])
		nrgba.Pix[4*i+3] = 255
	}
	w, h := fit(im.Width, im.Height, maxSide)
	if w != im.Width || h != im.Height {
		nrgba = imaging.Resize(nrgba, w, h, imaging.Lanczos)
	}
	// Drawn pictures are smaller and exact as PNG, photographs as JPEG.
	for _, quality := range []int{92, 80, 60} {
		var asPNG, asJPEG bytes.Buffer
		if err := png.Encode(&asPNG, nrgba); err != nil {
			return Picture{}, fmt.Errorf("judge: picture: %w", err)
		}
		if err := jpeg.Encode(&asJPEG, nrgba, &jpeg.Options{Quality: quality}); err != nil {
			return Picture{}, fmt.Errorf("judge: picture: %w", err)
		}
		p := Picture{"png", asPNG.Bytes(), w, h}
		if asJPEG.Len() < asPNG.Len() {
			p.Kind, p.Data = "jpeg", asJPEG.Bytes()
		}
		if len(p.Data) <= MaxPicture {
			return p, nil
		}
	}
	return Picture{}, fmt.Errorf("judge: picture: more than %d bytes at %d×%d pixels", MaxPicture, w, h)
}

// asStored returns the kind of a file that every model sees alike, and that has the size of its upright picture; or
// nothing.
func asStored(data []byte, width, height int) string {
	config, kind, err := image.DecodeConfig(bytes.NewReader(data))
	switch {
	case err != nil || config.Width != width || config.Height != height || dataloader.Orientation(data) != 1:
	case kind == "jpeg" && config.ColorModel != color.CMYKModel:
		return kind
	case kind == "png" && plainPNG(data):
		return kind
	}
	return ""
}

// plainPNG reports whether a PNG file is one picture that covers what is behind it.
func plainPNG(data []byte) bool {
	const header = 8 + 8 + 13 + 4 // signature and the chunk IHDR, whose tenth byte is the kind of colour
	if len(data) < header || data[25]&4 != 0 {
		return false
	}
	for rest := data[header:]; len(rest) >= 12; {
		switch string(rest[4:8]) {
		case "IDAT":
			return true
		case "tRNS", "acTL": // transparency, animation
			return false
		}
		n := uint64(binary.BigEndian.Uint32(rest)) + 12
		if n > uint64(len(rest)) {
			return false
		}
		rest = rest[n:]
	}
	return false
}

// fit returns the size of a picture whose longer side has maxSide pixels at most.
func fit(width, height, maxSide int) (w, h int) {
	longer := max(width, height)
	if longer <= maxSide {
		return width, height
	}
	scale := func(n int) int { return max(1, (n*maxSide+longer/2)/longer) }
	return scale(width), scale(height)
}
