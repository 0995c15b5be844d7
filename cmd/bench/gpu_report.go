package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// gpuReport is what was measured of a GPU, with what was checked there before.
type gpuReport struct {
	Time    string            `json:"time"`    // UTC
	Kernels string            `json:"kernels"` // hash of the sources and their PTX
	Tiny    bool              `json:"tiny,omitempty"`
	Rounds  int               `json:"rounds"`
	Go      string            `json:"go"`
	OS      string            `json:"os"`
	Machine string            `json:"machine"` // processor
	Device  map[string]string `json:"device,omitempty"`
	Peer    map[string]string `json:"peer,omitempty"` // versions
	Warned  []string          `json:"warned,omitempty"`
	Checks  []gpuCheck        `json:"checks,omitempty"`

	Copy     *spread    `json:"copy,omitempty"`    // bytes a second, read and written
	Product  *spread    `json:"product,omitempty"` // FLOP a second, bfloat16
	Ops      []gpuOp    `json:"ops,omitempty"`
	Untimed  []string   `json:"untimed,omitempty"` // kernels that no op here launches
	Beside   []gpuPair  `json:"beside,omitempty"`
	Failed   []gpuCheck `json:"failed,omitempty"` // parts
	Seconds  float64    `json:"seconds"`
	Complete bool       `json:"complete"` // all parts came to their end, well or not
}

// gpuCheck is something that was run: tests, a tool over them, or a part of the measurement.
type gpuCheck struct {
	Name    string  `json:"name"`
	Status  string  `json:"status"` // passed, failed, ended (by its limit), not run
	Seconds float64 `json:"seconds"`
	Note    string  `json:"note,omitempty"`
}

// gpuOp is an op of a Program, or of the optimiser.
type gpuOp struct {
	Program  string    `json:"program"`
	Op       string    `json:"op"`
	Backward bool      `json:"backward,omitempty"`
	Count    int       `json:"count"`
	Kernels  []string  `json:"kernels,omitempty"`
	Bytes    float64   `json:"bytes"`
	FLOPs    float64   `json:"flops,omitempty"`
	Times    []float64 `json:"times,omitempty"` // seconds of one, each time
	Seconds  spread    `json:"seconds"`
	Bound    string    `json:"bound,omitempty"` // memory or products: what would take longer at the ceilings
	Share    float64   `json:"share,omitempty"` // of that ceiling
}

// gpuPair is something that PyTorch does, too.
type gpuPair struct {
	Name   string             `json:"name"`
	Unit   string             `json:"unit"`   // of Ours and Peers, a second
	Ours   spread             `json:"ours"`   // speed
	Peers  map[string]spread  `json:"peers"`  // by the way in which PyTorch does it
	Ratios map[string]spread  `json:"ratios"` // ours over the peer's, of each round
	Bars   map[string]float64 `json:"bars,omitempty"`
	FLOPs  float64            `json:"flops,omitempty"` // of a batch, whatever makes them
	Units  int                `json:"units,omitempty"` // of a batch
	Checks []float64          `json:"check,omitempty"` // losses of the first steps, or the begin of an embedding
}

// gpuBar is something that kernels and models are held to.
type gpuBar struct {
	what, want, got string
	met             bool
}

// elementBar is the share of the copy's bandwidth that ops of elements and norms should reach, and from how many bytes on: what
// is smaller is in a cache.
const (
	elementBar   = .8
	elementBytes = 256 << 20
)

// bars are what was wanted, and whether it was reached.
func (r *gpuReport) bars() []gpuBar {
	var list []gpuBar
	lowest, name := 0.0, ""
	for _, o := range r.Ops {
		if o.FLOPs == 0 && o.Bytes >= elementBytes && (name == "" || o.Share < lowest) {
			lowest, name = o.Share, o.label()
		}
	}
	if name != "" {
		list = append(list, gpuBar{
			"ops of elements and norms of 256 MiB or more, as a share of the copy's bandwidth", fmt.Sprintf("≥ %.0f %%", 100*elementBar),
			fmt.Sprintf("%.0f %% or more; least: %s", 100*lowest, name), lowest >= elementBar,
		})
	}
	for _, p := range r.Beside {
		for _, mode := range slices.Sorted(maps.Keys(p.Bars)) {
			if ratio, ok := p.Ratios[mode]; ok {
				list = append(list, gpuBar{p.Name + ", beside " + mode, fmt.Sprintf("≥ %.2f", p.Bars[mode]), fmt.Sprintf("%.2f", ratio.Median), ratio.Median >= p.Bars[mode]})
			}
		}
	}
	return list
}

// label names an op and its phase.
func (o *gpuOp) label() string {
	if o.Backward {
		return o.Op + ", backward"
	}
	return o.Op
}

// markdown writes the report as a page.
func (r *gpuReport) markdown() string {
	var b strings.Builder
	device := "no GPU was measured"
	if r.Device != nil {
		device = r.Device["device"]
	}
	fmt.Fprintf(&b, "# GPU check: %s\n\n", device)
	if r.Tiny {
		b.WriteString("**Tiny sizes, to try the script out: the numbers mean nothing.**\n\n")
	}
	fmt.Fprintf(&b, "%s. Kernels `%.16s`. %s, %s, %s; medians of %d turns (least–most).\n", r.Time, r.Kernels, r.Machine, r.OS, r.Go, r.Rounds)
	for _, list := range []map[string]string{r.Device, r.Peer} {
		var items []string
		for _, k := range slices.Sorted(maps.Keys(list)) {
			items = append(items, k+" "+list[k])
		}
		if len(items) > 0 {
			fmt.Fprintf(&b, "%s.\n", strings.Join(items, ", "))
		}
	}
	for _, w := range r.Warned {
		fmt.Fprintf(&b, "\nWarned: %s\n", w)
	}
	if !r.Complete {
		b.WriteString("\n**Not everything was measured.**\n")
	}
	r.checksTable(&b, "Checks", r.Checks)
	r.checksTable(&b, "Parts that failed", r.Failed)
	rows := [][]string{{"bar", "wanted", "reached", ""}}
	for _, bar := range r.bars() {
		rows = append(rows, []string{bar.what, bar.want, bar.got, map[bool]string{true: "met", false: "missed"}[bar.met]})
	}
	section(&b, "Bars", rows)
	rows = [][]string{{"ceiling", "measured"}}
	if r.Copy != nil {
		rows = append(rows, []string{"copy on the device, read and written", speedText(*r.Copy, "B/s")})
	}
	if r.Product != nil {
		rows = append(rows, []string{"product in bfloat16 by cublasLt, random data", speedText(*r.Product, "FLOP/s")})
	}
	section(&b, "Ceilings", rows)
	r.besideTable(&b)
	r.opsTables(&b)
	if len(r.Untimed) > 0 {
		fmt.Fprintf(&b, "\nKernels that nothing here launched: %s.\n", strings.Join(r.Untimed, ", "))
	}
	return b.String()
}

func section(b *strings.Builder, title string, rows [][]string) {
	if len(rows) > 1 {
		fmt.Fprintf(b, "\n## %s\n", title)
		table(b, rows)
	}
}

func (r *gpuReport) checksTable(b *strings.Builder, title string, checks []gpuCheck) {
	rows := [][]string{{"what", "", "seconds", ""}}
	for _, c := range checks {
		rows = append(rows, []string{c.Name, c.Status, fmt.Sprintf("%.0f", c.Seconds), strings.NewReplacer("|", "\\|", "\n", " ").Replace(c.Note)})
	}
	section(b, title, rows)
}

// besideTable is ours beside PyTorch.
func (r *gpuReport) besideTable(b *strings.Builder) {
	rows := [][]string{{"work", "ours", "PyTorch", "speed", "times PyTorch's speed"}}
	for _, p := range r.Beside {
		ours := speedText(p.Ours, p.Unit)
		if p.Units > 0 && r.Product != nil {
			ours += fmt.Sprintf(", %s", p.share(r.Product.Median))
		}
		if len(p.Peers) == 0 {
			rows = append(rows, []string{p.Name, ours, "", "", ""})
		}
		for _, mode := range slices.Sorted(maps.Keys(p.Peers)) {
			ratio := p.Ratios[mode]
			rows = append(rows, []string{p.Name, ours, mode, speedText(p.Peers[mode], p.Unit), fmt.Sprintf("**%.2f** (%.2f–%.2f)", ratio.Median, ratio.Min, ratio.Max)})
		}
	}
	section(b, "Beside PyTorch", rows)
}

// share is that of the peak of products.
func (p *gpuPair) share(peak float64) string {
	return fmt.Sprintf("%.0f %% of the product's ceiling", 100*p.FLOPs*p.Ours.Median/float64(p.Units)/peak)
}

// opsTables are the ops, a table for each Program.
func (r *gpuReport) opsTables(b *strings.Builder) {
	var programs []string
	for _, o := range r.Ops {
		programs = once(programs, o.Program)
	}
	for _, program := range programs {
		rows := [][]string{{"op", "×", "µs each", "GB", "GFLOP", "bound by", "share of the ceiling", "kernels"}}
		for _, o := range r.Ops {
			if o.Program != program {
				continue
			}
			row := []string{o.label(), fmt.Sprint(o.Count), fmt.Sprintf("%.1f (%.1f–%.1f)", 1e6*o.Seconds.Median, 1e6*o.Seconds.Min, 1e6*o.Seconds.Max),
				number(o.Bytes / 1e9), "", o.Bound, fmt.Sprintf("%.0f %%", 100*o.Share), strings.Join(o.Kernels, ", ")}
			if o.FLOPs > 0 {
				row[4] = number(o.FLOPs / 1e9)
			}
			rows = append(rows, row)
		}
		section(b, "Ops: "+program, rows)
	}
}

// speedText writes a speed with its spread.
func speedText(s spread, unit string) string {
	factor, prefix := 1.0, ""
	switch {
	case s.Median >= 1e12:
		factor, prefix = 1e12, "T"
	case s.Median >= 1e9:
		factor, prefix = 1e9, "G"
	case s.Median >= 1e6 && unit != "pictures/s":
		factor, prefix = 1e6, "M"
	}
	return fmt.Sprintf("%s (%s–%s) %s%s", number(s.Median/factor), number(s.Min/factor), number(s.Max/factor), prefix, unit)
}
