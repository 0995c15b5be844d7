// Normalisation of rows, a block for each.
#include "common.h"

// row_moments leaves the mean and 1/√(variance + eps) of a row to every thread: arXiv:1607.06450. The variance is taken
// around the first element's row mean in a second pass, so that a mean far larger than the spread does no harm.
DEVICE void row_moments(const float *x, int cols, float eps, float &mean, float &rest, float &rstd) {
    float shift = x[0], sum = 0;
    for (int c = thread_x; c < cols; c += threads_x)
        sum += x[c] - shift;
    float d = block_sum(sum) / cols;
    mean = shift + d;
    rest = d - (mean - shift); // what rounding took
    float squares = 0;
    for (int c = thread_x; c < cols; c += threads_x) {
        float v = x[c] - mean - rest;
        squares = fma1(v, v, squares);
    }
    rstd = 1 / root(block_sum(squares) / cols + eps);
}

KERNEL(layer_norm, float *y, const float *x, const float *gain, const float *bias, int cols, float eps) {
    const float *row = x + (Index)block_x * cols;
    float mean, rest, rstd;
    row_moments(row, cols, eps, mean, rest, rstd);
    for (int c = thread_x; c < cols; c += threads_x)
        y[(Index)block_x * cols + c] = fma1((row[c] - mean - rest) * rstd, gain[c], bias[c]);
}

// layer_norm_moments: moments (rows, 3) = mean, its rest, 1/√(variance + eps).
KERNEL(layer_norm_moments, float *moments, const float *x, int cols, float eps) {
    float mean, rest, rstd;
    row_moments(x + (Index)block_x * cols, cols, eps, mean, rest, rstd);
    if (thread_x == 0) {
        moments[3 * (Index)block_x] = mean;
        moments[3 * (Index)block_x + 1] = rest;
        moments[3 * (Index)block_x + 2] = rstd;
    }
}

// layer_norm_grad_x: dx = rstd·(h - mean(h) - x̂·mean(h·x̂)), h = dy·gain.
KERNEL(layer_norm_grad_x, float *dx, const float *dy, const float *x, const float *gain, const float *moments, int cols) {
    Index at = (Index)block_x * cols;
    float mean = moments[3 * (Index)block_x], rest = moments[3 * (Index)block_x + 1], rstd = moments[3 * (Index)block_x + 2];
    float sum = 0, along = 0;
    for (int c = thread_x; c < cols; c += threads_x) {
        float h = dy[at + c] * gain[c];
        sum += h;
        along = fma1(h, (x[at + c] - mean - rest) * rstd, along);
    }
    sum = block_sum(sum) / cols;
    along = block_sum(along) / cols;
    for (int c = thread_x; c < cols; c += threads_x) {
        float n = (x[at + c] - mean - rest) * rstd;
        dx[at + c] = rstd * (dy[at + c] * gain[c] - sum - n * along);
    }
}

// layer_norm_grad_gain: dgain (cols) = Σ_r dy·x̂, dbias (cols) = Σ_r dy; blocks of 32 × 8 threads.
KERNEL(layer_norm_grad_gain, float *dgain, float *dbias, const float *dy, const float *x, const float *moments, Index rows, int cols) {
    typedef float Line[33];
    SHARED(Line, gain_parts, 8);
    SHARED(Line, bias_parts, 8);
    int c = block_x * 32 + thread_x;
    float g = 0, b = 0;
    if (c < cols)
        for (Index r = thread_y; r < rows; r += 8) {
            float d = dy[r * cols + c];
            g = fma1(d, (x[r * cols + c] - moments[3 * r] - moments[3 * r + 1]) * moments[3 * r + 2], g);
            b += d;
        }
    gain_parts[thread_y][thread_x] = g;
    bias_parts[thread_y][thread_x] = b;
    barrier();
    if (thread_y == 0 && c < cols) {
        for (int r = 1; r < 8; r++) {
            g += gain_parts[r][thread_x];
            b += bias_parts[r][thread_x];
        }
        dgain[c] = g;
        dbias[c] = b;
    }
}

DEVICE float row_square(const float *x, int cols) {
    float sum = 0;
    for (int c = thread_x; c < cols; c += threads_x)
        sum = fma1(x[c], x[c], sum);
    return block_sum(sum);
}

DEVICE float row_dot(const float *x, const float *y, int cols) {
    float sum = 0;
    for (int c = thread_x; c < cols; c += threads_x)
        sum = fma1(x[c], y[c], sum);
    return block_sum(sum);
}

// l2_normalize: y = x / max(‖x‖, eps).
KERNEL(l2_normalize, float *y, const float *x, int cols, float eps) {
    Index at = (Index)block_x * cols;
    float length = root(row_square(x + at, cols));
    length = length < eps ? eps : length; // a NaN stays
    for (int c = thread_x; c < cols; c += threads_x)
        y[at + c] = x[at + c] / length;
}

KERNEL(l2_normalize_grad, float *dx, const float *dy, const float *x, int cols, float eps) {
    Index at = (Index)block_x * cols;
    float length = root(row_square(x + at, cols)), along = row_dot(dy + at, x + at, cols);
    if (length < eps) {
        for (int c = thread_x; c < cols; c += threads_x)
            dx[at + c] = dy[at + c] / eps;
        return;
    }
    along = along / length / length;
    for (int c = thread_x; c < cols; c += threads_x)
        dx[at + c] = (dy[at + c] - x[at + c] * along) / length;
}

// unit_rows: y = x / (‖x‖ + eps); a row of zeros stays.
KERNEL(unit_rows, float *y, const float *x, int cols, float eps) {
    Index at = (Index)block_x * cols;
    float length = root(row_square(x + at, cols)) + eps;
    for (int c = thread_x; c < cols; c += threads_x)
        y[at + c] = length == 0 ? x[at + c] : x[at + c] / length;
}

KERNEL(unit_rows_grad, float *dx, const float *dy, const float *x, int cols, float eps) {
    Index at = (Index)block_x * cols;
    float length = root(row_square(x + at, cols)), along = row_dot(dy + at, x + at, cols), whole = length + eps;
    along = length == 0 ? 0 : along / (length * whole * whole);
    for (int c = thread_x; c < cols; c += threads_x)
        dx[at + c] = whole == 0 ? 0 : dy[at + c] / whole - x[at + c] * along;
}
