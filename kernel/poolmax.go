package kernel

// PoolMax takes the largest value among the tokens of each sequence that are kept:
//
//	y[b,c] = max over t with mask[b,t] ≠ 0 of x[b,t,c], 0 if there is none
//
// x is (batch·tokens, dim), mask (batch, tokens), y (batch, dim).
//
// PoolMax panics if a length does not fit.
func PoolMax(p *Pool, y, x, mask []float32, batch, tokens, dim int) {
	needPoolMax("PoolMax", len(y), len(x), len(mask), batch, tokens, dim)
	s := newSweep()
	s.y, s.a, s.b = y, x, mask
	s.tokens, s.cols = tokens, dim
	s.over(p, batch, poolMaxItem)
	s.free()
}

// PoolMaxGrad is the gradient of [PoolMax]: dx[b,t,c] is dy[b,c] at the first of
// the tokens with the largest value, and 0 elsewhere.
//
// dx and x are (batch·tokens, dim), and may be the same slice; mask is (batch,
// tokens), dy (batch, dim).
//
// PoolMaxGrad panics if a length does not fit.
func PoolMaxGrad(p *Pool, dx, x, mask, dy []float32, batch, tokens, dim int) {
	needPoolMax("PoolMaxGrad", len(dy), len(x), len(mask), batch, tokens, dim)
	needLen("PoolMaxGrad", "dx", len(dx), batch*tokens*dim)
	s := newSweep()
	s.y, s.a, s.b, s.c = dx, x, mask, dy
	s.tokens, s.cols = tokens, dim
	s.over(p, batch, poolMaxGradItem)
	s.free()
}

func needPoolMax(op string, y, x, mask, batch, tokens, dim int) {
	needShape(op, batch, tokens)
	needShape(op, batch*tokens, dim)
	needLen(op, "x", x, batch*tokens*dim)
	needLen(op, "mask", mask, batch*tokens)
	needLen(op, "y", y, batch*dim)
}

// maxChunk is the number of columns whose largest values are looked for at a time,
// in memory of the stack.
const maxChunk = 256

func poolMaxItem(s *sweep, b int) {
	var best [maxChunk]float32
	var at [maxChunk]int
	for lo := 0; lo < s.cols; lo += maxChunk {
		hi := min(lo+maxChunk, s.cols)
		s.largest(best[:hi-lo], at[:hi-lo], b, lo)
		copy(s.y[b*s.cols+lo:], best[:hi-lo])
	}
}

func poolMaxGradItem(s *sweep, b int) {
	var best [maxChunk]float32
	var at [maxChunk]int
	for lo := 0; lo < s.cols; lo += maxChunk {
		hi := min(lo+maxChunk, s.cols)
		s.largest(best[:hi-lo], at[:hi-lo], b, lo)
		for t := b * s.tokens; t < (b+1)*s.tokens; t++ {
			clear(s.y[t*s.cols+lo : t*s.cols+hi])
		}
		for c, t := range at[:hi-lo] {
			if t >= 0 {
				s.y[t*s.cols+lo+c] = s.c[b*s.cols+lo+c]
			}
		}
	}
}

// largest finds, for columns from lo on, the largest value of sequence b and the
// first row that has it, -1 if no token is kept. NaN is larger than any number.
func (s *sweep) largest(best []float32, at []int, b, lo int) {
	clear(best)
	for c := range at {
		at[c] = -1
	}
	for t := b * s.tokens; t < (b+1)*s.tokens; t++ {
		if s.b[t] == 0 {
			continue
		}
		for c, v := range s.a[t*s.cols+lo:][:len(best)] {
			if at[c] < 0 || v > best[c] || v != v && best[c] == best[c] {
				best[c], at[c] = v, t
			}
		}
	}
}
