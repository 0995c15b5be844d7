// Multi-head self-attention without the matrix of scores (arXiv:2205.14135), in float32.
//
// qkv is (batch·tokens, 3·heads·dim), a row holding q, k and v, each by head; o (batch·tokens, heads·dim);
// lse (batch, heads, tokens). A block of 128 threads takes 32 rows of queries (or keys) of one head of one picture; four
// threads share a row: thread t has row t/4, and of 32 scores 8, of the columns every fourth. dim is at most 128. The grid is
// (tiles of 32 tokens, heads, batch).
#include "common.h"

enum { tile = 32, most_columns = 32 }; // of a head's 128, a quarter

// load brings 32 rows of a head into shared memory, with zeros below the last. line is dim + 1.
DEVICE void load(float *to, const float *x, int first, int tokens, int dim, Index stride, int line) {
    for (int l = thread_x; l < tile * dim; l += 128) {
        int r = l / dim, c = l % dim;
        to[r * line + c] = first + r < tokens ? x[(first + r) * stride + c] : 0;
    }
}

DEVICE float dot_rows(const float *a, const float *b, int dim) {
    float sum = 0;
    for (int c = 0; c < dim; c++)
        sum = fma1(a[c], b[c], sum);
    return sum;
}

DEVICE bool seen(const float *mask, int query, int key, int tokens, int causal) {
    return key < tokens && query < tokens && !(causal && key > query) && !(mask && mask[key] == 0);
}

// attention: o and lse. Shared memory: q, k, v of 32 × (dim+1), and 32 × 33 scores.
KERNEL(attention, float *o, float *lse, const float *qkv, const float *mask, int tokens, int heads, int dim, int causal, float scale) {
    DYNAMIC_SHARED(float, memory);
    int line = dim + 1, head = block_y, batch = block_z, q0 = block_x * tile, row = thread_x / 4, part = thread_x % 4;
    Index stride = 3 * (Index)heads * dim;
    const float *x = qkv + batch * tokens * stride + head * dim;
    const float *shown = mask ? mask + (Index)batch * tokens : 0;
    float *q = memory, *k = q + tile * line, *v = k + tile * line, *p = v + tile * line;
    load(q, x, q0, tokens, dim, stride, line);
    float sum[most_columns], top = -infinity(), total = 0;
    for (int j = 0; j < most_columns; j++)
        sum[j] = 0;
    int end = causal && q0 + tile < tokens ? q0 + tile : tokens;
    for (int k0 = 0; k0 < end; k0 += tile) {
        barrier(); // the tiles are not read any more
        load(k, x + heads * dim, k0, tokens, dim, stride, line);
        load(v, x + 2 * heads * dim, k0, tokens, dim, stride, line);
        barrier();
        float s[8], best = -infinity();
        for (int j = 0; j < 8; j++) {
            int key = part * 8 + j;
            s[j] = seen(shown, q0 + row, k0 + key, tokens, causal) ? scale * dot_rows(q + row * line, k + key * line, dim) : -infinity();
            best = larger(best, s[j]);
        }
        best = larger(best, shuffle_xor(best, 1));
        best = larger(best, shuffle_xor(best, 2));
        best = larger(best, top);
        float again = best == -infinity() ? 1 : exp1(top - best), add = 0;
        for (int j = 0; j < 8; j++) {
            float e = s[j] == -infinity() ? 0 : exp1(s[j] - best);
            p[row * 33 + part * 8 + j] = e;
            add += e;
        }
        add += shuffle_xor(add, 1);
        add += shuffle_xor(add, 2);
        total = total * again + add;
        top = best;
        barrier(); // the row's scores are of four threads
        for (int j = 0, c = part; c < dim; j++, c += 4) {
            float more = 0;
            for (int key = 0; key < tile; key++)
                more = fma1(p[row * 33 + key], v[key * line + c], more);
            sum[j] = fma1(sum[j], again, more);
        }
    }
    if (q0 + row >= tokens)
        return;
    for (int j = 0, c = part; c < dim; j++, c += 4)
        o[((Index)batch * tokens + q0 + row) * heads * dim + head * dim + c] = total == 0 ? 0 : sum[j] / total;
    if (part == 0)
        lse[((Index)batch * heads + head) * tokens + q0 + row] = total == 0 ? -infinity() : top + log1(total);
}

// attention_delta: delta (batch, heads, tokens) = Σ_c do·o.
KERNEL(attention_delta, float *delta, const float *dout, const float *o, int batch, int tokens, int heads, int dim) {
    EACH(i, (Index)batch * heads * tokens) {
        Index t = i % tokens, head = i / tokens % heads, b = i / tokens / heads;
        Index at = ((b * tokens + t) * heads + head) * dim;
        delta[i] = dot_rows(dout + at, o + at, dim);
    }
}

// attention_grad_q: the q of dqkv. Shared memory: q, do, k, v of 32 × (dim+1), and 32 × 33.
KERNEL(attention_grad_q, float *dqkv, const float *dout, const float *delta, const float *lse, const float *qkv, const float *mask,
       int tokens, int heads, int dim, int causal, float scale) {
    DYNAMIC_SHARED(float, memory);
    int line = dim + 1, head = block_y, batch = block_z, q0 = block_x * tile, row = thread_x / 4, part = thread_x % 4;
    Index stride = 3 * (Index)heads * dim;
    const float *x = qkv + batch * tokens * stride + head * dim;
    const float *shown = mask ? mask + (Index)batch * tokens : 0;
    float *q = memory, *d = q + tile * line, *k = d + tile * line, *v = k + tile * line, *ds = v + tile * line;
    load(q, x, q0, tokens, dim, stride, line);
    load(d, dout + ((Index)batch * tokens * heads + head) * dim, q0, tokens, dim, (Index)heads * dim, line);
    Index stat = ((Index)batch * heads + head) * tokens + q0 + row;
    float shift = q0 + row < tokens ? lse[stat] : 0, along = q0 + row < tokens ? delta[stat] : 0, sum[most_columns];
    for (int j = 0; j < most_columns; j++)
        sum[j] = 0;
    int end = causal && q0 + tile < tokens ? q0 + tile : tokens;
    for (int k0 = 0; k0 < end; k0 += tile) {
        barrier();
        load(k, x + heads * dim, k0, tokens, dim, stride, line);
        load(v, x + 2 * heads * dim, k0, tokens, dim, stride, line);
        barrier();
        for (int j = 0; j < 8; j++) {
            int key = part * 8 + j;
            float g = 0;
            if (seen(shown, q0 + row, k0 + key, tokens, causal)) {
                float p = exp1(scale * dot_rows(q + row * line, k + key * line, dim) - shift);
                g = p * (dot_rows(d + row * line, v + key * line, dim) - along) * scale;
            }
            ds[row * 33 + key] = g;
        }
        barrier();
        for (int j = 0, c = part; c < dim; j++, c += 4)
            for (int key = 0; key < tile; key++)
                sum[j] = fma1(ds[row * 33 + key], k[key * line + c], sum[j]);
    }
    if (q0 + row < tokens)
        for (int j = 0, c = part; c < dim; j++, c += 4)
            dqkv[((Index)batch * tokens + q0 + row) * stride + head * dim + c] = sum[j];
}

// attention_grad_kv: the k and v of dqkv. Shared memory: q, do, k, v of 32 × (dim+1), and twice 32 × 33.
KERNEL(attention_grad_kv, float *dqkv, const float *dout, const float *delta, const float *lse, const float *qkv, const float *mask,
       int tokens, int heads, int dim, int causal, float scale) {
    DYNAMIC_SHARED(float, memory);
    int line = dim + 1, head = block_y, batch = block_z, k0 = block_x * tile, row = thread_x / 4, part = thread_x % 4;
    Index stride = 3 * (Index)heads * dim;
    const float *x = qkv + batch * tokens * stride + head * dim;
    const float *shown = mask ? mask + (Index)batch * tokens : 0;
    float *q = memory, *d = q + tile * line, *k = d + tile * line, *v = k + tile * line, *p = v + tile * line, *ds = p + tile * 33;
    load(k, x + heads * dim, k0, tokens, dim, stride, line);
    load(v, x + 2 * heads * dim, k0, tokens, dim, stride, line);
    float dk[most_columns], dv[most_columns];
    for (int j = 0; j < most_columns; j++)
        dk[j] = dv[j] = 0;
    for (int q0 = causal ? k0 : 0; q0 < tokens; q0 += tile) {
        barrier();
        load(q, x, q0, tokens, dim, stride, line);
        load(d, dout + ((Index)batch * tokens * heads + head) * dim, q0, tokens, dim, (Index)heads * dim, line);
        barrier();
        Index stat = ((Index)batch * heads + head) * tokens + q0 + row; // here row is a query
        for (int j = 0; j < 8; j++) {
            int key = part * 8 + j;
            float e = 0, g = 0;
            if (seen(shown, q0 + row, k0 + key, tokens, causal)) {
                e = exp1(scale * dot_rows(q + row * line, k + key * line, dim) - lse[stat]);
                g = e * (dot_rows(d + row * line, v + key * line, dim) - delta[stat]) * scale;
            }
            p[row * 33 + key] = e;
            ds[row * 33 + key] = g;
        }
        barrier();
        for (int j = 0, c = part; c < dim; j++, c += 4) // and here a key
            for (int i = 0; i < tile; i++) {
                dv[j] = fma1(p[i * 33 + row], d[i * line + c], dv[j]);
                dk[j] = fma1(ds[i * 33 + row], q[i * line + c], dk[j]);
            }
    }
    if (k0 + row < tokens)
        for (int j = 0, c = part; c < dim; j++, c += 4) {
            float *to = dqkv + ((Index)batch * tokens + k0 + row) * stride + head * dim + c;
            to[heads * dim] = dk[j];
            to[2 * heads * dim] = dv[j];
        }
}
