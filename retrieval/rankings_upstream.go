package retrieval

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"relsim/regular"
)

// maxRetrieved bounds a file of retrieved images, in bytes.
const maxRetrieved = 256 << 20

// retrieved is a query of a file of retrieved images.
type retrieved struct {
	ID    json.RawMessage `json:"query_image_id"`
	Path  string          `json:"query_image_path"`
	Found []string        `json:"top_k_image_paths"`
}

// ReadRetrieved reads the retrieved_images.json that the reference implementation's viewer shows:
//
//	{"method": [{"query_image_id": …, "query_image_path": "a.png", "top_k_image_paths": ["b.png", …]}, …], …}
//
// Pictures are named by their paths, which are taken below the folder images (the file's own, if it is ""): those that lead
// out of it, and absolute ones, by their last element. There are no scores (they are 0), and nothing is judged. A query
// that a method lacks has no hits there.
func ReadRetrieved(file, images string) (*Rankings, error) {
	f, size, err := regular.Open(file)
	if err != nil {
		return nil, fmt.Errorf("retrieval: read retrieved images: %w", err)
	}
	defer f.Close()
	if size > maxRetrieved {
		return nil, fmt.Errorf("retrieval: read retrieved images: %s: %d bytes: want at most %d", file, size, maxRetrieved)
	}
	if images == "" {
		images = filepath.Dir(file)
	}
	r, err := readRetrieved(io.LimitReader(f, maxRetrieved), images)
	if err != nil {
		return nil, fmt.Errorf("retrieval: read retrieved images: %s: %w", file, err)
	}
	r.Data = filepath.Base(file)
	return r, nil
}

func readRetrieved(f io.Reader, images string) (*Rankings, error) {
	r := &Rankings{Positives: "caption", Top: 1}
	at := make(map[string]int)      // items by path
	queryAt := make(map[int]int)    // queries by item
	item := func(name string) int { // of a path
		name = strings.ReplaceAll(name, `\`, "/")
		i, ok := at[name]
		if !ok {
			i = len(r.Items)
			at[name] = i
			inside := filepath.FromSlash(name)
			if !filepath.IsLocal(inside) {
				inside = path.Base(name)
			}
			r.Items = append(r.Items, RankedItem{ID: name, Path: filepath.Join(images, inside), Profile: -1})
		}
		return i
	}
	decoder := json.NewDecoder(f)
	want := func(token json.Token) error {
		got, err := decoder.Token()
		if err != nil {
			return fmt.Errorf("byte %d: %w", decoder.InputOffset(), noEnd(err))
		}
		if got != token {
			return fmt.Errorf("byte %d: %v: want %v", decoder.InputOffset(), got, token)
		}
		return nil
	}
	if err := want(json.Delim('{')); err != nil {
		return nil, err
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, fmt.Errorf("byte %d: %w", decoder.InputOffset(), noEnd(err))
		}
		method := len(r.Methods)
		r.Methods = append(r.Methods, RankedMethod{fmt.Sprint(name), Baseline})
		if len(r.Methods) > maxRankMethods {
			return nil, fmt.Errorf("more than %d methods", maxRankMethods)
		}
		if err := want(json.Delim('[')); err != nil {
			return nil, fmt.Errorf("method %q: %w", name, err)
		}
		for n := 0; decoder.More(); n++ {
			var q retrieved
			if err := decoder.Decode(&q); err != nil {
				return nil, fmt.Errorf("method %q, query %d: %w", name, n, noEnd(err))
			}
			if err := checkRetrieved(q); err != nil {
				return nil, fmt.Errorf("method %q, query %d: %w", name, n, err)
			}
			of := item(q.Path)
			k, ok := queryAt[of]
			if !ok {
				k = len(r.Queries)
				queryAt[of] = k
				r.Queries = append(r.Queries, RankedQuery{Item: of})
			}
			for len(r.Queries[k].Rows) <= method {
				r.Queries[k].Rows = append(r.Queries[k].Rows, nil)
			}
			if r.Queries[k].Rows[method] != nil {
				return nil, fmt.Errorf("method %q, query %d: %s was a query before", name, n, q.Path)
			}
			row := []RankedHit{}
			for _, found := range q.Found {
				if i := item(found); i != of { // some lists begin with the query itself
					row = append(row, RankedHit{Item: i, Mark: Unjudged})
				}
			}
			r.Queries[k].Rows[method] = row
			r.Top = max(r.Top, len(row))
			if len(r.Items) > maxRankItems {
				return nil, fmt.Errorf("more than %d pictures", maxRankItems)
			}
		}
		if err := want(json.Delim(']')); err != nil {
			return nil, fmt.Errorf("method %q: %w", name, err)
		}
		if len(r.Queries)*len(r.Methods) > maxRankHits {
			return nil, fmt.Errorf("%d queries by %d methods: want at most %d in all", len(r.Queries), len(r.Methods), maxRankHits)
		}
	}
	if err := want(json.Delim('}')); err != nil {
		return nil, err
	}
	for k := range r.Queries {
		for len(r.Queries[k].Rows) < len(r.Methods) {
			r.Queries[k].Rows = append(r.Queries[k].Rows, nil)
		}
	}
	if len(r.Queries) == 0 {
		return nil, errors.New("no queries")
	}
	return r, r.Validate()
}

// checkRetrieved checks the paths of a query.
func checkRetrieved(q retrieved) error {
	if q.Path == "" {
		return errors.New(`missing "query_image_path"`)
	}
	if len(q.Found) > maxRankTop {
		return fmt.Errorf(`%d "top_k_image_paths": want at most %d`, len(q.Found), maxRankTop)
	}
	for _, name := range append([]string{q.Path}, q.Found...) {
		if base := path.Base(strings.ReplaceAll(name, `\`, "/")); base == "." || base == "/" || base == ".." ||
			len(name) > 4096 || strings.ContainsRune(name, 0) || !utf8.ValidString(name) {
			return fmt.Errorf("path %.80q: want the file of a picture", name)
		}
	}
	return nil
}

// noEnd says that a file ends too early, where a decoder only says that it ended.
func noEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
