// Sums. Their order depends on the shape alone, so that they have the same bits every time.
#include "typed.h"

// sum_all: y[0] = by·Σ x, one block of 1024 threads; in float64, as few as they are.
DEVICE void finish_sum(float *y, double v, double by) {
    SHARED(double, sum_parts, 1024);
    sum_parts[thread_x] = v;
    for (int d = threads_x / 2; d; d >>= 1) {
        barrier();
        if (thread_x < d)
            sum_parts[thread_x] += sum_parts[thread_x + d];
    }
    if (thread_x == 0)
        y[0] = (float)(sum_parts[0] * by);
}

KERNEL(sum_all, float *y, const float *x, float by, Index n) {
    double v = 0;
    EACH(i, n)
    v += x[i];
    finish_sum(y, v, by);
}

// dot: y[0] = Σ a·b, one block.
KERNEL(dot, float *y, const float *a, const float *b, Index n) {
    double v = 0;
    EACH(i, n)
    v += (double)a[i] * b[i];
    finish_sum(y, v, 1);
}

// column_total adds up what the 8 rows of a block of 32 × 8 threads have, each thread n columns; those of row 0 get the totals.
template <int n> DEVICE Values<n> column_total(Values<n> v, float *parts) {
    for (int k = 0; k < n; k++)
        parts[(thread_y * n + k) * 32 + thread_x] = v.v[k];
    barrier();
    if (thread_y == 0)
        for (int r = 1; r < 8; r++)
            for (int k = 0; k < n; k++)
                v.v[k] += parts[(r * n + k) * 32 + thread_x];
    barrier();
    return v;
}

// col_sum: y (blocks_y, cols) = Σ_r x[r·stride + c], where block b of y has every blocks_y-th 8 of the rows. y is aligned, or one
// of the sizes is no multiple of 8. Blocks of 32 × 8 threads.
KERNEL(col_sum, float *y, const void *x, int types, Index rows, Index cols, Index stride) {
    SHARED(float, parts, 8 * 8 * 32);
    typed((cols | stride) % 8 == 0, types << 1, y, x, [&](auto w, auto y, auto x) {
        for (Index first = (Index)block_x * 32 * w.n; first < cols; first += (Index)blocks_x * 32 * w.n) {
            Index c = first + thread_x * w.n;
            Values<w.n> sum = {};
            if (c < cols)
                for (Index r = (Index)block_y * 8 + thread_y; r < rows; r += (Index)blocks_y * 8) {
                    auto v = load(x + (r * stride + c), w);
                    for (int k = 0; k < w.n; k++)
                        sum.v[k] += v.v[k];
                }
            sum = column_total(sum, parts);
            if (thread_y == 0 && c < cols)
                store(y + (block_y * cols + c), sum);
        }
    });
}

// col_dot: y (blocks_y, cols) = Σ_r a·b, of (rows, cols), as col_sum.
KERNEL(col_dot, float *y, const void *a, const void *b, int types, Index rows, Index cols) {
    SHARED(float, parts, 8 * 8 * 32);
    typed(cols % 8 == 0, types << 1, y, a, b, [&](auto w, auto y, auto a, auto b) {
        for (Index first = (Index)block_x * 32 * w.n; first < cols; first += (Index)blocks_x * 32 * w.n) {
            Index c = first + thread_x * w.n;
            Values<w.n> sum = {};
            if (c < cols)
                for (Index r = (Index)block_y * 8 + thread_y; r < rows; r += (Index)blocks_y * 8) {
                    auto v = load(a + (r * cols + c), w), u = load(b + (r * cols + c), w);
                    for (int k = 0; k < w.n; k++)
                        sum.v[k] = fma1(v.v[k], u.v[k], sum.v[k]);
                }
            sum = column_total(sum, parts);
            if (thread_y == 0 && c < cols)
                store(y + (block_y * cols + c), sum);
        }
    });
}
