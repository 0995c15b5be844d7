// Normalisation of rows, by blocks. A thread has one piece of each row in registers, one value or eight; of rows that are longer
// than that, it reads the others again from the cache.
#include "typed.h"

// Row is the place of a thread in a row of cols values.
template <class W, class X> struct Row {
    X x;
    int cols;
    Values<W::n> first; // of this thread
};

template <class W, class X> DEVICE Row<W, X> row_of(W w, X x, int cols) {
    Row<W, X> row = {x, cols, {}};
    if (thread_x * w.n < cols)
        row.first = load(x + thread_x * w.n, w);
    return row;
}

// each_piece calls f with each piece of the thread's and its column.
template <class W, class X, class F> DEVICE void each_piece(const Row<W, X> &row, F f) {
    W w;
    int first = thread_x * w.n;
    for (int c = first; c < row.cols; c += threads_x * w.n)
        f(c == first ? row.first : load(row.x + c, w), c);
}

// Moments are the mean of a row, in two parts, and 1/√(variance + eps).
struct Moments {
    float mean, rest, rstd;
};

DEVICE float normal(Moments m, float x) { return (x - m.mean - m.rest) * m.rstd; }

// moments_of gives every thread the moments of a row: arXiv:1607.06450. Sums are of differences from the first element, and those
// of squares around the mean, so that a mean far larger than the spread does no harm.
template <class W, class X> DEVICE Moments moments_of(const Row<W, X> &row, float eps) {
    float shift = load1(row.x), sum = 0;
    each_piece(row, [&](Values<W::n> v, int) {
        for (int k = 0; k < W::n; k++)
            sum += v.v[k] - shift;
    });
    float d = block_sum(sum) / row.cols;
    Moments m;
    m.mean = shift + d;
    m.rest = d - (m.mean - shift); // what rounding took
    float squares = 0;
    each_piece(row, [&](Values<W::n> v, int) {
        for (int k = 0; k < W::n; k++) {
            float u = v.v[k] - m.mean - m.rest;
            squares = fma1(u, u, squares);
        }
    });
    m.rstd = 1 / root(block_sum(squares) / row.cols + eps);
    return m;
}

// layer_norm: y = x̂·gain + bias, a block for each row; y may be x.
KERNEL(layer_norm, void *y, const void *x, const float *gain, const float *bias, int types, int cols, float eps) {
    typed(cols % 8 == 0 && aligned(gain, bias), types, y, x, [&](auto w, auto y, auto x) {
        Index at = (Index)block_x * cols;
        auto row = row_of(w, x + at, cols);
        Moments m = moments_of(row, eps);
        each_piece(row, [&](Values<w.n> v, int c) {
            auto g = load(gain + c, w), b = load(bias + c, w);
            for (int k = 0; k < w.n; k++)
                v.v[k] = fma1(normal(m, v.v[k]), g.v[k], b.v[k]);
            store(y + (at + c), v);
        });
    });
}

// layer_norm_grad: dx = rstd·(h - mean(h) - x̂·mean(h·x̂)), h = dy·gain, plus more where there is such a value. Block b has every
// blocks_x-th row. Row b of sums (blocks_x, 2, cols) are its sums of dy·x̂ and of dy, if there is room for them.
// dx may be dy, x or more.
KERNEL(layer_norm_grad, void *dx, float *sums, const void *dy, const void *x, const float *gain, const float *more, int types, Index rows,
       int cols, float eps) {
    auto run = [&](auto w, auto dx, auto dy, auto x) {
        Values<w.n> gains = {}, biases = {}; // of the thread's first piece
        float *to = sums ? sums + (Index)block_x * 2 * cols : 0;
        if (to)
            for (int c = (thread_x + threads_x) * w.n; c < cols; c += threads_x * w.n) {
                store(to + c, gains);
                store(to + cols + c, biases);
            }
        for (Index r = block_x; r < rows; r += blocks_x) {
            auto row = row_of(w, x + r * cols, cols);
            auto up = row_of(w, dy + r * cols, cols);
            Moments m = moments_of(row, eps);
            float sum = 0, along = 0;
            // each calls f with the pieces of x and dy.
            auto each = [&](auto f) {
                int first = thread_x * w.n;
                for (int c = first; c < cols; c += threads_x * w.n)
                    f(c == first ? row.first : load(row.x + c, w), c == first ? up.first : load(up.x + c, w), c);
            };
            each([&](auto v, auto d, int c) {
                auto g = load(gain + c, w);
                for (int k = 0; k < w.n; k++) {
                    float h = d.v[k] * g.v[k];
                    sum += h;
                    along = fma1(h, normal(m, v.v[k]), along);
                }
            });
            Two both = block_sums(sum, along);
            sum = both.a / cols;
            along = both.b / cols;
            each([&](auto v, auto d, int c) {
                auto g = load(gain + c, w);
                Values<w.n> add = {};
                if (more)
                    add = load(more + (r * cols + c), w);
                bool first = c == thread_x * w.n;
                if (to) {
                    auto by_gain = first ? gains : load(to + c, w), by_bias = first ? biases : load(to + cols + c, w);
                    for (int k = 0; k < w.n; k++) {
                        by_gain.v[k] = fma1(d.v[k], normal(m, v.v[k]), by_gain.v[k]);
                        by_bias.v[k] += d.v[k];
                    }
                    if (first) {
                        gains = by_gain;
                        biases = by_bias;
                    } else {
                        store(to + c, by_gain);
                        store(to + cols + c, by_bias);
                    }
                }
                for (int k = 0; k < w.n; k++)
                    v.v[k] = fma1(m.rstd, d.v[k] * g.v[k] - sum - normal(m, v.v[k]) * along, add.v[k]);
                store(dx + (r * cols + c), v);
            });
        }
        if (to && thread_x * w.n < cols) {
            store(to + thread_x * w.n, gains);
            store(to + cols + thread_x * w.n, biases);
        }
    };
    bool whole = cols % 8 == 0 && aligned(dx, dy, x, gain, more, sums) && (types & 1) == types >> 2; // dx and x have one type
    if (whole)
        as(types & 1, dx, [&](auto *dx) { as(types & 2, dy, [&](auto *dy) { run(Eight(), dx, dy, (decltype(dx))x); }); });
    else
        run(One(), any(dx, types & 1), any(dy, types & 2), any(x, types & 4));
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
