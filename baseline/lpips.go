package baseline

import (
	"context"
	"fmt"
	"math"
	"sync"

	"relsim/dataloader"
	"relsim/kernel"
	"relsim/lpips"
)

// LPIPSConfig says how [LPIPS] treats pictures, and how much memory it may take. The zero
// value has the defaults.
type LPIPSConfig struct {
	// Side is that of the square that pictures are fitted to (64), see [Fit]. The distance depends on it.
	Side int

	// Memory is the number of bytes that the features of the pictures may take (2 GiB). A net at work takes
	// some more for its activations, and each caller of ScoresBlock 4 MiB.
	Memory int64

	// Recompute lets a list of pictures whose features take more be compared all the same: its features are computed
	// again for each block of queries. Otherwise Prepare errs.
	Recompute bool

	// Threads is the number of goroutines that compute features (as many as there are processors).
	Threads int
}

// DefaultLPIPSMemory is the default of [LPIPSConfig].Memory.
const DefaultLPIPSMemory = 2 << 30

const lpipsSide = 64

// LPIPS is the measure "lpips-alex", "lpips-vgg" or "lpips-squeeze": the negative perceptual distance in net.
//
//	score(a, b) = -d(a, b)
//
// It compares all pictures with all. The distance is the squared Euclidean one of vectors of √(lin/(h·w))·n(f), which
// are kept in half precision (binary16) with their common part taken off: each value is rounded by at most 2⁻¹¹ of
// itself. Scores are products of blocks of these vectors. A picture of 64×64 takes 62 KiB (alex), 976 KiB (vgg) or
// 232 KiB (squeeze) at the width of the published nets.
//
// Source: Zhang et al., arXiv:1801.03924.
func LPIPS(net *lpips.Net, c LPIPSConfig) *Perceptual {
	if c.Side == 0 {
		c.Side = lpipsSide
	}
	if c.Memory == 0 {
		c.Memory = DefaultLPIPSMemory
	}
	return &Perceptual{net: net, config: c}
}

// Perceptual is a measure made by [LPIPS].
type Perceptual struct {
	net    *lpips.Net
	config LPIPSConfig

	n       int
	width   int       // of a vector
	scale   float32   // of the halves: a power of two
	centre  []float32 // taken off all vectors
	kept    *halves   // of all pictures, or
	images  []*dataloader.Image
	compute sync.Mutex // one block of queries at a time computes features
}

// Name is "lpips-" and the net.
func (m *Perceptual) Name() string { return "lpips-" + string(m.net.Kind()) }

// Mode says for a report how the pictures that Prepare got are compared. It is empty before Prepare.
func (m *Perceptual) Mode() string {
	bytes := float64(m.n) * float64(m.width) * 2 / (1 << 20)
	switch {
	case m.kept != nil:
		return fmt.Sprintf("whole gallery: features of %d pictures at %d×%d pixels cached in half precision, %.0f MiB", m.n, m.config.Side, m.config.Side, bytes)
	case m.images != nil:
		return fmt.Sprintf("whole gallery: features of %d pictures at %d×%d pixels computed again for each block of queries, since they take %.0f MiB in half precision and %d MiB were allowed",
			m.n, m.config.Side, m.config.Side, bytes, m.config.Memory>>20)
	}
	return ""
}

// lpipsSample is the number of pictures whose mean is the common part.
const lpipsSample = 32

// Prepare is [Measure.Prepare]. It errs if the features take more than [LPIPSConfig].Memory, unless Recompute is set.
func (m *Perceptual) Prepare(ctx context.Context, images []*dataloader.Image) error {
	m.n, m.kept, m.images, m.centre = 0, nil, nil, nil
	if images == nil {
		return nil
	}
	err := m.prepare(ctx, images)
	if err != nil {
		m.n, m.kept, m.images, m.centre = 0, nil, nil, nil
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("baseline: %s: prepare: %w", m.Name(), err)
	}
	return nil
}

func (m *Perceptual) prepare(ctx context.Context, images []*dataloader.Image) error {
	side := m.config.Side
	if side < 1 || m.config.Memory < 0 || m.config.Threads < 0 {
		return fmt.Errorf("a setting is negative: %+v", m.config)
	}
	var err error
	if m.width, err = m.net.Width(side, side); err != nil {
		return err
	}
	peak, err := m.net.Peak(side, side)
	if err != nil {
		return err
	}
	m.n = len(images)
	bytes := 2 * int64(m.width) // of a picture
	fits := bytes*int64(m.n) <= m.config.Memory
	switch {
	case fits:
	case !m.config.Recompute:
		return fmt.Errorf("the features of %d pictures at %d×%d pixels take %d bytes each in half precision, %d MiB together: more than the %d MiB allowed; allow more memory, a smaller side, or to compute them again for each block of queries",
			m.n, side, side, bytes, bytes*int64(m.n)>>20, m.config.Memory>>20)
	case m.config.Memory < 2*bytes:
		return fmt.Errorf("the features of two pictures take %d bytes: more than the %d allowed", 2*bytes, m.config.Memory)
	}
	fitted := make([]*dataloader.Image, len(images))
	if err := each(ctx, m.Name(), images, side, func(i int, im *dataloader.Image) { fitted[i] = im }); err != nil {
		return err
	}
	m.scale = 1
	if peak > 0 { // 2¹⁴ and less is far from the largest half and, for most, from subnormal ones
		m.scale = float32(math.Exp2(math.Floor(14 - math.Log2(peak))))
	}
	if err := m.findCentre(ctx, fitted[:min(lpipsSample, len(fitted))]); err != nil {
		return err
	}
	if fits {
		m.kept, err = m.halves(ctx, fitted)
		return err
	}
	for i, im := range fitted { // the caller's are not kept
		if im == images[i] {
			fitted[i] = &dataloader.Image{Width: im.Width, Height: im.Height, Pix: append([]byte(nil), im.Pix...)}
		}
	}
	m.images = fitted
	return nil
}

// findCentre sets the centre to the mean vector of some pictures. Any would do: it changes no distance, but
// what is common to all pictures would cost precision.
func (m *Perceptual) findCentre(ctx context.Context, images []*dataloader.Image) error {
	m.centre = make([]float32, m.width)
	if len(images) == 0 {
		return nil
	}
	sample := make([][]float32, len(images))
	err := m.net.Vectors(ctx, images, m.config.Threads, func(i int, v []float32) error {
		sample[i] = append([]float32(nil), v...)
		return nil
	})
	if err != nil {
		return err
	}
	for _, v := range sample { // in the order of the pictures
		kernel.Axpy(nil, m.centre, 1/float32(len(images)), v)
	}
	return nil
}

// halves are vectors in half precision, scaled, with their squared lengths.
type halves struct {
	width int
	data  []uint16 // (n, width)
	norms []float64
}

func (h *halves) row(i int) []uint16 { return h.data[i*h.width : (i+1)*h.width] }

// halves computes the vectors of pictures.
func (m *Perceptual) halves(ctx context.Context, images []*dataloader.Image) (*halves, error) {
	h := &halves{m.width, make([]uint16, len(images)*m.width), make([]float64, len(images))}
	err := m.net.Vectors(ctx, images, m.config.Threads, func(i int, v []float32) error {
		kernel.Axpy(nil, v, -1, m.centre)
		kernel.Scale(nil, v, m.scale, v)
		kernel.ToFloat16(h.row(i), v)
		kernel.FromFloat16(v, h.row(i))
		h.norms[i] = kernel.SumSquares(nil, v)
		return nil
	})
	return h, err
}

// Scores is [Measure.Scores].
func (m *Perceptual) Scores(query int, dst []float32) error { return m.ScoresBlock([]int{query}, dst) }

// ScoresBlock is [BlockMeasure.ScoresBlock].
func (m *Perceptual) ScoresBlock(queries []int, dst []float32) error {
	return m.ScoresContext(context.Background(), queries, dst)
}

// ScoresContext is [SlowMeasure.ScoresContext].
func (m *Perceptual) ScoresContext(ctx context.Context, queries []int, dst []float32) error {
	if err := checkQueries(m.Name(), queries, m.n, dst); err != nil || len(dst) == 0 {
		return err
	}
	n := len(dst) / len(queries)
	if m.kept != nil {
		m.score(m.kept, queries, m.kept, n, dst, n, 0)
	} else if err := m.recompute(ctx, queries, dst, n); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("baseline: %s: %w", m.Name(), err)
	}
	for r, q := range queries {
		if q < n {
			dst[r*n+q] = 0
		}
	}
	return nil
}

// recompute computes the vectors of queries and, a part at a time, of the first n pictures, within the memory allowed.
func (m *Perceptual) recompute(ctx context.Context, queries []int, dst []float32, n int) error {
	m.compute.Lock()
	defer m.compute.Unlock()
	room := int(m.config.Memory / (2 * int64(m.width))) // vectors
	for first := 0; first < len(queries); {
		count := min(len(queries)-first, max(1, room/2))
		some := make([]*dataloader.Image, count)
		for i := range some {
			some[i] = m.images[queries[first+i]]
		}
		q, err := m.halves(ctx, some)
		if err != nil {
			return err
		}
		for at := 0; at < n; {
			end := min(n, at+room-count)
			part, err := m.halves(ctx, m.images[at:end])
			if err != nil {
				return err
			}
			m.score(q, numbers(0, count), part, end-at, dst[first*n:], n, at)
			at = end
		}
		first += count
	}
	return nil
}

// numbers lists first … first+n-1.
func numbers(first, n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = first + i
	}
	return list
}

// What one product takes: a panel of halvesDepth values of halvesRows vectors, which is widened to float32.
const (
	halvesRows  = 256
	halvesDepth = 2048
)

type halvesScratch struct {
	a, b [halvesRows * halvesDepth]float32
}

var halvesPool = sync.Pool{New: func() any { return new(halvesScratch) }}

// score writes the scores of the vectors of q that rows lists to the first n vectors of g: to columns at … at+n-1 of dst,
// whose rows have stride values.
func (m *Perceptual) score(q *halves, rows []int, g *halves, n int, dst []float32, stride, at int) {
	s := halvesPool.Get().(*halvesScratch)
	defer halvesPool.Put(s)
	unscale := 1 / (float64(m.scale) * float64(m.scale))
	for q0 := 0; q0 < len(rows); q0 += halvesRows {
		left := rows[q0:min(q0+halvesRows, len(rows))]
		for g0 := 0; g0 < n; g0 += halvesRows {
			right := numbers(g0, min(halvesRows, n-g0))
			c := dst[q0*stride+at+g0:]
			for k0 := 0; k0 < q.width; k0 += halvesDepth {
				depth := min(halvesDepth, q.width-k0)
				q.widen(s.a[:], left, k0, depth)
				g.widen(s.b[:], right, k0, depth)
				kernel.Gemm(nil, false, true, len(left), len(right), depth, s.a[:], depth, s.b[:], depth, c, stride, k0 > 0)
			}
			for r, i := range left {
				row := c[r*stride:][:len(right)]
				for k, dot := range row {
					d := (q.norms[i] + g.norms[g0+k] - 2*float64(dot)) * unscale
					row[k] = -float32(max(d, 0))
				}
			}
		}
	}
}

// widen writes depth values from k0 on of some vectors to dst, (len(rows), depth).
func (h *halves) widen(dst []float32, rows []int, k0, depth int) {
	for r, i := range rows {
		kernel.FromFloat16(dst[r*depth:(r+1)*depth], h.row(i)[k0:k0+depth])
	}
}
