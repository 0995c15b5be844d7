package dataloader

import (
	"image"
	"image/color"
)

// greyPNG says that a PNG file has grey pixels without opacity of their own, be one grey
// transparent or not.
func greyPNG(data []byte) bool {
	const colourType = 25 // behind signature, chunk header, width, height and depth
	return len(data) > colourType && data[colourType] == 0
}

// asPillow converts as [ConvertPillow] says. grey says that 16-bit values are of a grey
// picture, which a decoder may have made colours.
func asPillow(src image.Image, videoRange, grey bool) *Image {
	var at func(x, y int) [3]byte
	switch src := src.(type) {
	case *image.NRGBA:
		at = func(x, y int) [3]byte {
			c := src.NRGBAAt(x, y)
			return [3]byte{c.R, c.G, c.B}
		}
	case *image.Paletted:
		var table [256][3]byte
		for i, c := range src.Palette {
			if n, ok := c.(color.NRGBA); ok {
				table[i] = [3]byte{n.R, n.G, n.B}
			} else {
				table[i] = rgbOf(c) // opaque
			}
		}
		at = func(x, y int) [3]byte { return table[src.ColorIndexAt(x, y)] }
	case *image.NYCbCrA:
		at = func(x, y int) [3]byte {
			c := src.YCbCrAt(x, y)
			var p [3]byte
			if videoRange {
				p[0], p[1], p[2] = videoToRGB(c.Y, c.Cb, c.Cr)
			} else {
				p[0], p[1], p[2] = color.YCbCrToRGB(c.Y, c.Cb, c.Cr)
			}
			return p
		}
	case *image.Gray16:
		at = func(x, y int) [3]byte {
			v := byte(min(src.Gray16At(x, y).Y, 255))
			return [3]byte{v, v, v}
		}
	case *image.NRGBA64:
		at = func(x, y int) [3]byte {
			c := src.NRGBA64At(x, y)
			if grey {
				v := byte(min(c.R, 255))
				return [3]byte{v, v, v}
			}
			return [3]byte{byte(c.R >> 8), byte(c.G >> 8), byte(c.B >> 8)}
		}
	case *image.RGBA64: // how PNG stores opaque 16-bit RGB
		at = func(x, y int) [3]byte {
			c := src.RGBA64At(x, y)
			return [3]byte{byte(c.R >> 8), byte(c.G >> 8), byte(c.B >> 8)}
		}
	default: // opaque 8-bit pictures
		return toRGB(src, videoRange)
	}
	b := src.Bounds()
	im := &Image{Width: b.Dx(), Height: b.Dy(), Pix: make([]byte, 3*b.Dx()*b.Dy())}
	dst := im.Pix
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := at(x, y)
			copy(dst, c[:])
			dst = dst[3:]
		}
	}
	return im
}
