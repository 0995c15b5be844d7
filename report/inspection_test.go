package report

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relsim/dataloader"
	"relsim/download"
	"relsim/inspection"
)

// inspected returns the inspection of a set of pictures that are noise but for those that repeat an earlier one. change
// makes its items hostile.
func inspected(t *testing.T, change func(i int, it *dataloader.Item), states map[string]download.State) Inspection {
	t.Helper()
	var items []dataloader.Item
	var images []*dataloader.Image
	for i := range 24 {
		im := &dataloader.Image{Width: 40, Height: 30, Pix: make([]byte, 3*40*30)}
		for k := range im.Pix {
			im.Pix[k] = byte(((i%20+3)*k*k/7 + k*k*k/(5+i%20)) >> 3)
			if i == 19 {
				im.Pix[k] = 0
			}
		}
		it := dataloader.Item{ID: fmt.Sprintf("id%d", i), Caption: fmt.Sprintf("{Subject} number%d growing", i%22), Split: []string{"train", "test"}[i/20],
			Relation: "growth", Family: 1, Group: fmt.Sprint(i / 3), Profile: -1, File: "rows.jsonl", Line: i + 1}
		if change != nil {
			change(i, &it)
		}
		items, images = append(items, it), append(images, im)
	}
	ds := dataloader.NewMemory("a set", items, images)
	r, err := inspection.Inspect(t.Context(), ds, inspection.Options{States: states})
	if err != nil {
		t.Fatal(err)
	}
	return Inspection{Report: r, Command: []string{"data", "inspect", "--data", "a b"}, Images: func(row inspection.Row) (*dataloader.Image, error) {
		if row.Index == 1 {
			return nil, errors.New("gone since")
		}
		return ds.Image(t.Context(), row.Index)
	}}
}

func written(t *testing.T, in Inspection) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "page.html")
	if err := WriteInspection(path, in); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestWriteInspection(t *testing.T) {
	in := inspected(t, nil, map[string]download.State{"id3": {Status: download.Gone, Reason: "HTTP 404"}})
	page := written(t, in)
	checkPage(t, []byte(page))
	for _, want := range []string{
		"<title>Inspection of a set</title>", "24 rows · 22 distinct captions · 24 picture files", "data inspect --data &#39;a b&#39;",
		"<dt dir=\"auto\">Split “test”</dt><dd>4 (16.7 %)</dd>", "8, of 3 to 3 rows each", ">rows.jsonl:21<", "no picture</span>",
		"Of one colour: 1 picture", "The same bytes: 4 groups of 8 files", "<th scope=\"row\">bytes</th><td>4 (20.0 %)</td><td>4 (100.0 %)</td>",
		"<dt>Download: gone</dt><dd>1 (4.2 %)</dd>", "HTTP 404",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if again := written(t, in); again != page {
		t.Error("the same input gives another page")
	}
	in.Images = nil
	if page := written(t, in); strings.Contains(page, "<img") {
		t.Error("pictures out of nowhere")
	}
}

// TestHostileInspection holds that nothing in a data set becomes part of the page's own code.
func TestHostileInspection(t *testing.T) {
	captions := []string{
		"<script>alert(1)</script>{A}", "</style><img src=x onerror=alert(1)> Paris", "\u202egnp.exe {B", "{C}\x00\x1b[2J", "z" + strings.Repeat("\u0301", 9000),
		strings.Repeat("{Word} ", 150_000), "'\"><svg onload=alert(1)>", "{{.Title}} {D}", "&lt;b&gt; red",
	}
	page := written(t, inspected(t, func(i int, it *dataloader.Item) {
		it.Caption = captions[i%len(captions)]
		it.ID = "<b>\"'" + it.ID
		it.Split, it.Relation, it.Group, it.File = `"><i>s`+it.Split, "<r>", "<g>\u202e", "<f>.jsonl"
		it.URL = []string{"javascript:alert(1)", "https://ex<b>ample/\"onclick=x", "http://" + strings.Repeat("h", 70_000), "https://good.example/a?b=c&d=\"e\""}[i%4]
	}, map[string]download.State{`<b>"'id1`: {Status: "<st>", Reason: "<re>\u202e"}}))
	for _, bad := range []string{"<script", "<img src=x", "<svg onload", "<i>", "<b>", "<r>", "<g>", "<f>", "<st>", "<re>", "javascript:", `"onclick=x`, "\u202e", "\x00", "\x1b"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if !strings.Contains(page, `href="https://good.example/a?b=c&amp;d=%22e%22" rel="noreferrer noopener nofollow"`) {
		t.Error("a good address has no link")
	}
	if len(page) > 1<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
	if n := strings.Count(page, "\u0301"); n > 3*100 {
		t.Errorf("%d marks on letters", n)
	}
}

func TestWriteInspectionErrors(t *testing.T) {
	if err := WriteInspection(filepath.Join(t.TempDir(), "x.html"), Inspection{}); err == nil {
		t.Error("no report is no error")
	}
	for _, path := range []string{t.TempDir(), os.DevNull} { // neither may be replaced
		if info, err := os.Stat(path); err != nil || info.Mode().IsRegular() {
			continue
		}
		if err := WriteInspection(path, inspected(t, nil, nil)); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
	dir := filepath.Join(t.TempDir(), "none")
	if err := WriteInspection(filepath.Join(dir, "x.html"), inspected(t, nil, nil)); err == nil || !strings.Contains(err.Error(), "report: write inspection") {
		t.Errorf("%v, want one that says what failed", err)
	}
}

func TestKib(t *testing.T) {
	for v, want := range map[float64]string{0: "0 B", 724: "724 B", 1024: "1 KiB", 1448: "1.4 KiB", 92682: "91 KiB", 1 << 20: "1 MiB", 1482910: "1.4 MiB", 1 << 40: "1024 GiB"} {
		if got := kib(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
