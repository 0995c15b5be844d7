package download

import (
	"fmt"
	"hash/maphash"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"relsim/dataloader"
)

// key is a row: an image_hash, and where its picture is to be. Two groups may name one picture; it is then in both.
type key struct {
	id      string
	bases   []string // paths below the folder, with slashes and without endings
	tries   int      // of earlier runs
	counted bool     // another row of the same picture is done already
}

// file returns the path of a picture that ends in ext. A base that has the ending already keeps its name.
func file(base, ext string) string {
	if e := strings.ToLower(path.Ext(base)); e == ext || e == ".jpeg" && ext == ".jpg" {
		return base
	}
	return base + ext
}

const imagesDir = "images"

// baseOf returns where the picture of an item is to be. The path that the item has is the one that readers of the
// data set look for, with any ending; an image_hash that ends as pictures do is a whole name.
func (r *run) baseOf(it dataloader.Item) (string, error) {
	rel, err := filepath.Rel(r.o.Dir, it.Path)
	if err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("picture %.80q is not below the folder", it.Path)
	}
	base := filepath.ToSlash(rel)
	switch {
	case !strings.HasPrefix(base, imagesDir+"/"):
		return "", fmt.Errorf("picture %.80q is not in the folder %s", rel, imagesDir)
	case !fs.ValidPath(base) || len(path.Base(base)) > 240 || strings.HasPrefix(path.Base(base), partPrefix):
		return "", fmt.Errorf("picture %.80q has a name that no file can have", rel)
	case hasPictureEnding(base) && !(path.Base(base) == it.ID):
		base = strings.TrimSuffix(base, path.Ext(base))
	}
	return base, nil
}

// plan finds out what is to be done, and hands it to the scheduler.
func (r *run) plan() error {
	n := r.ds.Len()
	settled := make([]bool, n)
	have := make(map[string]string) // files by address
	ids := make(map[string]bool, n)
	addresses := 0
	for i := range n {
		it := r.ds.Item(i)
		if it.ID == "" {
			return fmt.Errorf("download: %s: no image_hash", it.Row())
		}
		if it.URL != "" {
			addresses++
		}
		if !ids[it.ID] {
			ids[it.ID] = true
			r.total++
		}
		e, ok := r.ledger.entries[it.ID]
		switch {
		case !ok:
		case e.status == Done:
			if info, err := os.Stat(it.Path); err == nil && info.Mode().IsRegular() && info.Size() == e.bytes {
				settled[i] = true
				have[it.URL] = it.Path
			}
		case e.status == Pending:
		case r.retries(e), it.URL != "" && e.url != urlHash(it.URL) && e.url != 0:
		default:
			settled[i] = true
		}
	}
	if addresses == 0 {
		return fmt.Errorf("download: %s: none of %d rows has an address (url_link)", r.o.From, n)
	}
	delete(have, "")
	clear(ids)
	tasks := make(map[string]*task)     // by image_hash
	byAddress := make(map[string]*task) // by the first address
	var refused []update
	count := 0
	for i := range n {
		it := r.ds.Item(i)
		if settled[i] {
			if tasks[it.ID] == nil {
				r.count(r.ledger.entries[it.ID].status, ids, it.ID)
			}
			continue
		}
		base, err := r.baseOf(it)
		if err != nil {
			return fmt.Errorf("download: %s: %w", it.Row(), err)
		}
		if t := tasks[it.ID]; t != nil {
			t.alternative(it, base)
			continue
		}
		if count == r.o.Limit && r.o.Limit > 0 {
			continue
		}
		k := &key{id: it.ID, bases: []string{base}, tries: r.ledger.entries[it.ID].tries, counted: ids[it.ID]}
		t := &task{keys: []*key{k}, number: i}
		if info, err := os.Stat(it.Path); err == nil && info.Mode().IsRegular() {
			t.adopt = it.Path
		} else if there := have[it.URL]; there != "" {
			t.adopt = there
		}
		var first *failure
		if u, err := checkURL(it.URL); err == nil {
			t.urls, t.u = []string{it.URL}, u
		} else {
			first = failed("%v", err)
		}
		if t.adopt == "" && t.u != nil {
			if other := byAddress[it.URL]; other != nil {
				other.keys = append(other.keys, k)
				tasks[it.ID] = other
				count++
				continue
			}
			byAddress[it.URL] = t
		}
		if r.o.Fallback != "" {
			t.fallback = r.o.fallback(it.ID)
			if t.u == nil {
				if t.u, err = checkURL(t.fallback); err == nil {
					t.urls = []string{t.fallback}
				}
			}
		}
		t.first = first
		if t.u == nil && t.adopt == "" {
			refused = append(refused, update{it.ID, State{Status: Failed, Reason: first.reason, Tries: k.tries, When: time.Now(), URL: it.URL}})
			count++
			continue
		}
		if t.u != nil {
			t.hops = []string{t.u.String()}
		}
		tasks[it.ID] = t
		r.tasks = append(r.tasks, t)
		count++
	}
	if err := r.ledger.append(refused); err != nil {
		return err
	}
	for _, u := range refused {
		r.count(u.state.Status, ids, u.id)
		r.tried.Add(1)
	}
	for _, t := range r.tasks {
		if t.fallback != "" && t.urls[len(t.urls)-1] != t.fallback {
			t.urls = append(t.urls, t.fallback)
		}
		r.scheduler.add(t)
	}
	r.tasks = nil
	return nil
}

// alternative takes in another row of the same image_hash: perhaps another address, perhaps another place.
func (t *task) alternative(it dataloader.Item, base string) {
	for _, k := range t.keys {
		if k.id != it.ID {
			continue
		}
		known := false
		for _, b := range k.bases {
			known = known || b == base
		}
		if !known {
			k.bases = append(k.bases, base)
		}
	}
	if _, err := checkURL(it.URL); err != nil || len(t.keys) > 1 {
		return
	}
	for _, u := range t.urls {
		if u == it.URL {
			return
		}
	}
	t.urls = append(t.urls, it.URL)
}

// count counts a row of earlier runs once.
func (r *run) count(status string, ids map[string]bool, id string) {
	if ids[id] {
		return
	}
	ids[id] = true
	switch status {
	case Done:
		r.done.Add(1)
	case Failed:
		r.failed.Add(1)
	case Gone:
		r.gone.Add(1)
	}
}

// retries tells whether a row that was given up is looked after again.
func (r *run) retries(e entry) bool {
	switch r.o.Retry {
	case RetryFailed:
		return e.status == Failed
	case RetryTimeouts:
		return e.status == Failed && strings.HasPrefix(e.reason, "timeout")
	case RetryAll:
		return e.status == Failed || e.status == Gone
	}
	return false
}

// fallback returns the address of a picture at the fallback.
func (o *Options) fallback(id string) string {
	return strings.ReplaceAll(o.Fallback, hashField, url.PathEscape(id))
}

var urlSeed = maphash.MakeSeed()

// urlHash stands for an address in memory.
func urlHash(s string) uint64 { return maphash.String(urlSeed, s) | 1 }

// advance goes to the next address of a task. false: there is none.
func (t *task) advance() bool {
	for t.at++; t.at < len(t.urls); t.at++ {
		u, err := checkURL(t.urls[t.at])
		if err == nil {
			t.here, t.limited = 0, 0
			t.begin(u)
			return true
		}
	}
	return false
}

// begin goes to the beginning of an address.
func (t *task) begin(u *url.URL) { t.u, t.hops = u, []string{u.String()} }

// restart goes back to where the redirections began.
func (t *task) restart() {
	if u, err := checkURL(t.urls[t.at]); err == nil {
		t.begin(u)
	}
}
