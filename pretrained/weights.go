package pretrained

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"relsim/checkpoints"
	"relsim/nn"
)

// pieceLen is the number of values that one goroutine reads at a time.
const pieceLen = 1 << 20

// Weights fills the parameters of one tower of p from the files, straight into
// their memory. p is declared by package nn, with [Model.Config] or what was made of
// it, and has its memory: [nn.Params.Allocate] is enough.
//
// These may differ from the published model: the image size (the table of positions
// is interpolated as transformers does it: see [nn.ResizePositions]), the
// number of words (the first rows of the table are taken), and the head. A head that
// is not the published projection, in its shape or because it has a bias, is new: it
// keeps the values that it has. So is one behind the published projection: see
// [nn.VisionConfig].Projection.
func (m *Model) Weights(p *nn.Params, tower nn.Tower) error {
	jobs, err := m.plan(p, tower)
	if err == nil {
		err = m.files.read(jobs)
	}
	if err != nil {
		return fmt.Errorf("pretrained: weights of the %s tower of %s: %w", tower, m.Dir, err)
	}
	return nil
}

// job is a tensor, or its first values, and where they go.
type job struct {
	name string
	dst  []float32
	then func() // when dst is filled; nil: nothing
}

// plan compares parameters with the published tensors.
func (m *Model) plan(p *nn.Params, tower nn.Tower) ([]job, error) {
	if !m.published.Has(tower) {
		return nil, fmt.Errorf("the model has no such tower")
	}
	covered := map[string]int{}
	var jobs []job
	newHead := m.headIsNew(p, tower)
	for _, n := range m.names {
		n = home(n, p)
		if n.Tower != tower || isHead(n.Param) && newHead {
			continue
		}
		param := p.Lookup(n.Param)
		if param == nil {
			return nil, fmt.Errorf("there is no parameter %s for %s: the configuration is not that of the model", n.Param, n.Published)
		}
		if param.Data == nil {
			return nil, fmt.Errorf("parameter %s has no memory: allocate the parameters first", n.Param)
		}
		j, err := m.place(n, param)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, j)
		covered[n.Param] += size(n.Shape)
		if strings.HasSuffix(n.Param, ".pos_embed") {
			covered[n.Param] = param.Size()
		}
	}
	for _, param := range p.All() {
		if tower.Has(param.Name) && !isAdapter(param.Name) && covered[param.Name] != param.Size() && !(isHead(param.Name) && newHead) {
			return nil, fmt.Errorf("nothing is published for parameter %s: the configuration is not that of the model", param.Name)
		}
	}
	return jobs, nil
}

func isHead(param string) bool {
	_, name, _ := strings.Cut(param, ".")
	return name == "head.weight" || name == "head.bias"
}

// projection is the published projection of an image tower, where a head follows it.
const projection = "vision.projection.weight"

// home is n with the parameter of p that holds it: a published projection need not be the
// head.
func home(n Name, p *nn.Params) Name {
	if n.Tower == nn.VisionTower && isHead(n.Param) && p.Lookup(projection) != nil {
		n.Param = projection
	}
	return n
}

// headIsNew says that the head of a tower is not the published projection.
func (m *Model) headIsNew(p *nn.Params, tower nn.Tower) bool {
	if tower == nn.VisionTower && p.Lookup(projection) != nil {
		return true
	}
	weight, bias := p.Lookup(string(tower)+".head.weight"), p.Lookup(string(tower)+".head.bias")
	for _, n := range m.names {
		if n.Tower == tower && isHead(n.Param) {
			return weight == nil || bias != nil || !equal(weight.Shape, n.Shape)
		}
	}
	return true
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// place says where a published tensor goes.
func (m *Model) place(n Name, param *nn.Param) (job, error) {
	if strings.HasSuffix(n.Param, ".pos_embed") {
		return m.positions(n, param)
	}
	dst := param.Data
	if n.High > 0 {
		row := param.Size() / param.Shape[0]
		if n.High > param.Shape[0] {
			return job{}, mismatch(n, param)
		}
		dst = dst[n.Low*row : n.High*row]
	}
	if len(dst) != size(n.Shape) {
		return job{}, mismatch(n, param)
	}
	return job{name: n.Published, dst: dst}, nil
}

func mismatch(n Name, param *nn.Param) error {
	return fmt.Errorf("parameter %s is %v, published is %s, %v", param.Name, param.Shape, n.Published, n.Shape)
}

// positions says how a table of positions (1, T, D) is filled.
func (m *Model) positions(n Name, param *nn.Param) (job, error) {
	width, rows := param.Shape[2], param.Shape[1]
	have := size(n.Shape) / width
	switch {
	case n.Shape[len(n.Shape)-1] != width:
		return job{}, mismatch(n, param)
	case rows == have:
		return job{name: n.Published, dst: param.Data}, nil
	case n.Tower == nn.TextTower && rows < have:
		return job{name: n.Published, dst: param.Data}, nil
	case n.Tower == nn.TextTower:
		return job{}, fmt.Errorf("parameter %s has %d positions, %d are published", param.Name, rows, have)
	case m.Family == ViT:
		return job{}, fmt.Errorf("parameter %s has %d positions, %d are published, and those of timm are not interpolated", param.Name, rows, have)
	}
	class := 0
	if m.published.Vision.Pool == nn.PoolCLS {
		class = 1
	}
	side := int(math.Round(math.Sqrt(float64(rows - class))))
	if side*side != rows-class {
		return job{}, mismatch(n, param)
	}
	from := m.published.Vision.Grid()
	table := make([]float32, have*width)
	return job{name: n.Published, dst: table, then: func() {
		copy(param.Data, table[:class*width])
		nn.ResizePositions(param.Data[class*width:], table[class*width:], width, from, from, side, side)
	}}, nil
}

// piece is a run of values of a tensor.
type piece struct {
	file  *checkpoints.File
	name  string
	dst   []float32
	first int
}

// read fills all destinations, several pieces at a time.
func (fs *files) read(jobs []job) error {
	open := make([]*checkpoints.File, len(fs.paths))
	defer func() {
		for _, f := range open {
			if f != nil {
				f.Close()
			}
		}
	}()
	var pieces []piece
	for _, j := range jobs {
		s := fs.index[j.name]
		if open[s.file] == nil {
			file, err := fs.open(s.file)
			if err != nil {
				return err
			}
			open[s.file] = file
		}
		for at := 0; at < len(j.dst); at += pieceLen {
			pieces = append(pieces, piece{open[s.file], s.name, j.dst[at:min(at+pieceLen, len(j.dst))], at})
		}
	}
	if err := readPieces(pieces); err != nil {
		return err
	}
	for _, j := range jobs {
		if j.then != nil {
			j.then()
		}
	}
	return nil
}

func readPieces(pieces []piece) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 8, len(pieces)) {
		group.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(pieces) {
					return
				}
				p := pieces[i]
				if err := p.file.ReadFloat32(p.name, p.dst, p.first); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
