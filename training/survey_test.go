package training

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"relsim/dataloader"
	"relsim/loss"
	"relsim/nn"
)

// writeRows makes a file of n rows with pictures of 8×8 pixels: of those in missing there is no file, those in broken
// are cut off.
func writeRows(t testing.TB, n int, missing, broken map[int]bool) (path string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "images"), 0o777); err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for i := range n {
		fmt.Fprintf(&rows, `{"image_hash":"p%03d","captions":["{Thing} number %d","{Thing} again"]}`+"\n", i, i)
		if missing[i] {
			continue
		}
		f, err := os.Create(filepath.Join(dir, "images", fmt.Sprintf("p%03d.png", i)))
		if err != nil {
			t.Fatal(err)
		}
		im := image.NewGray(image.Rect(0, 0, 8, 8))
		im.Pix[i%64] = uint8(i)
		if err := errors.Join(png.Encode(f, im), f.Close()); err != nil {
			t.Fatal(err)
		}
		if broken[i] {
			if err := os.Truncate(f.Name(), 20); err != nil {
				t.Fatal(err)
			}
		}
	}
	rows.WriteString(`{"image_hash":"p000","caption":"{Thing} once more"}` + "\n")
	path = filepath.Join(dir, "rows.jsonl")
	if err := os.WriteFile(path, []byte(rows.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLook(t *testing.T) {
	path := writeRows(t, 60, map[int]bool{3: true, 17: true, 59: true}, map[int]bool{5: true, 6: true, 40: true})
	d, err := OpenData(t.Context(), Source{Data: path, Val: writeRows(t, 4, nil, nil)})
	if err != nil {
		t.Fatal(err)
	}
	_, c := tiny()
	s, err := Look(t.Context(), d, c, 2)
	if err != nil {
		t.Fatal(err)
	}
	if !(s.Each > 0) {
		t.Errorf("%v seconds a picture", s.Each)
	}
	s.Each = 0
	want := &Survey{
		Rows: 61, Pictures: 60, Captions: 121, Distinct: 62, Validate: 5, There: 57, Sampled: 57, Broken: 3,
		Missing: filepath.Join(filepath.Dir(path), "images", "p003.png"), Reasons: s.Reasons,
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("%+v, want %+v", s, want)
	}
	if len(s.Reasons) != 1 || s.Reasons[0].Count != 3 || strings.Contains(s.Reasons[0].Text, "p005") {
		t.Errorf("reasons %+v", s.Reasons)
	}
	if got, want := s.Usable(), 54./60; got < want-1e-9 || got > want+1e-9 {
		t.Errorf("usable %v, want %v", got, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Look(ctx, d, c, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A sample is drawn of many pictures, the same for a seed; pictures in memory are not decoded.
func TestLookAtMany(t *testing.T) {
	path := writeRows(t, 300, nil, map[int]bool{7: true, 8: true, 9: true, 200: true})
	d, err := OpenData(t.Context(), Source{Data: path, Val: path})
	if err != nil {
		t.Fatal(err)
	}
	_, c := tiny()
	a, err := Look(t.Context(), d, c, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Look(t.Context(), d, c, 3)
	if err != nil {
		t.Fatal(err)
	}
	if a.Sampled != surveySample || a.Broken != b.Broken || a.There != 300 || a.Missing != "" {
		t.Errorf("%+v and %+v", a, b)
	}
	s, c := tiny()
	if a, err = Look(t.Context(), tinyData(t, s), c, 2); err != nil || a.Sampled != 0 || a.There != 96 || a.Usable() != 1 || a.Each != 0 {
		t.Errorf("%+v, %v", a, err)
	}
}

// The vocabulary and a frozen text tower know all captions of a picture, of which the loader draws one for each epoch;
// mixed sets are resumed bit for bit.
func TestSeveralCaptionsAndSets(t *testing.T) {
	a, b := writeRows(t, 12, nil, nil), writeRows(t, 30, nil, nil)
	source := Source{Data: a, More: []Part{{Data: b}}, Weights: []float64{3, 0.5}, Val: a}
	d, err := OpenData(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	if d.Train.Len() != 13+31 || d.Epoch() != 3*13+16 { // 15.5 is rounded up
		t.Errorf("%d rows, %d in an epoch", d.Train.Len(), d.Epoch())
	}
	c := tinyTransformers()
	c.Steps, c.Batch, c.MicroBatch = 8, 8, 8
	c.Loss.Positives = loss.SameCaption
	tr := start(t, c, options(t), d)
	for _, word := range []string{"number", "again", "more"} {
		if !tr.words.knows(word) {
			t.Errorf("the vocabulary does not know %q", word)
		}
	}
	first := mustRun(t, c, options(t), d)
	c.Freeze = nn.TextTower
	o := options(t)
	o.TextFrom = first.Checkpoint
	whole := mustRun(t, c, o, d)
	// a has numbers 0 to 11, b those to 29; "again", and "once more".
	if whole.TextRows != 30+2 {
		t.Errorf("the frozen tower ran for %d captions, want %d", whole.TextRows, 30+2)
	}
	o = options(t)
	o.TextFrom = first.Checkpoint
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := Run(ctx, c, o, d, Observer{Step: func(r Row) {
		if r.Step == 5 {
			cancel()
		}
	}}); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	if d, err = OpenData(t.Context(), source); err != nil {
		t.Fatal(err)
	}
	resumed := mustRun(t, c, o, d)
	if !bytes.Equal(weights(t, resumed.Checkpoint), weights(t, whole.Checkpoint)) {
		t.Error("the weights of the resumed run differ")
	}
	source.Weights = []float64{1, 1}
	if d, err = OpenData(t.Context(), source); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), c, o, d, Observer{}); err == nil || !strings.Contains(err.Error(), "data differ: weights [3 0.5] in the checkpoint, [1 1] asked for") {
		t.Errorf("a run goes on with other weights: %v", err)
	}
}

// What is split off keeps groups whole; rows without groups are split as they always were.
func TestSplitByGroup(t *testing.T) {
	var items, bare []dataloader.Item
	for i := range 900 {
		it := dataloader.Item{ID: fmt.Sprint("picture ", i), Group: fmt.Sprint(i / 3), Caption: "c"}
		items = append(items, it)
		it.Group = ""
		bare = append(bare, it)
	}
	train, val, err := split(dataloader.NewRows("groups", "f", items, nil), 0.2)
	if err != nil {
		t.Fatal(err)
	}
	in := make(map[string]int)
	for i := range val.Len() {
		in[val.Item(i).Group]++
	}
	if train.Len()+val.Len() != 900 || len(in) < 30 || len(in) > 90 {
		t.Errorf("%d and %d items, %d groups", train.Len(), val.Len(), len(in))
	}
	for group, n := range in {
		if n != 3 {
			t.Errorf("%d of group %s are split off, want all 3", n, group)
		}
	}
	ds := dataloader.NewRows("bare", "f", bare, nil)
	train, val, err = split(ds, 0.2)
	wantTrain, wantVal := dataloader.Split(ds, 0.2)
	if err != nil || train.Fingerprint() != wantTrain.Fingerprint() || val.Fingerprint() != wantVal.Fingerprint() {
		t.Errorf("%v: rows without groups are split otherwise", err)
	}
}

// What older runs have saved still opens; what makes no sense is refused.
func TestSources(t *testing.T) {
	old, err := parseSource([]byte(`{"data": "/a/rows.jsonl", "images": "/a/images", "val_share": 0.1}`))
	if err != nil || old.Validate() != nil || len(old.parts()) != 1 {
		t.Errorf("%+v, %v", old, err)
	}
	scene := Source{Data: ScenesName}
	for want, s := range map[string]Source{
		"no data":                                 {},
		"weights for":                             {Data: "a", Share: 0.1, Weights: []float64{1, 2}},
		"weight 0 of a data set":                  {Data: "a", Share: 0.1, Weights: []float64{0}},
		"is mixed with":                           {Data: "a", Share: 0.1, More: []Part{{Data: ScenesName}}},
		"share of the rows":                       {Data: "a"},
		"want one character, or tab":              {Data: "a", Share: 0.1, Separator: "ab"},
		`data "scenes" without its settings`:      scene,
		`data "scenes" is generated: it takes no`: {Data: ScenesName, Images: "x"},
	} {
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
	s, err := Source{Data: "a.tar::b.tar", More: []Part{{Data: "c", Images: "d"}}, Share: 0.1}.Absolute()
	here, wdErr := os.Getwd()
	if err != nil || wdErr != nil || s.Data != filepath.Join(here, "a.tar")+"::"+filepath.Join(here, "b.tar") ||
		s.More[0].Data != filepath.Join(here, "c") || s.More[0].Images != filepath.Join(here, "d") || s.Images != "" || s.Val != "" {
		t.Errorf("%+v, %v", s, err)
	}
}
