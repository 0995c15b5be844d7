package inspection

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"relsim/download"
)

// Hosts are the servers that the addresses of the rows name.
type Hosts struct {
	Hosts   int     `json:"hosts"`
	Invalid int     `json:"invalid"` // addresses that are not http or https with a host
	Most    []Count `json:"most"`    // rows by host, the most frequent
}

// Downloads say what became of rows that were downloaded.
type Downloads struct {
	Status  []Count      `json:"status"`  // rows by status; those that were never asked for are pending
	Reasons []Count      `json:"reasons"` // of rows that are not there
	Hosts   []HostResult `json:"hosts"`   // those with the most rows that are not there
}

// HostResult says how many rows of a host are there, or not.
type HostResult struct {
	Host    string `json:"host"`
	Done    int    `json:"done"`
	Failed  int    `json:"failed"`
	Gone    int    `json:"gone"`
	Pending int    `json:"pending"`
}

func (h *HostResult) missing() int { return h.Failed + h.Gone + h.Pending }

// hostOf returns the host of an address; "": it has none.
func hostOf(address string) string {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

func (in *inspector) hosts() *Hosts {
	n := make(map[string]int)
	h := new(Hosts)
	some := false
	for row := range in.own() {
		address := in.item(row).URL
		if address == "" {
			continue
		}
		some = true
		if host := hostOf(address); host != "" {
			n[host]++
		} else {
			h.Invalid++
		}
	}
	if !some {
		return nil
	}
	h.Hosts, h.Most = len(n), in.top(n, in.Top)
	return h
}

// downloads counts rows by their states.
func (in *inspector) downloads() *Downloads {
	if in.States == nil {
		return nil
	}
	status, reasons := make(map[string]int), make(map[string]int)
	hosts := make(map[string]*HostResult)
	for row := range in.own() {
		it := in.item(row)
		s, ok := in.States[it.ID]
		if !ok {
			s = download.State{Status: download.Pending, Reason: "never asked for"}
		}
		status[s.Status]++
		name := cmp.Or(hostOf(it.URL), "no host")
		h := hosts[name]
		if h == nil {
			h = &HostResult{Host: name}
			hosts[name] = h
		}
		switch s.Status {
		case download.Done:
			h.Done++
			continue
		case download.Failed:
			h.Failed++
		case download.Gone:
			h.Gone++
		default:
			h.Pending++
		}
		why, _, _ := strings.Cut(s.Reason, " (") // details stand in brackets
		reasons[cmp.Or(why, "no reason")]++
	}
	d := &Downloads{Status: in.top(status, 0), Reasons: in.top(reasons, in.Top)}
	for _, h := range hosts {
		if h.missing() > 0 {
			d.Hosts = append(d.Hosts, *h)
		}
	}
	slices.SortFunc(d.Hosts, func(a, b HostResult) int {
		return cmp.Or(cmp.Compare(b.missing(), a.missing()), cmp.Compare(a.Host, b.Host))
	})
	d.Hosts = d.Hosts[:min(len(d.Hosts), in.Top)]
	return d
}
