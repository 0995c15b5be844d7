package viewer

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"

	"relsim/metrics"
	"relsim/retrieval"
)

//go:embed assets/retrieval.html
var retrievalHTML string

//go:embed assets/retrieval.css
var retrievalCSS string

//go:embed assets/retrieval.js
var retrievalJS string

// chunk is the number of queries whose rankings the page fetches at a time.
const chunk = 64

// exportSide is the longer side of the pictures of an exported page, in pixels.
const exportSide = 160

// RetrievalOptions say what a page of rankings shows beside them.
type RetrievalOptions struct {
	Result   *retrieval.Result // figures of the same evaluation; nil: none
	NoScores bool              // the scores of the rankings mean nothing
}

// Retrieval is the page of an evaluation's rankings: a query, what every method finds for it, and which queries a method
// gets right that another one does not.
type Retrieval struct {
	rankings *retrieval.Rankings
	options  RetrievalOptions
	page     *Page
}

// NewRetrieval returns the page of rankings. A result that is of another evaluation is an error.
func NewRetrieval(r *retrieval.Rankings, o RetrievalOptions) (*Retrieval, error) {
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("viewer: rankings: %w", err)
	}
	if len(r.Queries) == 0 {
		return nil, errors.New("viewer: rankings: no queries")
	}
	if o.Result != nil {
		if err := belongs(o.Result, r); err != nil {
			return nil, err
		}
	}
	v := &Retrieval{rankings: r, options: o}
	var err error
	v.page, err = v.newPage(r.Queries)
	return v, err
}

// belongs returns an error if a result is not of the evaluation that the rankings are of.
func belongs(result *retrieval.Result, r *retrieval.Rankings) error {
	if result.Data != r.Data || result.Split != r.Split || result.Gallery != len(r.Items) || result.Queries != len(r.Queries) {
		return fmt.Errorf("viewer: the metrics are of %s, %s, %d queries in %d pictures; the rankings of %s, %s, %d queries in %d pictures: want those of one evaluation",
			result.Data, result.Split, result.Queries, result.Gallery, r.Data, r.Split, len(r.Queries), len(r.Items))
	}
	for _, m := range r.Methods {
		if !slices.ContainsFunc(result.Methods, func(x retrieval.MethodResult) bool { return x.Name == m.Name }) {
			return fmt.Errorf("viewer: the metrics have no method %q, the rankings have: want those of one evaluation", m.Name)
		}
	}
	return nil
}

// retrievalHead is the block "head".
type retrievalHead struct {
	Data      string          `json:"data"`
	Split     string          `json:"split"`
	Positives string          `json:"positives"`
	Top       int             `json:"top"`
	Gallery   int             `json:"gallery"`
	Chunk     int             `json:"chunk"`
	NoScores  bool            `json:"noScores,omitempty"`
	Methods   []rankedMethod  `json:"methods"`
	Columns   []retrievalCell `json:"columns"` // of the table of metrics
	Part      int             `json:"part"`    // queries of all that an exported page has; 0: all
}

type rankedMethod struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	How  string `json:"how,omitempty"`
	// Figures are, by column, [mean, low, high] or null.
	Figures [][]float64 `json:"figures"`
}

type retrievalCell struct {
	Title string `json:"title"`
	Part  string `json:"part"` // "seen" or "held out"; "": there is only one part
	Help  string `json:"help"`
}

// retrievalItems is the block "items": columns, by picture. Strings that repeat are numbers of Texts.
type retrievalItems struct {
	Texts    []string `json:"texts"`
	ID       []string `json:"id"`
	Caption  []int    `json:"caption"`
	Relation []int    `json:"relation"`
	URL      []string `json:"url,omitempty"`
	Group    []string `json:"group,omitempty"`
	Profile  []int    `json:"profile,omitempty"`
	HeldOut  []int    `json:"heldOut,omitempty"` // indices
}

// retrievalQueries is the block "queries": columns, by query.
type retrievalQueries struct {
	Item []int `json:"item"`
	// Right and Twin have, for each method, a character for each query: the rank of the first right picture (of the first
	// twin) from '1' on, as the code of '0' plus the rank, at most 60; '0': none is among the first.
	Right []string `json:"right"`
	Twin  []string `json:"twin"`
	// Judged has '1' for each query that has something that could be right.
	Judged string `json:"judged"`
}

// newPage makes the page of some queries.
func (v *Retrieval) newPage(queries []retrieval.RankedQuery) (*Page, error) {
	r := v.rankings
	head := retrievalHead{Data: r.Data, Split: r.Split, Positives: r.Positives, Top: r.Top, Gallery: len(r.Items), Chunk: chunk, NoScores: v.options.NoScores}
	if len(queries) < len(r.Queries) {
		head.Part = len(r.Queries)
	}
	head.Columns, head.Methods = v.figures()
	page := &Page{
		Title: "Retrieval: " + r.Data, Style: retrievalCSS, Body: template.HTML(retrievalHTML), Script: searchJS + retrievalJS,
		Version: r.Fingerprint,
	}
	for _, block := range []struct {
		name  string
		value any
	}{{"head", head}, {"items", v.items()}, {"queries", v.queries(queries)}} {
		data, err := json.Marshal(block.value)
		if err != nil {
			return nil, fmt.Errorf("viewer: rankings: block %s: %w", block.name, err)
		}
		page.Blocks = append(page.Blocks, Block{block.name, data})
	}
	return page, nil
}

// figures returns the table of metrics.
func (v *Retrieval) figures() (columns []retrievalCell, methods []rankedMethod) {
	for _, m := range v.rankings.Methods {
		methods = append(methods, rankedMethod{Name: m.Name, Kind: m.Kind})
	}
	result := v.options.Result
	if result == nil {
		return nil, methods
	}
	for _, part := range []struct {
		name string
		rows []retrieval.MethodResult
	}{{"seen", result.Methods}, {"held out", result.HeldOut}} {
		if len(result.HeldOut) == 0 {
			part.name = ""
		}
		for _, c := range []struct {
			title, help string
			of          func(retrieval.MethodResult) (metrics.Interval, bool)
		}{
			{"recall@1", "share of queries whose nearest picture is right", ofImages("recall@1")},
			{"recall@10", "share of queries with a right picture among the first ten", ofImages("recall@10")},
			{"mAP", "mean average precision", ofImages("map")},
			{"twin@1", "share of queries whose nearest picture is an attribute twin; lower is better", ofImages("twin@1")},
			{"conflict", "share of triplets in which the right picture beats a twin", func(m retrieval.MethodResult) (metrics.Interval, bool) {
				x, ok := m.Triplets["conflict"]
				return x, ok
			}},
		} {
			figures := make([][]float64, len(methods))
			found := false
			for i, m := range methods {
				at := slices.IndexFunc(part.rows, func(x retrieval.MethodResult) bool { return x.Name == m.Name })
				if at < 0 {
					continue
				}
				if x, ok := c.of(part.rows[at]); ok {
					figures[i], found = []float64{x.Mean, x.Low, x.High}, true
				}
				if about := part.rows[at].About; about != nil {
					methods[i].How = about.How
				}
			}
			if !found {
				continue
			}
			columns = append(columns, retrievalCell{c.title, part.name, c.help})
			for i := range methods {
				methods[i].Figures = append(methods[i].Figures, figures[i])
			}
		}
	}
	return columns, methods
}

func ofImages(name string) func(retrieval.MethodResult) (metrics.Interval, bool) {
	return func(m retrieval.MethodResult) (metrics.Interval, bool) {
		x, ok := m.ImageToImage[name]
		return x, ok
	}
}

// items returns the gallery in columns. One that is empty is left out.
func (v *Retrieval) items() retrievalItems {
	var c retrievalItems
	at := make(map[string]int)
	number := func(s string) int {
		i, ok := at[s]
		if !ok {
			i = len(c.Texts)
			at[s] = i
			c.Texts = append(c.Texts, s)
		}
		return i
	}
	var url, group, profile bool
	for i, it := range v.rankings.Items {
		c.ID, c.URL, c.Group, c.Profile = append(c.ID, it.ID), append(c.URL, it.URL), append(c.Group, it.Group), append(c.Profile, it.Profile)
		c.Caption, c.Relation = append(c.Caption, number(it.Caption)), append(c.Relation, number(it.Relation))
		url, group, profile = url || it.URL != "", group || it.Group != "", profile || it.Profile >= 0
		if it.HeldOut {
			c.HeldOut = append(c.HeldOut, i)
		}
	}
	if !url {
		c.URL = nil
	}
	if !group {
		c.Group = nil
	}
	if !profile {
		c.Profile = nil
	}
	return c
}

// queries returns what the filters need of queries.
func (v *Retrieval) queries(queries []retrieval.RankedQuery) retrievalQueries {
	n, methods := len(queries), len(v.rankings.Methods)
	c := retrievalQueries{Item: make([]int, n), Right: make([]string, methods), Twin: make([]string, methods)}
	judged := make([]byte, n)
	for i, q := range queries {
		c.Item[i] = q.Item
		judged[i] = '0'
		for _, row := range q.Rows {
			for _, h := range row {
				if h.Mark == retrieval.Right || h.Mark == retrieval.Wrong {
					judged[i] = '1'
				}
			}
		}
	}
	c.Judged = string(judged)
	first := func(row []retrieval.RankedHit, mark string) byte {
		at := slices.IndexFunc(row, func(h retrieval.RankedHit) bool { return h.Mark == mark })
		return '0' + byte(min(at+1, 60))
	}
	for m := range methods {
		right, twin := make([]byte, n), make([]byte, n)
		for i, q := range queries {
			right[i], twin[i] = first(q.Rows[m], retrieval.Right), first(q.Rows[m], retrieval.Twin)
		}
		c.Right[m], c.Twin[m] = string(right), string(twin)
	}
	return c
}

// rows returns the rankings of queries as JSON: for each query, for each method, [items, scores, marks]; a letter of
// marks for each picture.
func (v *Retrieval) rows(queries []retrieval.RankedQuery) []byte {
	b := []byte{'['}
	for i, q := range queries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		for m, row := range q.Rows {
			if m > 0 {
				b = append(b, ',')
			}
			b = append(b, "[["...)
			for k, h := range row {
				if k > 0 {
					b = append(b, ',')
				}
				b = strconv.AppendInt(b, int64(h.Item), 10)
			}
			b = append(b, "],["...)
			for k, h := range row {
				if k > 0 {
					b = append(b, ',')
				}
				b = strconv.AppendFloat(b, h.Score, 'g', 6, 32)
			}
			b = append(b, `],"`...)
			for _, h := range row {
				b = append(b, h.Mark[0])
			}
			b = append(b, `"]`...)
		}
		b = append(b, ']')
	}
	return append(b, ']')
}

// AddTo shows the page, at a path as [Site.AddPage] takes it, with its pictures: picture i is that of item i.
func (v *Retrieval) AddTo(s *Site, path string, p *Pictures) error {
	if p.Len() != len(v.rankings.Items) {
		return fmt.Errorf("viewer: rankings: %d pictures for a gallery of %d", p.Len(), len(v.rankings.Items))
	}
	if err := s.AddPage(path, v.page); err != nil {
		return err
	}
	s.AddPictures(path, p)
	s.Handle("GET "+path+"rows/{chunk}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.PathValue("chunk"))
		queries := v.rankings.Queries
		if err != nil || n < 0 || n > (len(queries)-1)/chunk {
			http.Error(w, "no such queries", http.StatusNotFound)
			return
		}
		data := v.rows(queries[n*chunk : min(len(queries), (n+1)*chunk)])
		w.Header().Set("Cache-Control", "no-cache")
		serve(w, r, "application/json", data, etagOf(data))
	}))
	return nil
}

// ExportBound is what the pictures of an exported page may take, in bytes, as they are encoded.
const ExportBound = 256 << 20

// errExport is returned when an exported page would be too large.
var errExport = fmt.Errorf("viewer: the pictures of the page take more than %d MiB: export fewer queries", ExportBound>>20)

// Export writes the page into one file, with the pictures in it, at most 160 pixels wide and high. n, if it is not 0, is
// the number of queries of it, drawn by seed. A picture that cannot be read is left out; the number of them is returned.
func (v *Retrieval) Export(ctx context.Context, w io.Writer, p *Pictures, n int, seed uint64) (unreadable int, err error) {
	queries := v.rankings.Queries
	if n > 0 && n < len(queries) {
		order := rand.New(rand.NewPCG(seed, 0)).Perm(len(queries))[:n]
		slices.Sort(order)
		drawn := make([]retrieval.RankedQuery, n)
		for i, k := range order {
			drawn[i] = queries[k]
		}
		queries = drawn
	}
	page, err := v.newPage(queries)
	if err != nil {
		return 0, err
	}
	shown := make(map[int]bool)
	for _, q := range queries {
		shown[q.Item] = true
		for _, row := range q.Rows {
			for _, h := range row {
				shown[h.Item] = true
			}
		}
	}
	pictures := bytes.NewBufferString("{")
	for i := range v.rankings.Items {
		if !shown[i] {
			continue
		}
		thumb, err := p.Get(ctx, i, exportSide)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil {
			unreadable++
			continue
		}
		if pictures.Len() > 1 {
			pictures.WriteByte(',')
		}
		fmt.Fprintf(pictures, `"%d":"data:%s;base64,%s"`, i, thumb.Type, base64.StdEncoding.EncodeToString(thumb.Data))
		if pictures.Len() > ExportBound {
			return 0, errExport
		}
	}
	pictures.WriteByte('}')
	page.Blocks = append(page.Blocks, Block{"pictures", pictures.Bytes()})
	for first := 0; first < len(queries); first += chunk {
		page.Blocks = append(page.Blocks, Block{"rows-" + strconv.Itoa(first/chunk), v.rows(queries[first:min(len(queries), first+chunk)])})
	}
	return unreadable, page.Export(w)
}
