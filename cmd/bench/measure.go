package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"relsim/bench"
	"relsim/kernel"
)

// measurer runs pieces of work.
type measurer struct {
	self    string // this program
	python  string // "": no peer
	rounds  int
	threads int
	folder  string // temporary
	photos  bool   // the photographs are there
	stderr  io.Writer
	begin   time.Time
	script  string
}

// result is what there is to say about a piece of work.
type result struct {
	Name  string `json:"name"`
	About string `json:"about"`
	Bar   string `json:"bar,omitempty"` // times the speed of the peer

	// Of pairs. A repetition is one step, or one pass over all pictures or queries.
	Ours     *side   `json:"ours,omitempty"`
	Peer     *side   `json:"peer,omitempty"`
	PeerName string  `json:"peer_name,omitempty"`
	Ratio    *spread `json:"ratio,omitempty"`        // the peer's time over ours, of each pair
	Memory   float64 `json:"memory_ratio,omitempty"` // our peak over the peer's
	FLOPs    float64 `json:"flops,omitempty"`        // of a repetition
	Share    *spread `json:"share_of_peak,omitempty"`
	Scaling  *spread `json:"scaling,omitempty"` // time on one thread over that on all
	Mallocs  float64 `json:"allocations"`       // of a repetition of ours
	Unit     string  `json:"unit,omitempty"`
	Units    int     `json:"units,omitempty"`

	Parts []partResult `json:"parts,omitempty"`
}

// side is one side of a pair.
type side struct {
	Seconds    spread  `json:"seconds"`     // of a repetition
	CPU        float64 `json:"cpu_seconds"` // of a repetition, median
	PeakBytes  float64 `json:"peak_bytes"`  // of the process
	BaseBytes  float64 `json:"base_bytes"`  // of the process before the work
	Parameters int     `json:"parameters,omitempty"`
	Path       string  `json:"path"`
	// Check are the numbers that both sides agree on: the losses of the first
	// steps, an embedding, the neighbours of a query.
	Check []float64 `json:"check,omitempty"`
}

// partResult is one kernel or limit.
type partResult struct {
	Name    string  `json:"name"`
	Pass    string  `json:"pass,omitempty"`
	Threads int     `json:"threads"`
	Unit    string  `json:"unit"`
	Speed   spread  `json:"speed"`
	Share   *spread `json:"share,omitempty"` // of the limit
}

// roundSeconds is how long each side works in a round, at least, and scalingRounds
// in how many at most one thread does it alone.
const (
	roundSeconds  = .7
	scalingRounds = 3
)

// text returns the JSON of a job.
func (j job) text() string {
	text, err := json.Marshal(j)
	if err != nil {
		panic(err) // a job is plain numbers
	}
	return string(text)
}

// ours starts this program as a child.
func (m *measurer) ours(ctx context.Context, label string, j job) (*child, error) {
	return start(ctx, label, nil, m.self, serveCommand, j.text())
}

// theirs starts the peer.
func (m *measurer) theirs(ctx context.Context, label string, j job) (*child, error) {
	if m.script == "" {
		script := filepath.Join(m.folder, "peer.py")
		if err := os.WriteFile(script, bench.Peer, 0o644); err != nil {
			return nil, err
		}
		m.script = script
	}
	threads := fmt.Sprint(max(j.Threads, 1))
	env := []string{
		"OMP_WAIT_POLICY=passive", "OMP_NUM_THREADS=" + threads, "OPENBLAS_NUM_THREADS=" + threads, "MKL_NUM_THREADS=" + threads,
		"PYTHONDONTWRITEBYTECODE=1",
	}
	if kernel.Active() >= kernel.AVX512 {
		env = append(env, "ATEN_CPU_CAPABILITY=avx512") // PyTorch takes AVX2 by itself
	}
	return start(ctx, label, env, m.python, m.script, j.text())
}

// probe asks the peer for its versions.
func (m *measurer) probe(ctx context.Context) (string, error) {
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	c, err := m.theirs(ctx, "peer "+m.python, job{Kind: "probe", Threads: m.threads})
	if err != nil {
		return "", err
	}
	if _, err := c.end(); err != nil {
		return "", err
	}
	v := c.ready.Versions
	if v["torch"] == "" {
		return "", fmt.Errorf("peer %s has no PyTorch (%s): install it (Debian: python3-torch and libopenblas0-pthread) or name another Python", m.python, v["error"])
	}
	text := "PyTorch " + v["torch"]
	for _, lib := range [][2]string{{"numpy", "NumPy"}, {"PIL", "Pillow"}, {"torchvision", "torchvision"}} {
		if version := v[lib[0]]; version != "" {
			text += ", " + lib[1] + " " + version
		}
	}
	return text, nil
}

// note writes a line about the progress.
func (m *measurer) note(format string, args ...any) {
	fmt.Fprintf(m.stderr, "bench: %4.0f s  %s\n", time.Since(m.begin).Seconds(), fmt.Sprintf(format, args...))
}

// photographs makes the JPEG files once.
func (m *measurer) photographs(ctx context.Context) error {
	if m.photos {
		return nil
	}
	m.note("%d JPEG files", photographs)
	c, err := m.ours(ctx, "photographs", job{Kind: "photos", Dir: m.folder, Threads: m.threads})
	if err != nil {
		return err
	}
	_, err = c.end()
	m.photos = err == nil
	return err
}

// measure measures one piece of work.
func (m *measurer) measure(ctx context.Context, w work) (result, error) {
	m.note("%s: %s", w.name, w.about)
	r := result{Name: w.name, About: w.about, Bar: w.bar}
	if w.pair == nil {
		return r, m.parts(ctx, w, &r)
	}
	return r, m.pair(ctx, w.name, *w.pair, &r)
}

// parts runs jobs that measure many things, in turns.
func (m *measurer) parts(ctx context.Context, w work, r *result) error {
	var children []*child
	defer func() {
		for _, c := range children {
			c.end()
		}
	}()
	for _, j := range w.parts {
		if j.Kind == "loader" {
			if err := m.photographs(ctx); err != nil {
				return err
			}
			j.Dir = m.folder
		}
		c, err := m.ours(ctx, w.name, j)
		if err != nil {
			return err
		}
		children = append(children, c)
	}
	speeds, shares := map[partKey][]float64{}, map[partKey][]float64{}
	var order []partKey
	for range m.rounds {
		for i, c := range children {
			s, err := c.run(1)
			if err != nil {
				return err
			}
			for _, p := range s.Parts {
				k := partKey{p.Name, p.Pass, p.Unit, w.parts[i].Threads}
				if speeds[k] == nil {
					order = append(order, k)
				}
				speeds[k] = append(speeds[k], p.Speed)
				if p.Limit > 0 {
					shares[k] = append(shares[k], p.Speed/p.Limit)
				}
			}
		}
	}
	for _, k := range order {
		p := partResult{Name: k.name, Pass: k.pass, Threads: k.threads, Unit: k.unit, Speed: spreadOf(speeds[k])}
		if len(shares[k]) > 0 {
			share := spreadOf(shares[k])
			p.Share = &share
		}
		r.Parts = append(r.Parts, p)
	}
	return nil
}

type partKey struct {
	name, pass, unit string
	threads          int
}

// contender is a side while it is measured.
type contender struct {
	*child
	side
	reps                  int
	seconds, used, shares []float64
}

// pair measures ours and the peer in turns: A, B, A, B.
func (m *measurer) pair(ctx context.Context, name string, p pair, r *result) error {
	r.FLOPs, r.Unit, r.Units = p.flops, p.unit, p.units
	if p.pictures {
		if err := m.photographs(ctx); err != nil {
			return err
		}
		p.Dir = m.folder
	}
	var ours, theirs, single *contender
	var all []*contender
	defer func() {
		for _, c := range all {
			c.end()
		}
	}()
	add := func(c *child, err error) (*contender, error) {
		if err != nil {
			return nil, err
		}
		k := &contender{child: c, side: side{BaseBytes: c.ready.BaseBytes, Parameters: c.ready.Parameters, Path: c.ready.Path, Check: c.ready.Check}}
		all = append(all, k)
		return k, nil
	}
	var err error
	if ours, err = add(m.ours(ctx, name, p.job)); err != nil {
		return err
	}
	switch {
	case p.rival != nil:
		r.PeerName = p.rivalName
		theirs, err = add(m.ours(ctx, name+": "+p.rivalName, *p.rival))
	case m.python != "" && !p.alone:
		r.PeerName = "PyTorch"
		if p.Kind == "search" {
			r.PeerName = "NumPy"
		}
		theirs, err = add(m.theirs(ctx, name+": peer", p.job))
	}
	if err != nil {
		return err
	}
	if theirs != nil {
		if err := agree(p, ours.ready, theirs.ready); err != nil {
			return fmt.Errorf("%s: the sides do not do the same work: %w", name, err)
		}
	}
	if p.scaling && p.Threads > 1 {
		one := p.job
		one.Threads, one.Steps = 1, 1
		if single, err = add(m.ours(ctx, name+", one thread", one)); err != nil {
			return err
		}
	}
	for _, c := range all {
		once := c.ready.Seconds
		if once < roundSeconds { // it may not be quite warm
			s, err := c.run(1)
			if err != nil {
				return err
			}
			once = s.Seconds
		}
		c.reps = int(math.Ceil(min(roundSeconds/once, 1e6)))
	}
	var ratios, scaling, mallocs []float64
	for round := range m.rounds {
		for _, c := range all {
			if c == single && round >= scalingRounds {
				continue
			}
			s, err := c.run(c.reps)
			if err != nil {
				return err
			}
			n := float64(c.reps)
			c.seconds, c.used = append(c.seconds, s.Seconds/n), append(c.used, s.CPU/n)
			if s.Peak > 0 && p.flops > 0 {
				c.shares = append(c.shares, p.flops/(s.Seconds/n)/s.Peak)
			}
			if c == ours {
				mallocs = append(mallocs, s.Mallocs/n)
			}
		}
		last := len(ours.seconds) - 1
		if theirs != nil {
			ratios = append(ratios, theirs.seconds[last]/ours.seconds[last])
		}
		if single != nil && round < scalingRounds {
			scaling = append(scaling, single.seconds[last]/ours.seconds[last])
		}
	}
	for _, c := range all {
		if c.PeakBytes, err = c.end(); err != nil {
			return err
		}
		c.Seconds, c.CPU = spreadOf(c.seconds), median(c.used)
	}
	r.Ours, r.Mallocs = &ours.side, median(mallocs)
	if theirs != nil {
		ratio := spreadOf(ratios)
		r.Peer, r.Ratio = &theirs.side, &ratio
		if theirs.PeakBytes > 0 {
			r.Memory = ours.PeakBytes / theirs.PeakBytes
		}
	}
	if single != nil {
		s := spreadOf(scaling)
		r.Scaling = &s
	}
	if len(ours.shares) > 0 {
		s := spreadOf(ours.shares)
		r.Share = &s
	}
	return nil
}

// agree reports whether both sides do the same work, as far as their numbers tell.
func agree(p pair, ours, theirs ready) error {
	switch {
	case ours.Parameters != theirs.Parameters:
		return fmt.Errorf("%d parameters and %d", ours.Parameters, theirs.Parameters)
	case len(ours.Check) != len(theirs.Check):
		return fmt.Errorf("%d numbers to compare and %d", len(ours.Check), len(theirs.Check))
	}
	return p.same(ours.Check, theirs.Check)
}

// machine describes where this runs.
func machine() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
