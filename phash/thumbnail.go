package phash

import (
	"sync"

	"relsim/dataloader"
	"relsim/kernel"
)

// bandRows is how many rows are resized at a time: a multiple of 3, so that memory does not grow with the height.
const bandRows = 48

// scratch holds the luma of a band.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// thumbnail returns the luma of im resized to 32×32, bit for bit Pillow's convert("L").resize((32, 32), LANCZOS).
//
// The resampler works on three interleaved channels. Here three rows of luma take their places, and in the second pass
// three columns, so that nothing is computed three times.
func thumbnail(im *dataloader.Image) []byte {
	const triples = (side + 2) / 3 // of columns; the last one has a column that is not used
	w, h := im.Width, im.Height
	columns := make([]byte, h*3*triples)
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	if cap(*buf) < w*bandRows {
		*buf = make([]byte, w*bandRows)
	}
	var narrow [bandRows * side]byte
	for top := 0; top < h; top += bandRows {
		rows := min(bandRows, h-top)
		packed := (rows + 2) / 3
		band := (*buf)[:packed*3*w]
		for y := range packed * 3 { // rows past the end repeat the last one
			row := im.Pix[3*w*min(top+y, h-1):][:3*w]
			luma(band[y/3*3*w+y%3:], row)
		}
		out := narrow[:packed*3*side]
		kernel.ResizeRGB(out, side, packed, band, w, packed, kernel.Lanczos)
		for y := range rows {
			from, to := out[y/3*3*side+y%3:], columns[(top+y)*3*triples:]
			for x := range side {
				to[x] = from[3*x]
			}
		}
	}
	small := make([]byte, side*3*triples)
	kernel.ResizeRGB(small, triples, side, columns, triples, h, kernel.Lanczos)
	grey := make([]byte, 0, side*side)
	for y := range side {
		grey = append(grey, small[y*3*triples:][:side]...)
	}
	return grey
}

// luma writes the luma of a row of RGB pixels to every third byte of dst, by ITU-R BT.601 in the 16-bit fixed point of
// Pillow (src/libImaging/Convert.c).
func luma(dst, rgb []byte) {
	for x := range len(rgb) / 3 {
		p := rgb[3*x : 3*x+3 : 3*x+3]
		dst[3*x] = byte((uint32(p[0])*19595 + uint32(p[1])*38470 + uint32(p[2])*7471 + 1<<15) >> 16)
	}
}
