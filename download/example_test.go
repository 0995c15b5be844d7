package download_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"relsim/download"
	"relsim/download/downloadtest"
)

// A file of two rows: one picture is there, the other one is gone.
func Example() {
	if err := example(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 1 done, 1 gone
	// done images/4f0c.png
	// gone HTTP 404
}

func example() error {
	mux := http.NewServeMux()
	mux.HandleFunc("/a", func(w http.ResponseWriter, _ *http.Request) { w.Write(downloadtest.Picture(0)) })
	server := httptest.NewServer(mux)
	defer server.Close()
	dir, err := os.MkdirTemp("", "download")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rows := fmt.Sprintf("{\"image_hash\": \"4f0c\", \"url_link\": \"%s/a\"}\n{\"image_hash\": \"77aa\", \"url_link\": \"%s/b\"}\n", server.URL, server.URL)
	from := filepath.Join(dir, "rows.jsonl")
	if err := os.WriteFile(from, []byte(rows), 0o666); err != nil {
		return err
	}

	o := download.Default()
	o.From, o.Dir = from, filepath.Join(dir, "out")
	o.AllowPrivate = true // the server of this example is on this machine
	s, err := download.Run(context.Background(), o)
	if err != nil {
		return err
	}
	fmt.Printf("%d done, %d gone\n", s.Done, s.Gone)

	states, err := download.States(o.Dir)
	if err != nil {
		return err
	}
	fmt.Println(states["4f0c"].Status, states["4f0c"].File)
	fmt.Println(states["77aa"].Status, states["77aa"].Reason)
	return nil
}
