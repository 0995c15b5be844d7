package baseline

import (
	"context"

	"relsim/dataloader"
)

// SSIM is the measure "ssim": the mean structural similarity of the luma of 32×32 pixels in windows of 7×7, two pixels
// apart (13×13 of them), with the sample covariance, K1 = 0.01, K2 = 0.03 and range 255:
//
//	(2μxμy + C1)(2σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2))
//
// Means and variances are computed once for each picture, so a pair costs one pass over the products of its pixels.
// [metrics.SSIM] is the full-size measure with a window at every pixel.
//
// Source: Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13 (2004), eq. 13.
func SSIM() Measure { return &ssim{} }

const (
	ssimSide    = 32
	ssimWindow  = 7
	ssimWindows = (ssimSide-ssimWindow)/2 + 1 // along a side
	ssimC1      = (0.01 * 255) * (0.01 * 255)
	ssimC2      = (0.03 * 255) * (0.03 * 255)
	// ssimShift is taken off all values: it changes no covariance and keeps the sums small.
	ssimShift = 128
)

type ssim struct {
	n int
	// Of each picture: shifted luma (32·32), and for each window the shifted mean and the sample variance.
	pixels, means, variances []float32
}

func (s *ssim) Name() string { return "ssim" }

func (s *ssim) Prepare(ctx context.Context, images []*dataloader.Image) error {
	const size, windows = ssimSide * ssimSide, ssimWindows * ssimWindows
	*s = ssim{}
	pixels := make([]float32, len(images)*size)
	means, variances := make([]float32, len(images)*windows), make([]float32, len(images)*windows)
	err := each(ctx, s.Name(), images, ssimSide, func(i int, im *dataloader.Image) {
		x := pixels[i*size : (i+1)*size]
		copy(x, grey(im))
		for j := range x {
			x[j] -= ssimShift
		}
		for w := range windows {
			at := w/ssimWindows*2*ssimSide + w%ssimWindows*2
			var sum, squares float64
			for dy := range ssimWindow {
				for _, v := range x[at+dy*ssimSide:][:ssimWindow] {
					sum += float64(v)
					squares += float64(v) * float64(v)
				}
			}
			const area = ssimWindow * ssimWindow
			mean := sum / area
			means[i*windows+w] = float32(mean)
			variances[i*windows+w] = float32((squares - sum*mean) / (area - 1))
		}
	})
	if err != nil {
		return err
	}
	s.n, s.pixels, s.means, s.variances = len(images), pixels, means, variances
	return nil
}

func (s *ssim) Scores(query int, dst []float32) error {
	if err := checkQueries(s.Name(), []int{query}, s.n, dst); err != nil {
		return err
	}
	var b ssimBuffers
	for i := range dst {
		dst[i] = s.pair(&b, query, i)
	}
	return nil
}

// ssimBuffers holds the products of one pair: by row, and summed over the rows of a window.
type ssimBuffers struct {
	products [ssimSide][ssimSide]float32
	columns  [ssimSide]float32
}

// pair returns the mean of the windows. The sums of a window's products are built without subtraction: seven rows are
// added to columns, seven columns to windows.
func (s *ssim) pair(b *ssimBuffers, q, i int) float32 {
	const size, windows, area = ssimSide * ssimSide, ssimWindows * ssimWindows, ssimWindow * ssimWindow
	x, y := s.pixels[q*size:(q+1)*size], s.pixels[i*size:(i+1)*size]
	for r := range ssimSide {
		p, xr, yr := &b.products[r], x[r*ssimSide:][:ssimSide], y[r*ssimSide:][:ssimSide]
		for c := range p {
			p[c] = xr[c] * yr[c]
		}
	}
	mx, my := s.means[q*windows:(q+1)*windows], s.means[i*windows:(i+1)*windows]
	vx, vy := s.variances[q*windows:(q+1)*windows], s.variances[i*windows:(i+1)*windows]
	var total float32
	for wy := range ssimWindows {
		r := b.products[2*wy : 2*wy+ssimWindow]
		c := &b.columns
		for j := range c {
			c[j] = r[0][j] + r[1][j] + r[2][j] + r[3][j] + r[4][j] + r[5][j] + r[6][j]
		}
		row := wy * ssimWindows
		mxr, myr, vxr, vyr := mx[row:][:ssimWindows], my[row:][:ssimWindows], vx[row:][:ssimWindows], vy[row:][:ssimWindows]
		for wx := range ssimWindows {
			w := c[2*wx:][:ssimWindow]
			sum := w[0] + w[1] + w[2] + w[3] + w[4] + w[5] + w[6]
			covariance := (sum - area*mxr[wx]*myr[wx]) / (area - 1)
			ux, uy := mxr[wx]+ssimShift, myr[wx]+ssimShift
			total += (2*ux*uy + ssimC1) * (2*covariance + ssimC2) / ((ux*ux + uy*uy + ssimC1) * (vxr[wx] + vyr[wx] + ssimC2))
		}
	}
	return total / windows
}
