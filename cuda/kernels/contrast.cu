// The contrastive loss of n pairs of embeddings over their logits
//
//	l[r,c] = scale·x[r]·other[c] + bias
//
// of which some rows are in memory at a time: dots (rows, n) are the products of embeddings, of rows first … first+rows-1. Labels say
// which rows are equal: package kernel, Contrast.
#include "common.h"

enum { equal_negative, equal_positive, equal_masked };
enum { warps = 8, threads = 32 * warps };

DEVICE float scale_of(const float *log_scale, float constant) { return log_scale ? exp1(log_scale[0]) : constant; }
DEVICE float bias_of(const float *bias, float constant) { return bias ? bias[0] : constant; }

DEVICE bool same_label(const int *labels, int r, int c) { return r == c || (labels[r] >= 0 && labels[r] == labels[c]); }
DEVICE bool is_positive(const int *labels, int r, int c, int equal) {
    return r == c || (equal == equal_positive && same_label(labels, r, c));
}
DEVICE bool is_counted(const int *labels, int r, int c, int equal) {
    return r == c || equal != equal_masked || !same_label(labels, r, c);
}

DEVICE float softplus(float x) {
    float e = exp1(x > 0 ? -x : x);
    return (x > 0 ? x : 0) + log1p1(e);
}

// Seen is what has been seen of the logits of a row, or of a column: the largest, the first place of one so large, the sum of their
// exponentials, each less the largest, and of positives sum and number.
struct Seen {
    float top, total, sum, number;
    int place;

    MEMBER void add(float l, bool positive, int at) {
        if (l > top || place < 0) {
            total *= top == -infinity() ? 0 : exp1(top - l);
            top = l;
            place = at;
        }
        total += exp1(l - top);
        sum += positive ? l : 0;
        number += positive;
    }
    // join adds what others have seen.
    MEMBER void join(const Seen &o) {
        if (o.place < 0)
            return;
        float higher = place < 0 ? o.top : larger(top, o.top);
        total = (place < 0 ? 0 : total * exp1(top - higher)) + o.total * exp1(o.top - higher);
        if (place < 0 || o.top > top || (o.top == top && o.place < place))
            place = o.place;
        top = higher;
        sum += o.sum;
        number += o.number;
    }
    MEMBER float lse() const { return top + log1(total); }
};

DEVICE Seen nothing() { return Seen{-infinity(), 0, 0, 0, -1}; }

// across joins what the lanes of a warp have seen, for all of them.
DEVICE Seen across(Seen s) {
    for (int d = 16; d; d >>= 1) {
        Seen o;
        o.top = shuffle_xor(s.top, d);
        o.total = shuffle_xor(s.total, d);
        o.sum = shuffle_xor(s.sum, d);
        o.number = shuffle_xor(s.number, d);
        o.place = (int)bits_of(shuffle_xor(float_of((unsigned)s.place), d));
        s.join(o);
    }
    return s;
}

// contrast: of each row, stats (n, 2) = the log-sum-exp and the number of positives; loss (n) = log-sum-exp less the mean of the
// positives' logits; hits (n) whether the largest logit, the first of equal ones, is a positive's. A block has a row.
KERNEL(contrast, float *stats, float *loss, float *hits, const float *dots, const int *labels, const float *log_scale, const float *bias_at,
       float scale, float bias, int first, int n, int equal) {
    SHARED(float, parts, 4 * warps);
    SHARED(int, places, warps);
    scale = scale_of(log_scale, scale);
    bias = bias_of(bias_at, bias);
    int r = first + block_x, warp = thread_x / 32;
    const float *row = dots + (Index)block_x * n;
    Seen s = nothing();
    for (int c = thread_x; c < n; c += threads)
        if (is_counted(labels, r, c, equal))
            s.add(fma1(scale, row[c], bias), is_positive(labels, r, c, equal), c);
    s = across(s);
    if (thread_x % 32 == 0) {
        float *p = parts + 4 * warp;
        p[0] = s.top;
        p[1] = s.total;
        p[2] = s.sum;
        p[3] = s.number;
        places[warp] = s.place;
    }
    barrier();
    if (thread_x != 0)
        return;
    for (int w = 1; w < warps; w++) {
        const float *p = parts + 4 * w;
        s.join(Seen{p[0], p[1], p[2], p[3], places[w]});
    }
    float lse = s.lse();
    loss[r] = lse - s.sum / s.number;
    stats[2 * r] = lse;
    stats[2 * r + 1] = s.number;
    hits[r] = is_positive(labels, r, s.place, equal);
}

// contrast_columns: of each column, once all rows have been seen, stats and loss as of the rows. state (4, n) is what was seen of the rows
// before. A block of 32 × 8 threads has 32 columns, of which each eighth row is a thread's.
KERNEL(contrast_columns, float *stats, float *loss, float *state, const float *dots, const int *labels, const float *log_scale, float scale,
       int first, int rows, int n, int equal) {
    SHARED(float, parts, 4 * threads);
    SHARED(int, places, threads);
    scale = scale_of(log_scale, scale);
    int c = block_x * 32 + thread_x, t = thread_y * 32 + thread_x;
    Seen s = nothing();
    if (c < n)
        for (int r = first + thread_y; r < first + rows; r += warps)
            if (is_counted(labels, c, r, equal))
                s.add(scale * dots[(Index)(r - first) * n + c], is_positive(labels, c, r, equal), r);
    parts[t] = s.top;
    parts[threads + t] = s.total;
    parts[2 * threads + t] = s.sum;
    parts[3 * threads + t] = s.number;
    places[t] = s.place;
    barrier();
    if (thread_y != 0 || c >= n)
        return;
    if (first > 0) {
        Seen before = {state[c], state[n + c], state[2 * n + c], state[3 * n + c], state[n + c] == 0 ? -1 : 0};
        before.join(s);
        s = before;
    }
    for (int w = 1; w < warps; w++) {
        int u = w * 32 + thread_x;
        s.join(Seen{parts[u], parts[threads + u], parts[2 * threads + u], parts[3 * threads + u], places[u]});
    }
    if (first + rows < n) {
        state[c] = s.top;
        state[n + c] = s.total;
        state[2 * n + c] = s.sum;
        state[3 * n + c] = s.number;
        return;
    }
    float lse = s.lse();
    loss[c] = lse - s.sum / s.number;
    stats[2 * c] = lse;
    stats[2 * c + 1] = s.number;
}

// contrast_pairs: of each row, loss (n) = Σ_c log(1 + exp(-z·l)), z = 1 for a positive, else -1; hits as of contrast.
KERNEL(contrast_pairs, float *loss, float *hits, const float *dots, const int *labels, const float *log_scale, const float *bias_at, float scale,
       float bias, int first, int n, int equal) {
    SHARED(float, tops, warps);
    SHARED(int, places, warps);
    scale = scale_of(log_scale, scale);
    bias = bias_of(bias_at, bias);
    int r = first + block_x, place = n;
    const float *row = dots + (Index)block_x * n;
    float sum = 0, top = -infinity();
    for (int c = thread_x; c < n; c += threads)
        if (is_counted(labels, r, c, equal)) {
            float l = fma1(scale, row[c], bias);
            sum += softplus(is_positive(labels, r, c, equal) ? -l : l);
            if (l > top || place == n) {
                top = l;
                place = c;
            }
        }
    sum = block_sum(sum);
    for (int d = 16; d; d >>= 1) {
        float other = shuffle_xor(top, d);
        int at = (int)bits_of(shuffle_xor(float_of((unsigned)place), d));
        if (other > top || (other == top && at < place)) {
            top = other;
            place = at;
        }
    }
    if (thread_x % 32 == 0) {
        tops[thread_x / 32] = top;
        places[thread_x / 32] = place;
    }
    barrier();
    if (thread_x != 0)
        return;
    for (int w = 1; w < warps; w++)
        if (tops[w] > top || (tops[w] == top && places[w] < place)) {
            top = tops[w];
            place = places[w];
        }
    loss[r] = sum;
    hits[r] = place < n && is_positive(labels, r, place, equal);
}

// contrast_grad turns dots into scale·g, where g is the gradient of the logits: by the stats of the rows and, unless they are null, of the
// columns; by the pairs' own loss where both are null. share is the weight of each softmax. sums (2, n) = Σ_c g·(l - bias) and
// Σ_c g. A block has a row.
KERNEL(contrast_grad, float *dots, float *sums, const int *labels, const float *row_stats, const float *col_stats, const float *upstream,
       const float *log_scale, const float *bias_at, float scale, float bias, float share, int first, int n, int equal) {
    scale = scale_of(log_scale, scale);
    bias = bias_of(bias_at, bias);
    int r = first + block_x;
    float *row = dots + (Index)block_x * n;
    float up = upstream[0] / n * share, along = 0, sum = 0, lse = 0, part = 0;
    if (row_stats) {
        lse = row_stats[2 * r];
        part = 1 / row_stats[2 * r + 1];
    }
    for (int c = thread_x; c < n; c += threads) {
        float g = 0, l = scale * row[c];
        if (is_counted(labels, r, c, equal)) {
            bool positive = is_positive(labels, r, c, equal);
            if (row_stats)
                g += exp1(l + bias - lse) - (positive ? part : 0);
            if (col_stats)
                g += exp1(l - col_stats[2 * c]) - (positive ? 1 / col_stats[2 * c + 1] : 0);
            if (!row_stats && !col_stats)
                g = positive ? -sigmoid(-(l + bias)) : sigmoid(l + bias);
            g *= up;
            along = fma1(g, l, along);
            sum += g;
        }
        row[c] = scale * g;
    }
    along = block_sum(along);
    sum = block_sum(sum);
    if (thread_x == 0) {
        sums[r] = along;
        sums[n + r] = sum;
    }
}
