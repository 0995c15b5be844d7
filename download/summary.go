package download

import (
	"cmp"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Summary says what a run has done, and how the rows stand after it.
type Summary struct {
	Dir      string `json:"dir"`
	RowsFile string `json:"rows_file"` // the copy of the rows in Dir
	Rows     int    `json:"rows"`
	Pictures int    `json:"pictures"` // different ones by image_hash; the sum of the next four
	Done     int    `json:"done"`
	Failed   int    `json:"failed"`
	Gone     int    `json:"gone"`
	Pending  int    `json:"pending"`

	Tried     int     `json:"tried"`     // settled by this run
	Fetched   int     `json:"fetched"`   // of these, done
	Postponed int     `json:"postponed"` // left to the next run, as their hosts do not answer or ask to wait for long
	Bytes     int64   `json:"bytes"`     // received
	Seconds   float64 `json:"seconds"`

	Reasons []ReasonCount `json:"reasons"` // of rows that are not done, the most frequent first
	Hosts   []HostCount   `json:"hosts"`   // the 20 with the most rows that are not done, then the largest
}

// ReasonCount counts rows by why they are not done.
type ReasonCount struct {
	Status string `json:"status"`
	Reason string `json:"reason"` // without its details
	Count  int    `json:"count"`
}

// HostCount counts the rows of a host.
type HostCount struct {
	Host    string `json:"host"` // "": addresses without one
	Done    int    `json:"done"`
	Failed  int    `json:"failed"`
	Gone    int    `json:"gone"`
	Pending int    `json:"pending"`
}

func (h HostCount) missing() int { return h.Failed + h.Gone + h.Pending }

const topHosts = 20

// summarize counts the rows.
func (r *run) summarize() Summary {
	s := Summary{
		Dir: r.o.Dir, RowsFile: filepath.Join(r.o.Dir, filepath.Base(r.o.From)), Rows: r.ds.Len(),
		Tried: int(r.tried.Load()), Fetched: int(r.fetched.Load()), Postponed: int(r.postponed.Load()),
		Bytes: r.received.Load(), Seconds: time.Since(r.start).Seconds(),
	}
	seen := make(map[string]bool, r.total)
	hosts := make(map[string]*HostCount)
	reasons := make(map[ReasonCount]int)
	for i := range r.ds.Len() {
		it := r.ds.Item(i)
		if seen[it.ID] {
			continue
		}
		seen[it.ID] = true
		name := ""
		if u, err := url.Parse(strings.TrimSpace(it.URL)); err == nil {
			u.Scheme = strings.ToLower(u.Scheme)
			name = hostOf(u)
		}
		h := hosts[name]
		if h == nil {
			h = &HostCount{Host: name}
			hosts[name] = h
		}
		e := r.ledger.entries[it.ID]
		s.Pictures++
		switch e.status {
		case Done:
			s.Done++
			h.Done++
			continue
		case Failed:
			s.Failed++
			h.Failed++
		case Gone:
			s.Gone++
			h.Gone++
		default:
			s.Pending++
			h.Pending++
			e.status = Pending
			if e.reason == "" {
				e.reason = "not asked for yet"
			}
		}
		reasons[ReasonCount{Status: e.status, Reason: kindOf(e.reason)}]++
	}
	for c, n := range reasons {
		c.Count = n
		s.Reasons = append(s.Reasons, c)
	}
	slices.SortFunc(s.Reasons, func(a, b ReasonCount) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Status, b.Status), cmp.Compare(a.Reason, b.Reason))
	})
	for _, h := range hosts {
		s.Hosts = append(s.Hosts, *h)
	}
	slices.SortFunc(s.Hosts, func(a, b HostCount) int {
		return cmp.Or(b.missing()-a.missing(), b.Done-a.Done, cmp.Compare(a.Host, b.Host))
	})
	s.Hosts = s.Hosts[:min(len(s.Hosts), topHosts)]
	return s
}

// kindOf returns a reason without its details: what stands in brackets, and behind a colon, unless it says what kind of
// thing it is.
func kindOf(reason string) string {
	reason, _, _ = strings.Cut(reason, " (")
	head, _, ok := strings.Cut(reason, ": ")
	if ok && head != "timeout" && head != "not an image" && head != "opted out" && head != "TLS" {
		return head
	}
	return reason
}
