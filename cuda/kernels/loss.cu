// Losses. Rows have a block each.
#include "typed.h"

// row_lse is the logarithm of the sum of exponentials of a row, in one pass: each thread's sum is relative to the largest
// value that it has met.
template <class W> DEVICE float row_lse(W w, const float *x, int cols) {
    float top = -infinity(), sum = 0;
    for (int c = thread_x * w.n; c < cols; c += threads_x * w.n) {
        auto v = load(x + c, w);
        float most = v.v[0];
        for (int k = 1; k < w.n; k++)
            most = larger(most, v.v[k]);
        if (most > top) {
            sum *= exp1(top - most);
            top = most;
        }
        for (int k = 0; k < w.n; k++)
            if (v.v[k] != -infinity()) // adds nothing, whatever top is
                sum += exp1(v.v[k] - top);
    }
    float whole = block_max(top);
    return whole + log1(block_sum(sum * exp1(top - whole)));
}

// cross_entropy: loss (rows) = Σ_c target·(lse - logit); counts (rows) = 1 where a target is not zero.
KERNEL(cross_entropy, float *loss, float *counts, const float *logits, const float *targets, int cols) {
    by_width(cols % 8 == 0 && aligned(logits, targets), [&](auto w) {
        const float *x = logits + (Index)block_x * cols, *wanted = targets + (Index)block_x * cols;
        float lse = row_lse(w, x, cols), sum = 0, any = 0;
        for (int c = thread_x * w.n; c < cols; c += threads_x * w.n) {
            auto t = load(wanted + c, w), v = load(x + c, w);
            for (int k = 0; k < w.n; k++)
                if (t.v[k] != 0) {
                    any = 1;
                    sum = fma1(t.v[k], lse - v.v[k], sum);
                }
        }
        Two both = block_sums(sum, any);
        if (thread_x == 0) {
            loss[block_x] = both.a;
            counts[block_x] = both.b > 0;
        }
    });
}

// mean_counted: y[0] = Σ x / max(Σ counts, 1); without counts, / n. One block of 1024 threads.
KERNEL(mean_counted, float *y, const float *x, const float *counts, int n) {
    SHARED(double, totals, 1024);
    SHARED(double, numbers, 1024);
    double total = 0, number = 0;
    for (int i = thread_x; i < n; i += threads_x) {
        total += x[i];
        number += counts ? counts[i] : 1;
    }
    totals[thread_x] = total;
    numbers[thread_x] = number;
    for (int d = threads_x / 2; d; d >>= 1) {
        barrier();
        if (thread_x < d) {
            totals[thread_x] += totals[thread_x + d];
            numbers[thread_x] += numbers[thread_x + d];
        }
    }
    if (thread_x == 0)
        y[0] = (float)(totals[0] / (numbers[0] < 1 ? 1 : numbers[0]));
}

// count_rows: counts (rows) = 1 where a value of the row is not zero.
KERNEL(count_rows, float *counts, const float *x, int cols) {
    float any = 0;
    for (int c = thread_x; c < cols; c += threads_x)
        any += x[(Index)block_x * cols + c] != 0;
    any = block_sum(any);
    if (thread_x == 0)
        counts[block_x] = any > 0;
}

// cross_entropy_grad: dlogits = upstream / number·(softmax·Σ targets - targets). number is one value.
KERNEL(cross_entropy_grad, float *dlogits, const float *logits, const float *targets, const float *upstream, const float *number, int cols) {
    by_width(cols % 8 == 0 && aligned(dlogits, logits, targets), [&](auto w) {
        Index at = (Index)block_x * cols;
        float lse = row_lse(w, logits + at, cols), sum = 0, up = upstream[0] / (number[0] < 1 ? 1 : number[0]);
        for (int c = thread_x * w.n; c < cols; c += threads_x * w.n) {
            auto t = load(targets + (at + c), w);
            for (int k = 0; k < w.n; k++)
                sum += t.v[k];
        }
        sum = block_sum(sum);
        for (int c = thread_x * w.n; c < cols; c += threads_x * w.n) {
            auto t = load(targets + (at + c), w), v = load(logits + (at + c), w);
            for (int k = 0; k < w.n; k++)
                v.v[k] = up * (exp1(v.v[k] - lse) * sum - t.v[k]);
            store(dlogits + (at + c), v);
        }
    });
}

// minus_log_sigmoid is -log σ(x) = log(1 + e^-x).
DEVICE float minus_log_sigmoid(float x) {
    float e = exp1(x > 0 ? -x : x);
    return (x > 0 ? 0 : -x) + log1p1(e);
}

// sigmoid_loss: loss (rows) = -Σ_c log σ(label·logit), without the labels that are 0.
KERNEL(sigmoid_loss, float *loss, const float *logits, const float *labels, int cols) {
    by_width(cols % 8 == 0 && aligned(logits, labels), [&](auto w) {
        Index at = (Index)block_x * cols;
        float sum = 0;
        for (int c = thread_x * w.n; c < cols; c += threads_x * w.n) {
            auto z = load(labels + (at + c), w), v = load(logits + (at + c), w);
            for (int k = 0; k < w.n; k++)
                if (z.v[k] != 0)
                    sum += minus_log_sigmoid(z.v[k] * v.v[k]);
        }
        sum = block_sum(sum);
        if (thread_x == 0)
            loss[block_x] = sum;
    });
}

KERNEL(sigmoid_loss_grad, float *dlogits, const float *logits, const float *labels, const float *upstream, Index rows, int cols) {
    float up = upstream[0] / rows;
    by_width(cols % 8 == 0 && aligned(dlogits, logits, labels), [&](auto w) {
        map(w, dlogits, logits, labels, rows * cols, [=](float x, float z, Index) { return z == 0 ? 0 : -up * z * sigmoid(-z * x); });
    });
}

// squared_distance: d (batch) = 1/tokens·Σ_t Σ_c w·(x - y)², a block for each.
KERNEL(squared_distance, float *d, const float *x, const float *y, const float *w, int tokens, int dim) {
    Index at = (Index)block_x * tokens * dim;
    float sum = 0;
    for (Index i = thread_x; i < (Index)tokens * dim; i += threads_x) {
        float v = x[at + i] - y[at + i];
        sum = fma1(w[i % dim] * v, v, sum);
    }
    sum = block_sum(sum);
    if (thread_x == 0)
        d[block_x] = sum / tokens;
}

KERNEL(squared_distance_grad_x, float *dx, const float *g, const float *x, const float *y, const float *w, Index batch, int tokens, int dim) {
    EACH(i, batch * tokens * dim)
    dx[i] = g[i / dim / tokens] / tokens * 2 * w[i % dim] * (x[i] - y[i]);
}

// squared_distance_grad_w: dw (dim) = Σ_b g/tokens·Σ_t (x - y)²; blocks of 32 × 8 threads.
KERNEL(squared_distance_grad_w, float *dw, const float *g, const float *x, const float *y, Index batch, int tokens, int dim) {
    typedef float Line[33];
    SHARED(Line, weight_parts, 8);
    int c = block_x * 32 + thread_x;
    float sum = 0;
    if (c < dim)
        for (Index r = thread_y; r < batch * tokens; r += 8) {
            float v = x[r * dim + c] - y[r * dim + c];
            sum = fma1(g[r / tokens] / tokens * v, v, sum);
        }
    weight_parts[thread_y][thread_x] = sum;
    barrier();
    if (thread_y == 0 && c < dim) {
        for (int r = 1; r < 8; r++)
            sum += weight_parts[r][thread_x];
        dw[c] = sum;
    }
}
