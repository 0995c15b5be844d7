// Elements by themselves. Where results may take the memory of an operand, each element is read before it is written.
#include "common.h"

KERNEL(add, float *y, const float *a, const float *b, Index n) {
    EACH(i, n)
    y[i] = a[i] + b[i];
}

KERNEL(scale, float *y, const float *x, float by, Index n) {
    EACH(i, n)
    y[i] = by * x[i];
}

// times: y = s·x, with the scalar s in memory.
KERNEL(times, float *y, const float *x, const float *s, Index n) {
    float by = s[0];
    EACH(i, n)
    y[i] = by * x[i];
}

KERNEL(scale_exp, float *y, const float *x, const float *s, Index n) {
    float by = exp1(s[0]);
    EACH(i, n)
    y[i] = by * x[i];
}

KERNEL(add_scalar, float *y, const float *x, const float *s, Index n) {
    float by = s[0];
    EACH(i, n)
    y[i] = x[i] + by;
}

KERNEL(copy, float *y, const float *x, Index n) {
    EACH(i, n)
    y[i] = x[i];
}

// axpy: y += a·x.
KERNEL(axpy, float *y, const float *x, float a, Index n) {
    EACH(i, n)
    y[i] = fma1(a, x[i], y[i]);
}

KERNEL(relu, float *y, const float *x, Index n) {
    EACH(i, n)
    y[i] = x[i] < 0 ? 0 : x[i];
}

// relu_grad: dx = dy where y is above 0.
KERNEL(relu_grad, float *dx, const float *y, const float *dy, Index n) {
    EACH(i, n)
    dx[i] = y[i] > 0 ? dy[i] : 0;
}

KERNEL(gelu, float *y, const float *x, int form, Index n) {
    EACH(i, n)
    y[i] = gelu1(x[i], form);
}

KERNEL(gelu_grad, float *dx, const float *x, const float *dy, int form, Index n) {
    EACH(i, n)
    dx[i] = dy[i] * gelu_slope(x[i], form);
}

// swiglu: y (rows, cols) = silu(gate)·value of x (rows, [gate|value]).
KERNEL(swiglu, float *y, const float *x, Index rows, int cols) {
    EACH(i, rows * cols) {
        Index r = i / cols, c = i % cols;
        float gate = x[r * 2 * cols + c];
        y[i] = (gate == -infinity() ? 0 : gate * sigmoid(gate)) * x[r * 2 * cols + cols + c];
    }
}

KERNEL(swiglu_grad, float *dx, const float *x, const float *dy, Index rows, int cols) {
    EACH(i, rows * cols) {
        Index r = i / cols, gate_at = r * 2 * cols + i % cols;
        float gate = x[gate_at], value = x[gate_at + cols], s = sigmoid(gate), d = dy[i];
        float silu = gate == -infinity() ? 0 : gate * s;
        dx[gate_at] = d * value * (s + silu * (1 - s));
        dx[gate_at + cols] = d * silu;
    }
}

// dropout: y = x·factor, the factors being a function of the seed, the op and the place.
KERNEL(dropout, float *y, const float *x, const unsigned long long *seed, unsigned long long op, unsigned threshold, float scale, Index n) {
    unsigned long long key = dropout_key(seed, op);
    EACH(i, n)
    y[i] = x[i] * dropout_factor(i, key, threshold, scale);
}

// column_scale: y (rows, cols) = x·gain, by columns.
KERNEL(column_scale, float *y, const float *x, const float *gain, Index rows, int cols) {
    EACH(i, rows * cols)
    y[i] = x[i] * gain[i % cols];
}

// add_columns: y (rows, cols) = x, with z (rows, width) added to the columns from at on.
KERNEL(add_columns, float *y, const float *x, const float *z, Index rows, int cols, int at, int width) {
    EACH(i, rows * cols) {
        Index r = i / cols;
        int c = (int)(i % cols) - at;
        y[i] = x[i] + (c >= 0 && c < width ? z[r * width + c] : 0);
    }
}

// get_columns: y (rows, width) = the columns of x (rows, cols) from at on.
KERNEL(get_columns, float *y, const float *x, Index rows, int cols, int at, int width) {
    EACH(i, rows * width)
    y[i] = x[i / width * cols + at + i % width];
}

// put_columns: the columns of y (rows, cols) from at on = x (rows, width).
KERNEL(put_columns, float *y, const float *x, Index rows, int cols, int at, int width) {
    EACH(i, rows * width)
    y[i / width * cols + at + i % width] = x[i];
}

// transpose: y (cols, rows) of x (rows, cols), in squares of 32 by blocks of 32 × 8 threads.
KERNEL(transpose, float *y, const float *x, int rows, int cols) {
    typedef float Line[33]; // a column more: columns lie in different banks
    SHARED(Line, square, 32);
    int r0 = block_y * 32, c0 = block_x * 32;
    for (int r = thread_y; r < 32; r += 8)
        if (r0 + r < rows && c0 + thread_x < cols)
            square[r][thread_x] = x[(Index)(r0 + r) * cols + c0 + thread_x];
    barrier();
    for (int c = thread_y; c < 32; c += 8)
        if (c0 + c < cols && r0 + thread_x < rows)
            y[(Index)(c0 + c) * rows + r0 + thread_x] = square[thread_x][c];
}
