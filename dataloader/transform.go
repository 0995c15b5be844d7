package dataloader

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"sync"

	"github.com/disintegration/imaging"

	"relsim/kernel"
)

// Transform makes a picture the input of a network: centre crop to a square,
// resize, augment, normalise.
type Transform struct {
	Size      int       // side of the result, in pixels
	Normalize Normalize // zero value: per picture
	Flip      bool      // mirror left and right, p = 1/2
	Turn      bool      // turn by k·90°, k uniform in 0 … 3
	Pictures  Pictures  // how pictures are decoded and resized
}

// Normalize maps bytes to what a network takes. With v = byte/255, the zero
// value normalises per picture:
//
//	y = (v - m[c]) / (s + 0.05)
//
// where m is the mean colour of the picture and s the standard deviation (over
// all its values, of all channels) of v - m[c]. Otherwise, with fixed numbers
// per channel:
//
//	y = (v - Mean[c]) / Std[c]
type Normalize struct {
	Mean [3]float64 `json:"mean"`
	Std  [3]float64 `json:"std"`
}

// PerPicture says that n is the zero value.
func (n Normalize) PerPicture() bool { return n == Normalize{} }

// Validate returns an error that names the field that cannot be used.
func (t Transform) Validate() error {
	const maxSize = 8192
	if t.Size < 1 || t.Size > maxSize {
		return fmt.Errorf("dataloader: transform: size %d, want 1 to %d", t.Size, maxSize)
	}
	if err := t.Pictures.Validate(); err != nil {
		return err
	}
	if t.Normalize.PerPicture() {
		return nil
	}
	for c := range 3 {
		mean, std := t.Normalize.Mean[c], t.Normalize.Std[c]
		if math.IsNaN(mean) || math.IsInf(mean, 0) || !(std > 0) || math.IsInf(std, 0) {
			return fmt.Errorf("dataloader: transform: normalise channel %d with mean %v and std %v, want numbers and std above 0", c, mean, std)
		}
	}
	return nil
}

// For returns t for one item: a picture with gravity is never turned.
func (t Transform) For(it Item) Transform {
	t.Turn = t.Turn && !it.Gravity
	return t
}

// Len is the number of values that Apply writes: 3·Size·Size.
func (t Transform) Len() int { return 3 * t.Size * t.Size }

// Apply writes im (H, W, 3) bytes to dst (3, Size, Size) float32, channels first.
//
// The largest square is cut out of the middle, with left = (W-side)/2 and top =
// (H-side)/2 rounded down, and resized by a Lanczos filter of radius 3 unless it
// has the size already: then its bytes are taken as they are. Resizing gives
// Pillow's bytes, or those of package imaging for JPEGReference. The picture is
// mirrored first and turned counter-clockwise then. One number is drawn from rng
// if Flip or Turn is set; a nil rng means no augmentation.
//
// Apply panics if dst has not the length t.Len() or im not the pixels that its
// size asks for.
func (t Transform) Apply(dst []float32, im *Image, rng *rand.Rand) {
	if len(dst) != t.Len() || t.Size < 1 {
		panic(fmt.Sprintf("dataloader: Transform.Apply: dst of %d values, want 3·%d·%d", len(dst), t.Size, t.Size))
	}
	if err := im.check(); err != nil {
		panic("dataloader: Transform.Apply: " + err.Error())
	}
	s := cropAndResize(im, t.Size, t.Pictures)
	var bits uint64
	if rng != nil && (t.Flip || t.Turn) {
		bits = rng.Uint64()
	}
	flip := t.Flip && bits&1 == 1
	turns := 0
	if t.Turn {
		turns = int(bits >> 1 & 3)
	}
	var table [3][256]float32
	t.Normalize.fill(&table, s)
	s.write(dst, flip, turns, &table)
}

// square is a view of square pixels: channel c of (x, y) is
// pix[y*stride+x*step+c].
type square struct {
	pix                []byte
	side, step, stride int
}

// cropAndResize cuts the largest square out of the middle of im and brings it to
// the given size.
func cropAndResize(im *Image, size int, p Pictures) square {
	side := min(im.Width, im.Height)
	left, top := (im.Width-side)/2, (im.Height-side)/2
	s := square{pix: im.Pix[3*(top*im.Width+left):], side: side, step: 3, stride: 3 * im.Width}
	switch {
	case side == size:
		return s
	case p.JPEG == JPEGReference:
		return resize(s, size)
	}
	to := square{pix: make([]byte, 3*size*size), side: size, step: 3, stride: 3 * size}
	kernel.ResizeRGBCrop(to.pix, size, size, s.pix, s.stride, side, side, kernel.Lanczos)
	return to
}

// image returns s as a picture of its own.
func (s square) image() *Image {
	to := &Image{Width: s.side, Height: s.side, Pix: s.pix}
	if s.step == 3 && s.stride == 3*s.side {
		to.Pix = s.pix[:3*s.side*s.side]
		return to
	}
	to.Pix = make([]byte, 3*s.side*s.side)
	dst := to.Pix
	for y := range s.side {
		row := s.pix[y*s.stride:]
		for x := range s.side {
			copy(dst[:3], row[x*s.step:])
			dst = dst[3:]
		}
	}
	return to
}

// resize returns s resampled to the given side by package imaging.
func resize(s square, side int) square {
	buf := scratch.Get().(*[]byte)
	n := 4 * s.side * s.side
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	src := image.NRGBA{Pix: (*buf)[:n], Stride: 4 * s.side, Rect: image.Rect(0, 0, s.side, s.side)}
	for y := range s.side {
		in, out := s.pix[y*s.stride:], src.Pix[y*src.Stride:]
		for x := range s.side {
			p := in[x*s.step:]
			out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = p[0], p[1], p[2], 0xff
		}
	}
	dst := imaging.Resize(&src, side, side, imaging.Lanczos)
	scratch.Put(buf)
	return square{pix: dst.Pix, side: side, step: 4, stride: dst.Stride}
}

// scratch holds source buffers of resize.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// fill sets table[c][v] to the normalised value of byte v in channel c. The sums
// are whole numbers, so that they are exact, and mirroring or turning s changes
// nothing.
func (n Normalize) fill(table *[3][256]float32, s square) {
	mean, std := n.Mean, n.Std
	if n.PerPicture() {
		var sum, squares [3]uint64
		for y := range s.side {
			row := s.pix[y*s.stride:]
			var rowSum, rowSquares [3]uint64
			for x := range s.side {
				p := row[x*s.step : x*s.step+3 : x*s.step+3]
				r, g, b := uint64(p[0]), uint64(p[1]), uint64(p[2])
				rowSum[0] += r
				rowSum[1] += g
				rowSum[2] += b
				rowSquares[0] += r * r
				rowSquares[1] += g * g
				rowSquares[2] += b * b
			}
			for c := range 3 {
				sum[c] += rowSum[c]
				squares[c] += rowSquares[c]
			}
		}
		count := float64(s.side) * float64(s.side)
		variance := 0.0
		for c := range 3 {
			m := float64(sum[c]) / count
			mean[c] = m / 255
			variance += max(float64(squares[c])/count-m*m, 0) / (255 * 255)
		}
		d := math.Sqrt(variance/3) + 0.05
		std = [3]float64{d, d, d}
	}
	for c := range 3 {
		for v := range 256 {
			table[c][v] = float32((float64(v)/255 - mean[c]) / std[c])
		}
	}
}

// write maps s to dst (3, side, side) through table, mirrored and then turned
// counter-clockwise.
func (s square) write(dst []float32, flip bool, turns int, table *[3][256]float32) {
	// The source of dst pixel (x, y) lies at start + x*dx + y*dy.
	last := s.side - 1
	var start, dx, dy int
	switch turns {
	case 0:
		start, dx, dy = 0, s.step, s.stride
	case 1: // (x, y) shows (last-y, x)
		start, dx, dy = last*s.step, s.stride, -s.step
	case 2:
		start, dx, dy = last*s.step+last*s.stride, -s.step, -s.stride
	case 3: // (x, y) shows (y, last-x)
		start, dx, dy = last*s.stride, -s.stride, s.step
	}
	if flip { // of the source: its columns run the other way
		mirror := func(d int) int {
			if d == s.step || d == -s.step {
				return -d
			}
			return d
		}
		if turns == 0 || turns == 3 {
			start += last * s.step
		} else {
			start -= last * s.step
		}
		dx, dy = mirror(dx), mirror(dy)
	}
	plane := s.side * s.side
	red, green, blue := dst[:plane], dst[plane:2*plane], dst[2*plane:3*plane]
	for y := range s.side {
		p := start + y*dy
		r, g, b := red[y*s.side:][:s.side], green[y*s.side:][:s.side], blue[y*s.side:][:s.side]
		g, b = g[:len(r)], b[:len(r)]
		for x := range r {
			px := s.pix[p : p+3 : p+3]
			r[x], g[x], b[x] = table[0][px[0]], table[1][px[1]], table[2][px[2]]
			p += dx
		}
	}
}
