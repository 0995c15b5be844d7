package inspection_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"relsim/dataloader"
	"relsim/download"
	"relsim/inspection"
	"relsim/scenes"
)

// planted is a data set whose faults are known.
type planted struct {
	items []dataloader.Item
	files map[string][]byte
}

func (p *planted) row(id, file, caption string, change ...func(*dataloader.Item)) {
	it := dataloader.Item{ID: id, Path: file, Caption: caption, URL: "https://" + id + ".example/x", Family: -1, Profile: -1, File: "rows.jsonl", Line: len(p.items) + 1}
	for _, f := range change {
		f(&it)
	}
	p.items = append(p.items, it)
}

func (p *planted) set(name string) dataloader.Dataset {
	return dataloader.NewRows(name, name, p.items, func(ctx context.Context, i int, buf []byte) ([]byte, error) {
		data, ok := p.files[p.items[i].Path]
		if !ok {
			return nil, fmt.Errorf("open %s: %w", p.items[i].Path, fs.ErrNotExist)
		}
		return data, nil
	})
}

func split(name string) func(*dataloader.Item) { return func(it *dataloader.Item) { it.Split = name } }

// drawing returns picture i of the benchmark.
func drawing(t *testing.T, i int) *image.NRGBA {
	t.Helper()
	cfg := scenes.Config{Seed: 9, Size: 64, TrainProfiles: 4, Twins: 10, ValProfiles: 1, ValTwins: 1, TestProfiles: 1, TestTwins: 1}
	source, err := scenes.Open(cfg, scenes.Train)
	if err != nil {
		t.Fatal(err)
	}
	pix := source.Picture(i).Pix
	im := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for k := range 64 * 64 {
		copy(im.Pix[4*k:], pix[3*k:3*k+3])
		im.Pix[4*k+3] = 255
	}
	return im
}

func pngOf(t *testing.T, im image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, im); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegOf(t *testing.T, im image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, im, &jpeg.Options{Quality: 85}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// chunk is a chunk of a PNG file.
func chunk(kind string, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = append(append(b, kind...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

// faulty returns a set with faults of every kind.
func faulty(t *testing.T) *planted {
	first, second, third := pngOf(t, drawing(t, 0)), pngOf(t, drawing(t, 11)), pngOf(t, drawing(t, 22))
	const head = 8 + 25 // signature and header
	huge := append([]byte(nil), first[:8]...)
	huge = append(huge, chunk("IHDR", []byte{0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50, 8, 2, 0, 0, 0})...)
	animated := append(append(append([]byte(nil), second[:head]...), chunk("acTL", make([]byte, 8))...), second[head:]...)
	black := image.NewNRGBA(image.Rect(0, 0, 20, 10))
	for i := 3; i < len(black.Pix); i += 4 {
		black.Pix[i] = 255
	}
	p := &planted{files: map[string][]byte{
		"a.png":     first,
		"copy.png":  first,
		"a.jpg":     jpegOf(t, drawing(t, 0)),
		"anim.png":  animated,
		"c.png":     third,
		"black.png": pngOf(t, black),
		"white.png": pngOf(t, image.NewNRGBA(image.Rect(0, 0, 20, 10))), // nothing is white
		"cut.png":   third[:len(third)-100],
		"html":      []byte("\n<!DOCTYPE html><title>404</title>"),
		"empty":     nil,
		"huge.png":  huge,
		"gif":       []byte("GIF89a\x01\x00\x01\x00"),
		"webp":      append([]byte("RIFF\x20\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02"), make([]byte, 30)...),
		"noise":     []byte("no picture at all"),
	}}
	p.row("a", "a.png", "{Subject} growing step by step", split("train"))
	p.row("copy", "copy.png", "{subject} growing, step by step!", split("test")) // bytes and a near caption of a
	p.row("jpeg", "a.jpg", "{Objects} arranged in a circle", split("train"))     // looks like a
	p.row("anim", "anim.png", "a red ball in Paris", split("train"))
	p.row("c", "c.png", "{Objects} arranged in a circle", split("test")) // caption of jpeg
	p.row("c", "c.png", "A {Shape made of {Parts}", split("test"), func(it *dataloader.Item) { it.Quoted = true })
	p.row("black", "black.png", "", split("train"))
	p.row("white", "white.png", "7 {Objects} under one {Roof} and {Roof}", split("test"))
	p.row("cut", "cut.png", "Ein Hund und die Katze", func(it *dataloader.Item) { it.Captions = []string{"Ein Hund und die Katze", "{Subject} again"} })
	p.row("html", "html", "{A}", func(it *dataloader.Item) { it.URL = "https://a.example/x" }) // address of a
	p.row("empty", "empty", "{B}", func(it *dataloader.Item) { it.URL = "" })
	p.row("huge", "huge.png", "{C}", func(it *dataloader.Item) { it.URL = "javascript:alert(1)" })
	p.row("gif", "gif", "{D}", func(it *dataloader.Item) { it.Relation, it.Family = "growth", 3 })
	p.row("webp", "webp", "{E}", func(it *dataloader.Item) { it.Relation, it.Family = "growth", 3 })
	p.row("noise", "noise", "{F}", func(it *dataloader.Item) { it.Relation, it.Family = "order", 4 })
	p.row("gone", "gone.png", "{G}", func(it *dataloader.Item) { it.Group = "12" })
	return p
}

func ids(rows []inspection.Row) string {
	var s []string
	for _, r := range rows {
		s = append(s, r.ID)
	}
	return strings.Join(s, " ")
}

func counts(list []inspection.Count) string {
	var s []string
	for _, c := range list {
		s = append(s, fmt.Sprintf("%s=%d", c.Name, c.Count))
	}
	return strings.Join(s, " ")
}

func pairs(l inspection.Leak) string {
	s := fmt.Sprintf("%d/%d", l.A, l.B)
	for _, p := range l.Pairs {
		s += " " + p.A.ID + "~" + p.B.ID
	}
	return s
}

func groups(g inspection.Groups) string {
	s := fmt.Sprintf("%d/%d/%d", g.Groups, g.Members, g.Largest)
	for _, group := range g.List {
		s += " [" + ids(group.Rows) + "]"
	}
	return s
}

func TestInspect(t *testing.T) {
	ds := faulty(t).set("planted")
	states := map[string]download.State{
		"a": {Status: download.Done}, "copy": {Status: download.Done}, "gone": {Status: download.Gone, Reason: "HTTP 404"},
		"html": {Status: download.Failed, Reason: "HTML instead of a picture (text/html)"},
		"gif":  {Status: download.Failed, Reason: "HTML instead of a picture (12 bytes)"},
	}
	r, err := inspection.Inspect(t.Context(), ds, inspection.Options{States: states, Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ what, got, want string }{
		{"rows", fmt.Sprint(r.Rows), fmt.Sprint(inspection.Rows{Rows: 16, IDs: 15, WithoutCaption: 1, SeveralCaptions: 1, WithoutURL: 1, Quoted: 1})},
		{"splits", counts(r.Splits), "test=4 train=4"},

		{"files", fmt.Sprint(r.Pictures.Files, r.Pictures.Good, r.Pictures.Broken, r.Pictures.Rows, r.Pictures.Flat, r.Pictures.Animated), "15 7 8 8 2 1"},
		{"reasons", counts(r.Pictures.Reasons), "HTML in place of a picture=1 animated WebP=1 another format (GIF)=1 damaged=1 empty file=1 missing=1 too large=1 truncated=1"},
		{"formats", counts(r.Pictures.Formats), "PNG=6 JPEG=1"},
		{"flat", ids(r.Pictures.FlatRows), "black white"},
		{"width", fmt.Sprint(r.Pictures.Width.Min, r.Pictures.Width.Median, r.Pictures.Width.Max, r.Pictures.Width.Mean), fmt.Sprint(20, 64, 64, 360.0/7)},
		{"height", fmt.Sprint(r.Pictures.Height.Min, r.Pictures.Height.Median, r.Pictures.Height.Max), "10 64 64"},
		{"side bins", fmt.Sprint(r.Pictures.Side.Bins[0], r.Pictures.Side.Bins[len(r.Pictures.Side.Bins)-1]), "{8 11 2} {64 91 5}"},

		{"captions", fmt.Sprint(r.Captions.Captions, r.Captions.Distinct), "16 15"},
		{"words", fmt.Sprint(r.Captions.Words.Min, r.Captions.Words.Max, r.Captions.Words.Median), "1 7 2"},
		{"with placeholder", fmt.Sprint(r.Captions.Placeholders.With, r.Captions.Placeholders.Faulty, r.Captions.Placeholders.Distinct), "13 1 12"},
		{"placeholders", counts(r.Captions.Placeholders.Names[:3]), "Objects=2 Subject=2 A=1"},
		{"faults", counts(r.Captions.Placeholders.Faults), "{ without }=1"},
		{"each", fmt.Sprint(r.Captions.Placeholders.Each.Bins), "[{0 1 2} {1 2 12} {2 3 0} {3 4 1}]"},
		{"anonymous", fmt.Sprint(r.Captions.Anonymous.Captions, r.Captions.Anonymous.Rows, r.Captions.Anonymous.Numbers), "2 2 1"},
		{"anonymous reasons", counts(r.Captions.Anonymous.Reasons), "no placeholder=2 colour=1 name=1"},
		{"anonymous words", counts(r.Captions.Anonymous.Names) + " " + counts(r.Captions.Anonymous.Colours), "Paris=1 red=1"},
		{"anonymous example", fmt.Sprint(r.Captions.Anonymous.Examples[0].ID, " ", r.Captions.Anonymous.Examples[0].Notes), "anim [no placeholder name: Paris colour: red]"},
		{"languages", counts(r.Captions.Languages), "no letters=7 English=6 German=1 Latin script=1"},
		{"shared", fmt.Sprint(r.Captions.Shared), "[{{Objects} arranged in a circle 2}]"},

		{"same id", groups(r.Duplicates.ID), "1/2/2 [c c]"},
		{"same address", groups(r.Duplicates.URL), "1/2/2 [a html]"},
		{"same bytes", groups(r.Duplicates.Bytes), "1/2/2 [a copy]"},
		{"same look", groups(r.Duplicates.Look), "1/2/2 [a jpeg]"},
		{"near captions", groups(r.Duplicates.Captions), "2/9/7 [html empty huge gif webp noise gone] [a copy]"},

		{"sizes", fmt.Sprint(r.Groups[0].Of, r.Groups[0].Sizes.Count, " ", r.Groups[1].Of, r.Groups[1].Sizes.Max, " ", counts(r.Groups[2].Largest)), "group1 relation2 3=2 4=1"},
		{"hosts", fmt.Sprint(r.Hosts.Hosts, r.Hosts.Invalid, " ", counts(r.Hosts.Most[:2])), "12 1 a.example=2 c.example=2"},
		{"status", counts(r.Downloads.Status), "pending=11 done=2 failed=2 gone=1"},
		{"download reasons", counts(r.Downloads.Reasons), "never asked for=11 HTML instead of a picture=2 HTTP 404=1"},
		{"download hosts", fmt.Sprint(r.Downloads.Hosts[:3]), "[{c.example 0 0 0 2} {no host 0 0 0 2} {a.example 1 1 0 0}]"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, tt.got, tt.want)
		}
	}
	if len(r.Leaks) != 1 {
		t.Fatalf("%d leaks, want those of test and train", len(r.Leaks))
	}
	l := r.Leaks[0]
	for _, tt := range []struct{ what, got, want string }{
		{"parts", fmt.Sprint(l.A, l.RowsA, " ", l.B, l.RowsB), "test4 train4"},
		{"id", pairs(l.ID), "0/0"},
		{"address", pairs(l.URL), "0/0"},
		{"bytes", pairs(l.Bytes), "1/1 copy~a"},
		{"look", pairs(l.Look), "1/1 copy~jpeg"},
		{"caption", pairs(l.Caption), "1/1 c~jpeg"},
		{"near caption", pairs(l.Captions), "1/1 copy~a"},
	} {
		if tt.got != tt.want {
			t.Errorf("leaks by %s: %s, want %s", tt.what, tt.got, tt.want)
		}
	}
}

// TestAgainst looks for the rows of one set in another one.
func TestAgainst(t *testing.T) {
	p := faulty(t)
	other := &planted{files: p.files}
	other.row("other", "a.png", "{Thing} growing step by step") // the file of a
	other.row("c", "gone.png", "{Objects} arranged in a circle")
	other.row("new", "white.png", "nothing of the kind {Here}") // white there too, but the same bytes
	r, err := inspection.Inspect(t.Context(), p.set("one"), inspection.Options{Against: other.set("two")})
	if err != nil {
		t.Fatal(err)
	}
	if r.Rows.Rows != 16 || r.Pictures.Files != 15 || groups(r.Duplicates.Bytes) != "1/2/2 [a copy]" || r.Captions.Captions != 16 {
		t.Errorf("the other set is counted: %+v", r.Rows)
	}
	l := r.Leaks[len(r.Leaks)-1]
	for _, tt := range []struct{ what, got, want string }{
		{"parts", fmt.Sprint(l.A, l.RowsA, " ", l.B, l.RowsB), "one16 two3"},
		{"id", pairs(l.ID), "2/1 c~c"},
		{"address", pairs(l.URL), "2/1 c~c"},
		{"bytes", pairs(l.Bytes), "3/2 a~other white~new"},
		{"look", pairs(l.Look), "1/1 jpeg~other"},
		{"caption", pairs(l.Caption), "2/1 jpeg~c"},
		{"near caption", pairs(l.Captions), "2/1 a~other copy~other"},
	} {
		if tt.got != tt.want {
			t.Errorf("leaks by %s: %s, want %s", tt.what, tt.got, tt.want)
		}
	}
	if n := l.Pictures(); n != 2 {
		t.Errorf("%d rows leak, want 2", n)
	}
}

// TestSameReport holds that workers change nothing, and that JSON and text can be had of hostile rows.
func TestSameReport(t *testing.T) {
	p := faulty(t)
	hostile := []string{
		"<script>alert(1)</script> {Subject}", "\u202egnp.{Subject}\u2066", "\x1b]0;title\x07 {A}\x00\x01", strings.Repeat("{Word} and ", 100_000),
		"</style>{B}", "z" + strings.Repeat("\u0301", 5000), "\xff\xfe{C}", `"><img src=x onerror=alert(1)> Paris`,
	}
	for i, caption := range hostile {
		p.row(fmt.Sprintf("id\n\x1b[2J%d", i), "gone\x1b[31m", caption, func(it *dataloader.Item) {
			it.File, it.Split, it.Relation, it.URL = "rows\x1b.jsonl", "s\x1b", "r\x07", "https://h\x07ost/\x1b"
		})
	}
	var reports [2]*inspection.Report
	for k, workers := range []int{1, 5} {
		var err error
		if reports[k], err = inspection.Inspect(t.Context(), p.set("x"), inspection.Options{Workers: workers}); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(reports[0], reports[1]) {
		t.Error("the number of workers changes the report")
	}
	if _, err := json.Marshal(reports[0]); err != nil {
		t.Error(err)
	}
	var b strings.Builder
	if err := reports[0].WriteText(&b, 20); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.String() {
		if r < ' ' && r != '\n' || r == 0x7f || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			t.Fatalf("the text has %U", r)
		}
	}
	for line := range strings.Lines(b.String()) {
		if len([]rune(line)) > 400 {
			t.Errorf("a line of %d characters", len([]rune(line)))
		}
	}
}

func TestOptions(t *testing.T) {
	p := faulty(t)
	r, err := inspection.Inspect(t.Context(), p.set("x"), inspection.Options{NoPictures: true, Top: 1})
	if err != nil || r.Pictures != nil || r.Duplicates.Bytes.Groups != 0 || len(r.Captions.Placeholders.Names) != 1 || len(r.Hosts.Most) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = inspection.Inspect(t.Context(), p.set("x"), inspection.Options{Distance: -1}); err != nil || r.Duplicates.Look.Groups != 0 {
		t.Errorf("looks were compared: %v", err)
	}
	for _, o := range []inspection.Options{{Distance: 17}, {Distance: -2}, {Similar: 49}, {Similar: 101}, {Top: -1}, {Workers: -1}} {
		if _, err := inspection.Inspect(t.Context(), p.set("x"), o); err == nil {
			t.Errorf("%+v is no error", o)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := inspection.Inspect(ctx, p.set("x"), inspection.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that of the context", err)
	}
	empty, err := inspection.Inspect(t.Context(), (&planted{}).set("none"), inspection.Options{})
	if err != nil || empty.Rows.Rows != 0 || empty.WriteText(&bytes.Buffer{}, 3) != nil {
		t.Errorf("of nothing: %v", err)
	}
}

func TestFindings(t *testing.T) {
	r, err := inspection.Inspect(t.Context(), faulty(t).set("x"), inspection.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for _, f := range r.Findings() {
		got[f.Name] = f.Count
	}
	want := map[string]int{"broken": 8, "flat": 2, "duplicates": 4, "near-captions": 2, "leaks": 1, "caption-leaks": 1, "uncaptioned": 1, "quotes": 1, "braces": 1, "not-anonymous": 2}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if len(inspection.FindingNames()) != len(want) {
		t.Errorf("names %v", inspection.FindingNames())
	}
}
