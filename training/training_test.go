package training

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/checkpoints"
	"relsim/dataloader"
	"relsim/loss"
	"relsim/nn"
	"relsim/scenes"
)

// tiny is a small setting of the benchmark, and a model that learns it a little in seconds.
func tiny() (scenes.Config, Config) {
	s := scenes.Default()
	s.Size, s.TrainProfiles, s.Twins, s.ValProfiles, s.TestProfiles = 32, 12, 8, 6, 6
	c := Default()
	c.Model.Vision.ImageSize = 32
	c.Model.Vision.Convs = []nn.ConvConfig{{Channels: 8, Stride: 2}, {Channels: 16, Stride: 2}, {Channels: 24, Stride: 2}}
	c.Model.Vision.Width, c.Model.Vision.Layers, c.Model.Vision.Heads, c.Model.Vision.MLP = 24, 1, 2, 48
	c.Model.Text.Width, c.Model.EmbedDim = 24, 24
	c.Batch, c.MicroBatch, c.Steps = 16, 16, 15 // 96 pictures: the third epoch is cut
	return s, c
}

func options(t testing.TB) Options {
	return Options{Out: t.TempDir(), Resume: ResumeAuto, Threads: 1, Workers: 2, Keep: 2, MaxBroken: 0.05}
}

func tinyData(t testing.TB, s scenes.Config) *Data {
	t.Helper()
	d, err := OpenData(context.Background(), Source{Data: ScenesName, Scenes: &s})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// weights returns the bytes of the model file of a checkpoint, and those of the optimiser.
func weights(t testing.TB, dir string) []byte {
	t.Helper()
	var all []byte
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

func mustRun(t testing.TB, c Config, o Options, d *Data) *Summary {
	t.Helper()
	s, err := Run(context.Background(), c, o, d, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRunLearns(t *testing.T) {
	s, c := tiny()
	c.Steps = 60
	c.LearningRate = 5e-3
	o := options(t)
	o.EvalEvery, o.SaveEvery = 20, 20
	summary := mustRun(t, c, o, tinyData(t, s))
	rows, err := ReadLog(filepath.Join(o.Out, MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	var losses []float64
	validations := 0
	for _, row := range rows {
		if row.Validation != nil {
			validations++
			continue
		}
		losses = append(losses, row.Loss)
	}
	if len(losses) != c.Steps || validations != 3 {
		t.Fatalf("%d steps and %d validations in the log, want %d and 3", len(losses), validations, c.Steps)
	}
	mean := func(v []float64) (m float64) {
		for _, x := range v {
			m += x / float64(len(v))
		}
		return m
	}
	if first, last := mean(losses[:10]), mean(losses[50:]); last > first-0.15 {
		t.Errorf("loss %.3f in the first steps, %.3f in the last: nothing was learned", first, last)
	}
	if summary.Best == "" || summary.Seen != 60*16 {
		t.Errorf("summary %+v", summary)
	}
	list, err := filepath.Glob(filepath.Join(o.Out, "checkpoints", "step-*"))
	if err != nil || len(list) > o.Keep+1 {
		t.Errorf("%d checkpoints kept (%v), want at most %d and the best", len(list), err, o.Keep)
	}
}

// TestResume interrupts runs at random steps, in the middle of an epoch too, and holds the weights and the optimiser of
// the resumed run to those of the uninterrupted one, bit for bit; with other numbers of threads and workers.
func TestResume(t *testing.T) {
	s, c := tiny()
	c.Average = 0.9
	c.Model.Vision.Dropout = 0.1
	d := tinyData(t, s)
	o := options(t)
	want := weights(t, mustRun(t, c, o, d).Checkpoint)
	rng := rand.New(rand.NewPCG(1, 2))
	for trial := range 4 {
		o := options(t)
		o.Threads, o.Workers = 1+trial%3, 1+trial
		at := 1 + rng.IntN(c.Steps-1)
		ctx, cancel := context.WithCancel(context.Background())
		watch := Observer{Step: func(row Row) {
			if row.Step == at {
				cancel()
			}
		}}
		_, err := Run(ctx, c, o, d, watch)
		if !errors.Is(err, ErrInterrupted) {
			t.Fatalf("interrupted at step %d: %v", at, err)
		}
		var info StartInfo
		got, err := Run(context.Background(), c, o, d, Observer{Start: func(i StartInfo) { info = i }})
		if err != nil {
			t.Fatal(err)
		}
		if info.Done != at || info.Resumed == "" {
			t.Errorf("resumed from %d (%s), want %d", info.Done, info.Resumed, at)
		}
		if !bytes.Equal(weights(t, got.Checkpoint), want) {
			t.Errorf("interrupted after step %d of %d: the weights differ from the uninterrupted run's", at, c.Steps)
		}
		rows, err := ReadLog(filepath.Join(o.Out, MetricsFile))
		if err != nil {
			t.Fatal(err)
		}
		var steps []int
		for _, row := range rows {
			if row.Validation == nil {
				steps = append(steps, row.Step)
			}
		}
		if len(steps) != c.Steps || !slices.IsSorted(steps) {
			t.Errorf("the log has steps %v, want 1 to %d", steps, c.Steps)
		}
	}
}

// TestKilled copies a run folder as it is after a checkpoint in mid-run, with log lines that the checkpoint does not
// know, as a kill leaves it.
func TestKilled(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	o := options(t)
	want := weights(t, mustRun(t, c, o, d).Checkpoint)

	o = options(t)
	o.SaveEvery = 4
	killed := t.TempDir()
	watch := Observer{Step: func(row Row) {
		if row.Step == 10 {
			if err := os.CopyFS(filepath.Join(killed, "run"), os.DirFS(o.Out)); err != nil {
				t.Fatal(err)
			}
		}
	}}
	if _, err := Run(context.Background(), c, o, d, watch); err != nil {
		t.Fatal(err)
	}
	o.Out = filepath.Join(killed, "run")
	f, err := os.OpenFile(filepath.Join(o.Out, MetricsFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, `{"step":9,"loss":1}`+"\n"+`{"step":10,"lo`)
	f.Close()
	var from int
	got, err := Run(context.Background(), c, o, d, Observer{Start: func(i StartInfo) { from = i.Done }})
	if err != nil {
		t.Fatal(err)
	}
	if from != 8 {
		t.Errorf("resumed from step %d, want 8", from)
	}
	if !bytes.Equal(weights(t, got.Checkpoint), want) {
		t.Error("the weights differ from the uninterrupted run's")
	}
}

// TestMicroBatches holds one step with micro-batches to one with the whole batch, dropout on in both.
func TestMicroBatches(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	c.Steps = 3
	whole := mustRun(t, c, options(t), d)
	for _, micro := range []int{8, 2} {
		c.MicroBatch = micro
		parts := mustRun(t, c, options(t), d)
		a, b := values(t, whole.Checkpoint), values(t, parts.Checkpoint)
		for name := range a {
			for i, want := range a[name] {
				if got := b[name][i]; math.Abs(float64(got-want)) > 2e-4 {
					t.Fatalf("micro-batch %d: %s[%d] = %v, want %v", micro, name, i, got, want)
				}
			}
		}
	}
}

func values(t testing.TB, dir string) map[string][]float32 {
	t.Helper()
	f, err := checkpoints.Open(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := make(map[string][]float32)
	for _, name := range f.Names() {
		if all[name], _, err = f.Float32(name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestDisk trains from files that the benchmark was written to, and from memory: the weights are the same bits.
func TestDisk(t *testing.T) {
	s, c := tiny()
	want := values(t, mustRun(t, c, options(t), tinyData(t, s)).Checkpoint)
	dir := filepath.Join(t.TempDir(), "scenes")
	if _, err := scenes.Write(context.Background(), dir, s, scenes.Options{}); err != nil {
		t.Fatal(err)
	}
	d, err := OpenData(context.Background(), Source{
		Data: filepath.Join(dir, "train.jsonl"), Images: filepath.Join(dir, "images"), Val: filepath.Join(dir, "val.jsonl"),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := values(t, mustRun(t, c, options(t), d).Checkpoint)
	for name := range want {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("%s differs between pictures in memory and on disk", name)
		}
	}
}

// TestInterruptedValidation ends the context when a validation is about to begin: the weights are saved, the validation is made up for
// when the run continues, and the best checkpoint is the one of the uninterrupted run.
func TestInterruptedValidation(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	o := options(t)
	o.EvalEvery = 5
	want := mustRun(t, c, o, d)
	for _, at := range []int{5, c.Steps} {
		o.Out = t.TempDir()
		ctx, cancel := context.WithCancel(context.Background())
		watch := Observer{Step: func(row Row) {
			if row.Step == at {
				cancel()
			}
		}}
		_, err := Run(ctx, c, o, d, watch)
		if !errors.Is(err, ErrInterrupted) {
			t.Fatalf("interrupted at step %d: %v", at, err)
		}
		got := mustRun(t, c, o, d)
		if filepath.Base(got.Best) != filepath.Base(want.Best) {
			t.Errorf("interrupted at step %d: best %s, want %s", at, got.Best, want.Best)
		}
		rows, err := ReadLog(filepath.Join(o.Out, MetricsFile))
		if err != nil {
			t.Fatal(err)
		}
		var validated []int
		for _, row := range rows {
			if row.Validation != nil {
				validated = append(validated, row.Step)
			}
		}
		if !slices.Equal(validated, []int{5, 10, 15}) {
			t.Errorf("interrupted at step %d: validations after steps %v", at, validated)
		}
	}
}

// TestValidationSet tries validation sets that cannot be used, before the first step, and repairs of pictures.
func TestValidationSet(t *testing.T) {
	s, c := tiny()
	c.Steps = 1
	d := tinyData(t, s)
	good, err := d.Val.Image(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	memory := func(items ...dataloader.Item) dataloader.Dataset {
		images := make([]*dataloader.Image, len(items))
		for i := range images {
			images[i] = good
		}
		return dataloader.NewMemory("val", items, images)
	}
	for _, tt := range []struct {
		name string
		val  dataloader.Dataset
		want string
	}{
		{"one picture", memory(dataloader.Item{ID: "a", Caption: "x"}), "1 pictures to evaluate on"},
		{"one picture twice", memory(dataloader.Item{ID: "a", Caption: "x"}, dataloader.Item{ID: "a", Caption: "y"}), "1 pictures to evaluate on"},
		{"no captions", memory(dataloader.Item{ID: "a"}, dataloader.Item{ID: "b"}), "something to measure"},
		{"broken", failing{d.Val, 10}, "10 of 48 pictures cannot be read, more than the limit of 5.0 %"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t)
			_, err := Run(context.Background(), c, o, &Data{Source: d.Source, Train: d.Train, Val: tt.val}, Observer{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}

	// Several captions of a picture, and some pictures that cannot be read, are no obstacle.
	o := options(t)
	several := memory(dataloader.Item{ID: "a", Caption: "x"}, dataloader.Item{ID: "a", Caption: "y"}, dataloader.Item{ID: "b", Caption: "x"})
	if _, err := Run(context.Background(), c, o, &Data{Source: d.Source, Train: d.Train, Val: several}, Observer{}); err != nil {
		t.Error(err)
	}
	o = options(t)
	var notes []string
	watch := Observer{Notice: func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }}
	summary, err := Run(context.Background(), c, o, &Data{Source: d.Source, Train: d.Train, Val: failing{d.Val, 2}}, watch)
	if err != nil {
		t.Fatal(err)
	}
	list, err := dataloader.ReadSkipped(filepath.Join(o.Out, SkippedFile))
	if err != nil || len(list) != 2 || summary.Skipped != 2 || len(notes) != 1 {
		t.Errorf("%d pictures listed (%v), %d in the summary, notes %q; want 2, 2 and one", len(list), err, summary.Skipped, notes)
	}
}

// failing is a data set whose first pictures cannot be read.
type failing struct {
	dataloader.Dataset
	n int
}

func (f failing) Image(ctx context.Context, i int) (*dataloader.Image, error) {
	if i < f.n {
		return nil, errors.New("broken on purpose")
	}
	return f.Dataset.Image(ctx, i)
}

func TestRefused(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	o := options(t)
	c.Steps = 2
	mustRun(t, c, o, d)
	run := func(change func(*Config, *Options)) error {
		c, o := c, o
		c.Model.Vision.Convs = slices.Clone(c.Model.Vision.Convs)
		change(&c, &o)
		_, err := Run(context.Background(), c, o, d, Observer{})
		return err
	}
	for _, tt := range []struct {
		name   string
		change func(*Config, *Options)
		want   string
	}{
		{"other width", func(c *Config, _ *Options) { c.Model.Vision.Width, c.Model.Vision.Convs[2].Channels = 32, 32 },
			"config differs: model.vision.convs"},
		{"other rate", func(c *Config, _ *Options) { c.LearningRate = 0.5 }, "config differs: learning_rate 0.0025 in the checkpoint, 0.5 asked for"},
		{"never", func(_ *Config, o *Options) { o.Resume = ResumeNever }, "holds a run already"},
		{"must, empty folder", func(_ *Config, o *Options) { o.Resume, o.Out = ResumeMust, t.TempDir() }, "no checkpoint"},
		{"batch 0", func(c *Config, _ *Options) { c.Batch = 0 }, "batch is 0"},
		{"micro-batch", func(c *Config, _ *Options) { c.MicroBatch = 5 }, "a divisor of the batch, 16"},
		{"captions", func(c *Config, _ *Options) { c.Captions = "both" }, `captions "both"`},
		{"loss", func(c *Config, _ *Options) { c.Loss.Kind = "hinge" }, `"hinge": unknown`},
		{"threads", func(_ *Config, o *Options) { o.Threads = 0 }, "threads is 0"},
		{"batch larger than the data", func(c *Config, o *Options) { c.Batch, c.MicroBatch, o.Out = 4096, 4096, t.TempDir() }, "fewer than a batch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := run(tt.change); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

// TestNonFinite drives the loss out of the numbers and reads who is named.
func TestNonFinite(t *testing.T) {
	s, c := tiny()
	c.Model.Vision.ImageSize = 32
	d := tinyData(t, s)
	o := options(t)
	o.SaveEvery = 1
	tr, err := newTrainer(c.resolve(d.Train), o, d, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	p := tr.model.Params.All()[3]
	p.Data[0] = float32(math.NaN())
	batch, err := tr.loader.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	err = tr.update(context.Background(), batch)
	if err == nil || !strings.Contains(err.Error(), "step 1") || !strings.Contains(err.Error(), p.Name) {
		t.Errorf("error %v, want the step and %s in it", err, p.Name)
	}
}

// TestAutoPositives holds the choice of positives to the data.
func TestAutoPositives(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	if got := c.resolve(d.Train).Loss.Positives; got != loss.SameRelation {
		t.Errorf("anonymous captions with relations: %q", got)
	}
	c.Captions = Literal
	if got := c.resolve(d.Train).Loss.Positives; got != loss.SameCaption {
		t.Errorf("literal captions: %q", got)
	}
	c.Captions = Anonymous
	items := []dataloader.Item{{ID: "a", Caption: "x"}}
	plain := dataloader.NewMemory("plain", items, []*dataloader.Image{{Width: 1, Height: 1, Pix: make([]byte, 3)}})
	if got := c.resolve(plain).Loss.Positives; got != loss.SameCaption {
		t.Errorf("rows without relations: %q", got)
	}
}

// TestShuffled holds the control to its promise: every caption is still there, on other pictures, and pictures keep
// what is theirs.
func TestShuffled(t *testing.T) {
	s, _ := tiny()
	ds := tinyData(t, s).Train
	dealt := newShuffled(ds, 5)
	count := map[string]int{}
	same := 0
	for i := range ds.Len() {
		a, b := ds.Item(i), dealt.Item(i)
		count[a.Caption+"|"+a.Relation]++
		count[b.Caption+"|"+b.Relation]--
		if a.ID != b.ID || a.Gravity != b.Gravity || a.Profile != b.Profile {
			t.Fatalf("picture %d changed: %+v, %+v", i, a, b)
		}
		if a.Relation == b.Relation {
			same++
		}
	}
	for key, n := range count {
		if n != 0 {
			t.Errorf("caption %q: %d more before", key, n)
		}
	}
	if same > ds.Len()/4 {
		t.Errorf("%d of %d pictures keep their relation", same, ds.Len())
	}
	if dealt.Fingerprint() == ds.Fingerprint() {
		t.Error("the fingerprint is the same")
	}
}

func TestOpenForeign(t *testing.T) {
	s, c := tiny()
	c.Steps = 1
	o := options(t)
	dir := mustRun(t, c, o, tinyData(t, s)).Checkpoint
	damage := func(name string, f func([]byte) []byte) string {
		to := filepath.Join(t.TempDir(), "step-00000001")
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(to, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f(b), 0o644); err != nil {
			t.Fatal(err)
		}
		return to
	}
	for _, tt := range []struct{ name, path, want string }{
		{"truncated weights", damage("model.safetensors", func(b []byte) []byte { return b[:len(b)/2] }), "model.safetensors"},
		{"another width", damage("config.json", func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"embed_dim": 24`), []byte(`"embed_dim": 32`), 1)
		}), "config.json asks for a model of "},
		{"an absurd size", damage("config.json", func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"mlp": 48`), []byte(`"mlp": 16384`), 1)
		}), "model.safetensors holds "},
		{"an unknown key", damage("config.json", func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"steps"`), []byte(`"stages"`), 1)
		}), `unknown field "stages"`},
		{"no vocabulary", damage("vocabulary.json", func([]byte) []byte { return []byte("{") }), "vocabulary.json"},
		{"no folder", filepath.Join(t.TempDir(), "none"), "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Open(tt.path, 1)
			if err == nil {
				e.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}
