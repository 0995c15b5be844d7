// Matrix products for devices without cublasLt and shapes that it does not take, and what follows products that it does.
//
// Operands are in float32 or bfloat16: bit i of types says that operand i is in bfloat16, in the order of the parameters.
#include "common.h"

enum { then_nothing, then_gelu, then_add, then_dropout_add, then_gelu_grad };

DEVICE float value_of(const void *p, bool half, Index i) { return half ? load1((const BF16 *)p + i) : load1((const float *)p + i); }
DEVICE void put(void *p, bool half, Index i, float v) {
    if (half)
        store1((BF16 *)p + i, v);
    else
        store1((float *)p + i, v);
}
DEVICE Pack values_of(const void *p, bool half, Index i) { return half ? load8((const BF16 *)p + i) : load8((const float *)p + i); }
DEVICE void put8(void *p, bool half, Index i, Pack v) {
    if (half)
        store8((BF16 *)p + i, v);
    else
        store8((float *)p + i, v);
}

// Then is what follows the sum v of an element with its bias:
//
//   then_gelu         keep = v (unless null), result gelu(v)
//   then_add          v + other
//   then_dropout_add  v·factor + other
//   then_gelu_grad    v·gelu'(other)
struct Then {
    int what, form;
    unsigned long long key;
    unsigned threshold;
    float factor;
};

DEVICE Then then_of(int what, int form, const unsigned long long *seed, unsigned long long op, unsigned threshold, float factor) {
    return Then{what, form, what == then_dropout_add ? dropout_key(seed, op) : 0, threshold, factor};
}

DEVICE float after(const Then &t, float v, float other, Index at) {
    switch (t.what) {
    case then_gelu: return gelu1(v, t.form);
    case then_add: return v + other;
    case then_dropout_add: return v * dropout_factor(at, t.key, t.threshold, t.factor) + other;
    case then_gelu_grad: return v * gelu_slope(other, t.form);
    }
    return v;
}

// product_then: C = what follows V + bias, of rows of n elements. C may be V or other, and keep may be V.
KERNEL(product_then, void *C, const void *V, const void *bias, const void *other, void *keep, const unsigned long long *seed, int types,
       int n, Index size, int what, int form, unsigned long long op, unsigned threshold, float factor) {
    Then then = then_of(what, form, seed, op, threshold, factor);
    bool takes = what == then_add || what == then_dropout_add || what == then_gelu_grad, half_c = types & 1, half_v = types & 2,
         half_bias = types & 4, half_other = types & 8, half_keep = types & 16;
    unsigned long long all = (unsigned long long)C | (unsigned long long)V | (unsigned long long)bias | (unsigned long long)other | (unsigned long long)keep;
    if (n % 8 || all & 15) {
        EACH(i, size) {
            float v = value_of(V, half_v, i) + (bias ? value_of(bias, half_bias, i % n) : 0);
            if (keep)
                put(keep, half_keep, i, v);
            put(C, half_c, i, after(then, v, takes ? value_of(other, half_other, i) : 0, i));
        }
        return;
    }
    EACH(p, size / 8) {
        Index i = 8 * p;
        Pack v = values_of(V, half_v, i);
        if (bias) {
            Pack b = values_of(bias, half_bias, i % n);
            for (int k = 0; k < 8; k++)
                v.v[k] += b.v[k];
        }
        if (keep && (keep != V || bias))
            put8(keep, half_keep, i, v);
        Pack o = {};
        if (takes)
            o = values_of(other, half_other, i);
        for (int k = 0; k < 8; k++)
            v.v[k] = after(then, v.v[k], o.v[k], i + k);
        put8(C, half_c, i, v);
    }
}

// convert: y = x, in the type of y.
KERNEL(convert, void *y, const void *x, int types, Index n) {
    if (((unsigned long long)y | (unsigned long long)x) & 15) {
        EACH(i, n)
        put(y, types & 1, i, value_of(x, types & 2, i));
        return;
    }
    EACH(p, n / 8)
    put8(y, types & 1, 8 * p, values_of(x, types & 2, 8 * p));
    if (block_x == 0 && thread_x < n % 8)
        put(y, types & 1, n - 1 - thread_x, value_of(x, types & 2, n - 1 - thread_x));
}

// gemm: C (m, n) = op(A)·op(B) + bias, and what follows it.
//
// op(A) is (m, k): A, or with transA the transpose of A (k, m); op(B) is (k, n): B, or with transB that of B (n, k). Blocks
// of 16 × 16 threads make 64 × 64 elements, 4 × 4 each. C may be other.
KERNEL(gemm, void *C, const void *A, const void *B, const void *bias, const void *other, void *keep, const unsigned long long *seed,
       int types, int m, int n, int k, int transA, int transB, int what, int form, unsigned long long op, unsigned threshold, float factor) {
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
            a[p][i] = in ? value_of(A, types & 2, transA ? (Index)(p0 + p) * m + i0 + i : (Index)(i0 + i) * k + p0 + p) : 0;
            int j = transB ? l / 16 : l % 64;
            p = transB ? l % 16 : l / 64;
            in = j0 + j < n && p0 + p < k;
            b[p][j] = in ? value_of(B, types & 4, transB ? (Index)(j0 + j) * k + p0 + p : (Index)(p0 + p) * n + j0 + j) : 0;
        }
        barrier();
        for (int p = 0; p < 16; p++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++)
                    sum[i][j] = fma1(a[p][ty + 16 * i], b[p][tx + 16 * j], sum[i][j]);
        barrier();
    }
    Then then = then_of(what, form, seed, op, threshold, factor);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            int r = i0 + ty + 16 * i, c = j0 + tx + 16 * j;
            if (r >= m || c >= n)
                continue;
            Index at = (Index)r * n + c;
            float v = sum[i][j] + (bias ? value_of(bias, types & 8, c) : 0);
            if (keep)
                put(keep, types & 32, at, v);
            put(C, types & 1, at, after(then, v, other ? value_of(other, types & 16, at) : 0, at));
        }
}
