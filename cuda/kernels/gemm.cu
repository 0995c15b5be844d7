// Matrix products in float32, for devices without cublasLt and shapes that it does not take.
#include "common.h"

enum { then_nothing, then_gelu, then_add, then_dropout_add, then_gelu_grad };

// gemm: C (m, n) = op(A)·op(B) + bias, and then, element by element, what then says:
//
//   then_gelu         keep = v (unless null), C = gelu(v)
//   then_add          C = v + other
//   then_dropout_add  C = v·factor + other
//   then_gelu_grad    C = v·gelu'(other)
//
// op(A) is (m, k): A, or with transA the transpose of A (k, m); op(B) is (k, n): B, or with transB that of B (n, k). Blocks
// of 16 × 16 threads make 64 × 64 elements, 4 × 4 each. C may be other.
KERNEL(gemm, float *C, const float *A, const float *B, const float *bias, const float *other, float *keep,
       const unsigned long long *seed, int m, int n, int k, int transA, int transB, int then, int form, unsigned long long op,
       unsigned threshold, float factor) {
    typedef float Line[68]; // 64 and some, so that the columns of a load lie in different banks
    SHARED(Line, a, 16);
    SHARED(Line, b, 16);
    int tx = thread_x % 16, ty = thread_x / 16, i0 = block_y * 64, j0 = block_x * 64;
    float sum[4][4] = {{0}};
    for (int p0 = 0; p0 < k; p0 += 16) {
        for (int l = thread_x; l < 64 * 16; l += 256) {
            // Neighbouring threads read neighbouring elements.
            int i = transA ? l % 64 : l / 16, p = transA ? l / 64 : l % 16;
            bool in = i0 + i < m && p0 + p < k;
            a[p][i] = in ? A[transA ? (Index)(p0 + p) * m + i0 + i : (Index)(i0 + i) * k + p0 + p] : 0;
            int j = transB ? l / 16 : l % 64;
            p = transB ? l % 16 : l / 64;
            in = j0 + j < n && p0 + p < k;
            b[p][j] = in ? B[transB ? (Index)(j0 + j) * k + p0 + p : (Index)(p0 + p) * n + j0 + j] : 0;
        }
        barrier();
        for (int p = 0; p < 16; p++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++)
                    sum[i][j] = fma1(a[p][ty + 16 * i], b[p][tx + 16 * j], sum[i][j]);
        barrier();
    }
    unsigned long long key = then == then_dropout_add ? dropout_key(seed, op) : 0;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            int r = i0 + ty + 16 * i, c = j0 + tx + 16 * j;
            if (r >= m || c >= n)
                continue;
            Index at = (Index)r * n + c;
            float v = sum[i][j] + (bias ? bias[c] : 0);
            if (then == then_gelu) {
                if (keep)
                    keep[at] = v;
                v = gelu1(v, form);
            } else if (then == then_add) {
                v += other[at];
            } else if (then == then_dropout_add) {
                v = v * dropout_factor(at, key, threshold, factor) + other[at];
            } else if (then == then_gelu_grad) {
                v *= gelu_slope(other[at], form);
            }
            C[at] = v;
        }
}
