package formats

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"relsim/dataloader"
)

// sample is a picture with all that one format or another says of it.
type sample struct {
	ID, URL, Group string
	Captions       []string
	File           []byte // PNG or JPEG
	Ending         string
}

// samples are pictures of three seed groups, sorted by their IDs, with the caption of their group.
func samples(t testing.TB) []sample {
	t.Helper()
	captions := [][]string{{"{Subject} growing, step by step"}, {`{Object} in a "frame"`}, {"{Shape}; {Color}\tand more"}}
	list := make([]sample, 17)
	for i := range list {
		s := sample{URL: fmt.Sprintf("https://example.org/images/%d.png?size=%d", i, i)}
		sum := md5.Sum([]byte(s.URL))
		s.ID = hex.EncodeToString(sum[:])
		pixels := noise(9, 7, uint64(i))
		s.File, s.Ending = encodePNG(t, pixels), ".png"
		if i%3 == 0 {
			s.File, s.Ending = encodeJPEG(t, pixels), ".jpg"
		}
		list[i] = s
	}
	slices.SortFunc(list, func(a, b sample) int { return strings.Compare(a.ID, b.ID) })
	for i := range list {
		n := i * len(captions) / len(list)
		list[i].Group, list[i].Captions = fmt.Sprint(n), captions[n]
	}
	return list
}

func encodeJPEG(t testing.TB, im *dataloader.Image) []byte {
	t.Helper()
	out := image.NewNRGBA(image.Rect(0, 0, im.Width, im.Height))
	for i := range im.Width * im.Height {
		p := im.Pix[3*i:]
		out.SetNRGBA(i%im.Width, i/im.Width, color.NRGBA{p[0], p[1], p[2], 255})
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, out, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// layouts write samples as each format has them, and return what to open. The first is what the others are compared with.
var layouts = []struct {
	name    string
	several bool // has a place for several captions of a picture
	write   func(t testing.TB, list []sample) (spec string, o Options)
}{
	{"JSON lines", true, func(t testing.TB, list []sample) (string, Options) {
		dir := writeFiles(t, withPictures(list, "images", map[string]string{"rows.jsonl": jsonLines(t, list)}))
		return filepath.Join(dir, "rows.jsonl"), Options{}
	}},
	{"JSON lines, packed, pictures elsewhere", true, func(t testing.TB, list []sample) (string, Options) {
		dir := writeFiles(t, withPictures(list, "elsewhere", map[string]string{"rows.jsonl.gz": packed(t, []byte(jsonLines(t, list)))}))
		return filepath.Join(dir, "rows.jsonl.gz"), Options{Images: filepath.Join(dir, "elsewhere")}
	}},
	{"a folder with rows and images", true, func(t testing.TB, list []sample) (string, Options) {
		return writeFiles(t, withPictures(list, "images", map[string]string{"rows.jsonl": jsonLines(t, list)})), Options{}
	}},
	{"CSV by image_hash", true, func(t testing.TB, list []sample) (string, Options) {
		text := tableOf(",", list, func(s sample) string { return s.ID }, "image_hash", "caption")
		dir := writeFiles(t, withPictures(list, "images", map[string]string{"rows.csv": text}))
		return filepath.Join(dir, "rows.csv"), Options{}
	}},
	{"TSV of open_clip", true, func(t testing.TB, list []sample) (string, Options) {
		text := tableOf("\t", list, func(s sample) string { return "./" + s.ID + s.Ending }, "filepath", "title")
		dir := writeFiles(t, withPictures(list, ".", map[string]string{"rows.tsv": text}))
		return filepath.Join(dir, "rows.tsv"), Options{}
	}},
	{"CSV with other columns and semicolons", true, func(t testing.TB, list []sample) (string, Options) {
		text := tableOf(";", list, func(s sample) string { return "sub/" + s.ID }, "picture", "words")
		text = strings.ReplaceAll(strings.ReplaceAll(text, "sub/", ""), "\n", "\r\n")
		dir := writeFiles(t, withPictures(list, "pics", map[string]string{"rows.txt": text}))
		return filepath.Join(dir, "rows.txt"), Options{Images: filepath.Join(dir, "pics"), ImageKey: "picture", CaptionKey: "words"}
	}},
	{"folder with JSON", true, func(t testing.TB, list []sample) (string, Options) {
		files := withPictures(list, ".", map[string]string{"notes.md": "not a picture", ".hidden.png": ""})
		for _, s := range list {
			files[s.ID+".json"] = strings.ReplaceAll(object(t, s), `"image_hash"`, `"key"`)
		}
		return writeFiles(t, files), Options{}
	}},
	{"folder with text", true, func(t testing.TB, list []sample) (string, Options) {
		files := withPictures(list, ".", nil)
		for _, s := range list {
			files[s.ID+".txt"] = strings.Join(s.Captions, "\n") + "\n"
			files[s.ID+".json"] = fmt.Sprintf(`{"caption":"of no account","url":%q,"group":%s,"width":9}`, s.URL, s.Group)
		}
		return writeFiles(t, files), Options{}
	}},
	{"seed groups", false, func(t testing.TB, list []sample) (string, Options) {
		files := map[string]string{"seed_group.json": seedGroups(t, list)}
		for _, s := range list {
			files["images/group_"+s.Group+"/"+s.ID+s.Ending] = string(s.File)
		}
		return filepath.Join(writeFiles(t, files), "seed_group.json"), Options{}
	}},
	{"seed groups by the names in addresses", false, func(t testing.TB, list []sample) (string, Options) {
		files := map[string]string{"groups.json": seedGroups(t, list)}
		for _, s := range list {
			name, _, _ := strings.Cut(filepath.Base(s.URL), "?")
			files["group_"+s.Group+"/"+name] = string(s.File) // ends in .png, whatever it is
		}
		return filepath.Join(writeFiles(t, files), "groups.json"), Options{}
	}},
	{"WebDataset, a folder", true, func(t testing.TB, list []sample) (string, Options) {
		return writeFiles(t, shardsOf(t, list, 5, withRows)), Options{}
	}},
	{"WebDataset, braces", true, func(t testing.TB, list []sample) (string, Options) {
		return filepath.Join(writeFiles(t, shardsOf(t, list, 6, withText)), "{000000..000002}.tar"), Options{}
	}},
	{"WebDataset, several", false, func(t testing.TB, list []sample) (string, Options) {
		dir := writeFiles(t, shardsOf(t, list, 10, ofImg2dataset))
		return filepath.Join(dir, "000000.tar") + "::" + filepath.Join(dir, "000001.tar"), Options{}
	}},
	{"WebDataset, a pattern", true, func(t testing.TB, list []sample) (string, Options) {
		return filepath.Join(writeFiles(t, shardsOf(t, list, 7, inFolders)), "0*.tar"), Options{}
	}},
	{"Parquet", true, func(t testing.TB, list []sample) (string, Options) {
		return filepath.Join(writeFiles(t, parquetsOf(t, list, 17, oursIn)), "000000.parquet"), Options{}
	}},
	{"Parquet of Hugging Face, a folder", true, func(t testing.TB, list []sample) (string, Options) {
		return writeFiles(t, parquetsOf(t, list, 6, huggingFaceIn)), Options{}
	}},
	{"Parquet with other columns", true, func(t testing.TB, list []sample) (string, Options) {
		return filepath.Join(writeFiles(t, parquetsOf(t, list, 9, othersIn)), "{000000,000001}.parquet"), Options{ImageKey: "photo", CaptionKey: "words"}
	}},
	{"Parquet without the pictures", true, func(t testing.TB, list []sample) (string, Options) {
		return filepath.Join(writeFiles(t, withPictures(list, "images", parquetsOf(t, list, 9, rowsIn))), "*.parquet"), Options{}
	}},
	{"Parquet with paths of pictures", true, func(t testing.TB, list []sample) (string, Options) {
		dir := writeFiles(t, withPictures(list, "elsewhere", parquetsOf(t, list, 17, pathsIn)))
		return filepath.Join(dir, "000000.parquet"), Options{Images: filepath.Join(dir, "elsewhere")}
	}},
}

// withPictures adds the pictures in a folder to files.
func withPictures(list []sample, folder string, files map[string]string) map[string]string {
	if files == nil {
		files = make(map[string]string)
	}
	for _, s := range list {
		files[folder+"/"+s.ID+s.Ending] = string(s.File)
	}
	return files
}

func object(t testing.TB, s sample) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"image_hash": s.ID, "url_link": s.URL, "captions": s.Captions, "group": s.Group})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func jsonLines(t testing.TB, list []sample) string {
	t.Helper()
	var b strings.Builder
	for _, s := range list {
		b.WriteString(object(t, s) + "\n")
	}
	return b.String()
}

// tableOf is a table of samples: every field is in quotes.
func tableOf(separator string, list []sample, name func(sample) string, nameKey, captionKey string) string {
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
	var b strings.Builder
	b.WriteString(strings.Join([]string{captionKey, "captions", "group", nameKey, "url_link"}, separator) + "\n")
	for _, s := range list {
		more, _ := json.Marshal(s.Captions)
		fields := []string{s.Captions[0], string(more), s.Group, name(s), s.URL}
		for i, f := range fields {
			fields[i] = quote(f)
		}
		b.WriteString(strings.Join(fields, separator) + "\n")
	}
	return b.String()
}

func seedGroups(t testing.TB, list []sample) string {
	t.Helper()
	type group struct {
		Caption string   `json:"anonymous_caption"`
		URLs    []string `json:"image_urls"`
	}
	var groups []group
	for i, s := range list {
		if i == 0 || s.Group != list[i-1].Group {
			caption := s.Captions[0]
			if !strings.Contains(caption, `"`) { // as they are published
				caption = `"` + caption + `"`
			}
			groups = append(groups, group{Caption: caption})
		}
		g := &groups[len(groups)-1]
		g.URLs = append(g.URLs, s.URL)
	}
	text, err := json.MarshalIndent(groups, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Whatever the format: the same items, and for a seed the same samples in the same order as with JSON lines.
func TestSameSamples(t *testing.T) {
	one := samples(t)
	several := slices.Clone(one)
	several[2].Captions = []string{"one", "two", "three"}
	several[9].Captions = []string{"{Thing} once", "{Thing} twice"}
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			sets := [][]sample{one}
			if layout.several {
				sets = append(sets, several)
			}
			for _, list := range sets {
				reference, ro := layouts[0].write(t, list)
				want, err := Open(t.Context(), reference, ro)
				if err != nil {
					t.Fatal(err)
				}
				spec, o := layout.write(t, list)
				got, err := Open(t.Context(), spec, o)
				if err != nil {
					t.Fatal(err)
				}
				same(t, got, want)
			}
		})
	}
}

// same fails if two data sets differ in more than where things stand.
func same(t *testing.T, got, want dataloader.Dataset) {
	t.Helper()
	if got.Len() != want.Len() {
		t.Fatalf("%d items, want %d", got.Len(), want.Len())
	}
	for i := range got.Len() {
		if g, w := placeless(got.Item(i)), placeless(want.Item(i)); !reflect.DeepEqual(g, w) {
			t.Fatalf("item %d: %+v, want %+v", i, g, w)
		}
	}
	c := dataloader.Config{Batch: 5, Workers: 2, Seed: 7, Transform: dataloader.Transform{Size: 8, Flip: true}}
	a, b := batches(t, got, c, 8), batches(t, want, c, 8) // more than two epochs
	for i := range a {
		if !slices.Equal(a[i].Images, b[i].Images) || !slices.Equal(a[i].Index, b[i].Index) || a[i].Epoch != b[i].Epoch {
			t.Fatalf("batch %d differs: items %d, want %d", i, a[i].Index, b[i].Index)
		}
		for k := range a[i].Items {
			if g, w := placeless(a[i].Items[k]), placeless(b[i].Items[k]); !reflect.DeepEqual(g, w) {
				t.Fatalf("batch %d: %+v, want %+v", i, g, w)
			}
		}
	}
}

// placeless is an item without where and how it stands.
func placeless(it dataloader.Item) dataloader.Item {
	it.File, it.Line, it.Path, it.Member, it.Quoted = "", 0, "", "", false
	return it
}
