package kernel

import "testing"

// TestScratchGrows runs kernels that need much scratch after ones that need little: the pooled memory must follow.
func TestScratchGrows(t *testing.T) {
	x := make([]float32, 45*pieceLen)
	for i := range x {
		x[i] = 1
	}
	for range 3 {
		if got := SumSquares(nil, x); got != float64(len(x)) {
			t.Errorf("SumSquares of %d ones: %v", len(x), got)
		}
		sums := make([]float32, 24)
		ColSum(nil, sums, x[:240], 10, 24)
		if sums[23] != 10 {
			t.Errorf("ColSum of 10 rows of ones: %v", sums[23])
		}
	}
}
