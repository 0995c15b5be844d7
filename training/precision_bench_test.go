package training

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"relsim/dataloader"
	"relsim/kernel"
	"relsim/nn"
	"relsim/scenes"
)

// BenchmarkPrecision takes whole training steps, both towers, loss and optimiser, in float32 and in bf16 by turns, and
// reports the median ratio of their times. It needs 6 GiB for ViT-B/16.
func BenchmarkPrecision(b *testing.B) {
	if err := kernel.CheckPrecision(kernel.BF16); err != nil {
		b.Skip("NOT RUN:", err)
	}
	for _, m := range []struct {
		model       string
		size, batch int
	}{{"scenes", 64, 64}, {"vit-ti/8", 64, 256}, {"vit-s/16", 224, 16}, {"vit-b/16", 224, 8}} {
		b.Run(fmt.Sprintf("model=%s/batch=%d", m.model, m.batch), func(b *testing.B) {
			c := scenes.Default()
			c.Size, c.TrainProfiles = m.size, max(2, m.batch/8)
			train, err := dataloader.Scenes(c, "train")
			if err != nil {
				b.Fatal(err)
			}
			config := Default()
			if config.Model, err = nn.Preset(m.model); err != nil {
				b.Fatal(err)
			}
			config.Model.Vision.ImageSize = m.size
			config.Batch, config.MicroBatch = m.batch, m.batch
			config.LearningRate = 1e-4
			var steps [2]func() time.Duration
			for i, precision := range []kernel.Precision{kernel.Float32, kernel.BF16} {
				config.Precision = precision
				threads := runtime.GOMAXPROCS(0)
				t, err := newTrainer(config, Options{Out: b.TempDir(), Resume: ResumeAuto, Threads: threads, Workers: 1, Keep: 1},
					&Data{Train: train, Val: train}, Observer{})
				if err != nil {
					b.Fatal(err)
				}
				defer t.close()
				if err := t.resume(); err != nil {
					b.Fatal(err)
				}
				steps[i] = func() time.Duration {
					batch, err := t.loader.Next(context.Background())
					if err != nil {
						b.Fatal(err)
					}
					start := time.Now()
					if err := t.update(context.Background(), batch); err != nil {
						b.Fatal(err)
					}
					return time.Since(start)
				}
				steps[i]()
			}
			var ratios, seconds []float64
			for b.Loop() {
				float32Step, bf16Step := steps[0](), steps[1]()
				ratios = append(ratios, float32Step.Seconds()/bf16Step.Seconds())
				seconds = append(seconds, bf16Step.Seconds())
			}
			slices.Sort(ratios)
			slices.Sort(seconds)
			b.ReportMetric(ratios[len(ratios)/2], "×float32")
			b.ReportMetric(ratios[0], "×least")
			b.ReportMetric(float64(m.batch)/seconds[len(seconds)/2], "images/s")
			b.ReportMetric(0, "ns/op") // of both together: leave it out
		})
	}
}
