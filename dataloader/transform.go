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

// Transform makes a picture the input of a network: crop and resize, augment,
// normalise.
type Transform struct {
	Size      int       // height of the result, in pixels, and its width too unless that is set
	Width     int       // of the result; 0: Size
	Geometry  Geometry  // zero value: the largest square of the middle, resized
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
//
// If Scale is not 0, it takes the place of 1/255, and every step is rounded to float32,
// as in the processors of published models: byte·Scale, Mean and Std, the difference
// and the quotient.
type Normalize struct {
	Mean  [3]float64 `json:"mean"`
	Std   [3]float64 `json:"std"`
	Scale float64    `json:"scale,omitempty"`
}

// PerPicture says that n is the zero value.
func (n Normalize) PerPicture() bool { return n == Normalize{} }

// Validate returns an error that names the field that cannot be used.
func (t Transform) Validate() error {
	if t.Size < 1 || t.Size > maxSize {
		return fmt.Errorf("dataloader: transform: size %d, want 1 to %d", t.Size, maxSize)
	}
	if t.Width < 0 || t.Width > maxSize {
		return fmt.Errorf("dataloader: transform: width %d, want 1 to %d, or 0 for the size", t.Width, maxSize)
	}
	if w, h := t.bounds(); w != h && (t.Turn || t.Geometry.Resize == CropSquare) {
		return fmt.Errorf("dataloader: transform: %d×%d pixels: want a square, where it is cut out first or turned", w, h)
	}
	if err := t.Geometry.validate(); err != nil {
		return err
	}
	if err := t.Pictures.Validate(); err != nil {
		return err
	}
	if s := t.Normalize.Scale; math.IsNaN(s) || math.IsInf(s, 0) || s < 0 {
		return fmt.Errorf("dataloader: transform: normalise with scale %v, want a number above 0", s)
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

// Len is the number of values that Apply writes: 3·Size·Size, or 3·Size·Width.
func (t Transform) Len() int {
	w, h := t.bounds()
	return 3 * h * w
}

// Apply writes im (H, W, 3) bytes to dst (3, Size, Size) float32, channels first.
//
// The largest square is cut out of the middle, with left = (W-side)/2 and top =
// (H-side)/2 rounded down, and resized by a Lanczos filter of radius 3 unless it
// has the size already: then its bytes are taken as they are. t.Geometry may say
// otherwise, and t.Width ask for (3, Size, Width). Resizing gives Pillow's bytes, or
// those of package imaging for JPEGReference and the largest square. Pictures that
// [Transform.Image] and its like have made for the same size and geometry are taken as
// they are.
//
// The picture is mirrored first and turned counter-clockwise then. One number is drawn
// from rng if Flip or Turn is set; a nil rng means no augmentation.
//
// Apply panics if dst has not the length t.Len(), im not the pixels that its size asks
// for, or t.Geometry takes no picture of such a size: see [Transform.Fit].
func (t Transform) Apply(dst []float32, im *Image, rng *rand.Rand) {
	t.checkLen("Apply", len(dst))
	s, flip, turns := t.augmented("Apply", im, rng)
	var table [3][256]float32
	t.Normalize.fill(&table, s)
	s.write(dst, flip, turns, &table)
}

// ApplyPixels is [Transform.Apply] but for the last step. It writes the bytes to pixels (3, Size, Size), and to table
// (3, 256) what Apply has in their place: value i of channel c is table[256·c + pixels[i]], bit for bit.
//
// ApplyPixels panics as Apply does, and if table has not 3·256 values.
func (t Transform) ApplyPixels(pixels []byte, table []float32, im *Image, rng *rand.Rand) {
	t.checkLen("ApplyPixels", len(pixels))
	if len(table) != tableLen {
		panic(fmt.Sprintf("dataloader: Transform.ApplyPixels: table of %d values, want 3·256", len(table)))
	}
	s, flip, turns := t.augmented("ApplyPixels", im, rng)
	var values [3][256]float32
	t.Normalize.fill(&values, s)
	for c := range values {
		copy(table[256*c:], values[c][:])
	}
	s.writePixels(pixels, flip, turns)
}

// tableLen is how many values ApplyPixels writes to a table.
const tableLen = 3 * 256

// checkLen panics if n is not the length of a result.
func (t Transform) checkLen(what string, n int) {
	if n != t.Len() || t.Size < 1 {
		w, h := t.bounds()
		panic(fmt.Sprintf("dataloader: Transform.%s: dst of %d values, want 3·%d·%d", what, n, h, w))
	}
}

// augmented returns im cut and resized, and how it is to be mirrored and turned.
func (t Transform) augmented(what string, im *Image, rng *rand.Rand) (s view, flip bool, turns int) {
	if err := im.check(); err != nil {
		panic("dataloader: Transform." + what + ": " + err.Error())
	}
	s, err := t.view(im)
	if err != nil {
		panic("dataloader: Transform." + what + ": " + err.Error())
	}
	var bits uint64
	if rng != nil && (t.Flip || t.Turn) {
		bits = rng.Uint64()
	}
	if t.Turn {
		turns = int(bits >> 1 & 3)
	}
	return s, t.Flip && bits&1 == 1, turns
}

// Fit returns im cut and resized, before augmentation. Apply takes it as it is. The
// caller must change neither of them: a picture that needs no change is returned itself.
//
// It is an error if im is not a picture, or one so long and thin that t.Geometry cannot
// be had of it: whose longer side would have more than 2²⁴ pixels, or has more than 2¹⁸
// before it is resized to another shape.
func (t Transform) Fit(im *Image) (*Image, error) {
	if err := im.check(); err != nil {
		return nil, err
	}
	if t.fits(im) {
		return im, nil
	}
	v, err := t.view(im)
	if err != nil {
		return nil, err
	}
	to := v.image()
	to.made = t.shape()
	return to, nil
}

// view is a view of pixels: channel c of (x, y) is pix[y*stride+x*step+c].
type view struct {
	pix           []byte
	width, height int
	step, stride  int
}

// view returns what t cuts out of im and brings to its size.
func (t Transform) view(im *Image) (view, error) {
	v := view{pix: im.Pix, width: im.Width, height: im.Height, step: 3, stride: 3 * im.Width}
	if t.fits(im) {
		return v, nil
	}
	f, err := t.frame(im.Width, im.Height)
	if err != nil {
		return view{}, err
	}
	v.pix = v.pix[3*(f.crop.Min.Y*im.Width+f.crop.Min.X):]
	v.width, v.height = f.crop.Dx(), f.crop.Dy()
	w, h := t.bounds()
	part := f.to.Part
	if v.width == f.to.Width && v.height == f.to.Height && part.Dx() == w && part.Dy() == h { // nothing but a crop
		v.pix, v.width, v.height = v.pix[part.Min.Y*v.stride+3*part.Min.X:], w, h
		return v, nil
	}
	if t.Geometry.Resize == CropSquare && t.Pictures.JPEG == JPEGReference {
		return resize(v, w), nil
	}
	to := &Image{Width: part.Dx(), Height: part.Dy(), Pix: make([]byte, 3*part.Dx()*part.Dy())}
	kernel.ResizeRGBView(to.Pix, f.to, v.pix, v.stride, v.width, v.height, f.filter)
	to = frameIn(to, f.at, w, h)
	return view{pix: to.Pix, width: w, height: h, step: 3, stride: 3 * w}, nil
}

// frameIn puts im at a point of a black picture of w×h, unless it fills that.
func frameIn(im *Image, at image.Point, w, h int) *Image {
	if im.Width == w && im.Height == h {
		return im
	}
	to := &Image{Width: w, Height: h, Pix: make([]byte, 3*w*h)}
	for y := range im.Height {
		copy(to.Pix[3*((at.Y+y)*w+at.X):], im.Pix[3*y*im.Width:][:3*im.Width])
	}
	return to
}

// image returns v as a picture of its own.
func (v view) image() *Image {
	to := &Image{Width: v.width, Height: v.height, Pix: v.pix}
	if v.step == 3 && v.stride == 3*v.width {
		to.Pix = v.pix[:3*v.width*v.height]
		return to
	}
	to.Pix = make([]byte, 3*v.width*v.height)
	dst := to.Pix
	for y := range v.height {
		row := v.pix[y*v.stride:]
		for x := range v.width {
			copy(dst[:3], row[x*v.step:])
			dst = dst[3:]
		}
	}
	return to
}

// resize returns v, a square, resampled to the given side by package imaging.
func resize(v view, side int) view {
	buf := scratch.Get().(*[]byte)
	n := 4 * v.width * v.height
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	src := image.NRGBA{Pix: (*buf)[:n], Stride: 4 * v.width, Rect: image.Rect(0, 0, v.width, v.height)}
	for y := range v.height {
		in, out := v.pix[y*v.stride:], src.Pix[y*src.Stride:]
		for x := range v.width {
			p := in[x*v.step:]
			out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = p[0], p[1], p[2], 0xff
		}
	}
	dst := imaging.Resize(&src, side, side, imaging.Lanczos)
	scratch.Put(buf)
	return view{pix: dst.Pix, width: side, height: side, step: 4, stride: dst.Stride}
}

// scratch holds source buffers of resize.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// fill sets table[c][v] to the normalised value of byte v in channel c. The sums
// are whole numbers, so that they are exact, and mirroring or turning v changes
// nothing.
func (n Normalize) fill(table *[3][256]float32, v view) {
	mean, std := n.Mean, n.Std
	if n.PerPicture() {
		var sum, squares [3]uint64
		for y := range v.height {
			row := v.pix[y*v.stride:]
			var rowSum, rowSquares [3]uint64
			for x := range v.width {
				p := row[x*v.step : x*v.step+3 : x*v.step+3]
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
		count := float64(v.width) * float64(v.height)
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
		for b := range 256 {
			if n.Scale != 0 {
				table[c][b] = (float32(float64(b)*n.Scale) - float32(mean[c])) / float32(std[c])
			} else {
				table[c][b] = float32((float64(b)/255 - mean[c]) / std[c])
			}
		}
	}
}

// write maps v to dst (3, height, width) through table, mirrored and then turned
// counter-clockwise. What is turned is a square.
func (v view) write(dst []float32, flip bool, turns int, table *[3][256]float32) {
	start, dx, dy := v.path(flip, turns)
	for y := range v.height {
		p := start + y*dy
		r, g, b := lines(dst, v, y)
		g, b = g[:len(r)], b[:len(r)]
		for x := range r {
			px := v.pix[p : p+3 : p+3]
			r[x], g[x], b[x] = table[0][px[0]], table[1][px[1]], table[2][px[2]]
			p += dx
		}
	}
}

// writePixels is write without a table: the bytes as they are.
func (v view) writePixels(dst []byte, flip bool, turns int) {
	start, dx, dy := v.path(flip, turns)
	for y := range v.height {
		p := start + y*dy
		r, g, b := lines(dst, v, y)
		g, b = g[:len(r)], b[:len(r)]
		for x := range r {
			px := v.pix[p : p+3 : p+3]
			r[x], g[x], b[x] = px[0], px[1], px[2]
			p += dx
		}
	}
}

// lines returns line y of the three channels of dst (3, height, width).
func lines[T float32 | byte](dst []T, v view, y int) (r, g, b []T) {
	plane, from := v.width*v.height, y*v.width
	return dst[from:][:v.width], dst[plane+from:][:v.width], dst[2*plane+from:][:v.width]
}

// path says where pixel (x, y) of a result comes from, v being mirrored and then turned
// counter-clockwise: from start + x*dx + y*dy.
func (v view) path(flip bool, turns int) (start, dx, dy int) {
	right, down := (v.width-1)*v.step, (v.height-1)*v.stride
	switch turns {
	case 0:
		start, dx, dy = 0, v.step, v.stride
	case 1: // (x, y) shows (last-y, x)
		start, dx, dy = right, v.stride, -v.step
	case 2:
		start, dx, dy = right+down, -v.step, -v.stride
	case 3: // (x, y) shows (y, last-x)
		start, dx, dy = down, -v.stride, v.step
	}
	if flip { // of the source: its columns run the other way
		switch turns {
		case 0, 3:
			start += right
		default:
			start -= right
		}
		switch turns {
		case 0, 2:
			dx = -dx
		default:
			dy = -dy
		}
	}
	return start, dx, dy
}
