package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"relsim/baseline"
	"relsim/command"
	"relsim/dataloader"
	"relsim/hub"
	"relsim/kernel"
	"relsim/lpips"
	"relsim/nn"
	"relsim/training"
)

// about says what a score is.
type about struct {
	Score  string `json:"score"`  // "similarity" or "distance"
	Nearer string `json:"nearer"` // "higher" or "lower"
	How    string `json:"how"`
}

func similarity(how string) about { return about{"similarity", "higher", how} }

// comparer compares pictures.
type comparer interface {
	// prepare reads pictures, and returns which can be read and which cannot.
	prepare(ctx context.Context, ds dataloader.Dataset, progress func(done int)) (good []int, broken []dataloader.Broken, err error)
	// rows writes the scores of the pictures first … last-1 of the good ones with all n of them to dst, (last-first, n).
	rows(ctx context.Context, first, last int, dst []float32) error
	about() about
	close()
}

func pixelNames() string {
	var names []string
	for _, m := range baseline.All(1) {
		names = append(names, m.Name())
	}
	return strings.Join(names, ", ")
}

// open finds what --model names.
func (o *options) open(ctx context.Context, stderr io.Writer) (comparer, error) {
	if err := command.CheckDevice(o.device, o.precision); err != nil {
		return nil, err
	}
	isLPIPS := strings.HasPrefix(o.model, training.LPIPSBaseline+":")
	if o.side > 0 && !isLPIPS {
		return nil, command.Usagef("--side goes with --model lpips:…")
	}
	if isLPIPS {
		b, err := training.ParseBaseline(o.model)
		if err != nil {
			return nil, command.Usagef("--model: %w", err)
		}
		net, err := lpips.OpenKind(b.Net, b.Path)
		if err != nil {
			return nil, err
		}
		return &perceptual{net: net, side: o.side, threads: o.threads}, nil
	}
	for _, m := range baseline.All(1) {
		if m.Name() == o.model {
			return &pixels{measure: m, threads: o.threads}, nil
		}
	}
	device, err := command.Device(o.device, o.precision, func(text string) { fmt.Fprintf(stderr, "score: %s\n", text) })
	if err != nil {
		return nil, err
	}
	model, err := training.OpenWith(ctx, o.model, training.OpenOptions{Threads: o.threads, Precision: device.Precision, GPU: device.GPU,
		Hub: hub.Options{Notice: func(format string, args ...any) {
			if !o.quiet {
				fmt.Fprintf(stderr, "score: "+format+"\n", args...)
			}
		}},
	})
	if err != nil {
		device.Close()
		if _, missing := os.Stat(o.model); errors.Is(missing, fs.ErrNotExist) {
			return nil, fmt.Errorf("--model %s is no measure of pixels (%s) and no lpips:NET=DIR, and as a model: %w", o.model, pixelNames(), err)
		}
		return nil, err
	}
	if !model.Has(nn.VisionTower) {
		model.Close()
		device.Close()
		return nil, fmt.Errorf("%s: the model has no encoder of pictures", o.model)
	}
	return &embedder{model: model, device: device}, nil
}

// embedder compares embeddings of a model.
type embedder struct {
	model   *training.Embedder
	device  *training.Device
	vectors []float32
}

func (c *embedder) close() {
	c.model.Close()
	c.device.Close()
}

func (c *embedder) about() about { return similarity("cosine of embeddings") }

func (c *embedder) prepare(ctx context.Context, ds dataloader.Dataset, progress func(done int)) (good []int, broken []dataloader.Broken, err error) {
	c.vectors, good, broken, err = c.model.Readable(ctx, ds, progress)
	return good, broken, err
}

func (c *embedder) rows(_ context.Context, first, last int, dst []float32) error {
	dim := c.model.Dim()
	n := len(c.vectors) / dim
	kernel.Gemm(nil, false, true, last-first, n, dim, c.vectors[first*dim:last*dim], dim, c.vectors, dim, dst, n, false)
	return nil
}

// pixels compares by a measure of pixels.
type pixels struct {
	measure baseline.Measure
	threads int
	n       int
}

func (c *pixels) close()       {}
func (c *pixels) about() about { return similarity(c.measure.Name() + " of pixels") }

// pixelSide is the square that pictures are cut and resized to before a measure of pixels, as `eval` does it.
const pixelSide = 64

func (c *pixels) prepare(ctx context.Context, ds dataloader.Dataset, progress func(done int)) (good []int, broken []dataloader.Broken, err error) {
	images, good, broken, err := load(ctx, ds, c.threads, pixelSide, progress)
	if err != nil || len(images) == 0 {
		return good, broken, err
	}
	c.n = len(images)
	return good, broken, c.measure.Prepare(ctx, images)
}

func (c *pixels) rows(ctx context.Context, first, last int, dst []float32) error {
	queries := make([]int, last-first)
	for i := range queries {
		queries[i] = first + i
	}
	if m, ok := c.measure.(baseline.BlockMeasure); ok {
		return m.ScoresBlock(queries, dst)
	}
	for r, q := range queries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.measure.Scores(q, dst[r*c.n:(r+1)*c.n]); err != nil {
			return err
		}
	}
	return nil
}

// load reads pictures, fitted to squares of a side (0: as they are).
func load(ctx context.Context, ds dataloader.Dataset, threads, side int, progress func(done int)) (images []*dataloader.Image, good []int, broken []dataloader.Broken, err error) {
	broken, err = dataloader.ForEach(ctx, ds, nil, threads, func(k int, im *dataloader.Image) error {
		if side > 0 {
			var err error
			if im, err = baseline.Fit(im, side); err != nil {
				return err
			}
		}
		images, good = append(images, im), append(good, k)
		progress(k + 1)
		return nil
	})
	return images, good, broken, err
}

// perceptual compares by LPIPS.
type perceptual struct {
	net     *lpips.Net
	side    int
	threads int
	exact   [][]float32 // of few pictures, the distances
	n       int
	width   int
	vectors []float32 // of more, vectors whose squared Euclidean distance is LPIPS
}

// Pictures whose pairs are few are compared in pairs. Of others the features are computed once for each.
const (
	fewPictures = 8
	maxFeatures = 2 << 30 // bytes
)

func (c *perceptual) close() {}

func (c *perceptual) about() about {
	how := fmt.Sprintf("LPIPS (%s) of pictures as they are", c.net.Kind())
	if c.side > 0 {
		how = fmt.Sprintf("LPIPS (%s) of squares of %d pixels", c.net.Kind(), c.side)
	}
	return about{"distance", "lower", how + "; 0 is the same"}
}

func (c *perceptual) prepare(ctx context.Context, ds dataloader.Dataset, progress func(done int)) (good []int, broken []dataloader.Broken, err error) {
	images, good, broken, err := load(ctx, ds, c.threads, c.side, progress)
	if err != nil || len(images) == 0 {
		return good, broken, err
	}
	first := images[0]
	for i, im := range images {
		if im.Width != first.Width || im.Height != first.Height {
			return nil, nil, fmt.Errorf("%s has %d×%d pixels and %s %d×%d: LPIPS compares position with position, and takes one size; --side N cuts and resizes all to squares",
				ds.Item(good[0]).Path, first.Width, first.Height, ds.Item(good[i]).Path, im.Width, im.Height)
		}
	}
	c.n = len(images)
	if c.n <= fewPictures {
		return good, broken, c.pairs(ctx, images)
	}
	if c.width, err = c.net.Width(first.Height, first.Width); err != nil {
		return nil, nil, err
	}
	if size := 4 * int64(c.width) * int64(c.n); size > maxFeatures {
		return nil, nil, fmt.Errorf("features of %d pictures of %d×%d pixels take %d MiB: want at most %d; --side N makes them smaller",
			c.n, first.Width, first.Height, size>>20, maxFeatures>>20)
	}
	c.vectors = make([]float32, c.n*c.width)
	return good, broken, c.net.Vectors(ctx, images, c.threads, func(i int, v []float32) error {
		copy(c.vectors[i*c.width:(i+1)*c.width], v)
		return nil
	})
}

// pairs computes all distances.
func (c *perceptual) pairs(ctx context.Context, images []*dataloader.Image) error {
	var pairs []lpips.Pair
	for i := range images {
		for j := range i {
			pairs = append(pairs, lpips.Pair{A: images[i], B: images[j]})
		}
	}
	d, err := c.net.Distances(ctx, pairs, c.threads)
	if err != nil {
		return err
	}
	for i := range images {
		c.exact = append(c.exact, make([]float32, len(images)))
		for j := range i {
			c.exact[i][j], c.exact[j][i] = d[0], d[0]
			d = d[1:]
		}
	}
	return nil
}

func (c *perceptual) rows(ctx context.Context, first, last int, dst []float32) error {
	if c.exact != nil {
		copy(dst, slices.Concat(c.exact[first:last]...))
		return nil
	}
	apart := make([]float32, c.width)
	for i := first; i < last; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		for j := range c.n {
			copy(apart, c.vectors[i*c.width:(i+1)*c.width])
			kernel.Axpy(nil, apart, -1, c.vectors[j*c.width:(j+1)*c.width])
			dst[(i-first)*c.n+j] = float32(kernel.SumSquares(nil, apart))
		}
	}
	return nil
}
