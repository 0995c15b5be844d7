package kernel

// ReLU cuts what is below zero off:
//
//	y[i] = max(x[i], 0)
//
// x and y may be the same slice. NaN stays NaN.
//
// ReLU panics if the lengths differ.
func ReLU(p *Pool, y, x []float32) {
	needLen("ReLU", "x", len(x), len(y))
	s := newSweep()
	s.y, s.a = y, x
	s.over(p, pieces(len(y)), reluPiece)
	s.free()
}

func reluPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.y))
	y := s.y[lo:hi]
	x := s.a[lo:hi][:len(y)]
	for j, v := range x {
		y[j] = max(v, 0)
	}
}

// ReLUGrad is the gradient of [ReLU], from its output:
//
//	dx[i] = dy[i]   where y[i] > 0, or is NaN
//	dx[i] = 0       elsewhere
//
// dx may be dy or y. At a zero the gradient is 0, whatever dy is there.
//
// ReLUGrad panics if the lengths differ.
func ReLUGrad(p *Pool, dx, y, dy []float32) {
	needLen("ReLUGrad", "y", len(y), len(dx))
	needLen("ReLUGrad", "dy", len(dy), len(dx))
	s := newSweep()
	s.y, s.a, s.b = dx, y, dy
	s.over(p, pieces(len(dx)), reluGradPiece)
	s.free()
}

func reluGradPiece(s *sweep, i int) {
	lo, hi := piece(i, len(s.y))
	dx := s.y[lo:hi]
	y, dy := s.a[lo:hi][:len(dx)], s.b[lo:hi][:len(dx)]
	for j, v := range y {
		d := dy[j]
		if v <= 0 {
			d = 0
		}
		dx[j] = d
	}
}
