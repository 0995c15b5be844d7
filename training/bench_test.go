package training

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"relsim/dataloader"
	"relsim/scenes"
)

// BenchmarkStep times the training step of the demo, data loading included; cmd/bench times it without, beside PyTorch.
func BenchmarkStep(b *testing.B) {
	c := scenes.Default()
	c.TrainProfiles = 16
	train, err := dataloader.Scenes(c, "train")
	if err != nil {
		b.Fatal(err)
	}
	for _, threads := range []int{1, runtime.GOMAXPROCS(0)} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			config := Default()
			data := &Data{Train: train, Val: train}
			t, err := newTrainer(config, Options{Out: b.TempDir(), Resume: ResumeAuto, Threads: threads, Workers: threads, Keep: 1}, data, Observer{})
			if err != nil {
				b.Fatal(err)
			}
			defer t.close()
			if err := t.resume(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				batch, err := t.loader.Next(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				if err := t.update(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(config.Batch)*float64(b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}
