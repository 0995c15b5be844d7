package formats

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// entry is a member of a tar file.
type entry struct {
	name, content string
	header        tar.Header // what is not the usual
}

func tarOf(t testing.TB, entries ...entry) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.header
		h.Name, h.Mode = e.name, 0o644
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(e.content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// shardsOf are shards of size samples.
func shardsOf(t testing.TB, list []sample, size int, members func(t testing.TB, s sample) []entry) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for k := 0; k*size < len(list); k++ {
		var entries []entry
		for _, s := range list[k*size : min((k+1)*size, len(list))] {
			entries = append(entries, members(t, s)...)
		}
		files[fmt.Sprintf("%06d.tar", k)] = tarOf(t, entries...)
	}
	return files
}

func withRows(t testing.TB, s sample) []entry {
	return []entry{{name: "x" + s.ID[:9] + ".json", content: object(t, s)}, {name: "x" + s.ID[:9] + s.Ending, content: string(s.File)}}
}

func withText(t testing.TB, s sample) []entry {
	more := fmt.Sprintf(`{"url_link":%q,"group":%s,"caption":"of no account"}`, s.URL, s.Group)
	text := ""
	for _, c := range s.Captions {
		text += c + "\n"
	}
	return []entry{{name: s.ID + ".txt", content: text}, {name: s.ID + ".cls", content: "3"}, {name: s.ID + s.Ending, content: string(s.File)},
		{name: s.ID + ".json", content: more}}
}

func ofImg2dataset(t testing.TB, s sample) []entry {
	row, err := json.Marshal(map[string]any{"caption": s.Captions[0], "url": s.URL, "key": "000000001", "status": "success", "error_message": nil,
		"width": 9, "height": 7, "exif": "{}", "sha256": "00", "image_hash": s.ID, "group": s.Group})
	if err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprintf("%x", s.ID[:8])
	return []entry{{name: key + s.Ending, content: string(s.File)}, {name: key + ".json", content: string(row)}, {name: key + ".txt", content: s.Captions[0]}}
}

func inFolders(t testing.TB, s sample) []entry {
	return []entry{{name: "./data.v2/", header: tar.Header{Typeflag: tar.TypeDir}}, {name: "./data.v2/" + s.ID + ".JSON", content: object(t, s)},
		{name: "./data.v2/" + s.ID + ".seg.png", content: "of no account"}, {name: "./data.v2/" + s.ID + s.Ending, content: string(s.File)}}
}

// parquetsOf are Parquet files of size rows, in row groups of four.
func parquetsOf(t testing.TB, list []sample, size int, write func(t testing.TB, list []sample) string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for k := 0; k*size < len(list); k++ {
		files[fmt.Sprintf("%06d.parquet", k)] = write(t, list[k*size:min((k+1)*size, len(list))])
	}
	return files
}

func parquetOf[T any](t testing.TB, list []sample, row func(s sample) T, options ...parquet.WriterOption) string {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, append(options, parquet.MaxRowsPerRowGroup(4))...)
	for _, s := range list {
		if _, err := w.Write([]T{row(s)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

type hfImage struct {
	Bytes []byte `parquet:"bytes,optional,plain"`
	Path  string `parquet:"path,optional,dict"`
}

func oursIn(t testing.TB, list []sample) string {
	type row struct {
		Image    hfImage  `parquet:"image"`
		Hash     string   `parquet:"image_hash,plain"`
		Captions []string `parquet:"captions,list,plain"`
		URL      string   `parquet:"url_link,plain"`
		Group    int64    `parquet:"group,plain"`
	}
	return parquetOf(t, list, func(s sample) row {
		var n int64
		fmt.Sscan(s.Group, &n)
		return row{hfImage{s.File, "1.png"}, s.ID, s.Captions, s.URL, n}
	}, parquet.Compression(&parquet.Snappy), parquet.DataPageVersion(1))
}

func huggingFaceIn(t testing.TB, list []sample) string {
	type row struct {
		Image hfImage  `parquet:"image,optional"`
		Text  []string `parquet:"text,list,optional,dict"`
		URL   string   `parquet:"url,dict"`
		Group string   `parquet:"group,optional,dict"`
	}
	return parquetOf(t, list, func(s sample) row { return row{hfImage{s.File, s.ID + s.Ending}, s.Captions, s.URL, s.Group} },
		parquet.Compression(&parquet.Zstd), parquet.DataPageVersion(2))
}

func othersIn(t testing.TB, list []sample) string {
	type row struct {
		Photo []byte   `parquet:"photo,dict"`
		Image string   `parquet:"image,plain"` // of no account
		Key   string   `parquet:"key,plain"`
		Words []string `parquet:"words,plain"` // repeated, not a list
		Text  string   `parquet:"text,plain"`  // of no account
		URL   string   `parquet:"url,plain"`
		Group string   `parquet:"group,plain"`
	}
	return parquetOf(t, list, func(s sample) row { return row{s.File, "x", s.ID, s.Captions, "y", s.URL, s.Group} },
		parquet.Compression(&parquet.Gzip))
}

func rowsIn(t testing.TB, list []sample) string {
	type row struct {
		Hash    string   `parquet:"image_hash,plain"`
		Caption string   `parquet:"caption,plain"`
		More    []string `parquet:"captions,list,plain"`
		URL     string   `parquet:"url_link,plain"`
		Group   string   `parquet:"group,plain"`
	}
	return parquetOf(t, list, func(s sample) row { return row{s.ID, s.Captions[0], s.Captions, s.URL, s.Group} })
}

func pathsIn(t testing.TB, list []sample) string {
	type row struct {
		File  string   `parquet:"filepath,plain"`
		Title string   `parquet:"title,plain"`
		More  []string `parquet:"captions,list,plain"`
		URL   string   `parquet:"url_link,plain"`
		Group string   `parquet:"group,plain"`
	}
	return parquetOf(t, list, func(s sample) row { return row{s.ID + s.Ending, s.Captions[0], s.Captions, s.URL, s.Group} })
}
