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
	checkLen(op+": y or dy", y, c.Batch*c.OutH()*c.OutW()*c.OutC)
	checkLen(op+": x or dx", x, c.Batch*c.InC*c.InH*c.InW)
	checkLen(op+": w or dw", w, c.OutC*c.InC*c.KH*c.KW)
}

// each calls f for every product of the convolution with the indices in y, x and w.
func (c ConvShape) each(f func(y, x, w int)) {
	oh, ow := c.OutH(), c.OutW()
	for b := range c.Batch {
		for oy := range oh {
			for ox := range ow {
				for ky := range c.KH {
					iy := oy*c.StrideH + ky - c.PadH
					if iy < 0 || iy >= c.InH {
						continue
					}
					for kx := range c.KW {
						ix := ox*c.StrideW + kx - c.PadW
						if ix < 0 || ix >= c.InW {
							continue
						}
						for ci := range c.InC {
							x := ((b*c.InH+iy)*c.InW+ix)*c.InC + ci
							if c.ChannelsFirst {
								x = ((b*c.InC+ci)*c.InH+iy)*c.InW + ix
							}
							for co := range c.OutC {
								f(((b*oh+oy)*ow+ox)*c.OutC+co, x, ((co*c.InC+ci)*c.KH+ky)*c.KW+kx)
							}
						}
					}
				}
			}
		}
	}
}

// Conv2D is the forward pass of a convolution (a cross-correlation, as PyTorch's):
//
//	y[b,oy,ox,co] = bias[co] + Σ_{ci,ky,kx} x[b, ci, oy·StrideH+ky-PadH, ox·StrideW+kx-PadW] · w[co,ci,ky,kx]
//
// y is (Batch·OutH·OutW, OutC), x as c.ChannelsFirst says, w (OutC, InC, KH, KW) and
// bias (OutC) or nil. It panics if a length does not fit.
func Conv2D(p *Pool, y, x, w, bias []float32, c ConvShape) {
	c.checkAll("Conv2D", y, x, w)
	clear(y)
	if bias != nil {
		checkLen("Conv2D: bias", bias, c.OutC)
		for r := 0; r < len(y); r += c.OutC {
			copy(y[r:], bias)
		}
	}
	c.each(func(i, j, k int) { y[i] += x[j] * w[k] })
}

// Conv2DGradX is the gradient of [Conv2D] with respect to x; dx is overwritten.
func Conv2DGradX(p *Pool, dx, dy, w []float32, c ConvShape) {
	c.checkAll("Conv2DGradX", dy, dx, w)
	clear(dx)
	c.each(func(i, j, k int) { dx[j] += dy[i] * w[k] })
}

// Conv2DGradW is the gradient of [Conv2D] with respect to w and bias; dw (OutC, InC,
// KH, KW) and dbias (OutC) are overwritten. dbias may be nil.
func Conv2DGradW(p *Pool, dw, dbias, dy, x []float32, c ConvShape) {
	c.checkAll("Conv2DGradW", dy, x, dw)
	clear(dw)
	c.each(func(i, j, k int) { dw[k] += dy[i] * x[j] })
	if dbias == nil {
		return
	}
	checkLen("Conv2DGradW: dbias", dbias, c.OutC)
	for o := range dbias {
		s := 0.0
		for r := o; r < len(dy); r += c.OutC {
			s += float64(dy[r])
		}
		dbias[o] = float32(s)
	}
}
