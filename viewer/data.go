package viewer

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"relsim/dataloader"
)

//go:embed assets/data.html
var dataHTML string

//go:embed assets/data.css
var dataCSS string

//go:embed assets/search.js
var searchJS string

//go:embed assets/data.js
var dataJS string

var dataTemplate = template.Must(template.New("data").Parse(dataHTML))

// DataPage shows a data set: its rows with their pictures, searched, filtered and sorted.
type DataPage struct {
	ds       dataloader.Dataset
	page     *Page
	pictures *Pictures
	states   *states
}

// pictureMemory is what a page keeps of pictures that it has made small, in bytes.
const pictureMemory = 64 << 20

// NewDataPage describes ds for its page. downloads say by ID what is known of downloads; nil: nothing, and the page does
// not speak of them.
func NewDataPage(ds dataloader.Dataset, downloads map[string]Download) (*DataPage, error) {
	c, m, err := columns(ds, downloads)
	if err != nil {
		return nil, err
	}
	first, err := encode(c)
	if err != nil {
		return nil, err
	}
	second, err := encode(m)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	if err := dataTemplate.Execute(&body, map[string]any{"Name": ds.Name(), "Rows": ds.Len()}); err != nil {
		return nil, fmt.Errorf("viewer: %w", err)
	}
	version := sha256.Sum256(fmt.Append(nil, ds.Fingerprint(), time.Now().UnixNano()))
	return &DataPage{
		ds: ds,
		page: &Page{
			Title: ds.Name() + " · data", Style: dataCSS, Script: searchJS + dataJS, Body: template.HTML(body.String()),
			Blocks: []Block{{"core", first}, {"more", second}}, Version: hex.EncodeToString(version[:6]),
		},
		pictures: NewPictures(ds, pictureMemory),
		states:   newStates(ds.Len()),
	}, nil
}

// Add shows the page on a site, at a path that begins and ends with a slash.
func (p *DataPage) Add(site *Site, path string) error {
	if err := site.AddPage(path, p.page); err != nil {
		return err
	}
	site.AddPictures(path, p.pictures)
	site.Handle("GET "+path+"states", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		version, err := strconv.Atoi(r.URL.Query().Get("since"))
		if err != nil {
			http.Error(w, "since: want a number", http.StatusBadRequest)
			return
		}
		data, err := encode(p.states.since(version))
		if err != nil {
			http.Error(w, "no states", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(data)
	}))
	return nil
}

// Check looks at the pictures, so that the page can say which are missing or broken. It may run while the page is served.
func (p *DataPage) Check(ctx context.Context, c Check) error { return p.states.run(ctx, p.ds, c) }

// Counts returns how many pictures have each state, as far as [DataPage.Check] has come.
func (p *DataPage) Counts() map[State]int { return p.states.count() }
