package main

import (
	"fmt"
	"math"
	"strings"
)

// report is everything that was measured.
type report struct {
	Machine string   `json:"machine"`
	OS      string   `json:"os"`
	Go      string   `json:"go"`
	Tier    string   `json:"tier"`
	Cores   int      `json:"cores"`
	Threads int      `json:"threads"`
	Rounds  int      `json:"rounds"`
	Peer    string   `json:"peer,omitempty"` // versions
	Seconds float64  `json:"seconds"`        // of the whole run
	Results []result `json:"results"`
}

// markdown returns the report as tables.
func (r *report) markdown() string {
	var b strings.Builder
	if len(r.Results) == 0 {
		return ""
	}
	fmt.Fprintf(&b, "%s, %s, kernels %s, %s, threads: %d of %d, rounds: %d", r.Machine, r.OS, r.Tier, r.Go, r.Threads, r.Cores, r.Rounds)
	if r.Peer != "" {
		fmt.Fprintf(&b, ". Peer: %s", r.Peer)
	}
	b.WriteString(".\n")
	r.pairs(&b)
	r.steps(&b)
	for _, one := range r.Results {
		if len(one.Parts) > 0 {
			one.partsTable(&b)
		}
	}
	return b.String()
}

// table writes rows whose first one is the head; with no row below it, nothing.
func table(b *strings.Builder, rows [][]string) {
	if len(rows) < 2 {
		return
	}
	b.WriteString("\n")
	for i, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
}

// pairs writes the table of ours beside the peer.
func (r *report) pairs(b *strings.Builder) {
	rows := [][]string{{"work", "times the peer's speed", "bar", "ours / peer", "CPU s, ours / peer", "peak memory, ours / peer"}}
	for _, one := range r.Results {
		if one.Ours == nil {
			continue
		}
		row := []string{fmt.Sprintf("%s: %s", one.Name, one.About), "", "", one.speed(one.Ours), seconds(one.Ours.CPU), mebibytes(one.Ours.PeakBytes)}
		if one.Peer != nil {
			row[1] = fmt.Sprintf("**%.2f** (%.2f–%.2f)", one.Ratio.Median, one.Ratio.Min, one.Ratio.Max)
			if one.Bar != "" {
				row[2] = "≥ " + one.Bar
			}
			row[3] += fmt.Sprintf(" / %s (%s, %s)", one.speed(one.Peer), one.PeerName, one.Peer.Path)
			row[4] += " / " + seconds(one.Peer.CPU)
			row[5] += fmt.Sprintf(" / %s = %.2f", mebibytes(one.Peer.PeakBytes), one.Memory)
			if own := one.Peer.PeakBytes - one.Peer.BaseBytes; one.Peer.BaseBytes > 0 && own > 0 {
				row[5] += fmt.Sprintf(" (%.2f without what the processes hold before)", (one.Ours.PeakBytes-one.Ours.BaseBytes)/own)
			}
		}
		rows = append(rows, row)
	}
	table(b, rows)
}

// speed returns how much a side does in a second.
func (r *result) speed(s *side) string {
	return number(float64(r.Units)/s.Seconds.Median) + " " + r.Unit + "/s"
}

// steps writes the table of shares of the peak.
func (r *report) steps(b *strings.Builder) {
	rows := [][]string{{"step", "GFLOP", "share of the peak", "1 → " + fmt.Sprint(r.Threads) + " threads", "parameters", "allocations a step"}}
	for _, one := range r.Results {
		if one.FLOPs == 0 || one.Ours == nil {
			continue
		}
		row := []string{one.Name, number(one.FLOPs / 1e9), "", "", "", number(one.Mallocs)}
		if one.Ours.Parameters > 0 {
			row[4] = number(float64(one.Ours.Parameters)/1e6) + " M"
		}
		if one.Share != nil {
			row[2] = percent(*one.Share)
		}
		if one.Scaling != nil {
			row[3] = fmt.Sprintf("%.2f (%.2f–%.2f)", one.Scaling.Median, one.Scaling.Min, one.Scaling.Max)
		}
		rows = append(rows, row)
	}
	table(b, rows)
}

// partsTable writes one row for each thing, one column for each pass or number of
// threads.
func (r *result) partsTable(b *strings.Builder) {
	columns, names := r.passes(), []string(nil)
	cells := map[[2]string]string{}
	for _, p := range r.Parts {
		column := p.Pass
		if r.Name == "limits" {
			column = fmt.Sprintf("threads: %d", p.Threads)
		}
		columns, names = once(columns, column), once(names, p.Name)
		cell := rate(p.Speed.Median, p.Unit)
		if p.Share != nil {
			cell = fmt.Sprintf("%s, %s", percent(*p.Share), cell)
		}
		cells[[2]string{p.Name, column}] = cell
	}
	head := append([]string{r.Name}, columns...)
	for i, c := range head {
		if c == "" {
			head[i] = "speed"
		}
	}
	rows := [][]string{head}
	for _, name := range names {
		row := []string{name}
		for _, c := range columns {
			row = append(row, cells[[2]string{name, c}])
		}
		rows = append(rows, row)
	}
	table(b, rows)
}

// passes returns the columns that have an order of their own and occur.
func (r *result) passes() (columns []string) {
	for _, pass := range []string{forward, gradX, gradW} {
		for _, p := range r.Parts {
			if p.Pass == pass {
				columns = once(columns, pass)
			}
		}
	}
	return columns
}

// once appends a string that is not there yet.
func once(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// percent returns a share with its least and largest values.
func percent(s spread) string {
	return fmt.Sprintf("%.0f %% (%.0f–%.0f)", 100*s.Median, 100*s.Min, 100*s.Max)
}

// rate returns a speed with its unit.
func rate(v float64, unit string) string {
	switch unit {
	case "FLOP/s", "B/s":
		return number(v/1e9) + " G" + unit
	}
	return strings.TrimSpace(number(v) + " " + unit)
}

func seconds(v float64) string { return number(v) }

func mebibytes(v float64) string { return number(v/(1<<20)) + " MiB" }

// number returns v with three digits, and with all before the point.
func number(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := max(2-int(math.Floor(math.Log10(math.Abs(v)))), 0)
	text := fmt.Sprintf("%.*f", min(digits, 6), v)
	whole, rest, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return whole
}
