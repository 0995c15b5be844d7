package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"relsim/bench"
	"relsim/cuda"
)

// gpuMeasurer measures part by part; what a part fails at is in the report.
type gpuMeasurer struct {
	options gpuOptions
	self    string
	folder  string // temporary
	stderr  io.Writer
	begin   time.Time
	report  gpuReport
	peers   map[string]*warmPeer
}

// warmPeer is a PyTorch that warms up.
type warmPeer struct {
	*child
	err  error
	done chan struct{}
}

func (m *gpuMeasurer) note(format string, args ...any) {
	fmt.Fprintf(m.stderr, "bench gpu: %4.0f s  %s\n", time.Since(m.begin).Seconds(), fmt.Sprintf(format, args...))
}

func (m *gpuMeasurer) jsonPath() string { return filepath.Join(m.options.out, "report.json") }

// read takes the report that is there, or begins one.
func (m *gpuMeasurer) read() error {
	text, err := os.ReadFile(m.jsonPath())
	if err == nil {
		err = json.Unmarshal(text, &m.report)
	}
	if errors.Is(err, os.ErrNotExist) {
		m.head()
		return m.readChecks()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", m.jsonPath(), err)
	}
	return m.readChecks()
}

func (m *gpuMeasurer) head() {
	m.report = gpuReport{
		Time: time.Now().UTC().Format(time.RFC3339), Kernels: cuda.KernelsHash(), Tiny: m.options.tiny, Rounds: m.options.rounds,
		Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH, Machine: machine(),
	}
}

// readChecks reads what was run before.
func (m *gpuMeasurer) readChecks() error {
	if m.options.checks == "" {
		return nil
	}
	text, err := os.ReadFile(m.options.checks)
	if err != nil {
		return err
	}
	m.report.Checks = nil
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(fields) != 4 {
			return fmt.Errorf("%s: %q: want name, status, seconds and note", m.options.checks, line)
		}
		c := gpuCheck{Name: fields[0], Status: fields[1], Note: fields[3]}
		if _, err := fmt.Sscan(fields[2], &c.Seconds); err != nil {
			return fmt.Errorf("%s: %q: %w", m.options.checks, line, err)
		}
		m.report.Checks = append(m.report.Checks, c)
	}
	return nil
}

// measure measures everything.
func (m *gpuMeasurer) measure(ctx context.Context) (err error) {
	if m.self, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program, to start it again: %w", err)
	}
	if err := os.MkdirAll(m.options.out, 0o777); err != nil {
		return err
	}
	if m.folder, err = os.MkdirTemp("", "relsim-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(m.folder)
	m.head()
	list := gpuWorks(m.options.tiny)
	peersCtx, stop := context.WithCancel(ctx)
	defer stop() // ends peers, whatever they do
	m.warm(peersCtx, list)
	if err := m.waitForBegin(ctx); err != nil {
		return err
	}
	m.part(ctx, "limits", m.limits)
	if m.report.Device == nil {
		return m.partsError() // there is no GPU to measure
	}
	m.part(ctx, "single ops", func(ctx context.Context) error { return m.ops(ctx, m.opsJob()) })
	for _, w := range list {
		m.part(ctx, "ops of "+w.name, func(ctx context.Context) error {
			j := w.job
			j.Kind, j.Group = "gpu-ops", w.name
			return m.ops(ctx, j)
		})
	}
	m.part(ctx, "products and attention beside PyTorch", func(ctx context.Context) error { return m.products(ctx, list) })
	for _, w := range list {
		m.part(ctx, "training, "+w.name, func(ctx context.Context) error { return m.beside(ctx, w, "train") })
		m.part(ctx, "embedding, "+w.name, func(ctx context.Context) error { return m.beside(ctx, w, "embed") })
	}
	if err := m.untimed(); err != nil {
		return err
	}
	m.report.Complete = ctx.Err() == nil
	return m.partsError()
}

// partsError says which parts failed.
func (m *gpuMeasurer) partsError() error {
	var errs []error
	for _, f := range m.report.Failed {
		errs = append(errs, fmt.Errorf("%s: %s", f.Name, f.Note))
	}
	return errors.Join(errs...)
}

// waitForBegin waits for the file that says that the device is free.
func (m *gpuMeasurer) waitForBegin(ctx context.Context) error {
	for m.options.begin != "" {
		if _, err := os.Stat(m.options.begin); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// part measures one part within its time, and writes what there is until then.
func (m *gpuMeasurer) part(ctx context.Context, name string, f func(context.Context) error) {
	if ctx.Err() != nil {
		return
	}
	m.note("%s", name)
	begin := time.Now()
	limited, stop := context.WithTimeout(ctx, m.options.limit)
	defer stop()
	if err := f(limited); err != nil {
		status := "failed"
		if limited.Err() != nil {
			status = "ended"
			err = fmt.Errorf("%w after %.0f s", limited.Err(), time.Since(begin).Seconds())
		}
		m.note("%s: %v", name, err)
		m.report.Failed = append(m.report.Failed, gpuCheck{Name: name, Status: status, Seconds: time.Since(begin).Seconds(), Note: err.Error()})
	}
	m.report.Seconds = time.Since(m.begin).Seconds()
	if err := m.write(); err != nil {
		m.note("%v", err)
	}
}

// warm starts PyTorch for each model, to compile while something else is done.
func (m *gpuMeasurer) warm(ctx context.Context, list []gpuWork) {
	m.peers = make(map[string]*warmPeer)
	if m.options.peer == "" {
		return
	}
	for file, text := range map[string][]byte{"peer.py": bench.Peer, "gpu.py": bench.GPU} {
		if err := os.WriteFile(filepath.Join(m.folder, file), text, 0o644); err != nil {
			m.note("%v", err)
			return
		}
	}
	jobs := map[string]job{"ops": m.productsJob(list)}
	for _, w := range list {
		j := w.job
		j.Kind = "gpu-model"
		jobs[w.name] = j
	}
	for name, j := range jobs {
		p := &warmPeer{done: make(chan struct{})}
		m.peers[name] = p
		go func() {
			defer close(p.done)
			p.child, p.err = start(ctx, "PyTorch, "+name, []string{"PYTHONDONTWRITEBYTECODE=1"}, m.options.peer, filepath.Join(m.folder, "gpu.py"), j.text())
		}()
	}
}

// warmed returns a PyTorch that is ready, nil if there is to be none. It waits for as long as it may warm up.
func (m *gpuMeasurer) warmed(ctx context.Context, name string) (*child, error) {
	p := m.peers[name]
	if p == nil {
		return nil, nil
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("PyTorch is not ready in time: %w", ctx.Err())
	}
	if p.err != nil {
		return nil, p.err
	}
	if m.report.Peer == nil {
		m.report.Peer = p.ready.Versions
	}
	return p.child, nil
}

// ours starts this program as a child with a job.
func (m *gpuMeasurer) ours(ctx context.Context, j job) (*child, error) {
	j.Threads = max(j.Threads, 1)
	return start(ctx, "relsim", nil, m.self, serveCommand, j.text())
}

// limits measures the ceilings.
func (m *gpuMeasurer) limits(ctx context.Context) error {
	if _, err := cuda.Devices(); err != nil {
		return err
	}
	j := job{Kind: "gpu-limits", N: 1 << 30, Size: 8192}
	if m.options.tiny {
		j.N, j.Size = 1<<16, 32
	}
	c, err := m.ours(ctx, j)
	if err != nil {
		return err
	}
	defer c.end()
	m.report.Device, m.report.Warned = c.ready.Versions, c.ready.Warned
	speeds := make(map[string][]float64)
	for range m.options.rounds {
		s, err := c.run(1)
		if err != nil {
			return err
		}
		for _, p := range s.Parts {
			speeds[p.Unit] = append(speeds[p.Unit], p.Speed)
		}
	}
	for unit, to := range map[string]**spread{"B/s": &m.report.Copy, "FLOP/s": &m.report.Product} {
		if len(speeds[unit]) > 0 {
			s := spreadOf(speeds[unit])
			*to = &s
		}
	}
	return nil
}

func (m *gpuMeasurer) opsJob() job {
	if m.options.tiny {
		return job{Kind: "gpu-ops", N: 16, Dim: 32, BF16: true}
	}
	return job{Kind: "gpu-ops", N: 64 << 10, Dim: 1024, BF16: true}
}

// ops times the ops of a job's Programs.
func (m *gpuMeasurer) ops(ctx context.Context, j job) error {
	c, err := m.ours(ctx, j)
	if err != nil {
		return err
	}
	defer c.end()
	s, err := c.run(1)
	if err != nil {
		return err
	}
	m.report.Ops = append(m.report.Ops, m.rated(s.Ops)...)
	return nil
}

// rated adds the shares of the ceilings.
func (m *gpuMeasurer) rated(ops []gpuOp) []gpuOp {
	for i := range ops {
		o := &ops[i]
		o.Seconds = spreadOf(o.Times)
		o.Times = nil
		var memory, products float64
		if m.report.Copy != nil {
			memory = o.Bytes / m.report.Copy.Median
		}
		if m.report.Product != nil {
			products = o.FLOPs / m.report.Product.Median
		}
		if o.Bound = "memory"; products > memory {
			o.Bound = "products"
		}
		if o.Seconds.Median > 0 {
			o.Share = max(memory, products) / o.Seconds.Median
		}
	}
	return ops
}

// untimed lists the kernels that nothing here has launched.
func (m *gpuMeasurer) untimed() error {
	names, err := cuda.KernelNames()
	if err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, o := range m.report.Ops {
		for _, k := range o.Kernels {
			seen[k] = true
		}
	}
	m.report.Untimed = slices.DeleteFunc(names, func(name string) bool { return seen[name] })
	return nil
}

// productsJob are products and attention of the shapes of the models.
func (m *gpuMeasurer) productsJob(list []gpuWork) job {
	j := job{Kind: "gpu-products", BF16: true, Threads: runtime.NumCPU()}
	if !m.options.tiny {
		j.Shapes = append(j.Shapes, [3]int{8192, 8192, 8192})
	}
	for _, w := range list {
		v := w.job.Config.Vision
		rows := w.job.Batch * v.Tokens()
		j.Shapes = append(j.Shapes, [3]int{rows, 3 * v.Width, v.Width}, [3]int{rows, v.MLP, v.Width}, [3]int{rows, v.Width, v.MLP})
		j.Heads = append(j.Heads, [4]int{w.job.Batch, v.Tokens(), v.Heads, v.Width / v.Heads})
	}
	return j
}

// products measures products by cublasLt beside PyTorch's, in turns, and PyTorch's attention beside what the ops took.
func (m *gpuMeasurer) products(ctx context.Context, list []gpuWork) error {
	j := m.productsJob(list)
	c, err := m.ours(ctx, j)
	if err != nil {
		return err
	}
	defer c.end()
	peer, err := m.warmed(ctx, "ops")
	if err != nil {
		return err
	}
	ours, theirs := make(map[string][]float64), make(map[string][]float64)
	for range m.options.rounds {
		for side, speeds := range map[*child]map[string][]float64{c: ours, peer: theirs} {
			if side == nil {
				continue
			}
			s, err := side.run(1)
			if err != nil {
				return err
			}
			for _, p := range s.Parts {
				speeds[p.Name] = append(speeds[p.Name], p.Speed)
			}
		}
	}
	for _, shape := range j.Shapes {
		name := fmt.Sprintf("linear (%d, %d) × (%d, %d)", shape[0], shape[2], shape[1], shape[2])
		if len(ours[name]) > 0 {
			m.pair(name, "FLOP/s", ours[name], map[string][]float64{"PyTorch": theirs[name]}, map[string]float64{"PyTorch": .95})
		}
	}
	for _, h := range j.Heads {
		for _, pass := range []string{"forward", "backward"} {
			name := fmt.Sprintf("attention, %d × %d tokens, %d heads of %d, %s", h[0], h[1], h[2], h[3], pass)
			if o := m.attention(h, pass == "backward"); o != nil && o.Seconds.Median > 0 && len(theirs[name]) > 0 {
				speed := 1 / o.Seconds.Median
				m.pair(name, "times/s", slices.Repeat([]float64{speed}, len(theirs[name])), map[string][]float64{"SDPA": theirs[name]}, map[string]float64{"SDPA": .6})
			}
		}
	}
	return nil
}

// attention finds the op of a shape.
func (m *gpuMeasurer) attention(heads [4]int, backward bool) *gpuOp {
	kind := map[bool]string{false: "attention[", true: "attentionGrad["}[backward]
	rows := fmt.Sprintf("(%d, %d)", heads[0]*heads[1], 3*heads[2]*heads[3])
	for i := range m.report.Ops {
		o := &m.report.Ops[i]
		if strings.HasPrefix(strings.ToLower(o.Op[:1])+o.Op[1:], kind) && strings.Contains(o.Op, rows) {
			return o
		}
	}
	return nil
}

// pair adds speeds of ours and of PyTorch, turn by turn, to the report.
func (m *gpuMeasurer) pair(name, unit string, ours []float64, theirs map[string][]float64, bars map[string]float64) *gpuPair {
	p := gpuPair{Name: name, Unit: unit, Ours: spreadOf(ours), Peers: map[string]spread{}, Ratios: map[string]spread{}, Bars: bars}
	for mode, speeds := range theirs {
		if len(speeds) == 0 {
			continue
		}
		var ratios []float64
		for i := range min(len(ours), len(speeds)) {
			ratios = append(ratios, ours[i]/speeds[i])
		}
		p.Peers[mode], p.Ratios[mode] = spreadOf(speeds), spreadOf(ratios)
	}
	m.report.Beside = append(m.report.Beside, p)
	return &m.report.Beside[len(m.report.Beside)-1]
}

// gpuRoundSeconds is how long each side works in a turn, at least.
const gpuRoundSeconds = .5

// beside trains a model, or embeds with it, in turns with PyTorch.
func (m *gpuMeasurer) beside(ctx context.Context, w gpuWork, what string) error {
	j := w.job
	j.Kind = map[string]string{"train": "gpu-step", "embed": "gpu-encode"}[what]
	c, err := m.ours(ctx, j)
	if err != nil {
		return err
	}
	defer c.end()
	peer, peerErr := m.warmed(ctx, w.name)
	if peerErr != nil {
		m.note("%v", peerErr) // ours is measured all the same
	}
	type side struct {
		*child
		mode string
		reps int
	}
	sides := []*side{{child: c}}
	if peer != nil {
		for _, mode := range peer.ready.Modes {
			if kind, _, _ := strings.Cut(mode, "-"); kind == what {
				sides = append(sides, &side{child: peer, mode: mode})
			}
		}
	}
	least := gpuRoundSeconds
	if m.options.tiny {
		least = 0
	}
	speeds := make(map[string][]float64)
	for round := range m.options.rounds + 1 {
		for _, s := range sides {
			took, err := s.runMode(max(s.reps, 1), s.mode)
			if err != nil {
				return err
			}
			one := took.Seconds / float64(max(s.reps, 1))
			if round == 0 { // it was to warm up
				s.reps = max(1, int(math.Ceil(least/one)))
				continue
			}
			speeds[s.mode] = append(speeds[s.mode], float64(j.Batch)/one)
		}
	}
	theirs := make(map[string][]float64)
	for mode, values := range speeds {
		if mode != "" {
			theirs[strings.TrimPrefix(mode, what+"-")] = values
		}
	}
	var bars map[string]float64
	if bar := map[string]float64{"train": w.train, "embed": w.embed}[what]; bar > 0 {
		bars = map[string]float64{"compile": bar}
	}
	p := m.pair(what+", "+w.name, "pictures/s", speeds[""], theirs, bars)
	p.Checks, p.Units = c.ready.Check, j.Batch
	if what == "train" {
		p.FLOPs = stepFLOPs(*j.Config, j.Batch)
	} else {
		stem, rest := visionFLOPs(*j.Config)
		p.FLOPs = float64(j.Batch) * (stem.first + stem.rest + rest - unreadFLOPs(*j.Config))
	}
	if peer != nil {
		if err := m.sameWork(what, c.ready.Check, peer.ready.Checks[what]); err != nil {
			return err
		}
	}
	return peerErr
}

// sameWork holds what both sides say of their results against each other.
func (m *gpuMeasurer) sameWork(what string, ours, theirs []float64) error {
	if len(ours) != len(theirs) {
		return fmt.Errorf("the sides do not do the same work: %d and %d numbers", len(ours), len(theirs))
	}
	if what == "embed" {
		if err := sameDirection(ours, theirs); err != nil {
			return fmt.Errorf("the sides do not do the same work: %w", err)
		}
		return nil
	}
	for i := range ours {
		if !(math.Abs(ours[i]-theirs[i]) <= .03*max(math.Abs(ours[i]), 1)) { // operands have 8 bits
			return fmt.Errorf("the sides do not do the same work: losses %.5g and %.5g", ours, theirs)
		}
	}
	return nil
}

// write writes both reports, each beside and renamed.
func (m *gpuMeasurer) write() error {
	text, err := json.MarshalIndent(m.report, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.options.out, 0o777); err != nil {
		return err
	}
	return cmp.Or(replaceFile(m.jsonPath(), append(text, '\n')), replaceFile(filepath.Join(m.options.out, "report.md"), []byte(m.report.markdown())))
}

func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".report*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = cmp.Or(f.Chmod(0o644), f.Sync())
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// summary prints the page.
func (m *gpuMeasurer) summary(w io.Writer) error {
	_, err := io.WriteString(w, m.report.markdown())
	return err
}
