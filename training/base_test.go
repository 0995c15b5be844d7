package training

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/checkpoints"
	"relsim/hub"
	"relsim/hub/hubtest"
	"relsim/kernel"
	"relsim/nn"
)

// published is a folder with a tiny published model: see ../pretrained/testdata/README.md.
func published(name string) string { return filepath.Join("..", "pretrained", "testdata", name) }

// copyFolder copies a folder, and returns where the copy is.
func copyFolder(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chmod(path, 0o644)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return to
}

// spoil changes one of the weights of a published model, of its image tower.
func spoil(t testing.TB, folder string) {
	t.Helper()
	path := filepath.Join(folder, "model.safetensors")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[(len(data)-len(data)/10)&^3+2] ^= 0x40
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func openBase(t testing.TB, folder string) *Base {
	t.Helper()
	base, err := OpenBase(context.Background(), folder, hub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return base
}

// adapted is a short run of adapters in a published image tower beside a frozen sentence encoder.
func adapted(t testing.TB, vision, text string) (Config, Options) {
	t.Helper()
	_, c := tiny()
	c.Model.LoRA = &nn.LoRA{Rank: 4, Alpha: 8, Dropout: 0.05}
	c.Freeze, c.Steps, c.Flip, c.Turn = nn.TextTower, 6, true, false
	o := options(t)
	o.Bases = Bases{Vision: openBase(t, vision), Text: openBase(t, text)}
	if err := o.Bases.Configure(&c, 0, []string{"q", "v"}); err != nil {
		t.Fatal(err)
	}
	return c, o
}

// Of a published tower with adapters, a run trains and saves these and the new head; the published weights are named
// and hashed. The frozen sentence encoder runs once for each distinct caption. A run that is interrupted and resumed
// ends with the same bits, whatever the threads and with activations computed again; and what it leaves is what is
// opened for inference.
func TestAdapters(t *testing.T) {
	s, _ := tiny()
	d := tinyData(t, s)
	for _, family := range []string{"clip", "dinov2"} {
		t.Run(family, func(t *testing.T) {
			c, o := adapted(t, published(family), published("minilm"))
			whole := mustRun(t, c, o, d)
			if want := distinctCaptions(c, d); whole.TextRows != want {
				t.Errorf("the text tower ran for %d captions, want %d", whole.TextRows, want)
			}
			snapshot, err := checkpoints.Load(whole.Checkpoint)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, tensor := range snapshot.Model {
				names = append(names, tensor.Name)
			}
			layers := c.Model.Vision.Layers
			if len(names) != 2+4*layers { // the head, and A and B of queries and values
				t.Errorf("the checkpoint holds %q", names)
			}
			for _, name := range names {
				if !strings.HasPrefix(name, "vision.head.") && !strings.Contains(name, ".lora_") {
					t.Errorf("the checkpoint holds %s", name)
				}
			}
			for _, tensor := range snapshot.Optimizer {
				if strings.HasPrefix(tensor.Name, "adamw.exp") && !strings.Contains(tensor.Name, ".lora_") && !strings.Contains(tensor.Name, ".head.") {
					t.Errorf("the optimiser holds %s", tensor.Name)
				}
			}
			records, err := parseBases(snapshot.Files[baseFile])
			if err != nil {
				t.Fatal(err)
			}
			for tower, folder := range map[nn.Tower]string{nn.VisionTower: family, nn.TextTower: "minilm"} {
				absolute, err := filepath.Abs(published(folder))
				if err != nil {
					t.Fatal(err)
				}
				if r := records[tower]; r.Name != absolute || len(r.Weights) != 32 {
					t.Errorf("base.json has %+v of the %s tower, want %s and a fingerprint", r, tower, absolute)
				}
			}

			again := o
			again.Out, again.Threads, again.Checkpoint = t.TempDir(), 3, true
			ctx, cancel := context.WithCancel(context.Background())
			if _, err := Run(ctx, c, again, d, Observer{Step: func(row Row) {
				if row.Step == 2 {
					cancel()
				}
			}}); !errors.Is(err, ErrInterrupted) {
				t.Fatal(err)
			}
			if got := mustRun(t, c, again, d); !bytes.Equal(weights(t, got.Checkpoint), weights(t, whole.Checkpoint)) {
				t.Error("the resumed run ends with other weights")
			}

			// What training validated with, and what is opened, where adapters are merged.
			r := start(t, c, o, d)
			e, err := Open(o.Out, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			want, err := r.embedder.Dataset(context.Background(), d.Val, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.Dataset(context.Background(), d.Val, nil)
			if err != nil {
				t.Fatal(err)
			}
			within(t, "pictures", got, want, 1e-5)
			captions := []string{d.Val.Item(0).Caption, "Something else"}
			if want, err = r.embedder.Captions(captions); err != nil {
				t.Fatal(err)
			}
			if got, err = e.Captions(captions); err != nil {
				t.Fatal(err)
			}
			within(t, "captions", got, want, 0)
		})
	}
}

func within(t *testing.T, what string, got, want []float32, limit float64) {
	t.Helper()
	if len(got) != len(want) || len(got) == 0 {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= limit) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// A published model whose weights are others than those that a run began with is refused, by its folder, when the run is
// resumed and when it is opened; the same weights elsewhere are not.
func TestChangedBase(t *testing.T) {
	s, _ := tiny()
	d := tinyData(t, s)
	vision := copyFolder(t, published("dinov2"))
	c, o := adapted(t, vision, published("minilm"))
	c.Steps = 2
	mustRun(t, c, o, d)
	moved := copyFolder(t, vision)
	spoil(t, vision)

	const want = "whose weights had the fingerprint"
	if _, err := Open(o.Out, 1); err == nil || !strings.Contains(err.Error(), vision) || !strings.Contains(err.Error(), want) {
		t.Errorf("open: %v, want %s, %q", err, vision, want)
	}
	o.Bases.Vision = openBase(t, vision)
	if _, err := Run(context.Background(), c, o, d, Observer{}); err == nil || !strings.Contains(err.Error(), vision) || !strings.Contains(err.Error(), want) {
		t.Errorf("resume: %v, want %s, %q", err, vision, want)
	}
	o.Bases.Vision = openBase(t, moved)
	mustRun(t, c, o, d)
	e, err := OpenWith(context.Background(), o.Out, OpenOptions{Threads: 1, Vision: moved})
	if err != nil {
		t.Fatal(err)
	}
	e.Close()

	if err := os.RemoveAll(vision); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o.Out, 1); err == nil || !strings.Contains(err.Error(), "is made of the published model "+vision) {
		t.Errorf("without the folder: %v", err)
	}
}

// A model of the hub is named with its commit, and found again by these.
func TestBaseOfTheHub(t *testing.T) {
	server := hubtest.New(t)
	files := make(map[string][]byte)
	folder := published("dinov2")
	for _, name := range []string{"config.json", "model.safetensors", "preprocessor_config.json"} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	model := server.Add("some/dino", &hubtest.Model{Files: files})
	at := hub.Options{Cache: t.TempDir(), Endpoint: server.URL}

	s, _ := tiny()
	d := tinyData(t, s)
	c, o := adapted(t, folder, published("minilm"))
	c.Steps = 2
	local := mustRun(t, c, o, d)
	base, err := OpenBase(context.Background(), "some/dino", at)
	if err != nil {
		t.Fatal(err)
	}
	o.Bases.Vision, o.Out = base, t.TempDir()
	got := mustRun(t, c, o, d)
	if !bytes.Equal(weights(t, got.Checkpoint), weights(t, local.Checkpoint)) {
		t.Error("the same model leads to other weights by its name than by its folder")
	}
	snapshot, err := checkpoints.Load(got.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	records, err := parseBases(snapshot.Files[baseFile])
	if err != nil {
		t.Fatal(err)
	}
	if r := records[nn.VisionTower]; r.Name != "some/dino" || r.Revision != model.Commit {
		t.Errorf("base.json has %+v, want some/dino at %s", r, model.Commit)
	}
	server.Close() // the cache has it
	at.Offline = true
	for _, path := range []string{got.Checkpoint, "some/dino"} {
		e, err := OpenWith(context.Background(), path, OpenOptions{Threads: 1, Hub: at})
		if err != nil {
			t.Fatal(err)
		}
		e.Close()
	}
}

// Nothing is differentiated, and nothing is kept for it, below the first adapter.
func TestNothingBelowTheAdapters(t *testing.T) {
	s, _ := tiny()
	d := tinyData(t, s)
	arena := func(target string) int {
		c, o := adapted(t, published("dinov2"), published("minilm"))
		c.Model.LoRA.Targets = []string{target}
		r := start(t, c, o, d)
		if err := r.embedCaptions(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := r.take(); err != nil {
			t.Fatal(err)
		}
		for _, p := range r.model.Params.All() {
			if learned := strings.Contains(p.Name, ".lora_") || strings.HasPrefix(p.Name, "vision.head."); learned != (p.Grad != nil) {
				t.Errorf("%s has a gradient: %v", p.Name, !learned)
			}
		}
		return r.vision.replicas.ArenaBytes()
	}
	first, last := arena("vision.blocks.0.attn.q"), arena("vision.blocks.2.attn.q")
	if last >= first*3/4 {
		t.Errorf("%d bytes with an adapter in the last of three blocks, %d with one in the first: what lies below is kept", last, first)
	}
}

// A frozen base without adapters leaves the head to be trained; a published tower that is not frozen is trained and
// saved as a whole.
func TestFreezeBase(t *testing.T) {
	s, _ := tiny()
	d := tinyData(t, s)
	for _, frozen := range []bool{true, false} {
		c, o := adapted(t, published("dinov2"), published("minilm"))
		c.Model.LoRA, c.Steps = nil, 2
		if frozen {
			c.FreezeBase = []nn.Tower{nn.VisionTower}
		}
		got := mustRun(t, c, o, d)
		e, err := Open(got.Checkpoint, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		saved := values(t, got.Checkpoint)
		if _, there := saved["vision.blocks.0.attn.qkv.weight"]; there == frozen {
			t.Errorf("frozen %v: the checkpoint holds the base: %v", frozen, there)
		}
		if saved["vision.head.weight"] == nil {
			t.Errorf("frozen %v: the checkpoint has no head", frozen)
		}
		base, err := OpenWith(context.Background(), published("dinov2"), OpenOptions{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer base.Close()
		name := "vision.blocks.0.attn.qkv.weight"
		if same := slices.Equal(base.model.Params.Lookup(name).Data, e.model.Params.Lookup(name).Data); same != frozen {
			t.Errorf("frozen %v: %s is as published: %v", frozen, name, same)
		}
	}
}

// What is published can be opened itself: both towers, or the one that there is.
func TestOpenPublished(t *testing.T) {
	s, _ := tiny()
	d := tinyData(t, s)
	for name, has := range map[string]struct{ images, captions bool }{"dinov2": {true, false}, "minilm": {false, true}} {
		e, err := OpenIn(published(name), 2, kernel.Float32)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if e.Has(nn.VisionTower) != has.images || e.Has(nn.TextTower) != has.captions || e.Source() != nil {
			t.Errorf("%s: pictures %v, captions %v", name, e.Has(nn.VisionTower), e.Has(nn.TextTower))
		}
		if _, err := e.Dataset(context.Background(), d.Val, nil); (err == nil) != has.images || err != nil && !strings.Contains(err.Error(), "captions only") {
			t.Errorf("%s: pictures: %v", name, err)
		}
		if _, err := e.Captions([]string{"a row"}); (err == nil) != has.captions || err != nil && !strings.Contains(err.Error(), "pictures only") {
			t.Errorf("%s: captions: %v", name, err)
		}
	}
}

// FuzzParseBases: what is taken for base.json names towers and models, and is written as it was read.
func FuzzParseBases(f *testing.F) {
	for _, seed := range []string{
		`{"vision":{"name":"some/dino","revision":"0123","weights":"ab"},"text":{"name":"/models/minilm","weights":"cd"}}`,
		`{}`, `null`, `{"vision":null}`, `{"sound":{"name":"a","weights":"b"}}`, `{"text":{"name":"a","weights":""}}`,
		`{"text":{"name":"a","weights":"b","more":1}}`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := parseBases(data)
		if err != nil {
			return
		}
		for tower, r := range records {
			if !slices.Contains(towers, tower) || r.Name == "" || r.Weights == "" {
				t.Fatalf("%q: tower %q is taken, %+v", data, tower, r)
			}
		}
		text, err := json.Marshal(records)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseBases(text)
		if err != nil || len(again) != len(records) {
			t.Fatalf("%q is read as %v, and that as %v (%v)", data, records, again, err)
		}
	})
}

// clipWithTokenizer is the folder of a tiny CLIP with a tokenizer of letters.
func clipWithTokenizer(t testing.TB) string {
	t.Helper()
	folder := copyFolder(t, published("clip"))
	vocabulary := map[string]int{"<|startoftext|>": 118, "<|endoftext|>": 119}
	for i := range 26 {
		letter := string(rune('a' + i))
		vocabulary[letter], vocabulary[letter+"</w>"] = i, 26+i
	}
	text, err := json.Marshal(vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"vocab.json":            string(text),
		"merges.txt":            "#version: 0.2\n",
		"tokenizer_config.json": `{"tokenizer_class":"CLIPTokenizer","bos_token":"<|startoftext|>","eos_token":"<|endoftext|>","unk_token":"<|endoftext|>","pad_token":"<|endoftext|>"}`,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// Both towers of one CLIP keep their projections, and may both have adapters; captions tell them apart by tokens.
func TestBothTowers(t *testing.T) {
	folder := clipWithTokenizer(t)
	e, err := Open(folder, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if !e.Has(nn.VisionTower) || !e.Has(nn.TextTower) || e.Dim() != 24 {
		t.Errorf("pictures %v, captions %v, width %d", e.Has(nn.VisionTower), e.Has(nn.TextTower), e.Dim())
	}
	rows, err := e.Captions([]string{"a row", "A  ROW", "a ring"})
	if err != nil {
		t.Fatal(err)
	}
	within(t, "the same words", rows[24:48], rows[:24], 0)
	if slices.Equal(rows[48:], rows[:24]) {
		t.Error("other words have the same embedding")
	}

	s, _ := tiny()
	d := tinyData(t, s)
	c, o := adapted(t, folder, folder)
	c.Freeze, c.Steps = "", 4
	base := openBase(t, folder)
	o.Bases = Bases{Vision: base, Text: base}
	if err := o.Bases.Configure(&c, 0, []string{"q_proj", "v_proj"}); err != nil {
		t.Fatal(err)
	}
	if n := len(c.Model.LoRA.Targets); n != 2*(c.Model.Vision.Layers+c.Model.Text.Layers) || c.Model.EmbedDim != 24 || c.WordDropout != 0 {
		t.Errorf("%d modules with adapters, width %d, word dropout %v", n, c.Model.EmbedDim, c.WordDropout)
	}
	whole := mustRun(t, c, o, d)
	again := o
	again.Out = t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := Run(ctx, c, again, d, Observer{Step: func(Row) { cancel() }}); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	if got := mustRun(t, c, again, d); !bytes.Equal(weights(t, got.Checkpoint), weights(t, whole.Checkpoint)) {
		t.Error("the resumed run ends with other weights")
	}
	tuned, err := Open(o.Out, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer tuned.Close()
	other, err := tuned.Captions([]string{"a row"})
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(other, rows[:24]) {
		t.Error("training changed nothing of the text tower")
	}
}
