package retrieval

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"relsim/checkpoints"
	"relsim/regular"
)

// rankingsFormat is the format's name and version: the first value of a file.
const rankingsFormat = "relsim rankings 1"

// Bounds of a file of rankings once it is unpacked.
const (
	maxRankBytes = 1 << 30
	maxRankLine  = 4 << 20
)

// The form of the lines of a file: one head, then the items, then the queries.
type rankHead struct {
	Format      string          `json:"format"`
	Data        string          `json:"data"`
	Split       string          `json:"split"`
	Positives   string          `json:"positives"`
	Top         int             `json:"top"`
	Methods     []rankMethod    `json:"methods"`
	Items       int             `json:"items"`
	Queries     int             `json:"queries"`
	Fingerprint string          `json:"fingerprint,omitempty"`
	Source      json.RawMessage `json:"source,omitempty"`
}

type rankMethod struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

type rankItem struct {
	ID       string `json:"id"`
	Path     string `json:"path,omitempty"`
	Member   string `json:"member,omitempty"`
	URL      string `json:"url,omitempty"`
	Caption  string `json:"caption,omitempty"`
	Relation string `json:"relation,omitempty"`
	Group    string `json:"group,omitempty"`
	Profile  *int   `json:"profile,omitempty"`
	HeldOut  bool   `json:"held_out,omitempty"`
}

// rankQuery has, for each method, the indices of the hits, their scores, and a letter each for their marks.
type rankQuery struct {
	Query int       `json:"query"`
	Rows  []rankRow `json:"rows"`
}

type rankRow struct {
	Items  []int     `json:"items"`
	Scores []float32 `json:"scores"`
	Marks  string    `json:"marks"`
}

var (
	letterOf = map[string]byte{Right: 'r', Wrong: 'w', Twin: 't', Unjudged: 'u'}
	markOf   = map[byte]string{'r': Right, 'w': Wrong, 't': Twin, 'u': Unjudged}
)

// Write writes the rankings into a file, all or nothing: JSON lines, packed by gzip. The same rankings give the same
// bytes. Scores are rounded to float32.
//
//	{"format":"relsim rankings 1","data":…,"split":…,"positives":…,"top":10,"methods":[{"name":…,"kind":…}],"items":2,"queries":1}
//	{"id":…,"path":…,"caption":…,"relation":…,"profile":3}                       for each picture of the gallery
//	{"query":0,"rows":[{"items":[1],"scores":[0.93],"marks":"r"}]}               for each query; a row for each method
//
// The letters of marks are r (right), w (wrong), t (twin) and u (unjudged), one for each item.
func (r *Rankings) Write(path string) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("retrieval: write rankings: %w", err)
	}
	if err := checkpoints.WriteFile(path, r.encode); err != nil {
		return fmt.Errorf("retrieval: write rankings: %w", err)
	}
	return nil
}

// encode writes the file.
func (r *Rankings) encode(w io.Writer) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	return errors.Join(r.encodeLines(z), z.Close())
}

// encodeLines writes the file unpacked.
func (r *Rankings) encodeLines(w io.Writer) error {
	b := bufio.NewWriterSize(w, 256<<10)
	left := int64(maxRankBytes)
	write := func(line []byte) error {
		if len(line) > maxRankLine {
			return fmt.Errorf("a line of %d bytes: want at most %d", len(line), maxRankLine)
		}
		if left -= int64(len(line)); left < 0 {
			return errRankSize
		}
		_, err := b.Write(line)
		return err
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encode := func(v any) error {
		text.Reset()
		if err := encoder.Encode(v); err != nil {
			return err
		}
		return write(text.Bytes())
	}
	head := rankHead{Format: rankingsFormat, Data: r.Data, Split: r.Split, Positives: r.Positives, Top: r.Top,
		Items: len(r.Items), Queries: len(r.Queries), Fingerprint: r.Fingerprint, Source: r.Source}
	for _, m := range r.Methods {
		head.Methods = append(head.Methods, rankMethod(m))
	}
	if err := encode(head); err != nil {
		return err
	}
	for i := range r.Items {
		it := &r.Items[i]
		line := rankItem{ID: it.ID, Path: it.Path, Member: it.Member, URL: it.URL, Caption: it.Caption, Relation: it.Relation,
			Group: it.Group, HeldOut: it.HeldOut}
		if it.Profile >= 0 {
			line.Profile = &it.Profile
		}
		if err := encode(line); err != nil {
			return err
		}
	}
	var line []byte
	for i := range r.Queries {
		line = r.Queries[i].append(line[:0])
		if err := write(line); err != nil {
			return err
		}
	}
	return b.Flush()
}

// append writes the line of a query: there are so many numbers that reflection would take most of the time.
func (q *RankedQuery) append(b []byte) []byte {
	b = append(b, `{"query":`...)
	b = strconv.AppendInt(b, int64(q.Item), 10)
	b = append(b, `,"rows":[`...)
	for m, row := range q.Rows {
		if m > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"items":[`...)
		for i, h := range row {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(h.Item), 10)
		}
		b = append(b, `],"scores":[`...)
		for i, h := range row {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendFloat(b, h.Score, 'g', -1, 32)
		}
		b = append(b, `],"marks":"`...)
		for _, h := range row {
			b = append(b, letterOf[h.Mark])
		}
		b = append(b, `"}`...)
	}
	return append(b, "]}\n"...)
}

// ReadRankings reads a file that [Rankings.Write] wrote. What does not fit together is an error that names the line, as is
// a file that unpacks to more than 1 GiB.
func ReadRankings(path string) (*Rankings, error) {
	f, _, err := regular.Open(path)
	if err != nil {
		return nil, fmt.Errorf("retrieval: read rankings: %w", err)
	}
	defer f.Close()
	r, err := readRankings(f, maxRankBytes)
	if err != nil {
		return nil, fmt.Errorf("retrieval: read rankings: %s: %w", path, err)
	}
	return r, nil
}

// rankReader reads lines, and bounds them and their sum.
type rankReader struct {
	lines *bufio.Scanner
	left  int64 // bytes that may still come
	line  int
}

// errRankSize is returned for a file that unpacks to too much.
var errRankSize = errors.New("more than the 1 GiB that rankings may have unpacked")

// next parses the next line into v; without one it returns io.EOF.
func (r *rankReader) next(v any) error {
	if !r.lines.Scan() {
		err := r.lines.Err()
		switch {
		case err == nil:
			return io.EOF
		case errors.Is(err, bufio.ErrTooLong):
			return fmt.Errorf("line %d: longer than %d bytes", r.line+1, maxRankLine)
		case errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("line %d: the file is cut off", r.line+1)
		}
		return fmt.Errorf("line %d: %w", r.line+1, err)
	}
	r.line++
	b := r.lines.Bytes()
	if r.left -= int64(len(b)) + 1; r.left < 0 {
		return errRankSize
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("line %d: %w", r.line, err)
	}
	return nil
}

// want is next where a line must follow.
func (r *rankReader) want(v any, what string) error {
	err := r.next(v)
	if err == io.EOF {
		return fmt.Errorf("line %d: the file ends: want %s", r.line+1, what)
	}
	return err
}

// readRankings reads a packed file of at most limit bytes unpacked.
func readRankings(f io.Reader, limit int64) (*Rankings, error) {
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("not packed by gzip: %w", err)
	}
	return readRankLines(z, limit)
}

// readRankLines reads an unpacked file of at most limit bytes.
func readRankLines(f io.Reader, limit int64) (*Rankings, error) {
	in := &rankReader{lines: bufio.NewScanner(f), left: limit}
	in.lines.Buffer(make([]byte, 0, 64<<10), maxRankLine)
	var head rankHead
	if err := in.want(&head, "the head"); err != nil {
		return nil, err
	}
	if head.Format != rankingsFormat {
		return nil, fmt.Errorf("line 1: format is %q: want %q", head.Format, rankingsFormat)
	}
	r := &Rankings{Data: head.Data, Split: head.Split, Positives: head.Positives, Top: head.Top, Source: head.Source,
		Fingerprint: head.Fingerprint}
	for _, m := range head.Methods {
		r.Methods = append(r.Methods, RankedMethod(m))
	}
	if err := r.checkHead(head.Items, head.Queries); err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	for i := range head.Items {
		var line rankItem
		if err := in.want(&line, fmt.Sprintf("item %d of %d", i+1, head.Items)); err != nil {
			return nil, err
		}
		it := RankedItem{ID: line.ID, Path: line.Path, Member: line.Member, URL: line.URL, Caption: line.Caption,
			Relation: line.Relation, Group: line.Group, Profile: -1, HeldOut: line.HeldOut}
		if line.Profile != nil {
			it.Profile = max(-1, *line.Profile)
		}
		r.Items = append(r.Items, it)
	}
	hits := 0
	for i := range head.Queries {
		var line rankQuery
		if err := in.want(&line, fmt.Sprintf("query %d of %d", i+1, head.Queries)); err != nil {
			return nil, err
		}
		q := RankedQuery{Item: line.Query}
		for m, row := range line.Rows {
			if len(row.Scores) != len(row.Items) || len(row.Marks) != len(row.Items) {
				return nil, fmt.Errorf("line %d: row %d: %d items, %d scores, %d marks: want as many of each",
					in.line, m, len(row.Items), len(row.Scores), len(row.Marks))
			}
			if hits += len(row.Items); hits > maxRankHits {
				return nil, fmt.Errorf("line %d: more than %d hits", in.line, maxRankHits)
			}
			of := make([]RankedHit, len(row.Items))
			for k := range of {
				of[k] = RankedHit{Item: row.Items[k], Score: float64(row.Scores[k]), Mark: markOf[row.Marks[k]]}
			}
			q.Rows = append(q.Rows, of)
		}
		if err := r.checkQuery(&q); err != nil {
			return nil, fmt.Errorf("line %d: %w", in.line, err)
		}
		r.Queries = append(r.Queries, q)
	}
	if err := in.next(new(json.RawMessage)); err != io.EOF {
		if err == nil {
			err = fmt.Errorf("line %d: follows the last of %d queries", in.line, head.Queries)
		}
		return nil, err
	}
	return r, r.Validate()
}
