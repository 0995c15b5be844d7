package baseline

import (
	"context"

	"relsim/dataloader"
)

// SSIM is the measure "ssim": the mean structural similarity of the luma of 32×32 pixels in windows of 8×8, four pixels
// apart (7×7 of them), with the sample covariance, K1 = 0.01, K2 = 0.03 and range 255:
//
//	(2μxμy + C1)(2σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2))
//
// These are the windows of x264 and FFmpeg. A window is four blocks of 4×4 pixels, and means and variances are computed
// once for each picture, so a pair costs little more than one pass over the products of its pixels. [metrics.SSIM] is
// the measure of the literature, with a window at every pixel.
//
// Source: Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13 (2004), eq. 13.
func SSIM() Measure { return &ssim{} }

const (
	ssimSide    = 32
	ssimBlock   = 4                         // pixels along a side of a block
	ssimBlocks  = ssimSide / ssimBlock      // along a side
	ssimWindows = ssimBlocks - 1            // along a side
	ssimArea    = 4 * ssimBlock * ssimBlock // pixels of a window
	ssimC1      = (0.01 * 255) * (0.01 * 255)
	ssimC2      = (0.03 * 255) * (0.03 * 255)
	// ssimShift is taken off all values: it changes no covariance and keeps the sums small.
	ssimShift = 128
)

type ssim struct {
	n      int
	pixels []float32    // shifted luma, block by block, (n, 32·32)
	stats  []ssimWindow // (n, 7·7)
}

// ssimWindow is one window of one picture.
type ssimWindow struct {
	mean, shifted       float32 // μ and μ - ssimShift
	luminance, contrast float32 // μ² + C1/2 and σ² + C2/2
}

func (s *ssim) Name() string { return "ssim" }

func (s *ssim) Prepare(ctx context.Context, images []*dataloader.Image) error {
	const size, windows = ssimSide * ssimSide, ssimWindows * ssimWindows
	*s = ssim{}
	pixels := make([]float32, len(images)*size)
	stats := make([]ssimWindow, len(images)*windows)
	err := each(ctx, s.Name(), images, ssimSide, func(i int, im *dataloader.Image) {
		x := pixels[i*size : (i+1)*size]
		for j, v := range grey(im) {
			row, col := j/ssimSide, j%ssimSide
			block := row/ssimBlock*ssimBlocks + col/ssimBlock
			x[(block*ssimBlock+row%ssimBlock)*ssimBlock+col%ssimBlock] = v - ssimShift
		}
		var own ssimSums
		own.products(x, x)
		for w := range windows {
			var sum float64
			at := w/ssimWindows*ssimBlocks + w%ssimWindows
			for _, block := range [4]int{at, at + 1, at + ssimBlocks, at + ssimBlocks + 1} {
				for _, v := range x[block*ssimBlock*ssimBlock:][:ssimBlock*ssimBlock] {
					sum += float64(v)
				}
			}
			mean := sum / ssimArea
			variance := (float64(own.window(at)) - sum*mean) / (ssimArea - 1)
			stats[i*windows+w] = ssimWindow{
				mean:      float32(mean + ssimShift),
				shifted:   float32(mean),
				luminance: float32((mean+ssimShift)*(mean+ssimShift) + ssimC1/2),
				contrast:  float32(variance + ssimC2/2),
			}
		}
	})
	if err != nil {
		return err
	}
	s.n, s.pixels, s.stats = len(images), pixels, stats
	return nil
}

func (s *ssim) Scores(query int, dst []float32) error {
	if err := checkQueries(s.Name(), []int{query}, s.n, dst); err != nil {
		return err
	}
	const size, windows = ssimSide * ssimSide, ssimWindows * ssimWindows
	x, sx := s.pixels[query*size:][:size], s.stats[query*windows:][:windows]
	var sums ssimSums
	for i := range dst {
		sums.products(x, s.pixels[i*size:][:size])
		sy := s.stats[i*windows:][:windows]
		var total float32
		for w := range sx {
			a, b := &sx[w], &sy[w]
			covariance := (sums.window(w/ssimWindows*ssimBlocks+w%ssimWindows) - ssimArea*a.shifted*b.shifted) * (1.0 / (ssimArea - 1))
			total += (2*a.mean*b.mean + ssimC1) * (2*covariance + ssimC2) / ((a.luminance + b.luminance) * (a.contrast + b.contrast))
		}
		dst[i] = total / windows
	}
	return nil
}

// ssimSums are the sums of the products of two pictures over each block.
type ssimSums [ssimBlocks * ssimBlocks]float32

func (s *ssimSums) products(x, y []float32) {
	for b := range s {
		p, q := (*[ssimBlock * ssimBlock]float32)(x[b*ssimBlock*ssimBlock:]), (*[ssimBlock * ssimBlock]float32)(y[b*ssimBlock*ssimBlock:])
		s[b] = (p[0]*q[0] + p[1]*q[1] + p[2]*q[2] + p[3]*q[3]) + (p[4]*q[4] + p[5]*q[5] + p[6]*q[6] + p[7]*q[7]) +
			((p[8]*q[8] + p[9]*q[9] + p[10]*q[10] + p[11]*q[11]) + (p[12]*q[12] + p[13]*q[13] + p[14]*q[14] + p[15]*q[15]))
	}
}

// window returns the sum over the window whose first block is at.
func (s *ssimSums) window(at int) float32 {
	return (s[at] + s[at+1]) + (s[at+ssimBlocks] + s[at+ssimBlocks+1])
}
