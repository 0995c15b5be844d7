// Sequences of tokens: lookup, positions, pooling. x is (batch·tokens, dim).
#include "typed.h"

// embedding: y (n, dim) = the rows ids of the table, zeros for a negative one.
KERNEL(embedding, float *y, const float *table, const int *ids, Index n, int dim) {
    by_width(dim % 8 == 0 && aligned(y, table), [&](auto w) {
        EACH(p, n * dim / w.n) {
            Index i = p * w.n;
            int id = ids[i / dim];
            Values<w.n> v = {};
            if (id >= 0)
                v = load(table + ((Index)id * dim + i % dim), w);
            store(y + i, v);
        }
    });
}

// embedding_grad adds dy (n, dim) up by ids, into a table of zeros. order are the places of ids by ascending id, those of one
// id in their order; the block of its first one adds them all, in that order.
KERNEL(embedding_grad, float *dtable, const float *dy, const int *ids, const int *order, int n, int dim) {
    int first = block_x, id = ids[order[first]];
    if (id < 0 || (first > 0 && ids[order[first - 1]] == id))
        return;
    for (int c = thread_x; c < dim; c += threads_x) {
        float sum = 0;
        for (int k = first; k < n && ids[order[k]] == id; k++)
            sum += dy[(Index)order[k] * dim + c];
        dtable[(Index)id * dim + c] = sum;
    }
}

// add_rows: y = x + pos, for each sequence; size is tokens·dim.
KERNEL(add_rows, float *y, const float *x, const float *pos, Index n, Index size) {
    by_width(size % 8 == 0 && aligned(y, x, pos), [&](auto w) {
        EACH(p, n / w.n) {
            Index i = p * w.n;
            auto v = load(x + i, w), at = load(pos + i % size, w);
            for (int k = 0; k < w.n; k++)
                v.v[k] += at.v[k];
            store(y + i, v);
        }
    });
}

// prepend_token: y (batch·(tokens+1), dim).
KERNEL(prepend_token, float *y, const float *x, const float *token, Index batch, int tokens, int dim) {
    by_width(dim % 8 == 0 && aligned(y, x, token), [&](auto w) {
        EACH(p, batch * (tokens + 1) * dim / w.n) {
            Index i = p * w.n, row = i / dim;
            store(y + i, row % (tokens + 1) == 0 ? load(token + i % dim, w) : load(x + ((row - row / (tokens + 1) - 1) * dim + i % dim), w));
        }
    });
}

// drop_token: dx (batch·tokens, dim) of dy (batch·(tokens+1), dim).
KERNEL(drop_token, void *dx, const void *dy, int types, Index batch, int tokens, int dim) {
    typed(dim % 8 == 0, types, dx, dy, [&](auto w, auto dx, auto dy) {
        EACH(p, batch * tokens * dim / w.n) {
            Index i = p * w.n, row = i / dim;
            store(dx + i, load(dy + ((row + row / tokens + 1) * dim + i % dim), w));
        }
    });
}

// pool_at: y (batch, dim) = row index[b] of each sequence; the first one without an index.
KERNEL(pool_at, void *y, const void *x, const int *index, int types, Index batch, int tokens, int dim) {
    typed(dim % 8 == 0, types, y, x, [&](auto w, auto y, auto x) {
        EACH(p, batch * dim / w.n) {
            Index i = p * w.n, b = i / dim;
            store(y + i, load(x + ((b * tokens + (index ? index[b] : 0)) * dim + i % dim), w));
        }
    });
}

KERNEL(pool_at_grad, void *dx, const void *dy, const int *index, int types, Index batch, int tokens, int dim) {
    typed(dim % 8 == 0, types, dx, dy, [&](auto w, auto dx, auto dy) {
        EACH(p, batch * tokens * dim / w.n) {
            Index i = p * w.n, row = i / dim, b = row / tokens;
            Values<w.n> v = {};
            if (row % tokens == (index ? index[b] : 0))
                v = load(dy + (b * dim + i % dim), w);
            store(dx + i, v);
        }
    });
}

// pool_weighted: y (batch, dim) = Σ_t w·x; rows of weight zero are not read. Without weights it is the mean.
KERNEL(pool_weighted, void *y, const void *x, const float *weights, int types, Index batch, int tokens, int dim) {
    typed(dim % 8 == 0, types, y, x, [&](auto w, auto y, auto x) {
        EACH(p, batch * dim / w.n) {
            Index i = p * w.n, b = i / dim;
            Values<w.n> sum = {};
            for (int t = 0; t < tokens; t++) {
                float by = weights ? weights[b * tokens + t] : 1;
                if (by == 0)
                    continue;
                auto v = load(x + ((b * tokens + t) * dim + i % dim), w);
                for (int k = 0; k < w.n; k++)
                    sum.v[k] = fma1(by, v.v[k], sum.v[k]);
            }
            for (int k = 0; k < w.n && !weights; k++)
                sum.v[k] /= tokens;
            store(y + i, sum);
        }
    });
}

KERNEL(pool_weighted_grad, void *dx, const void *dy, const float *weights, int types, Index batch, int tokens, int dim) {
    typed(dim % 8 == 0, types, dx, dy, [&](auto w, auto dx, auto dy) {
        EACH(p, batch * tokens * dim / w.n) {
            Index i = p * w.n;
            float by = weights ? weights[i / dim] : 1;
            Values<w.n> v = {};
            if (by != 0)
                v = load(dy + (i / dim / tokens * dim + i % dim), w);
            for (int k = 0; k < w.n; k++)
                v.v[k] = weights ? v.v[k] * by : v.v[k] / tokens;
            store(dx + i, v);
        }
    });
}

// mean_weights: w (batch, tokens) = mask / max(Σ mask, 1e-9). A thread for each sequence.
KERNEL(mean_weights, float *w, const float *mask, Index batch, int tokens) {
    EACH(b, batch) {
        float sum = 0;
        for (int t = 0; t < tokens; t++)
            sum += mask[b * tokens + t];
        sum = sum < 1e-9f ? 1e-9f : sum;
        for (int t = 0; t < tokens; t++)
            w[b * tokens + t] = mask[b * tokens + t] / sum;
    }
}

// largest is the first token with the largest value of a column among those that the mask shows; -1: none. A NaN is the
// largest.
DEVICE int largest(Any x, const float *mask, int tokens, int dim, float &top) {
    int at = -1;
    top = 0;
    for (int t = 0; t < tokens; t++) {
        if (mask[t] == 0)
            continue;
        float v = load1(x + (Index)t * dim);
        if (at < 0 || v > top || (v != v && top == top)) {
            at = t;
            top = v;
        }
    }
    return at;
}

KERNEL(pool_max, void *y, const void *x, const float *mask, int types, Index batch, int tokens, int dim) {
    EACH(i, batch * dim) {
        Index b = i / dim;
        float top;
        largest(any(x, types & 2) + (b * tokens * dim + i % dim), mask + b * tokens, tokens, dim, top);
        store1(any(y, types & 1) + i, top);
    }
}

// pool_max_grad may write dx to the memory of x: a thread has read its whole column before.
KERNEL(pool_max_grad, void *dx, const void *x, const float *mask, const void *dy, int types, Index batch, int tokens, int dim) {
    EACH(i, batch * dim) {
        Index b = i / dim, at = b * tokens * dim + i % dim;
        float top, up = load1(any(dy, types & 4) + i);
        int best = largest(any(x, types & 2) + at, mask + b * tokens, tokens, dim, top);
        for (int t = 0; t < tokens; t++)
            store1(any(dx, types & 1) + (at + (Index)t * dim), t == best ? up : 0);
    }
}
