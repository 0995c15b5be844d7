// Sequences of tokens: lookup, positions, pooling. x is (batch·tokens, dim).
#include "common.h"

// embedding: y (n, dim) = the rows ids of the table, zeros for a negative one.
KERNEL(embedding, float *y, const float *table, const int *ids, Index n, int dim) {
    EACH(i, n * dim) {
        int id = ids[i / dim];
        y[i] = id < 0 ? 0 : table[(Index)id * dim + i % dim];
    }
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
    EACH(i, n)
    y[i] = x[i] + pos[i % size];
}

// prepend_token: y (batch·(tokens+1), dim).
KERNEL(prepend_token, float *y, const float *x, const float *token, Index batch, int tokens, int dim) {
    EACH(i, batch * (tokens + 1) * dim) {
        Index row = i / dim, t = row % (tokens + 1);
        y[i] = t == 0 ? token[i % dim] : x[(row - row / (tokens + 1) - 1) * dim + i % dim];
    }
}

// drop_token: dx (batch·tokens, dim) of dy (batch·(tokens+1), dim).
KERNEL(drop_token, float *dx, const float *dy, Index batch, int tokens, int dim) {
    EACH(i, batch * tokens * dim) {
        Index row = i / dim;
        dx[i] = dy[(row + row / tokens + 1) * dim + i % dim];
    }
}

// pool_at: y (batch, dim) = row index[b] of each sequence; the first one without an index.
KERNEL(pool_at, float *y, const float *x, const int *index, Index batch, int tokens, int dim) {
    EACH(i, batch * dim) {
        Index b = i / dim;
        y[i] = x[(b * tokens + (index ? index[b] : 0)) * dim + i % dim];
    }
}

KERNEL(pool_at_grad, float *dx, const float *dy, const int *index, Index batch, int tokens, int dim) {
    EACH(i, batch * tokens * dim) {
        Index row = i / dim, b = row / tokens;
        dx[i] = row % tokens == (index ? index[b] : 0) ? dy[b * dim + i % dim] : 0;
    }
}

KERNEL(pool_mean, float *y, const float *x, Index batch, int tokens, int dim) {
    EACH(i, batch * dim) {
        const float *p = x + i / dim * tokens * dim + i % dim;
        float sum = 0;
        for (int t = 0; t < tokens; t++)
            sum += p[(Index)t * dim];
        y[i] = sum / tokens;
    }
}

KERNEL(pool_mean_grad, float *dx, const float *dy, Index batch, int tokens, int dim) {
    EACH(i, batch * tokens * dim)
    dx[i] = dy[i / dim / tokens * dim + i % dim] / tokens;
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

// pool_weighted: y (batch, dim) = Σ_t w·x; rows of weight zero are not read.
KERNEL(pool_weighted, float *y, const float *x, const float *w, Index batch, int tokens, int dim) {
    EACH(i, batch * dim) {
        Index b = i / dim;
        float sum = 0;
        for (int t = 0; t < tokens; t++) {
            float by = w[b * tokens + t];
            if (by != 0)
                sum = fma1(by, x[(b * tokens + t) * dim + i % dim], sum);
        }
        y[i] = sum;
    }
}

KERNEL(pool_weighted_grad, float *dx, const float *dy, const float *w, Index batch, int tokens, int dim) {
    EACH(i, batch * tokens * dim) {
        float by = w[i / dim];
        dx[i] = by == 0 ? 0 : by * dy[i / dim / tokens * dim + i % dim];
    }
}

// largest is the first token with the largest value of a column among those that the mask shows; -1: none. A NaN is the
// largest.
DEVICE int largest(const float *x, const float *mask, int tokens, int dim) {
    int at = -1;
    for (int t = 0; t < tokens; t++) {
        if (mask[t] == 0)
            continue;
        float v = x[(Index)t * dim];
        if (at < 0 || v > x[(Index)at * dim] || (v != v && x[(Index)at * dim] == x[(Index)at * dim]))
            at = t;
    }
    return at;
}

KERNEL(pool_max, float *y, const float *x, const float *mask, Index batch, int tokens, int dim) {
    EACH(i, batch * dim) {
        Index b = i / dim;
        const float *p = x + b * tokens * dim + i % dim;
        int t = largest(p, mask + b * tokens, tokens, dim);
        y[i] = t < 0 ? 0 : p[(Index)t * dim];
    }
}

// pool_max_grad may write dx to the memory of x: a thread has read its whole column before.
KERNEL(pool_max_grad, float *dx, const float *x, const float *mask, const float *dy, Index batch, int tokens, int dim) {
    EACH(i, batch * dim) {
        Index b = i / dim, at = b * tokens * dim + i % dim;
        int best = largest(x + at, mask + b * tokens, tokens, dim);
        for (int t = 0; t < tokens; t++)
            dx[at + (Index)t * dim] = t == best ? dy[i] : 0;
    }
}
