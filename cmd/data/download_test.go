package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/download/downloadtest"
)

// pictures serves the rows of the scripts about downloads: rows.jsonl and rows.tsv have eight pictures, one that is gone, and one page;
// slow.jsonl has pictures that take their time.
func pictures(env *testscript.Env) error {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, number, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		i, _ := strconv.Atoi(number)
		switch kind {
		case "gone":
			w.WriteHeader(http.StatusGone)
		case "page":
			fmt.Fprint(w, "<html></html>")
		case "slow":
			time.Sleep(20 * time.Millisecond)
			fallthrough
		case "picture":
			w.Write(downloadtest.Picture(i))
		case "mirror":
			if number == "gone" {
				w.Write(downloadtest.Picture(1))
				return
			}
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	env.Defer(func() {
		s.CloseClientConnections()
		s.Close()
	})
	env.Setenv("SERVER", s.URL)
	var rows, slow strings.Builder
	table := "image_hash\tcaption\turl_link\n"
	row := func(b *strings.Builder, id, path string) {
		fmt.Fprintf(b, `{"image_hash":%q,"caption":"{Subject} growing","url_link":"%s/%s"}`+"\n", id, s.URL, path)
	}
	for i := range 8 {
		row(&rows, fmt.Sprint("p", i), fmt.Sprint("picture/", i))
		table += fmt.Sprintf("p%d\t{Subject} growing\t%s/picture/%d\n", i, s.URL, i)
	}
	row(&rows, "gone", "gone/0")
	row(&rows, "page", "page/0")
	for i := range 2000 {
		row(&slow, fmt.Sprint("s", i), fmt.Sprint("slow/", i))
	}
	for name, text := range map[string]string{"rows.jsonl": rows.String(), "rows.tsv": table, "slow.jsonl": slow.String()} {
		if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(text), 0o666); err != nil {
			return err
		}
	}
	return nil
}
