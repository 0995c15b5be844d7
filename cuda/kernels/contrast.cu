// The contrastive loss of n pairs of embeddings, x (n, dim) and other (n, dim), without the matrix of logits
//
//	l[r,c] = scale·x[r]·other[c] + bias
//
// A block of 256 threads has a row; its eight warps take a column each. Labels say which rows are equal: package kernel, Contrast.
#include "common.h"

enum { equal_negative, equal_positive, equal_masked };
enum { warps = 8 };

DEVICE float scale_of(const float *log_scale, float constant) { return log_scale ? exp1(log_scale[0]) : constant; }
DEVICE float bias_of(const float *bias, float constant) { return bias ? bias[0] : constant; }

DEVICE bool same_label(const int *labels, int r, int c) { return r == c || (labels[r] >= 0 && labels[r] == labels[c]); }
DEVICE bool is_positive(const int *labels, int r, int c, int equal) {
    return r == c || (equal == equal_positive && same_label(labels, r, c));
}
DEVICE bool is_counted(const int *labels, int r, int c, int equal) {
    return r == c || equal != equal_masked || !same_label(labels, r, c);
}

// warp_dot is the product of two rows, for all lanes of a warp.
DEVICE float warp_dot(const float *a, const float *b, int dim) {
    float sum = 0;
    for (int e = thread_x % 32; e < dim; e += 32)
        sum = fma1(a[e], b[e], sum);
    for (int d = 16; d; d >>= 1)
        sum += shuffle_xor(sum, d);
    return sum;
}

DEVICE float softplus(float x) {
    float e = exp1(x > 0 ? -x : x);
    return (x > 0 ? x : 0) + log1p1(e);
}

// contrast: of each row, stats (n, 2) = the log-sum-exp and the number of positives; loss (n) = log-sum-exp less the mean of the
// positives' logits; hits (n), unless null, whether the largest logit, the first of equal ones, is a positive's. With pairs, loss
// = Σ_c log(1 + exp(-z·l)), and there are no stats.
KERNEL(contrast, float *stats, float *loss, float *hits, const float *x, const float *other, const int *labels, const float *log_scale,
       const float *bias_at, float scale, float bias, int n, int dim, int equal, int pairs) {
    SHARED(float, tops, warps);
    SHARED(float, totals, warps);
    SHARED(float, sums, warps);
    SHARED(float, numbers, warps);
    SHARED(int, places, warps);
    scale = scale_of(log_scale, scale);
    bias = bias_of(bias_at, bias);
    int r = block_x, warp = thread_x / 32, place = n;
    float top = -infinity(), total = 0, sum = 0, number = 0;
    for (int c = warp; c < n; c += warps) {
        if (!is_counted(labels, r, c, equal))
            continue;
        float l = fma1(scale, warp_dot(x + (Index)r * dim, other + (Index)c * dim, dim), bias);
        bool positive = is_positive(labels, r, c, equal);
        if (l > top || place == n) {
            total *= top == -infinity() ? 0 : exp1(top - l);
            top = l;
            place = c;
        }
        total += exp1(l - top);
        if (pairs)
            sum += softplus(positive ? -l : l);
        else if (positive)
            sum += l;
        number += positive;
    }
    if (thread_x % 32 == 0) {
        tops[warp] = top;
        totals[warp] = total;
        sums[warp] = sum;
        numbers[warp] = number;
        places[warp] = place;
    }
    barrier();
    if (thread_x != 0)
        return;
    for (int w = 1; w < warps; w++) {
        float higher = larger(top, tops[w]);
        if (tops[w] > top || (tops[w] == top && places[w] < place))
            place = places[w];
        total = (total == 0 ? 0 : total * exp1(top - higher)) + (totals[w] == 0 ? 0 : totals[w] * exp1(tops[w] - higher));
        top = higher;
        sum += sums[w];
        number += numbers[w];
    }
    float lse = top + log1(total);
    loss[r] = pairs ? sum : lse - sum / number;
    if (stats) {
        stats[2 * r] = lse;
        stats[2 * r + 1] = number;
    }
    if (hits)
        hits[r] = is_positive(labels, r, place, equal);
}

// contrast_grad: dx (n, dim) = scale·Σ_c g[r,c]·other[c], where g is the gradient of the logits; stats are those of the rows, unless
// null, and of the columns, unless null. sums (2, n), unless null, = Σ_c g·(l - bias) and Σ_c g. share is the weight of each
// of the two softmaxes. Dynamic shared memory: dim values.
KERNEL(contrast_grad, float *dx, float *sums, const float *x, const float *other, const int *labels, const float *row_stats,
       const float *col_stats, const float *upstream, const float *log_scale, const float *bias_at, float scale, float bias, float share,
       int n, int dim, int equal) {
    DYNAMIC_SHARED(float, d);
    SHARED(float, gradients, warps);
    SHARED(float, logits, warps);
    scale = scale_of(log_scale, scale);
    bias = bias_of(bias_at, bias);
    int r = block_x, warp = thread_x / 32;
    float up = upstream[0] / n * share, along = 0, sum = 0;
    for (int e = thread_x; e < dim; e += threads_x)
        d[e] = 0;
    for (int c0 = 0; c0 < n; c0 += warps) {
        int c = c0 + warp;
        float g = 0, l = 0;
        if (c < n && is_counted(labels, r, c, equal)) {
            l = fma1(scale, warp_dot(x + (Index)r * dim, other + (Index)c * dim, dim), bias);
            bool positive = is_positive(labels, r, c, equal);
            if (row_stats)
                g += exp1(l - row_stats[2 * r]) - (positive ? 1 / row_stats[2 * r + 1] : 0);
            if (col_stats)
                g += exp1(l - col_stats[2 * c]) - (positive ? 1 / col_stats[2 * c + 1] : 0);
            if (!row_stats && !col_stats)
                g = positive ? -sigmoid(-l) : sigmoid(l);
            g *= up;
        }
        barrier(); // the eight of before are used
        if (thread_x % 32 == 0) {
            gradients[warp] = g;
            logits[warp] = l;
        }
        barrier();
        for (int e = thread_x; e < dim; e += threads_x)
            for (int w = 0; w < warps && c0 + w < n; w++)
                d[e] = fma1(gradients[w], other[(Index)(c0 + w) * dim + e], d[e]);
        if (thread_x == 0)
            for (int w = 0; w < warps && c0 + w < n; w++) {
                along = fma1(gradients[w], logits[w] - bias, along);
                sum += gradients[w];
            }
    }
    for (int e = thread_x; e < dim; e += threads_x)
        dx[(Index)r * dim + e] = scale * d[e];
    if (sums && thread_x == 0) {
        sums[r] = along;
        sums[n + r] = sum;
    }
}
