package kernel

import "fmt"

// ConvShape describes a two-dimensional convolution.
type ConvShape struct {
	Batch, InC, InH, InW int // the input: pictures, channels, rows, columns
	OutC, KH, KW         int // the kernels
	StrideH, StrideW     int
	PadH, PadW           int  // zeros on each side
	ChannelsFirst        bool // the input is (Batch, InC, InH, InW), otherwise (Batch, InH, InW, InC)
}

// OutH returns the number of output rows.
func (c ConvShape) OutH() int { return (c.InH+2*c.PadH-c.KH)/c.StrideH + 1 }

// OutW returns the number of output columns.
func (c ConvShape) OutW() int { return (c.InW+2*c.PadW-c.KW)/c.StrideW + 1 }

// check panics unless the shape is one of a convolution with an output.
func (c ConvShape) check(op string) {
	if min(c.Batch, c.PadH, c.PadW) < 0 || min(c.InC, c.InH, c.InW, c.OutC, c.KH, c.KW, c.StrideH, c.StrideW) < 1 ||
		c.InH+2*c.PadH < c.KH || c.InW+2*c.PadW < c.KW {
		panic(fmt.Sprintf("kernel: %s: shape %+v", op, c))
	}
}

func (c ConvShape) checkAll(op string, y, x, w []float32) {
	c.check(op)
	checkLen(op, "y or dy", y, c.Batch*c.OutH()*c.OutW()*c.OutC)
	checkLen(op, "x or dx", x, c.Batch*c.InC*c.InH*c.InW)
	checkLen(op, "w or dw", w, c.OutC*c.InC*c.KH*c.KW)
}

// Conv2D is the forward pass of a convolution (a cross-correlation, as PyTorch's):
//
//	y[b,oy,ox,co] = bias[co] + Σ_{ci,ky,kx} x[b, ci, oy·StrideH+ky-PadH, ox·StrideW+kx-PadW] · w[co,ci,ky,kx]
//
// y is (Batch·OutH·OutW, OutC), x as c.ChannelsFirst says, w (OutC, InC, KH, KW) and
// bias (OutC) or nil. It panics if a length does not fit.
func Conv2D(p *Pool, y, x, w, bias []float32, c ConvShape) {
	c.checkAll("Conv2D", y, x, w)
	if bias != nil {
		checkLen("Conv2D", "bias", bias, c.OutC)
	}
	j := convJobs.get()
	j.src, j.srcC, j.srcH, j.srcW, j.planar = x, c.InC, c.InH, c.InW, c.ChannelsFirst
	j.dst, j.dstC, j.dstH, j.dstW, j.planarOut = y, c.OutC, c.OutH(), c.OutW(), false
	j.w, j.bias, j.shape, j.gradX = w, bias, c, false
	j.classes = append(j.classes[:0], convClass{
		y: forwardAxis(c.OutH(), c.KH, c.StrideH, c.PadH),
		x: forwardAxis(c.OutW(), c.KW, c.StrideW, c.PadW),
	})
	j.run(p)
	j.free()
}

// Conv2DGradX is the gradient of [Conv2D] with respect to x; dx, of the layout of x,
// is overwritten:
//
//	dx[b,iy,ix,ci] = Σ dy[b,oy,ox,co]·w[co,ci,ky,kx]
//
// over all co and all ky, kx, oy, ox with oy·StrideH+ky-PadH = iy and
// ox·StrideW+kx-PadW = ix. It panics if a length does not fit.
func Conv2DGradX(p *Pool, dx, dy, w []float32, c ConvShape) {
	c.checkAll("Conv2DGradX", dy, dx, w)
	j := convJobs.get()
	j.src, j.srcC, j.srcH, j.srcW, j.planar = dy, c.OutC, c.OutH(), c.OutW(), false
	j.dst, j.dstC, j.dstH, j.dstW, j.planarOut = dx, c.InC, c.InH, c.InW, c.ChannelsFirst
	j.w, j.bias, j.shape, j.gradX = w, nil, c, true
	j.classes = j.classes[:0]
	for fy := range min(c.StrideH, c.InH) {
		for fx := range min(c.StrideW, c.InW) {
			j.classes = append(j.classes, convClass{
				y: gradAxis(c.InH, fy, c.KH, c.StrideH, c.PadH),
				x: gradAxis(c.InW, fx, c.KW, c.StrideW, c.PadW),
			})
		}
	}
	j.run(p)
	j.free()
}

// Conv2DGradW is the gradient of [Conv2D] with respect to w and bias:
//
//	dw[co,ci,ky,kx] = Σ_{b,oy,ox} dy[b,oy,ox,co]·x[b, ci, oy·StrideH+ky-PadH, ox·StrideW+kx-PadW]
//	dbias[co] = Σ_{b,oy,ox} dy[b,oy,ox,co]
//
// dw (OutC, InC, KH, KW) and dbias (OutC) or nil are overwritten. It panics if a
// length does not fit.
func Conv2DGradW(p *Pool, dw, dbias, dy, x []float32, c ConvShape) {
	c.checkAll("Conv2DGradW", dy, x, dw)
	if dbias != nil {
		checkLen("Conv2DGradW", "dbias", dbias, c.OutC)
		ColSum(p, dbias, dy, c.Batch*c.OutH()*c.OutW(), c.OutC)
	}
	j := convJobs.get()
	j.src, j.srcC, j.srcH, j.srcW, j.planar = x, c.InC, c.InH, c.InW, c.ChannelsFirst
	j.dst, j.dy, j.shape, j.gradX = dw, dy, c, false
	j.classes = append(j.classes[:0], convClass{
		y: forwardAxis(c.OutH(), c.KH, c.StrideH, c.PadH),
		x: forwardAxis(c.OutW(), c.KW, c.StrideW, c.PadW),
	})
	j.runGradW(p)
	j.free()
}
