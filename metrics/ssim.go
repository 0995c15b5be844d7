package metrics

import (
	"fmt"
	"math"
)

// Window is the weighting of a neighbourhood in [SSIM].
type Window struct {
	weights []float64 // of one axis; the window is their outer product
	sample  bool      // covariance divided by n-1 instead of n, n the number of pixels of the window
}

// UniformWindow weighs side×side pixels alike and takes the sample covariance, as scikit-image does by default with side
// 7. It panics unless side is odd and at least 3.
func UniformWindow(side int) Window {
	if side < 3 || side%2 == 0 {
		panic(fmt.Sprintf("metrics: ssim: window of side %d: must be odd and at least 3", side))
	}
	w := make([]float64, side)
	for i := range w {
		w[i] = 1 / float64(side)
	}
	return Window{weights: w, sample: true}
}

// GaussianWindow is the 11×11 Gaussian of standard deviation 1.5 of Wang et al. 2004, with the covariance of the weighted
// population, or with the factor n/(n-1), n = 121, if sample is set.
func GaussianWindow(sample bool) Window {
	const sigma, radius = 1.5, 5
	w := make([]float64, 2*radius+1)
	var sum float64
	for i := range w {
		d := float64(i - radius)
		w[i] = math.Exp(-d * d / (2 * sigma * sigma))
		sum += w[i]
	}
	for i := range w {
		w[i] /= sum
	}
	return Window{weights: w, sample: sample}
}

// SSIM returns the mean structural similarity of two pictures a and b of one channel, (height, width) row-major, whose
// values span dataRange (255 for bytes):
//
//	(2μaμb + C1)(2σab + C2) / ((μa² + μb² + C1)(σa² + σb² + C2)),  C1 = (0.01·range)², C2 = (0.03·range)²
//
// averaged over the pixels whose window lies inside. For colour take the mean over the channels. All sums run in
// float64. A picture smaller than the window is an error; a length that does not fit panics.
//
// Source: Wang, Bovik, Sheikh, Simoncelli, Image Quality Assessment: From Error Visibility to Structural Similarity, IEEE
// TIP 13 (2004), eq. 13 and 14.
func SSIM(a, b []float64, width, height int, dataRange float64, w Window) (float64, error) {
	full, err := SSIMMap(a, b, width, height, dataRange, w)
	if err != nil {
		return 0, err
	}
	radius := len(w.weights) / 2
	var sum float64
	for y := radius; y < height-radius; y++ {
		for _, v := range full[y*width+radius : (y+1)*width-radius] {
			sum += v
		}
	}
	return sum / float64((width-2*radius)*(height-2*radius)), nil
}

// SSIMMap returns the structural similarity at every pixel, (height, width); see [SSIM]. At the border the pictures are
// mirrored, the edge pixel repeated (c b a | a b c).
func SSIMMap(a, b []float64, width, height int, dataRange float64, w Window) ([]float64, error) {
	if len(a) != width*height || len(b) != width*height {
		panic(fmt.Sprintf("metrics: ssim: %d and %d values for %d×%d pixels", len(a), len(b), width, height))
	}
	side := len(w.weights)
	if side == 0 {
		panic("metrics: ssim: the window has no weights: use UniformWindow or GaussianWindow")
	}
	if width < side || height < side {
		return nil, fmt.Errorf("metrics: ssim: a picture of %d×%d pixels: the window needs %d×%d", width, height, side, side)
	}
	product := func(x, y []float64) []float64 {
		p := make([]float64, len(x))
		for i := range p {
			p[i] = x[i] * y[i]
		}
		return p
	}
	filter := func(x []float64) []float64 {
		return filterRows(filterRows(x, width, height, w.weights), height, width, w.weights)
	}
	ma, mb := filter(a), filter(b)
	aa, bb, ab := filter(product(a, a)), filter(product(b, b)), filter(product(a, b))
	norm := 1.0
	if w.sample {
		n := float64(side * side)
		norm = n / (n - 1)
	}
	c1, c2 := math.Pow(0.01*dataRange, 2), math.Pow(0.03*dataRange, 2)
	out := make([]float64, len(a))
	for i := range out {
		va, vb, vab := norm*(aa[i]-ma[i]*ma[i]), norm*(bb[i]-mb[i]*mb[i]), norm*(ab[i]-ma[i]*mb[i])
		out[i] = (2*ma[i]*mb[i] + c1) * (2*vab + c2) / ((ma[i]*ma[i] + mb[i]*mb[i] + c1) * (va + vb + c2))
	}
	return out, nil
}

// filterRows convolves the rows of x (height, width) with weights and returns the transpose, so that two calls filter
// both axes.
func filterRows(x []float64, width, height int, weights []float64) []float64 {
	radius := len(weights) / 2
	out := make([]float64, len(x))
	padded := make([]float64, width+2*radius)
	for y := range height {
		row := x[y*width : (y+1)*width]
		for i := range padded {
			at := i - radius
			if at < 0 {
				at = -1 - at
			}
			if at >= width {
				at = 2*width - 1 - at
			}
			padded[i] = row[at]
		}
		for c := range width {
			var sum float64
			for i, w := range weights {
				sum += w * padded[c+i]
			}
			out[c*height+y] = sum
		}
	}
	return out
}

// MSE returns the mean squared difference of two equally long, non-empty lists; it panics if they are not.
func MSE(a, b []float64) float64 {
	if len(a) != len(b) || len(a) == 0 {
		panic(fmt.Sprintf("metrics: mse: %d and %d values", len(a), len(b)))
	}
	var sum float64
	for i := range a {
		d := a[i] - b[i]
		sum += d * d
	}
	return sum / float64(len(a))
}

// PSNR returns the peak signal-to-noise ratio 10·log10(dataRange²/MSE) in decibels, +Inf for equal pictures.
func PSNR(a, b []float64, dataRange float64) float64 {
	return 10 * math.Log10(dataRange*dataRange/MSE(a, b))
}
