// Multi-head self-attention without the matrix of scores (arXiv:2205.14135, arXiv:2307.08691), for any arithmetic E: Plain, and those
// of attention_tensor.cu. Sums, scores, the sums of probabilities and lse are float32.
//
// qkv is (batch·tokens, 3·heads·dim), a row holding q, k and v, each by head; o (batch·tokens, heads·dim);
// lse (batch, heads, tokens). D is dim or more: columns beyond are zeros in shared memory. The grid is (tiles of 64 tokens, heads, batch).
// A block is four warps. A warp owns 16 rows of the block's 64 and goes through tiles of the others. Probabilities stay in registers.
#pragma once

#include "common.h"

enum { own_rows = 64, threads = 128 };

// Head is where a block's head of a picture lies.
template <class E> struct Head {
    const typename E::Stored *q, *k, *v;
    const float *mask;
    Index stride, at, stat; // of a row of qkv; of the head in o and in lse
    int tokens, dim;

    MEMBER Head(const typename E::Stored *qkv, const float *mask, int tokens, int heads, int dim)
        : mask(mask ? mask + (Index)block_z * tokens : 0), stride(3 * (Index)heads * dim),
          at(((Index)block_z * tokens * heads + block_y) * dim), stat(((Index)block_z * heads + block_y) * tokens), tokens(tokens), dim(dim) {
        q = qkv + (Index)block_z * tokens * stride + block_y * dim;
        k = q + heads * dim;
        v = k + heads * dim;
    }
    MEMBER Index o_stride() const { return stride / 3; }
};

// fetch begins to bring rows first … first+rows-1 of a head into a tile, with zeros beyond the last token and the last column.
template <class E, int D, int rows> DEVICE void fetch(typename E::Place tile, const typename E::Stored *x, int first, int tokens, int dim, Index stride) {
    enum { chunks = D / E::per };
    if (E::whole(dim)) {
        UNROLL
        for (int i = 0; i < rows * chunks / threads; i++) {
            int l = i * threads + thread_x, r = l / chunks, c = l % chunks * E::per;
            E::fetch(E::on(tile, r * (D + E::spare) + c), x + (first + r) * stride + c, first + r < tokens && c < dim);
        }
        return;
    }
    LOOP
    for (int l = thread_x; l < rows * chunks; l += threads) {
        int r = l / chunks, c = l % chunks * E::per;
        E::fetch_some(E::on(tile, r * (D + E::spare) + c), x + (first + r) * stride + c, first + r < tokens ? dim - c : 0);
    }
}

template <int count> DEVICE void zero(float (*s)[4]) {
    UNROLL
    for (int n = 0; n < count / 8; n++)
        s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
}

// Matrix are the products of a warp. Of sums, 16 rows of it, s[n] are columns 8n … 8n+7: of rows g and g+8 the two at 2t, where
// g and t are the thread's row and column in port.h.
template <class E> struct Matrix {
    // product: s[n] += the products of a warp's 16 rows of a with rows of tile, below limit, along all columns.
    template <int D, int count> static MEMBER void product(float (*s)[4], const unsigned (*a)[4], typename E::Place tile, int limit) {
        enum { line = D + E::spare };
        UNROLL
        for (int k = 0; k < D / E::depth; k++) {
            UNROLL
            for (int n = 0; n < count; n += 16)
                if (n < limit) {
                    unsigned b[4];
                    E::template rows<line>(b, tile, n, k * E::depth);
                    E::multiply(s[n / 8], a[k], b);
                    E::multiply(s[n / 8 + 1], a[k], b + 2);
                }
        }
    }

    // product_with is product where the left side is read from a tile of its own.
    template <int D, int count> static MEMBER void product_with(float (*s)[4], typename E::Place mine, typename E::Place tile, int limit) {
        enum { line = D + E::spare };
        UNROLL
        for (int k = 0; k < D / E::depth; k++) {
            unsigned a[4];
            E::template left<line>(a, mine, thread_x / 32 * 16, k * E::depth);
            UNROLL
            for (int n = 0; n < count; n += 16)
                if (n < limit) {
                    unsigned b[4];
                    E::template rows<line>(b, tile, n, k * E::depth);
                    E::multiply(s[n / 8], a, b);
                    E::multiply(s[n / 8 + 1], a, b + 2);
                }
        }
    }

    // gather: sum[n] += the product of s, 16 × count, with the rows of tile, below limit.
    template <int D, int count> static MEMBER void gather(float (*sum)[4], float (*s)[4], typename E::Place tile, int limit) {
        enum { line = D + E::spare };
        UNROLL
        for (int k = 0; k < count / E::depth; k++)
            if (k * E::depth < limit) {
                unsigned a[4];
                E::again(a, s, k);
                UNROLL
                for (int n = 0; n < D; n += 16) {
                    unsigned b[4];
                    E::template columns<line>(b, tile, k * E::depth, n);
                    E::multiply(sum[n / 8], a, b);
                    E::multiply(sum[n / 8 + 1], a, b + 2);
                }
            }
    }

    // put brings the sums of a warp, those of rows g and g+8 times a factor, to its rows of a tile.
    template <int D> static MEMBER void put(typename E::Held *tile, float (*s)[4], float low, float high) {
        typename E::Held *p = tile + (thread_x / 32 * 16 + thread_x % 32 / 4) * (D + E::spare) + thread_x % 4 * 2;
        UNROLL
        for (int n = 0; n < D / 8; n++) {
            E::put2(p + n * 8, s[n][0] * low, s[n][1] * low);
            E::put2(p + n * 8 + 8 * (D + E::spare), s[n][2] * high, s[n][3] * high);
        }
    }
};

// Plain is the arithmetic in float32, for any dim. Tiles have rows of D values and 4 more, so that the rows that are read together
// lie in different banks.
struct Plain {
    typedef float Stored, Held;
    typedef float *Place;
    enum { ahead = 0, depth = 1, per = 4, spare = 4 };

    static MEMBER Place place(Held *p) { return p; }
    static MEMBER Place on(Place p, int values) { return p + values; }
    static MEMBER bool whole(int dim) { return dim % 4 == 0; }
    static MEMBER void fetch(Place to, const Stored *from, bool there) {
        Words w = {{0, 0, 0, 0}};
        if (there)
            w = load16(from);
        store16(to, w);
    }
    static MEMBER void fetch_some(Place to, const Stored *from, int there) {
        for (int i = 0; i < 4; i++)
            to[i] = i < there ? from[i] : 0;
    }
    static MEMBER void drain_some(Stored *to, const Held *from, int there) {
        for (int i = 0; i < 4 && i < there; i++)
            to[i] = from[i];
    }
    static MEMBER void commit() {}
    static MEMBER void wait() {}
    // left is for arithmetic that keeps its left side in registers.
    template <int line> static MEMBER void left(unsigned *, Place, int, int) {}
};

template <> struct Matrix<Plain> {
    typedef Plain::Place Place;

    template <int D, int count> static MEMBER void product(float (*)[4], const unsigned (*)[4], Place, int) {}

    // product_with: s[n] += the products of a warp's 16 rows of mine with rows of tile, below limit, along all columns.
    template <int D, int count> static MEMBER void product_with(float (*s)[4], Place mine, Place tile, int limit) {
        enum { line = D + Plain::spare };
        int lane = thread_x % 32;
        const float *a = mine + (thread_x / 32 * 16 + lane / 4) * line, *b = tile + lane % 4 * 2 * line;
        LOOP
        for (int k = 0; k < D; k += 4) {
            Words high = load16(a + k), low = load16(a + 8 * line + k);
            UNROLL
            for (int n = 0; n < count / 8; n++)
                if (n * 8 < limit) {
                    Words left = load16(b + n * 8 * line + k), right = load16(b + (n * 8 + 1) * line + k);
                    UNROLL
                    for (int i = 0; i < 4; i++) {
                        s[n][0] = fma1(float_of(high.w[i]), float_of(left.w[i]), s[n][0]);
                        s[n][1] = fma1(float_of(high.w[i]), float_of(right.w[i]), s[n][1]);
                        s[n][2] = fma1(float_of(low.w[i]), float_of(left.w[i]), s[n][2]);
                        s[n][3] = fma1(float_of(low.w[i]), float_of(right.w[i]), s[n][3]);
                    }
                }
        }
    }

    // gather: sum += the product of s, 16 × count, with the rows of tile, below limit. The four threads of a row pass its
    // probabilities on, so each has an order of its own. Here sum[2n] and sum[2n+1] are columns 16n+4t … 16n+4t+3.
    template <int D, int count> static MEMBER void gather(float (*sum)[4], float (*s)[4], Place tile, int limit) {
        enum { line = D + Plain::spare };
        int t = thread_x % 4;
        UNROLL
        for (int n = 0; n < count / 8; n++)
            if (n * 8 < limit) {
                LOOP
                for (int from = 0; from < 4; from++) {
                    const float *row = tile + (n * 8 + (t ^ from) * 2) * line + t * 4;
                    UNROLL
                    for (int i = 0; i < 2; i++, row += line) {
                        float high = shuffle_xor(s[n][i], from), low = shuffle_xor(s[n][2 + i], from);
                        UNROLL
                        for (int c = 0; c < D / 16; c++) {
                            Words v = load16(row + c * 16);
                            UNROLL
                            for (int j = 0; j < 4; j++) {
                                sum[2 * c + j / 2][j % 2] = fma1(high, float_of(v.w[j]), sum[2 * c + j / 2][j % 2]);
                                sum[2 * c + j / 2][2 + j % 2] = fma1(low, float_of(v.w[j]), sum[2 * c + j / 2][2 + j % 2]);
                            }
                        }
                    }
                }
            }
    }

    template <int D> static MEMBER void put(float *tile, float (*s)[4], float high, float low) {
        float *p = tile + (thread_x / 32 * 16 + thread_x % 32 / 4) * (D + Plain::spare) + thread_x % 4 * 4;
        UNROLL
        for (int c = 0; c < D / 16; c++) {
            UNROLL
            for (int j = 0; j < 4; j++) {
                p[c * 16 + j] = s[2 * c + j / 2][j % 2] * high;
                p[c * 16 + j + 8 * (D + Plain::spare)] = s[2 * c + j / 2][2 + j % 2] * low;
            }
        }
    }
};

// drain writes a tile of 64 rows to a head's rows from first on.
template <class E, int D> DEVICE void drain(typename E::Stored *x, const typename E::Held *tile, int first, int tokens, int dim, Index stride) {
    enum { chunks = D / E::per };
    LOOP
    for (int l = thread_x; l < own_rows * chunks; l += threads) {
        int r = l / chunks, c = l % chunks * E::per;
        typename E::Stored *to = x + (first + r) * stride + c;
        const typename E::Held *from = tile + r * (D + E::spare) + c;
        if (first + r >= tokens || c >= dim)
            continue;
        if (E::whole(dim))
            store16(to, load16(from));
        else
            E::drain_some(to, from, dim - c);
    }
}

// hidden is what is added to the scores of a key: 0, or -Inf where it is not to be seen.
DEVICE float hidden(const float *mask, int key, int tokens) {
    return key < tokens && !(mask && mask[key] == 0) ? 0 : -infinity();
}

// hide_later hides the scores of keys that come after their query: row is the query's distance from the first key, column the thread's.
template <int columns> DEVICE void hide_later(float (*s)[4], int row, int column) {
    UNROLL
    for (int n = 0; n < columns; n++) {
        UNROLL
        for (int i = 0; i < 4; i++)
            if (n * 8 + column + i % 2 > row + i / 2 * 8)
                s[n][i] = -infinity();
    }
}

// hide_earlier is hide_later where rows are keys and columns queries.
template <int columns> DEVICE void hide_earlier(float (*s)[4], int row, int column) {
    UNROLL
    for (int n = 0; n < columns; n++) {
        UNROLL
        for (int i = 0; i < 4; i++)
            if (n * 8 + column + i % 2 < row + i / 2 * 8)
                s[n][i] = -infinity();
    }
}

// What the four threads of a row have: the largest, and the sum.
DEVICE float row_max(float v) {
    v = larger(v, shuffle_xor(v, 1));
    return larger(v, shuffle_xor(v, 2));
}
DEVICE float row_sum(float v) {
    v += shuffle_xor(v, 1);
    return v + shuffle_xor(v, 2);
}

DEVICE int below(int a, int b) { return a < b ? a : b; }

// fetch_keys begins to bring the keys from k0 on and their values, and brings what hides them.
template <class E, int D, int count> DEVICE void fetch_keys(typename E::Place tile, float *hides, const Head<E> &x, int k0) {
    fetch<E, D, count>(tile, x.k, k0, x.tokens, x.dim, x.stride);
    fetch<E, D, count>(E::on(tile, count * (D + E::spare)), x.v, k0, x.tokens, x.dim, x.stride);
    if (thread_x < count)
        hides[thread_x] = hidden(x.mask, k0 + thread_x, x.tokens);
    if (E::ahead)
        E::commit();
}

// await_keys waits for the tile of keys from k0 on, which has been begun where tiles are brought ahead: then the next one is begun, in
// the place of the tile before, which has been read.
template <class E, int D, int count> DEVICE void await_keys(typename E::Place tiles, float *hides, const Head<E> &x, int k0, int end, int stage) {
    if (E::ahead) {
        E::wait();
        barrier(); // this tile is there, and the one before has been read
        if (k0 + count < end)
            fetch_keys<E, D, count>(E::on(tiles, (stage ^ 1) * 2 * count * (D + E::spare)), hides + (stage ^ 1) * count, x, k0 + count);
    } else {
        barrier();
        fetch_keys<E, D, count>(tiles, hides, x, k0);
        barrier();
    }
}

// attend is the forward pass. Shared memory: 256 rows where tiles are brought ahead, else 192.
template <class E, int D>
DEVICE void attend(typename E::Stored *o, float *lse, const typename E::Stored *qkv, const float *mask, int tokens, int heads, int dim, int causal, float scale) {
    enum { line = D + E::spare, count = 64, steps = E::ahead ? D / E::depth : 1 };
    DYNAMIC_SHARED(typename E::Held, memory);
    SHARED(float, hides, 2 * count);
    Head<E> x(qkv, mask, tokens, heads, dim);
    int first = block_x * own_rows, mine = first + thread_x / 32 * 16, g = mine + thread_x % 32 / 4, t = thread_x % 4;
    typename E::Place q = E::place(memory), tiles = E::ahead ? q : E::on(q, own_rows * line);
    unsigned a[steps][4];
    fetch<E, D, own_rows>(q, x.q, first, tokens, dim, x.stride);
    if (E::ahead) {
        E::commit();
        E::wait();
        barrier();
        UNROLL
        for (int k = 0; k < steps; k++)
            E::template left<line>(a[k], q, thread_x / 32 * 16, k * E::depth);
        barrier(); // the tiles lie there, too
    }
    float sum[D / 8][4], top[2] = {-infinity(), -infinity()}, total[2] = {0, 0};
    zero<D>(sum);
    scale *= 1.4426950408889634f; // powers are of two
    int end = causal ? below(tokens, first + own_rows) : tokens;
    if (E::ahead)
        fetch_keys<E, D, count>(tiles, hides, x, 0);
    for (int k0 = 0, stage = 0; k0 < end; k0 += count) {
        await_keys<E, D, count>(tiles, hides, x, k0, end, stage);
        typename E::Place k = E::on(tiles, stage * 2 * count * line), v = E::on(k, count * line);
        const float *hide = hides + stage * count;
        stage ^= E::ahead;
        int limit = below(count, tokens - k0);
        if (causal)
            limit = below(limit, mine + 16 - k0);
        if (mine >= tokens || limit <= 0)
            continue;
        float s[count / 8][4];
        zero<count>(s);
        if (E::ahead)
            Matrix<E>::template product<D, count>(s, a, k, limit);
        else
            Matrix<E>::template product_with<D, count>(s, q, k, limit);
        float best[2] = {top[0], top[1]};
        UNROLL
        for (int n = 0; n < count / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                int key = n * 8 + t * 2 + i % 2;
                s[n][i] = fma1(s[n][i], scale, hide[key]);
            }
        }
        if (causal && k0 + count > mine + 1)
            hide_later<count / 8>(s, g - k0, t * 2);
        UNROLL
        for (int n = 0; n < count / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++)
                best[i / 2] = larger(best[i / 2], s[n][i]);
        }
        float again[2], add[2] = {0, 0};
        for (int i = 0; i < 2; i++) {
            best[i] = row_max(best[i]);
            float shift = best[i] == -infinity() ? 0 : best[i];
            again[i] = exp2_flush(top[i] - shift);
            top[i] = best[i];
            best[i] = shift;
        }
        UNROLL
        for (int n = 0; n < count / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                s[n][i] = exp2_flush(s[n][i] - best[i / 2]);
                add[i / 2] += s[n][i];
            }
        }
        for (int i = 0; i < 2; i++)
            total[i] = fma1(total[i], again[i], add[i]);
        UNROLL
        for (int n = 0; n < D / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++)
                sum[n][i] *= again[i / 2];
        }
        Matrix<E>::template gather<D, count>(sum, s, v, limit);
    }
    for (int i = 0; i < 2; i++)
        total[i] = row_sum(total[i]);
    for (int i = 0; i < 2; i++)
        if (t == 0 && g + 8 * i < tokens)
            lse[x.stat + g + 8 * i] = total[i] == 0 ? -infinity() : top[i] * 0.6931471806f + log1(total[i]);
    barrier();
    Matrix<E>::template put<D>(memory, sum, total[0] == 0 ? 0 : 1 / total[0], total[1] == 0 ? 0 : 1 / total[1]);
    barrier();
    drain<E, D>(o + x.at, memory, first, tokens, dim, x.o_stride());
}

// shift_of is what is taken from a row's scores before they are powers of two: +Inf where there are none, so that they are 0.
DEVICE float shift_of(const float *lse, int row, int tokens) {
    float l = row < tokens ? lse[row] : -infinity();
    return l == -infinity() ? infinity() : l * 1.4426950408889634f;
}

// along is Σ_c do·o of a row, half of it for each of two threads, for both.
template <class T> DEVICE float along(const T *d, const T *o, int dim) {
    float sum = 0;
    if (dim % 8 != 0)
        for (int c = thread_x % 2; c < dim; c += 2)
            sum = fma1(load1(d + c), load1(o + c), sum);
    else
        for (int c = thread_x % 2 * 8; c < dim; c += 16) {
            auto a = load8(d + c), b = load8(o + c);
            for (int i = 0; i < 8; i++)
                sum = fma1(a.v[i], b.v[i], sum);
        }
    return sum + shuffle_xor(sum, 1);
}

// attend_grad_q is the q of dqkv, and delta (batch, heads, tokens) = Σ_c do·o. It goes through keys, 64 at a time or, where D is more,
// 32. Shared memory: 4·count rows, and 128 at least, where they are brought ahead; else 128 + 2·count.
template <class E, int D, int count>
DEVICE void attend_grad_q(typename E::Stored *dqkv, float *delta, const typename E::Stored *dout, const typename E::Stored *o, const float *lse,
                          const typename E::Stored *qkv, const float *mask, int tokens, int heads, int dim, int causal, float scale) {
    enum { line = D + E::spare, steps = E::ahead ? D / E::depth : 1 };
    DYNAMIC_SHARED(typename E::Held, memory);
    SHARED(float, hides, 2 * count);
    SHARED(float, deltas, own_rows);
    Head<E> x(qkv, mask, tokens, heads, dim);
    int first = block_x * own_rows, row = thread_x / 32 * 16 + thread_x % 32 / 4, mine = first + thread_x / 32 * 16, t = thread_x % 4;
    typename E::Place q = E::place(memory), d = E::on(q, own_rows * line), tiles = E::ahead ? q : E::on(d, own_rows * line);
    fetch<E, D, own_rows>(q, x.q, first, tokens, dim, x.stride);
    fetch<E, D, own_rows>(d, dout + x.at, first, tokens, dim, x.o_stride());
    if (E::ahead)
        E::commit();
    Index far = x.at + below(first + thread_x / 2, tokens - 1) * x.o_stride();
    float sum_do = along(dout + far, o + far, dim);
    if (thread_x % 2 == 0) {
        deltas[thread_x / 2] = sum_do;
        if (first + thread_x / 2 < tokens)
            delta[x.stat + first + thread_x / 2] = sum_do;
    }
    unsigned aq[steps][4], ad[steps][4];
    if (E::ahead) {
        E::wait();
        barrier();
        UNROLL
        for (int k = 0; k < steps; k++) {
            E::template left<line>(aq[k], q, thread_x / 32 * 16, k * E::depth);
            E::template left<line>(ad[k], d, thread_x / 32 * 16, k * E::depth);
        }
    }
    barrier();
    float sum[D / 8][4], shift[2], less[2];
    zero<D>(sum);
    for (int i = 0; i < 2; i++) {
        shift[i] = shift_of(lse + x.stat, first + row + 8 * i, tokens);
        less[i] = deltas[row + 8 * i];
    }
    float power = scale * 1.4426950408889634f;
    int end = causal ? below(tokens, first + own_rows) : tokens;
    if (E::ahead)
        fetch_keys<E, D, count>(tiles, hides, x, 0);
    for (int k0 = 0, stage = 0; k0 < end; k0 += count) {
        await_keys<E, D, count>(tiles, hides, x, k0, end, stage);
        typename E::Place k = E::on(tiles, stage * 2 * count * line), v = E::on(k, count * line);
        const float *hide = hides + stage * count;
        stage ^= E::ahead;
        int limit = below(count, tokens - k0);
        if (causal)
            limit = below(limit, mine + 16 - k0);
        if (mine >= tokens || limit <= 0)
            continue;
        float s[count / 8][4], ds[count / 8][4];
        zero<count>(s);
        zero<count>(ds);
        if (E::ahead) {
            Matrix<E>::template product<D, count>(s, aq, k, limit);
            Matrix<E>::template product<D, count>(ds, ad, v, limit);
        } else {
            Matrix<E>::template product_with<D, count>(s, q, k, limit);
            Matrix<E>::template product_with<D, count>(ds, d, v, limit);
        }
        UNROLL
        for (int n = 0; n < count / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                int key = n * 8 + t * 2 + i % 2;
                s[n][i] = fma1(s[n][i], power, hide[key]) - shift[i / 2];
            }
        }
        if (causal && k0 + count > mine + 1)
            hide_later<count / 8>(s, first + row - k0, t * 2);
        UNROLL
        for (int n = 0; n < count / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++)
                ds[n][i] = exp2_flush(s[n][i]) * (ds[n][i] - less[i / 2]);
        }
        Matrix<E>::template gather<D, count>(sum, ds, k, limit);
    }
    barrier();
    Matrix<E>::template put<D>(memory, sum, scale, scale);
    barrier();
    drain<E, D>(dqkv + (x.q - qkv), memory, first, tokens, dim, x.stride);
}

// fetch_queries begins to bring the queries from q0 on and their do, and brings their shifts and deltas.
template <class E, int D, int count>
DEVICE void fetch_queries(typename E::Place tile, float *shifts, float *deltas, const Head<E> &x, const typename E::Stored *dout, const float *lse,
                          const float *delta, int q0) {
    fetch<E, D, count>(tile, x.q, q0, x.tokens, x.dim, x.stride);
    fetch<E, D, count>(E::on(tile, count * (D + E::spare)), dout + x.at, q0, x.tokens, x.dim, x.o_stride());
    if (thread_x < count) {
        shifts[thread_x] = shift_of(lse + x.stat, q0 + thread_x, x.tokens);
        deltas[thread_x] = q0 + thread_x < x.tokens ? delta[x.stat + q0 + thread_x] : 0;
    }
    if (E::ahead)
        E::commit();
}

// attend_grad_kv is the k and v of dqkv, from what attend_grad_q has left. A block has 64 keys and goes through queries, count at a
// time; scores are transposed, a row for each key. Shared memory: 128 + 4·count rows where tiles are brought ahead, else
// 128 + 2·count.
template <class E, int D, int count>
DEVICE void attend_grad_kv(typename E::Stored *dqkv, const float *delta, const typename E::Stored *dout, const float *lse, const typename E::Stored *qkv,
                           const float *mask, int tokens, int heads, int dim, int causal, float scale) {
    enum { line = D + E::spare };
    DYNAMIC_SHARED(typename E::Held, memory);
    SHARED(float, shifts, 2 * count);
    SHARED(float, deltas, 2 * count);
    Head<E> x(qkv, mask, tokens, heads, dim);
    int first = block_x * own_rows, mine = first + thread_x / 32 * 16, g = mine + thread_x % 32 / 4, t = thread_x % 4;
    typename E::Place k = E::place(memory), v = E::on(k, own_rows * line), tiles = E::on(v, own_rows * line);
    fetch<E, D, own_rows>(k, x.k, first, tokens, dim, x.stride);
    fetch<E, D, own_rows>(v, x.v, first, tokens, dim, x.stride);
    float dk[D / 8][4], dv[D / 8][4], hide[2] = {hidden(x.mask, g, tokens), hidden(x.mask, g + 8, tokens)};
    zero<D>(dk);
    zero<D>(dv);
    float power = scale * 1.4426950408889634f;
    int begin = causal ? first : 0;
    if (E::ahead)
        fetch_queries<E, D, count>(tiles, shifts, deltas, x, dout, lse, delta, begin);
    for (int q0 = begin, stage = 0; q0 < tokens; q0 += count) {
        if (E::ahead) {
            E::wait();
            barrier();
            if (q0 + count < tokens)
                fetch_queries<E, D, count>(E::on(tiles, (stage ^ 1) * 2 * count * line), shifts + (stage ^ 1) * count, deltas + (stage ^ 1) * count, x, dout, lse, delta, q0 + count);
        } else {
            barrier();
            fetch_queries<E, D, count>(tiles, shifts, deltas, x, dout, lse, delta, q0);
            barrier();
        }
        typename E::Place q = E::on(tiles, stage * 2 * count * line), d = E::on(q, count * line);
        const float *shift = shifts + stage * count, *less = deltas + stage * count;
        stage ^= E::ahead;
        int limit = below(count, tokens - q0);
        if (mine >= tokens || (causal && q0 + limit <= mine))
            continue;
        float p[count / 8][4], ds[count / 8][4];
        zero<count>(p);
        zero<count>(ds);
        Matrix<E>::template product_with<D, count>(p, k, q, limit);
        Matrix<E>::template product_with<D, count>(ds, v, d, limit);
        UNROLL
        for (int n = 0; n < count / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                int query = n * 8 + t * 2 + i % 2;
                p[n][i] = fma1(p[n][i], power, hide[i / 2]) - shift[query];
            }
        }
        if (causal && mine + 15 > q0)
            hide_earlier<count / 8>(p, g - q0, t * 2);
        UNROLL
        for (int n = 0; n < count / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                p[n][i] = exp2_flush(p[n][i]);
                ds[n][i] = p[n][i] * (ds[n][i] - less[n * 8 + t * 2 + i % 2]);
            }
        }
        Matrix<E>::template gather<D, count>(dv, p, d, limit);
        Matrix<E>::template gather<D, count>(dk, ds, q, limit);
    }
    barrier();
    Matrix<E>::template put<D>(memory, dk, scale, scale);
    Matrix<E>::template put<D>(memory + own_rows * line, dv, 1, 1);
    barrier();
    drain<E, D>(dqkv + (x.k - qkv), memory, first, tokens, dim, x.stride);
    drain<E, D>(dqkv + (x.v - qkv), memory + own_rows * line, first, tokens, dim, x.stride);
}

// The parameters of the kernels, and how they are handed on. dqkv has the layout of qkv, dout that of o, and delta that of lse.
#define ATTEND(T) T *o, float *lse, const T *qkv, const float *mask, int tokens, int heads, int dim, int causal, float scale
#define ATTEND_ON o, lse, qkv, mask, tokens, heads, dim, causal, scale
#define GRAD_Q(T) \
    T *dqkv, float *delta, const T *dout, const T *o, const float *lse, const T *qkv, const float *mask, int tokens, int heads, int dim, \
        int causal, float scale
#define GRAD_Q_ON dqkv, delta, dout, o, lse, qkv, mask, tokens, heads, dim, causal, scale
#define GRAD_KV(T) \
    T *dqkv, const float *delta, const T *dout, const float *lse, const T *qkv, const float *mask, int tokens, int heads, int dim, int causal, \
        float scale
#define GRAD_KV_ON dqkv, delta, dout, lse, qkv, mask, tokens, heads, dim, causal, scale
