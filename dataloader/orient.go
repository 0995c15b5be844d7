package dataloader

import (
	"bytes"
	"encoding/binary"
)

// orientationOf reads the orientation, 1 to 8, from an EXIF block (a TIFF
// header and its first directory). A block that is missing, broken or silent
// gives 1, upright.
func orientationOf(exif []byte) int {
	exif = bytes.TrimPrefix(exif, []byte("Exif\x00\x00"))
	if len(exif) < 8 {
		return 1
	}
	var order binary.ByteOrder
	switch string(exif[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 1
	}
	offset := uint64(order.Uint32(exif[4:]))
	if offset+2 > uint64(len(exif)) {
		return 1
	}
	entries := exif[offset+2:]
	for range order.Uint16(exif[offset:]) {
		if len(entries) < 12 {
			return 1
		}
		const tagOrientation, typeShort = 0x0112, 3
		if order.Uint16(entries) == tagOrientation {
			v := int(order.Uint16(entries[8:]))
			if order.Uint16(entries[2:]) != typeShort || v < 1 || v > 8 {
				return 1
			}
			return v
		}
		entries = entries[12:]
	}
	return 1
}

// exifOfJPEG finds the first APP1 segment that holds EXIF, before the scan data.
func exifOfJPEG(data []byte) []byte {
	data = data[2:] // start of image
	for len(data) >= 4 && data[0] == 0xff {
		marker := data[1]
		switch {
		case marker == 0xff: // fill byte
			data = data[1:]
			continue
		case marker == 0x01 || marker >= 0xd0 && marker <= 0xd7: // no payload
			data = data[2:]
			continue
		case marker == 0xda || marker == 0xd9: // scan data, end of image
			return nil
		}
		n := int(binary.BigEndian.Uint16(data[2:]))
		if n < 2 || 2+n > len(data) {
			return nil
		}
		payload := data[4 : 2+n]
		if marker == 0xe1 && bytes.HasPrefix(payload, []byte("Exif\x00\x00")) {
			return payload
		}
		data = data[2+n:]
	}
	return nil
}

// exifOfPNG finds the eXIf chunk.
func exifOfPNG(data []byte) []byte {
	data = data[8:] // signature
	for len(data) >= 12 {
		n := uint64(binary.BigEndian.Uint32(data))
		if n+12 > uint64(len(data)) {
			return nil
		}
		if string(data[4:8]) == "eXIf" {
			return data[8 : 8+n]
		}
		data = data[n+12:]
	}
	return nil
}

// exifOfWebP finds the EXIF chunk.
func exifOfWebP(data []byte) []byte {
	data = data[12:] // RIFF, size, WEBP
	for len(data) >= 8 {
		n := uint64(binary.LittleEndian.Uint32(data[4:]))
		if n+8 > uint64(len(data)) {
			return nil
		}
		if string(data[:4]) == "EXIF" {
			return data[8 : 8+n]
		}
		data = data[min(n+8+n&1, uint64(len(data))):]
	}
	return nil
}

// orient turns im so that a picture with this EXIF orientation stands upright.
// Orientation names the corner of the stored pixels where the top left corner of
// the scene lies: 1 top left, 2 top right, 3 bottom right, 4 bottom left, and 5
// to 8 the same with rows and columns exchanged.
func orient(im *Image, orientation int) *Image {
	if orientation <= 1 || orientation > 8 {
		return im
	}
	w, h := im.Width, im.Height
	// start is the stored pixel of the new top left corner; dx and dy lead from
	// a new pixel to its neighbours right and below.
	var start, dx, dy int
	switch orientation {
	case 2:
		start, dx, dy = w-1, -1, w
	case 3:
		start, dx, dy = h*w-1, -1, -w
	case 4:
		start, dx, dy = (h-1)*w, 1, -w
	case 5:
		start, dx, dy = 0, w, 1
	case 6:
		start, dx, dy = (h-1)*w, -w, 1
	case 7:
		start, dx, dy = h*w-1, -w, -1
	case 8:
		start, dx, dy = w-1, w, -1
	}
	out := &Image{Width: w, Height: h, Pix: make([]byte, len(im.Pix))}
	if orientation >= 5 {
		out.Width, out.Height = h, w
	}
	dst := out.Pix
	for y := range out.Height {
		src := start + y*dy
		for range out.Width {
			copy(dst[:3], im.Pix[3*src:3*src+3])
			dst = dst[3:]
			src += dx
		}
	}
	return out
}

// Orientation returns how a PNG, JPEG or WebP file is stored, by its EXIF block: 1 upright, 2 to 8 mirrored or turned, as
// EXIF numbers them. It is 1 where the file does not say.
func Orientation(data []byte) int {
	c, ok := codecOf(data)
	if !ok {
		return 1
	}
	return orientationOf(c.exif(data))
}
