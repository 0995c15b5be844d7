// Sums. Their order depends on the shape alone, so that they have the same bits every time.
#include "common.h"

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

// Blocks of the kernels below are of 32 × 8 threads: 32 columns, whose rows are shared out to 8.
DEVICE float column_total(float v) {
    typedef float Line[33];
    SHARED(Line, column_parts, 8);
    column_parts[thread_y][thread_x] = v;
    barrier();
    if (thread_y == 0)
        for (int r = 1; r < 8; r++)
            v += column_parts[r][thread_x];
    barrier();
    return v; // of the threads of row 0
}

// col_sum: y (cols) = Σ_r x[r·stride + c].
KERNEL(col_sum, float *y, const float *x, Index rows, Index cols, Index stride) {
    Index c = (Index)block_x * 32 + thread_x;
    float v = 0;
    if (c < cols)
        for (Index r = thread_y; r < rows; r += 8)
            v += x[r * stride + c];
    v = column_total(v);
    if (thread_y == 0 && c < cols)
        y[c] = v;
}

// col_dot: y (cols) = Σ_r a·b, of (rows, cols).
KERNEL(col_dot, float *y, const float *a, const float *b, Index rows, Index cols) {
    Index c = (Index)block_x * 32 + thread_x;
    float v = 0;
    if (c < cols)
        for (Index r = thread_y; r < rows; r += 8)
            v = fma1(a[r * cols + c], b[r * cols + c], v);
    v = column_total(v);
    if (thread_y == 0 && c < cols)
        y[c] = v;
}
