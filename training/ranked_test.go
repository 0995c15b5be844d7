package training

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/dataloader"
	"relsim/retrieval"
)

// checkRanked checks that the gallery of an evaluation's rankings can be opened again from their file.
func checkRanked(t *testing.T, e *Evaluation) {
	t.Helper()
	run := t.TempDir()
	if _, err := RankingsPath(run); err == nil || !strings.Contains(err.Error(), "has no rankings (report/rankings.jsonl.gz)") {
		t.Errorf("a run without rankings: %v", err)
	}
	if err := os.Mkdir(filepath.Join(run, "report"), 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(run, "report", retrieval.RankingsFile)
	if err := e.Result.Rankings.Write(file); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{run, filepath.Join(run, "report"), file} {
		if got, err := RankingsPath(path); err != nil || got != file {
			t.Errorf("%s: %s, %v", path, got, err)
		}
	}
	r, err := retrieval.ReadRankings(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Methods) != len(e.Result.Methods)-1 || len(r.Queries) != e.Result.Queries || len(r.Items) != e.Result.Gallery {
		t.Fatalf("%d methods, %d queries, %d items", len(r.Methods), len(r.Queries), len(r.Items))
	}
	gallery, err := OpenRankedGallery(context.Background(), r, "")
	if err != nil {
		t.Fatal(err)
	}
	if gallery.Len() != len(r.Items) {
		t.Fatalf("%d pictures of %d", gallery.Len(), len(r.Items))
	}
	for _, i := range []int{0, gallery.Len() - 1} {
		want, err := e.Image(r.Items[i].ID)
		if err != nil {
			t.Fatal(err)
		}
		got, err := gallery.Image(context.Background(), i)
		if err != nil || !bytes.Equal(got.Pix, want.Pix) || gallery.Item(i).ID != r.Items[i].ID {
			t.Errorf("picture %d: %v, not the one that was ranked", i, err)
		}
	}
	if _, err := OpenRankedGallery(context.Background(), r, run); err == nil || !strings.Contains(err.Error(), "was not in a file of its own") {
		t.Errorf("generated pictures in a folder: %v", err)
	}
	r.Fingerprint = "other"
	if _, err := OpenRankedGallery(context.Background(), r, ""); err == nil || !strings.Contains(err.Error(), "has changed since it was ranked") {
		t.Errorf("another fingerprint: %v", err)
	}
}

func TestRankedFiles(t *testing.T) {
	dir := t.TempDir()
	images := filepath.Join(dir, "images")
	if err := os.Mkdir(images, 0o777); err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for i, id := range []string{"a", "b", "a", "c"} { // a twice, with two captions
		rows.WriteString(`{"image_hash":"` + id + `","caption":"{Subject} ` + string(rune('0'+i)) + `"}` + "\n")
		im := image.NewGray(image.Rect(0, 0, 4, 4))
		im.SetGray(0, 0, color.Gray{id[0]})
		var b bytes.Buffer
		if err := png.Encode(&b, im); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(images, id+".png"), b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "rows.jsonl")
	if err := os.WriteFile(file, []byte(rows.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	t.Chdir(dir)
	source := Source{Data: "rows.jsonl", Images: "images", Val: "rows.jsonl"} // relative, as typed
	gallery, _, _, err := OpenGallery(ctx, source)
	if err != nil {
		t.Fatal(err)
	}
	set := retrieval.NewSet(gallery.Name(), "val", gallery, nil)
	made := func() *retrieval.Rankings {
		c := retrieval.Default()
		c.Resamples = 1
		result, err := retrieval.Evaluate(ctx, set, []retrieval.Method{retrieval.Embedded("m", retrieval.Trained, []float32{1, 2, 3}, nil, 1)}, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := keepSource(result.Rankings, source, gallery.Fingerprint()); err != nil {
			t.Fatal(err)
		}
		return result.Rankings
	}
	r := made()
	if source, err = source.Absolute(); err != nil {
		t.Fatal(err)
	}
	ids := func(ds dataloader.Dataset, err error) string {
		if err != nil {
			return err.Error()
		}
		var list []string
		for i := range ds.Len() {
			im, err := ds.Image(ctx, i)
			if err != nil {
				return err.Error()
			}
			list = append(list, ds.Item(i).ID+string(im.Pix[0]))
		}
		return strings.Join(list, " ")
	}
	t.Chdir(t.TempDir()) // from any folder
	if got := ids(OpenRankedGallery(ctx, r, "")); got != "aa bb cc" {
		t.Errorf("opened again: %s", got)
	}
	moved := filepath.Join(dir, "moved")
	if err := os.Rename(images, moved); err != nil {
		t.Fatal(err)
	}
	if got := ids(OpenRankedGallery(ctx, r, moved)); got != "aa bb cc" {
		t.Errorf("moved: %s", got)
	}
	if _, err := OpenRankedGallery(ctx, r, file); err == nil || !strings.Contains(err.Error(), "is not a folder") {
		t.Errorf("a file for a folder: %v", err)
	}
	if err := os.Rename(moved, images); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(rows.String()+`{"image_hash":"d","caption":"new"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		change func(r *retrieval.Rankings)
		images string
		want   string
	}{
		{func(*retrieval.Rankings) {}, "", "has changed since it was ranked"},
		{func(r *retrieval.Rankings) { r.Source = nil }, "", "do not say where their pictures are"},
		{func(r *retrieval.Rankings) { r.Source = json.RawMessage(`{"date":"x"}`) }, "", `source of the rankings: json: unknown field "date"`},
		{func(r *retrieval.Rankings) { r.Source = json.RawMessage(`{"data":"none.jsonl","val":"none.jsonl"}`) }, "", "none.jsonl"},
		{func(r *retrieval.Rankings) { r.Items[1].Path = `C:\x\..` }, images, `want a file`},
		{func(r *retrieval.Rankings) { r.Items[1].Member = "x" }, images, "was not in a file of its own"},
	} {
		r := *made()
		r.Items = slices.Clone(r.Items)
		tt.change(&r)
		if _, err := OpenRankedGallery(ctx, &r, tt.images); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}
