package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"relsim/dataloader"
	"relsim/formats"
	"relsim/scenes"
)

// loader measures how many pictures a second a Loader hands out.
type loader struct {
	ctx   context.Context
	cases []*loaderCase
	last  []part
}

type loaderCase struct {
	name   string
	batch  int
	loader *dataloader.Loader
}

func newLoader(ctx context.Context, j job) (worker, error) {
	l := &loader{ctx: ctx}
	c := scenes.Default()
	c.TrainProfiles = 80
	memory, err := dataloader.Scenes(c, scenes.Train)
	if err != nil {
		return nil, err
	}
	pictures, err := dataloader.ChoosePictures(dataloader.JPEGAuto)
	if err != nil {
		return nil, err
	}
	files, err := formats.Open(ctx, filepath.Join(j.Dir, rowsFile), formats.Options{Images: j.Dir})
	if err != nil {
		return nil, err
	}
	for workers := 1; workers <= j.Threads; workers = max(workers+1, min(2*workers, j.Threads)) {
		for _, k := range []struct {
			name        string
			ds          dataloader.Dataset
			size, batch int
		}{{"64 × 64 from memory, augmented", memory, 64, 64}, {"JPEG files 640 × 480 → 224, augmented", files, 224, 16}} {
			loader, err := dataloader.New(k.ds, dataloader.Config{
				Batch: k.batch, Workers: workers, Seed: 1,
				Transform: dataloader.Transform{Size: k.size, Flip: true, Turn: true, Pictures: pictures},
			})
			if err != nil {
				return nil, err
			}
			l.cases = append(l.cases, &loaderCase{fmt.Sprintf("%s, workers: %d", k.name, workers), k.batch, loader})
		}
	}
	return l, l.once()
}

func (l *loader) once() error {
	l.last = l.last[:0]
	for _, c := range l.cases {
		const ahead = 4 // batches that are not counted: some were ready before
		n := 0
		var begin time.Time
		for i := 0; i < 2*ahead || time.Since(begin) < 300*time.Millisecond; i++ {
			batch, err := c.loader.Next(l.ctx)
			if err != nil {
				return err
			}
			c.loader.Recycle(batch)
			if i < ahead {
				begin = time.Now()
				continue
			}
			n += c.batch
		}
		l.last = append(l.last, part{Name: c.name, Speed: float64(n) / time.Since(begin).Seconds(), Unit: "pictures/s"})
		c.loader.Close() // the others have the cores for themselves
	}
	return nil
}

func (l *loader) parts() []part { return l.last }
func (l *loader) ready() ready  { return ready{} }
func (l *loader) close() {
	for _, c := range l.cases {
		c.loader.Close()
	}
}
