//go:build linux && amd64 && !nogpu

package graph

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ebitengine/purego"

	"relsim/cuda"
	"relsim/dynlib"
)

// flat is a tower with its parameters, gradients, embeddings and their gradients in flat buffers, as training has them.
type flat struct {
	*tower
	p                    *Program
	data, grad           []float32
	at                   map[*Node]int // in data and grad
	embeddings, upstream []float32     // of two micro-batches
	residents            []*Resident   // of these four
	images               []float32     // of the micro-batch
}

func newFlat(t *testing.T, c Config, lend bool, g *GPU, resident bool) *flat {
	t.Helper()
	f := &flat{tower: newTower(8, 2, 0.1), at: map[*Node]int{}}
	v := newValues(f.b, 1)
	c.Embedding, c.Training, c.Backend = f.emb, true, g
	for i, n := range f.b.Params() {
		if i == 5 { // from here on nothing lies at a multiple of 16 bytes
			f.data = append(f.data, 7)
		}
		f.at[n] = len(f.data)
		f.data = append(f.data, v.data[n.Name()]...)
		c.Wrt = append(c.Wrt, n)
		if lend {
			c.LentAt = append(c.LentAt, f.at[n])
		}
	}
	f.grad = make([]float32, len(f.data))
	if lend {
		c.Lent = f.grad
	}
	n := operandOf(f.emb).size()
	f.embeddings = make([]float32, 2*n)
	f.upstream = uniform(rand.New(rand.NewPCG(1, 1)), 2*n)
	f.images = make([]float32, operandOf(f.tower.images).size())
	if resident {
		for _, host := range [][]float32{f.data, f.grad, f.embeddings, f.upstream} {
			r, err := g.Resident(host)
			must(t, err)
			f.residents = append(f.residents, r)
			poison(host)
		}
	}
	f.p = mustCompile(t, f.b, c)
	for n, at := range f.at {
		must(t, f.p.SetFloats(n, f.data[at:at+operandOf(n).size()]))
		if !lend {
			must(t, f.p.SetGrad(n, f.grad[at:at+operandOf(n).size()]))
		}
	}
	must(t, f.p.SetFloats(f.tower.images, f.images))
	return f
}

func poison(x []float32) {
	for i := range x {
		x[i] = float32(math.NaN())
	}
}

func (f *flat) forward(step, i int) error {
	for j := range f.images {
		f.images[j] = float32((j*7+step*5+i*3)%19)/19 - 0.5
	}
	f.p.SetSeed(uint64(10*step + i))
	err := f.p.Forward()
	poison(f.images) // the run has read them
	n := len(f.embeddings) / 2
	return errors.Join(err, f.p.CopyValue(f.emb, f.embeddings[i*n:(i+1)*n]))
}

func (f *flat) backward(i int, add bool) error {
	f.p.SetAccumulate(add)
	n := len(f.embeddings) / 2
	return f.p.Backward(f.upstream[i*n : (i+1)*n])
}

// step is one of two micro-batches, or of the second alone where gradients cannot be added.
func (f *flat) step(number int, lent bool) error {
	err := errors.Join(f.forward(number, 0), f.forward(number, 1), f.backward(1, false))
	if lent {
		return err
	}
	return errors.Join(err, f.forward(number, 0), f.backward(0, true))
}

func (f *flat) close(t *testing.T) {
	t.Helper()
	must(t, f.p.Close())
	for _, r := range f.residents {
		must(t, r.Close())
		must(t, r.Close()) // once more does nothing
	}
}

// testResidents runs steps on residents, together and not, and compares all bits with those of copies.
func testResidents(t *testing.T, g *GPU, seeds int, set func(int)) {
	for _, tt := range []struct {
		name   string
		lent   bool
		config Config
	}{
		{"plain", false, Config{}},
		{"checkpoints", false, Config{Checkpoint: true}},
		{"lent", true, Config{}},
		{"one op a step", false, Config{apart: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const steps = 4
			set(0)
			g.plain = true
			copies := newFlat(t, tt.config, tt.lent, g, false)
			var embeddings, grads [steps][]float32
			for i := range steps {
				must(t, copies.step(i, tt.lent))
				embeddings[i], grads[i] = slices.Clone(copies.embeddings), slices.Clone(copies.grad)
			}
			copies.close(t)
			g.plain = false
			for seed := range min(seeds, 3) {
				set(seed)
				f := newFlat(t, tt.config, tt.lent, g, true)
				for i := range steps {
					if seed == 0 {
						must(t, f.step(i, tt.lent))
					} else {
						must(t, g.Together(func() error { return f.step(i, tt.lent) }))
					}
					must(t, f.residents[1].Download())
					must(t, f.residents[2].Download())
					sameBits(t, "gradient", f.grad, grads[i])
					sameBits(t, "embedding", f.embeddings, embeddings[i])
					n := len(f.embeddings) / 2
					last := 0
					if tt.lent {
						last = 1
					}
					sameBits(t, "value", f.p.Value(f.emb), embeddings[i][last*n:(last+1)*n])
				}
				for i, phase := range f.p.engine.(*gpuEngine).phases {
					if phase.plain || phase.recorded == nil != (tt.lent && i == phaseBackwardAdd) {
						t.Errorf("phase %d is not recorded", i)
					}
				}
				f.close(t)
			}
		})
	}
}

// testResidentChanges follows parameters that change on the host, and residents that come and go under a Program.
func testResidentChanges(t *testing.T, g *GPU, set func(int)) {
	set(5)
	f := newFlat(t, Config{}, false, g, false)
	defer f.close(t)
	run := func() []float32 {
		must(t, f.step(0, false))
		return slices.Clone(f.embeddings)
	}
	first := run()
	r, err := g.Resident(f.data)
	must(t, err)
	f.data[0] += 1
	sameBits(t, "embedding without upload", run(), first)
	must(t, r.Upload())
	second := run()
	if slices.Equal(first, second) {
		t.Error("an upload changes nothing")
	}
	poison(f.data)
	must(t, r.Download())
	must(t, r.Close())
	sameBits(t, "embedding without resident", run(), second)
	if err := r.Upload(); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("upload of a closed resident: %v", err)
	}
}

// testQueue runs several steps with everything resident but the pictures, and waits for nothing until the end: what is on its
// way to the device must not be overtaken. Two Programs share the parameters.
func testQueue(t *testing.T, g *GPU, seeds int, set func(int)) {
	const steps = 5
	run := func(wait bool) (grads []float32, embeddings [][]float32) {
		f := newFlat(t, Config{}, false, g, true)
		defer f.close(t)
		out := make([]float32, steps*len(f.embeddings))
		all, err := g.Resident(out)
		must(t, err)
		b := NewBuilder()
		w := b.Param("w", len(f.data)/2)
		half := b.Scale(w, 0.5)
		other := mustCompile(t, b, Config{Backend: g, Outputs: []*Node{half}})
		must(t, other.SetFloats(w, f.data[:len(f.data)/2]))
		halves := make([]float32, len(f.data)/2)
		kept, err := g.Resident(halves)
		must(t, err)
		n := len(f.embeddings)
		must(t, g.Together(func() error {
			for i := range steps {
				err := f.step(i, false)
				for j := range 2 { // a step that is no optimiser's, but changes parameters
					err = errors.Join(err, g.Launch("axpy", 4, 256, f.data, f.grad, float32(-0.01), int64(len(f.data))))
					if j == 0 {
						err = errors.Join(err, other.Forward(), other.CopyValue(half, halves))
					}
				}
				err = errors.Join(err, g.Launch("copy", 4, 256, out[i*n:(i+1)*n], f.embeddings, 0, int64(n)))
				if wait {
					err = errors.Join(err, g.stream.Sync())
				}
				if err != nil {
					return err
				}
			}
			return nil
		}))
		must(t, errors.Join(all.Download(), kept.Download(), f.residents[0].Download(), f.residents[1].Download()))
		must(t, errors.Join(other.Close(), all.Close(), kept.Close()))
		return f.grad, [][]float32{out, halves, f.data}
	}
	set(0)
	grads, values := run(true)
	for seed := range min(seeds, 4) {
		set(seed)
		g, v := run(false)
		sameBits(t, "gradient", g, grads)
		for i := range values {
			sameBits(t, "value", v[i], values[i])
		}
	}
}

// testMemoryFor compares what a Program takes with what was foretold.
func testMemoryFor(t *testing.T, g *GPU) {
	f := newFlat(t, Config{}, false, g, true)
	defer f.close(t)
	must(t, f.step(0, false)) // so that the scratch memory is there
	config := func() Config { return Config{Embedding: f.emb, Wrt: f.p.Wrt(), Training: true, Backend: g} }
	want, err := g.MemoryFor(f.b, config())
	must(t, err)
	before, _, err := g.Free()
	must(t, err)
	p := mustCompile(t, f.b, config())
	for n, at := range f.at {
		must(t, p.SetFloats(n, f.data[at:at+operandOf(n).size()]))
		must(t, p.SetGrad(n, f.grad[at:at+operandOf(n).size()]))
	}
	must(t, p.SetFloats(f.tower.images, f.images))
	for range 2 {
		must(t, p.Forward())
		must(t, p.Backward(f.upstream[:len(f.upstream)/2]))
	}
	after, _, err := g.Free()
	must(t, err)
	odd := 0 // parameters that are not aligned are copied, with their gradients
	for n, at := range f.at {
		if at%4 != 0 {
			odd += 8 * operandOf(n).size()
		}
	}
	if got := int(before-after) - odd; got != want {
		t.Errorf("a Program takes %d bytes, %d were foretold", got, want)
	}
	if p.ArenaBytes() != want+odd {
		t.Errorf("it says that it takes %d, not %d", p.ArenaBytes(), want+odd)
	}
	must(t, p.Close())
	if again, _, err := g.Free(); err != nil || again != before {
		t.Errorf("%d bytes are free after all, %d before; %v", again, before, err)
	}
	if _, err := g.MemoryFor(NewBuilder(), Config{}); err == nil {
		t.Error("no error for a Program of nothing")
	}
}

// testLost loses the device between steps that are in the queue: who waits is told, and so is everyone after. All can be closed.
func testLost(t *testing.T, set func(int)) {
	lib, err := dynlib.Open(os.Getenv(cuda.DriverEnv))
	must(t, err)
	loseAfter, err := lib.Function("fakeLoseAfter")
	must(t, err)
	for _, after := range []int{0, 7, 100} {
		set(3)
		d, err := cuda.Open(0)
		must(t, err)
		g, err := NewGPU(d, GPUConfig{})
		must(t, err)
		f := newFlat(t, Config{}, false, g, true)
		must(t, f.step(0, false))
		value, err := g.Resident(make([]float32, 4))
		must(t, err)
		purego.SyscallN(loseAfter, uintptr(after))
		var read *Readback
		var snapshot *Snapshot
		err = g.Together(func() error {
			err := errors.Join(f.step(1, false), f.step(2, false))
			if err == nil {
				read, err = g.Read(value, 0, 4)
			}
			if err == nil {
				snapshot, err = g.Snapshot(f.residents...)
			}
			return err
		})
		if err == nil {
			_, err = read.Wait()
		}
		if err == nil {
			err = snapshot.Wait()
		}
		if !errors.Is(err, cuda.ErrLost) {
			t.Fatalf("lost after %d launches: %v", after, err)
		}
		_, err = g.Resident(make([]float32, 3))
		for _, err := range []error{f.p.Forward(), f.residents[0].Upload(), f.residents[0].Download(), g.Launch("times", 1, 32), err} {
			if !errors.Is(err, cuda.ErrLost) {
				t.Errorf("after the device was lost: %v", err)
			}
		}
		f.p.NonFinite()
		if v := f.p.Value(f.emb); v[0] == v[0] {
			t.Error("a value of a lost device is a number")
		}
		f.p.Close()
		for _, r := range append(f.residents, value) {
			if err := r.Close(); !errors.Is(err, cuda.ErrLost) {
				t.Errorf("close on a lost device: %v", err)
			}
		}
		if g.programs != 0 || len(g.residents) != 0 {
			t.Errorf("%d Programs and %d residents are left", g.programs, len(g.residents))
		}
		if err := g.Close(); !errors.Is(err, cuda.ErrLost) {
			t.Errorf("close of a lost GPU: %v", err)
		}
		d.Close()
	}
	set(0)
}

// testReads reads values, and whole residents, of moments of the queue that has long gone on.
func testReads(t *testing.T, g *GPU, seeds int, set func(int)) {
	for seed := range min(seeds, 8) {
		set(seed)
		host := uniform(rand.New(rand.NewPCG(1, 7)), 5000)
		r, err := g.Resident(host)
		must(t, err)
		by := make([]float32, 1)
		by[0] = 2
		factor, err := g.Resident(by)
		must(t, err)
		want := slices.Clone(host)
		double := func() {
			must(t, g.Launch("times", 4, 256, host, host, by, int64(len(host))))
			for i := range want {
				want[i] *= 2
			}
		}
		double()
		read, err := g.Read(r, 100, 110)
		must(t, err)
		few := slices.Clone(want[100:110])
		snapshot, err := g.Snapshot(r, factor)
		must(t, err)
		all := slices.Clone(want)
		double()
		double()
		got, err := read.Wait()
		must(t, err)
		sameBits(t, "read", got, few)
		later, err := g.Read(r, 0, 10)
		must(t, err)
		got, err = later.Wait() // the queue is done, and nobody has asked for the snapshot yet
		must(t, err)
		sameBits(t, "read again", got, want[:10])
		must(t, snapshot.Wait())
		sameBits(t, "snapshot", host, all)
		must(t, snapshot.Wait())
		must(t, r.Download())
		sameBits(t, "at last", host, want)
		must(t, errors.Join(r.Close(), factor.Close()))
	}
}

// testResidentErrors asks for what cannot be.
func testResidentErrors(t *testing.T, g *GPU, fakeDriver bool) {
	fails := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	_, err := g.Resident(nil)
	fails(err, "the slice is empty")
	host := make([]float32, 100)
	r, err := g.Resident(host[20:60])
	must(t, err)
	for _, part := range [][]float32{host, host[:21], host[59:], host[30:40]} {
		_, err = g.Resident(part)
		fails(err, "resident already")
	}
	below, err := g.Resident(host[:20])
	must(t, err)
	above, err := g.Resident(host[60:])
	must(t, err)
	fails(g.Close(), "0 Programs and 3 residents are not closed")
	must(t, errors.Join(below.Close(), above.Close()))

	b := NewBuilder()
	x := b.Input("x", 10)
	y := b.Scale(b.Add(x, b.Param("w", 10)), 2)
	p := mustCompile(t, b, Config{Backend: g, Outputs: []*Node{y}})
	fails(p.CopyValue(y, host[20:30]), "no forward before it")
	must(t, p.SetFloats(x, host[:10]))
	must(t, p.SetFloats(b.leaves["w"], host[55:65]))
	fails(p.Forward(), "reaches 5 beyond the end of what is resident")
	must(t, p.SetFloats(b.leaves["w"], host[15:25]))
	fails(p.Forward(), "the first 5 are not resident")
	must(t, p.SetFloats(b.leaves["w"], host[20:30]))
	must(t, p.Forward())
	fails(p.CopyValue(y, host[20:29]), "has 10 elements")
	fails(p.CopyValue(nil, host[:10]), "node is nil")
	fails(p.CopyValue(y, host[55:65]), "beyond the end")
	fails(g.Close(), "1 Programs and 1 residents are not closed")
	must(t, p.Close())

	fails(g.Launch("nothing", 1, 32), "graph: GPU: launch nothing: ")
	fails(g.Launch("copy", 1, 32, host[20:30], make([]float32, 3)), "parameter 1: a slice of 3 elements is not resident")
	fails(g.Launch("copy", 1, 32, host[20:30], "3"), "parameter 1 is a string")
	for _, part := range [][2]int{{-1, 3}, {3, 3}, {3, 41}} {
		_, err = g.Read(r, part[0], part[1])
		fails(err, "of 40")
	}
	must(t, r.Close())
	_, err = g.Read(r, 0, 1)
	fails(err, "closed")
	_, err = g.Snapshot(r)
	fails(err, "closed")
	fails(g.Fetch(host[20:30]), "10 elements are not resident")

	panicked := func() (v any) {
		defer func() { v = recover() }()
		g.Together(func() error { panic("here") })
		return nil
	}()
	if panicked != "here" || g.together() {
		t.Errorf("a panic in Together became %v", panicked)
	}
	if !fakeDriver {
		return
	}
	_, err = g.Resident(make([]float32, 1<<30/4))
	var memory *cuda.OutOfMemory
	if !errors.As(err, &memory) {
		t.Fatalf("1 GiB on a device of 1 GiB: %v", err)
	}
	fails(err, "graph: GPU: resident of 268435456 elements: cuda: out of memory: 1024 MiB were asked for, ")
}
