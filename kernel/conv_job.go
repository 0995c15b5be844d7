package kernel

// A convolution is a matrix product whose left side is never made. Pictures are
// copied with a border of zeros, channels last; then the window of an output pixel
// is, for each kernel row, one run of KW·C values, and the windows of neighbouring
// pixels start StrideW·C values apart. The micro-kernels walk that as they walk any
// matrix, with one segment for each kernel row.
//
// The gradient with respect to the input is, for each residue of the input position
// modulo the stride, a convolution of dy with stride 1 and a part of the kernel. No
// product with a zero in between is made.
//
// Where a run is short, as with three colours, the kernel rows of a window are
// brought together first.

// convAxis is a convolution along one axis: position u of n reads the source at
// u·step+off+q for q < taps, with kernel tap tap0+q·tapStep, and is written to
// first+u·stride.
type convAxis struct {
	n, step, off, taps int
	first, stride      int
	tap0, tapStep      int
}

func forwardAxis(n, taps, stride, pad int) convAxis {
	return convAxis{n: n, step: stride, off: -pad, taps: taps, stride: 1, tapStep: 1}
}

// gradAxis is for the input positions first, first+stride, ….
func gradAxis(in, first, taps, stride, pad int) convAxis {
	a := convAxis{n: ceilDiv(in-first, stride), step: 1, first: first, stride: stride, tapStep: -stride}
	tap0 := (first + pad) % stride
	if tap0 < taps {
		a.taps = (taps-1-tap0)/stride + 1
	}
	a.off = (first+pad-tap0)/stride - (a.taps - 1)
	a.tap0 = tap0 + stride*(a.taps-1)
	return a
}

// reach returns the first source position that u0 … u1-1 read and the one after the
// last.
func (a convAxis) reach(u0, u1 int) (from, to int) {
	u1 = min(u1, a.n)
	if u0 >= u1 || a.taps == 0 {
		return 0, 0
	}
	return u0*a.step + a.off, (u1-1)*a.step + a.off + a.taps
}

// convClass is a convolution over both axes with its packed weights.
type convClass struct {
	y, x   convAxis
	packed int // where its weights start
}

type convPhase int

const (
	convPack convPhase = iota
	convBands
	convGradPieces
	convGradSum
)

const (
	convBand   = 1 << 16 // most values of a bordered band of a picture, to stay in the level-2 cache
	convGradK  = 256     // products before a sum of a weight gradient is stored
	convPieces = 8       // pieces of a weight gradient's sum
	convRun    = 16      // values of a kernel row below which windows are gathered
)

// convJob is one convolution, forward or one of its gradients. Its items are, by
// phase, the panels of a class to pack, the bands of pictures, the pieces of a
// weight gradient's sum, or the output channels to add the pieces of.
type convJob struct {
	shape            ConvShape
	src              []float32 // what the windows move over
	srcC, srcH, srcW int
	planar           bool // src is channels first
	dst              []float32
	dstC, dstH, dstW int
	planarOut        bool // dst is channels first
	w, bias, dy      []float32
	gradX            bool

	micro   *microKernel
	phase   convPhase
	classes []convClass
	class   int // the class to pack
	packed  []float32
	left    int  // columns of the border on the left
	width   int  // columns of a bordered picture
	gather  bool // make rows of whole windows
	band    int  // positions along y of a band
	bands   int  // bands of a picture
	piece   int  // bands of a piece
	partial []float32
}

// convWork is the scratch memory of one item.
type convWork struct {
	t        tile
	bordered []float32
	windows  []float32
	out      []float32
}

var (
	convJobs  freelist[convJob]
	convWorks freelist[convWork]
)

func (j *convJob) free() {
	j.src, j.dst, j.w, j.bias, j.dy = nil, nil, nil, nil, nil
	convJobs.put(j)
}

// plan chooses the border and the bands, so that there are about items bands or more.
func (j *convJob) plan(items int) {
	j.micro = microKernels.get()
	from, to, positions, step, taps := 0, j.srcW, 0, 1, 1
	for _, c := range j.classes {
		f, t := c.x.reach(0, c.x.n)
		from, to = min(from, f), max(to, t)
		positions, step, taps = max(positions, c.y.n), c.y.step, max(taps, c.y.taps)
	}
	j.left, j.width = -from, to-from
	rows := max(taps, convBand/(j.width*j.srcC))
	j.band = min(positions, max(1, (rows-taps)/step+1))
	if ceilDiv(positions, j.band)*j.shape.Batch < items {
		j.band = min(j.band, ceilDiv(positions, ceilDiv(items, max(1, j.shape.Batch))))
	}
	first := j.classes[0]
	run := first.x.taps * j.srcC
	j.gather = !j.gradX && run < convRun && first.y.taps > 1
	if j.gather {
		j.band = min(j.band, max(1, convBand/(run*first.y.taps*first.x.n)))
	}
	j.bands = ceilDiv(positions, j.band)
}

// gatherWindows writes the windows of positions u0 … u1-1 along y of class c to
// w.windows, one row each. The bordered picture starts at row y0.
func (j *convJob) gatherWindows(w *convWork, c *convClass, u0, u1, y0 int) {
	run := c.x.taps * j.srcC
	k := c.y.taps * run
	w.windows = room(w.windows, (u1-u0)*c.x.n*k)
	for v := u0; v < u1; v++ {
		for q := range c.y.taps {
			dst := w.windows[(v-u0)*c.x.n*k+q*run:]
			src := w.bordered[((v*c.y.step+c.y.off+q-y0)*j.width+c.x.off+j.left)*j.srcC:]
			step := c.x.step * j.srcC
			gatherKernel.get()(c.x.n, run, src, step, dst, k)
		}
	}
}

func (j *convJob) run(p *Pool) {
	j.plan(gemmItems)
	size, panels := 0, j.micro.panelCount(j.dstC)
	for i := range j.classes {
		c := &j.classes[i]
		c.packed = size
		size += panels * j.micro.nr * c.y.taps * c.x.taps * j.srcC
	}
	j.packed = room(j.packed, size)
	j.phase = convPack
	for j.class = range j.classes {
		p.run(panels, j)
	}
	j.phase = convBands
	p.run(j.shape.Batch*j.bands, j)
}

func (j *convJob) runGradW(p *Pool) {
	j.plan(convPieces)
	all := j.shape.Batch * j.bands
	if all == 0 {
		clear(j.dst)
		return
	}
	j.piece = ceilDiv(all, convPieces)
	pieces := ceilDiv(all, j.piece)
	j.partial = room(j.partial, pieces*len(j.dst))
	j.phase = convGradPieces
	p.run(pieces, j)
	j.phase = convGradSum
	p.run(j.shape.OutC, j)
}

func (j *convJob) item(i int) {
	if j.phase == convPack {
		j.packPanel(&j.classes[j.class], i)
		return
	}
	w := convWorks.get()
	switch j.phase {
	case convBands:
		j.doBand(w, i/j.bands, i%j.bands)
	case convGradPieces:
		j.gradPiece(w, i)
	case convGradSum:
		j.gradSum(w, i)
	}
	w.t = tile{}
	convWorks.put(w)
}

// packPanel packs the weights of c for panel i of dst's channels: a row for each tap
// and source channel.
func (j *convJob) packPanel(c *convClass, i int) {
	start, width := j.micro.panelAt(j.dstC, i)
	nr, s := j.micro.nr, j.shape
	taps := s.KH * s.KW
	toSrc, toDst := taps, s.InC*taps // distances in w between channels
	if j.gradX {
		toSrc, toDst = toDst, toSrc
	}
	dst := j.packed[c.packed+i*nr*c.y.taps*c.x.taps*j.srcC:]
	for qy := range c.y.taps {
		for qx := range c.x.taps {
			tap := (c.y.tap0+qy*c.y.tapStep)*s.KW + c.x.tap0 + qx*c.x.tapStep
			for ch := range j.srcC {
				from := start*toDst + ch*toSrc + tap
				row := dst[:width]
				for l := range row {
					row[l] = j.w[from]
					from += toDst
				}
				dst = dst[min(nr, len(dst)):]
			}
		}
	}
}

// border copies rows y0 … y1-1 of picture b to dst with the border of zeros.
func (j *convJob) border(dst []float32, b, y0, y1 int) {
	h, wd, ch := j.srcH, j.srcW, j.srcC
	picture := j.src[b*h*wd*ch : (b+1)*h*wd*ch]
	for y := y0; y < y1; y++ {
		row := dst[(y-y0)*j.width*ch:][:j.width*ch]
		if y < 0 || y >= h {
			clear(row)
			continue
		}
		clear(row[:j.left*ch])
		clear(row[(j.left+wd)*ch:])
		row = row[j.left*ch:][:wd*ch]
		switch {
		case !j.planar:
			copy(row, picture[y*wd*ch:])
		case ch == 3:
			interleave3Kernel.get()(wd, picture[y*wd:], h*wd, row)
		default:
			for c := range ch {
				for x, v := range picture[(c*h+y)*wd:][:wd] {
					row[x*ch+c] = v
				}
			}
		}
	}
}

// doBand computes one band of picture b.
func (j *convJob) doBand(w *convWork, b, band int) {
	u0 := band * j.band
	u1 := u0 + j.band
	y0, y1, some := 0, 0, false
	for _, c := range j.classes {
		if f, t := c.y.reach(u0, u1); f < t {
			if some {
				f, t = min(f, y0), max(t, y1)
			}
			y0, y1, some = f, t, true
		}
	}
	w.bordered = room(w.bordered, (y1-y0)*j.width*j.srcC)
	j.border(w.bordered, b, y0, y1)

	if j.gather {
		j.doGathered(w, b, u0, min(u1, j.classes[0].y.n), y0)
		return
	}
	out, outRow := j.dst[b*j.dstH*j.dstW*j.dstC:][:j.dstH*j.dstW*j.dstC], 0
	if j.planarOut {
		outRow = u0 * j.classes[0].y.stride
		w.out = room(w.out, (min(j.dstH, u1*j.classes[0].y.stride)-outRow)*j.dstW*j.dstC)
		out = w.out
	}
	for i := range j.classes {
		j.doClass(w, &j.classes[i], u0, u1, y0, out, outRow)
	}
	if j.planarOut {
		to := j.dst[b*j.dstH*j.dstW*j.dstC:]
		for c := range j.dstC {
			plane := to[c*j.dstH*j.dstW+outRow*j.dstW:][:len(out)/j.dstC]
			for k := range plane {
				plane[k] = out[k*j.dstC+c]
			}
		}
	}
}

// doGathered computes positions u0 … u1-1 along y of picture b from whole windows.
func (j *convJob) doGathered(w *convWork, b, u0, u1, y0 int) {
	t, u, c := &w.t, j.micro, &j.classes[0]
	j.gatherWindows(w, c, u0, u1, y0)
	k := c.y.taps * c.x.taps * j.srcC
	t.aRow, t.aStep, t.aSeg, t.aNext = k*wordSize, wordSize, 0, u.mr*k*wordSize
	t.segs, t.kc = 1, k
	t.bStep, t.bSeg = u.nr*wordSize, 0
	t.cRow = j.dstC * wordSize
	for i := range u.panelCount(j.dstC) {
		start, width := u.panelAt(j.dstC, i)
		t.a, t.b = &w.windows[0], &j.packed[c.packed+i*u.nr*k]
		t.c = &j.dst[(b*j.dstH+u0)*j.dstW*j.dstC+start]
		t.init, t.initRow = nil, 0
		if j.bias != nil {
			t.init = &j.bias[start]
		}
		u.panel(t, (u1-u0)*c.x.n, width)
	}
}

// doClass computes positions u0 … u1-1 along y of one class. The bordered picture
// starts at row y0, out at row outRow.
func (j *convJob) doClass(w *convWork, c *convClass, u0, u1, y0 int, out []float32, outRow int) {
	t, u := &w.t, j.micro
	ch := j.srcC
	u1 = min(u1, c.y.n)
	k := c.y.taps * c.x.taps * ch
	t.aRow, t.aStep = c.x.step*ch*wordSize, wordSize
	t.aNext = u.mr * t.aRow
	t.segs, t.kc = c.y.taps, c.x.taps*ch
	t.aSeg = (j.width*ch - t.kc) * wordSize
	t.bStep, t.bSeg = u.nr*wordSize, 0
	t.cRow = c.x.stride * j.dstC * wordSize
	if k == 0 {
		t.segs = 0
	}
	for i := range u.panelCount(j.dstC) {
		start, width := u.panelAt(j.dstC, i)
		for v := u0; v < u1; v++ {
			if k > 0 {
				t.a = &w.bordered[((v*c.y.step+c.y.off-y0)*j.width+c.x.off+j.left)*ch]
				t.b = &j.packed[c.packed+i*u.nr*k]
			}
			t.c = &out[((c.y.first+v*c.y.stride-outRow)*j.dstW+c.x.first)*j.dstC+start]
			t.init, t.initRow = nil, 0
			if j.bias != nil {
				t.init = &j.bias[start]
			}
			u.panel(t, c.x.n, width)
		}
	}
}

// gradPiece computes the weight gradient of piece i of the bands, (OutC, KH, KW, C).
func (j *convJob) gradPiece(w *convWork, i int) {
	t, u, s := &w.t, j.micro, j.shape
	c, ch := &j.classes[0], j.srcC
	oh, ow := c.y.n, c.x.n
	run := s.KW * ch // columns that are contiguous
	sum := j.partial[i*len(j.dst):][:len(j.dst)]
	rows := max(1, convGradK/ow) // output rows that a sum takes up before it is stored
	kernelRows := s.KH
	if j.gather {
		run, kernelRows = s.KH*run, 1
	}
	t.aRow, t.aStep, t.aSeg, t.aNext = wordSize, s.OutC*wordSize, 0, u.mr*wordSize
	t.bStep = c.x.step * ch * wordSize
	t.bSeg = (c.y.step*j.width - ow*c.x.step) * ch * wordSize
	if j.gather {
		t.bStep, t.bSeg = run*wordSize, 0
	}
	t.kc = ow
	t.cRow = kernelRows * run * wordSize
	first := true
	for n := i * j.piece; n < min(s.Batch*j.bands, (i+1)*j.piece); n++ {
		b, u0 := n/j.bands, n%j.bands*j.band
		u1 := min(oh, u0+j.band)
		y0, y1 := c.y.reach(u0, u1)
		w.bordered = room(w.bordered, (y1-y0)*j.width*ch)
		j.border(w.bordered, b, y0, y1)
		if j.gather {
			j.gatherWindows(w, c, u0, u1, y0)
		}
		for v := u0; v < u1; v += rows {
			t.segs = min(rows, u1-v)
			for ky := range kernelRows {
				for k := range u.panelCount(run) {
					start, width := u.panelAt(run, k)
					t.a = &j.dy[(b*oh+v)*ow*s.OutC]
					if j.gather {
						t.b = &w.windows[(v-u0)*ow*run+start]
					} else {
						t.b = &w.bordered[((v*c.y.step+c.y.off+ky-y0)*j.width+c.x.off+j.left)*ch+start]
					}
					t.c = &sum[ky*run+start]
					t.init, t.initRow = nil, 0
					if !first {
						t.init, t.initRow = t.c, t.cRow
					}
					u.panel(t, s.OutC, width)
				}
			}
			first = false
		}
	}
}

// gradSum adds the pieces for output channel co and brings them into w's layout.
func (j *convJob) gradSum(w *convWork, co int) {
	s, ch := j.shape, j.srcC
	k := s.KH * s.KW * ch
	w.out = room(w.out, k)
	copy(w.out, j.partial[co*k:])
	for at := len(j.dst); at < len(j.partial); at += len(j.dst) {
		Add(nil, w.out, w.out, j.partial[at+co*k:][:k])
	}
	dst, taps := j.dst[co*k:][:k], s.KH*s.KW
	for tap := range taps {
		for c, v := range w.out[tap*ch:][:ch] {
			dst[c*taps+tap] = v
		}
	}
}

var (
	gatherKernel      = newDispatch(gatherGeneric)
	interleave3Kernel = newDispatch(interleave3Generic)
)

// gatherGeneric copies n runs of the given length: run i from src[i*from] to
// dst[i*to].
func gatherGeneric(n, run int, src []float32, from int, dst []float32, to int) {
	for i := range n {
		copy(dst[i*to:][:run], src[i*from:])
	}
}

// interleave3Generic brings n values of three planes together: dst[3*i+c] =
// src[c*plane+i].
func interleave3Generic(n int, src []float32, plane int, dst []float32) {
	a, b, c := src[:n], src[plane:][:n], src[2*plane:][:n]
	for i := range a {
		dst[3*i], dst[3*i+1], dst[3*i+2] = a[i], b[i], c[i]
	}
}
