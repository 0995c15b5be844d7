package kernel

import "fmt"

// Gemm computes C = op(A)·op(B), or C += op(A)·op(B) if accumulate is set:
//
//	C[i,j] = Σ_p op(A)[i,p]·op(B)[p,j],  i < m, j < n, p < k
//
// op(A) is (m, k): A itself, or with transA the transpose of A, which is stored
// (k, m). op(B) is (k, n), or with transB stored (n, k). lda, ldb and ldc are the
// distances between stored rows. C must not overlap A or B. Sums run in float32.
//
// Gemm panics if a leading dimension or a length does not fit.
func Gemm(p *Pool, transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, accumulate bool) {
	checkGemm(transA, transB, m, n, k, a, lda, b, ldb, c, ldc)
	if m == 0 || n == 0 {
		return
	}
	const piece = 64
	p.Run((m+piece-1)/piece, func(i int) {
		for r := i * piece; r < min(m, (i+1)*piece); r++ {
			row := c[r*ldc : r*ldc+n]
			if !accumulate {
				clear(row)
			}
			for q := range k {
				v := a[min(r*lda+q, len(a)-1)]
				if transA {
					v = a[q*lda+r]
				}
				if transB {
					for j := range row {
						row[j] += v * b[j*ldb+q]
					}
				} else {
					for j, w := range b[q*ldb : q*ldb+n] {
						row[j] += v * w
					}
				}
			}
		}
	})
}

func checkGemm(transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int) {
	if m < 0 || n < 0 || k < 0 {
		panic(fmt.Sprintf("kernel: Gemm: m, n, k = %d, %d, %d", m, n, k))
	}
	ar, ac, br, bc := m, k, k, n
	if transA {
		ar, ac = k, m
	}
	if transB {
		br, bc = n, k
	}
	checkMatrix("Gemm: A", a, ar, ac, lda)
	checkMatrix("Gemm: B", b, br, bc, ldb)
	checkMatrix("Gemm: C", c, m, n, ldc)
}

// checkMatrix panics unless x holds rows rows of cols columns at distance ld.
func checkMatrix(what string, x []float32, rows, cols, ld int) {
	if ld < cols || rows > 0 && cols > 0 && len(x) < (rows-1)*ld+cols {
		panic(fmt.Sprintf("kernel: %s: %d values for %d×%d with leading dimension %d", what, len(x), rows, cols, ld))
	}
}

// checkLen panics unless x has n values.
func checkLen(what string, x []float32, n int) {
	if len(x) != n {
		panic(fmt.Sprintf("kernel: %s: length %d, want %d", what, len(x), n))
	}
}
