package main

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"relsim/dataloader"
	"relsim/formats"
	"relsim/graph"
	"relsim/kernel"
	"relsim/nn"
)

// The mean and the deviation of ImageNet's colours, which fixed normalisation takes.
var (
	imageNetMean = [3]float64{.485, .456, .406}
	imageNetStd  = [3]float64{.229, .224, .225}
)

// embed turns the JPEG files of a folder into embeddings: workers decode, resize
// and normalise the pictures of the next batch while the model embeds this one.
type embed struct {
	pool      *kernel.Pool
	model     *nn.Model
	encoder   *nn.Encoder
	ds        dataloader.Dataset
	transform dataloader.Transform
	workers   int
	batches   [2][]float32
	size      int // of a batch
	out       []float32
}

func newEmbed(ctx context.Context, j job) (_ worker, err error) {
	e := &embed{
		pool: kernel.NewPool(j.Threads), workers: j.Workers, size: j.Batch,
		transform: dataloader.Transform{Size: j.Config.Vision.ImageSize, Normalize: dataloader.Normalize{Mean: j.Mean, Std: j.Std}},
	}
	if e.transform.Pictures, err = dataloader.ChoosePictures(dataloader.JPEGAuto); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	if e.ds, err = formats.Open(ctx, filepath.Join(j.Dir, rowsFile), formats.Options{Images: j.Dir}); err != nil {
		return nil, err
	}
	if e.model, err = nn.New(*j.Config, j.Vocab, source()); err != nil {
		return nil, err
	}
	fillParams(e.model.Params)
	if e.encoder, err = nn.NewEncoder(e.model, graph.NewCPU(e.pool), j.Batch); err != nil {
		return nil, err
	}
	for i := range e.batches {
		e.batches[i] = make([]float32, j.Batch*e.transform.Len())
	}
	e.out = make([]float32, e.ds.Len()*j.Config.EmbedDim)
	return e, e.once()
}

func (e *embed) once() error {
	n, dim := e.ds.Len(), e.model.Config.EmbedDim
	next := make(chan error, 1)
	load := func(at int) { go func() { next <- e.load(e.batches[at/e.size%2], at, min(at+e.size, n)) }() }
	load(0)
	for at := 0; at < n; at += e.size {
		if err := <-next; err != nil {
			return err
		}
		end := min(at+e.size, n)
		if end < n {
			load(end)
		}
		if err := e.encoder.Images(e.out[at*dim:end*dim], e.batches[at/e.size%2][:(end-at)*e.transform.Len()], end-at); err != nil {
			return err
		}
	}
	return nil
}

// load fills dst with pictures from low to high.
func (e *embed) load(dst []float32, low, high int) error {
	return each(e.workers, high-low, func(i int) error {
		return decode(dst[i*e.transform.Len():][:e.transform.Len()], e.ds, low+i, e.transform)
	})
}

// decode reads item i of ds into dst, as the input of a network.
func decode(dst []float32, ds dataloader.Dataset, i int, t dataloader.Transform) error {
	im, err := t.Image(context.Background(), ds, i)
	if err != nil {
		return err
	}
	t.Apply(dst, im, nil)
	return nil
}

// each calls f(0) … f(n-1) on the given number of goroutines and returns the
// first error.
func each(workers, n int, f func(i int) error) error {
	var group sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		group.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = f(i)
			}
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *embed) ready() ready {
	r := ready{Path: "pure Go, Lanczos", Parameters: len(e.model.Params.Data())}
	for _, v := range e.out[:e.model.Config.EmbedDim] {
		r.Check = append(r.Check, float64(v))
	}
	return r
}

func (e *embed) close() {
	if e.encoder != nil {
		e.encoder.Close()
	}
	e.pool.Close()
}

// encode turns pictures in memory into embeddings.
type encode struct {
	pool    *kernel.Pool
	model   *nn.Model
	encoder *nn.Encoder
	pixels  []float32
	out     []float32
}

func newEncode(_ context.Context, j job) (_ worker, err error) {
	e := &encode{pool: kernel.NewPool(j.Threads), pixels: pictures(j), out: make([]float32, j.Batch*j.Config.EmbedDim)}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	if e.model, err = nn.New(*j.Config, j.Vocab, source()); err != nil {
		return nil, err
	}
	fillParams(e.model.Params)
	if e.encoder, err = nn.NewEncoder(e.model, graph.NewCPU(e.pool), j.Batch); err != nil {
		return nil, err
	}
	return e, e.once()
}

func (e *encode) once() error {
	dim := e.model.Config.EmbedDim
	return e.encoder.Images(e.out, e.pixels, len(e.out)/dim)
}

func (e *encode) threads() *kernel.Pool { return e.pool }

func (e *encode) ready() ready { return ready{Parameters: len(e.model.Params.Data())} }

func (e *encode) close() {
	if e.encoder != nil {
		e.encoder.Close()
	}
	e.pool.Close()
}

// decoder reads JPEG files one after another: (3, size, size), 0 to 1.
type decoder struct {
	files     []string
	transform dataloader.Transform
	out       []float32
	check     []float64
	path      string
}

func newJPEG(_ context.Context, j job) (worker, error) {
	pictures, err := dataloader.ChoosePictures(cmp.Or(j.JPEG, dataloader.JPEGGo))
	if err != nil {
		return nil, err
	}
	d := &decoder{
		transform: dataloader.Transform{Size: j.Size, Normalize: dataloader.Normalize{Std: [3]float64{1, 1, 1}}, Pictures: pictures},
		path:      cmp.Or(j.JPEG, dataloader.JPEGGo) + ", Lanczos",
	}
	entries, err := os.ReadDir(j.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".jpg") {
			d.files = append(d.files, filepath.Join(j.Dir, e.Name()))
		}
	}
	d.out = make([]float32, d.transform.Len())
	if err := d.load(d.files[0]); err != nil {
		return nil, err
	}
	plane := j.Size * j.Size
	for c := range 3 {
		d.check = append(d.check, kernel.Sum(nil, d.out[c*plane:(c+1)*plane])/float64(plane))
	}
	return d, d.once()
}

func (d *decoder) load(name string) error {
	im, err := dataloader.SquareFile(name, dataloader.DefaultLimits, d.transform)
	if err != nil {
		return err
	}
	d.transform.Apply(d.out, im, nil)
	return nil
}

func (d *decoder) once() error {
	for _, name := range d.files {
		if err := d.load(name); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) ready() ready { return ready{Path: d.path, Check: d.check} }
func (d *decoder) close()       {}
