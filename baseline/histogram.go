package baseline

import (
	"context"

	"relsim/dataloader"
)

// Histogram is the measure "color-histogram": the intersection of joint RGB histograms of 8×8×8 bins over 64×64 pixels,
//
//	score(a, b) = Σ_bins min(h_a, h_b),  Σ h = 1
//
// A pixel is spread over the neighbouring bins by trilinear weights, so that a colour on the edge of two bins does not
// fall into one of them by chance.
//
// Source: Swain, Ballard, Color Indexing, IJCV 7 (1991).
func Histogram() Measure { return &histogram{} }

const (
	histogramSide = 64
	histogramBins = 8 // for each channel
)

type histogram struct {
	n    int
	bins [][]bin // of each picture, those that are not empty
	data []float32
}

type bin struct {
	at    int32
	share float32
}

func (h *histogram) Name() string { return "color-histogram" }

func (h *histogram) Prepare(ctx context.Context, images []*dataloader.Image) error {
	const width = histogramBins * histogramBins * histogramBins
	h.n, h.data, h.bins = 0, nil, nil
	data := make([]float32, len(images)*width)
	bins := make([][]bin, len(images))
	// Bin b has its centre at (b+½)·256/8-½; low[v] is the bin at or under value v and high[v] the share of the next.
	var low [256]int
	var high [256]float32
	for v := range low {
		at := max(0, min(histogramBins-1, (float32(v)+0.5)*histogramBins/256-0.5))
		low[v] = min(int(at), histogramBins-2)
		high[v] = at - float32(low[v])
	}
	err := each(ctx, h.Name(), images, histogramSide, func(i int, im *dataloader.Image) {
		dst := data[i*width : (i+1)*width]
		const each = 1.0 / (histogramSide * histogramSide)
		for p := 0; p < len(im.Pix); p += 3 {
			r, g, b := im.Pix[p], im.Pix[p+1], im.Pix[p+2]
			base := (low[r]*histogramBins+low[g])*histogramBins + low[b]
			for corner := range 8 {
				w := float32(each)
				at := base
				if corner&4 != 0 {
					w, at = w*high[r], at+histogramBins*histogramBins
				} else {
					w *= 1 - high[r]
				}
				if corner&2 != 0 {
					w, at = w*high[g], at+histogramBins
				} else {
					w *= 1 - high[g]
				}
				if corner&1 != 0 {
					w, at = w*high[b], at+1
				} else {
					w *= 1 - high[b]
				}
				dst[at] += w
			}
		}
		for at, share := range dst {
			if share > 0 {
				bins[i] = append(bins[i], bin{int32(at), share})
			}
		}
	})
	if err != nil {
		return err
	}
	h.n, h.data, h.bins = len(images), data, bins
	return nil
}

func (h *histogram) Scores(query int, dst []float32) error {
	if err := checkQueries(h.Name(), []int{query}, h.n, dst); err != nil {
		return err
	}
	const width = histogramBins * histogramBins * histogramBins
	for i := range dst {
		row := h.data[i*width : (i+1)*width]
		var sum float32
		for _, b := range h.bins[query] {
			sum += min(b.share, row[b.at])
		}
		dst[i] = sum
	}
	return nil
}
