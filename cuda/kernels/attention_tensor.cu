// Attention by tensor cores: in bfloat16, or in float32 with products in TF32. dim is a multiple of 8. Where sums of a product lie is
// where the left side of the next one has to lie.
#include "attention.h"

#if defined(TENSOR_CORES)

// Half is the arithmetic in bfloat16. Tiles have rows of D values and 16 bytes more, so that the rows that are read together lie in
// different banks.
struct Half {
    typedef BF16 Stored;
    typedef BF16 Held; // in shared memory
    typedef SharedAt Place;
    enum { depth = 16, ahead = 1, per = 8, spare = 8 };

    static MEMBER Place place(Held *p) { return shared_at(p); }
    static MEMBER Place on(Place p, int values) { return p + values * 2; }
    static MEMBER void multiply(float *d, const unsigned *a, const unsigned *b) { mma_bf16(d, a, b); }

    // left reads 16 rows and depth columns of a tile as a left side.
    template <int line> static MEMBER void left(unsigned *a, Place tile, int row, int column) {
        int lane = thread_x % 32;
        load_matrices(a, on(on(tile, lane % 16 * line + lane / 16 * 8), row * line + column));
    }
    // rows reads the right sides of two products, whose columns are 16 rows of the tile, along depth of its columns.
    template <int line> static MEMBER void rows(unsigned *b, Place tile, int row, int column) {
        int lane = thread_x % 32;
        load_matrices(b, on(on(tile, (lane / 16 * 8 + lane % 8) * line + lane / 8 % 2 * 8), row * line + column));
    }
    // columns reads the right sides of two products, whose columns are 16 columns of the tile, along depth of its rows.
    template <int line> static MEMBER void columns(unsigned *b, Place tile, int row, int column) {
        int lane = thread_x % 32;
        load_matrices_turned(b, on(on(tile, lane % 16 * line + lane / 16 * 8), row * line + column));
    }
    // again turns depth columns of sums into a left side for columns. s are the sums of a warp, 8 columns after the other.
    static MEMBER void again(unsigned *a, float (*s)[4], int step) {
        a[0] = narrow2(s[2 * step][0], s[2 * step][1]);
        a[1] = narrow2(s[2 * step][2], s[2 * step][3]);
        a[2] = narrow2(s[2 * step + 1][0], s[2 * step + 1][1]);
        a[3] = narrow2(s[2 * step + 1][2], s[2 * step + 1][3]);
    }
    static MEMBER void fetch(Place to, const Stored *from, bool there) { copy_ahead(to, from, there); }
    static MEMBER void commit() { copies_commit(); }
    static MEMBER void wait() { copies_wait<0>(); }
    static MEMBER bool whole(int) { return true; }
    static MEMBER void fetch_some(Place, const Stored *, int) {}
    static MEMBER void drain_some(Stored *, const Held *, int) {}
    static MEMBER void put2(Held *to, float low, float high) {
        typedef unsigned __attribute__((may_alias)) Two;
        *(Two *)to = narrow2(low, high);
    }
};

// Single is the arithmetic in TF32.
struct Single {
    typedef float Stored;
    typedef float Held; // rounded to TF32
    typedef float *Place;
    enum { depth = 8, ahead = 0, per = 4, spare = 4 };

    static MEMBER Place place(Held *p) { return p; }
    static MEMBER Place on(Place p, int values) { return p + values; }
    static MEMBER void multiply(float *d, const unsigned *a, const unsigned *b) { mma_tf32(d, a, b); }

    template <int line> static MEMBER void left(unsigned *a, Place tile, int row, int column) {
        Place p = tile + (row + thread_x % 32 / 4) * line + column + thread_x % 4;
        a[0] = bits_of(p[0]);
        a[1] = bits_of(p[8 * line]);
        a[2] = bits_of(p[4]);
        a[3] = bits_of(p[8 * line + 4]);
    }
    template <int line> static MEMBER void rows(unsigned *b, Place tile, int row, int column) {
        Place p = tile + (row + thread_x % 32 / 4) * line + column + thread_x % 4;
        b[0] = bits_of(p[0]);
        b[1] = bits_of(p[4]);
        b[2] = bits_of(p[8 * line]);
        b[3] = bits_of(p[8 * line + 4]);
    }
    // What is summed over has an order of its own, the same as in again: 0, 2, 4, 6, 1, 3, 5, 7.
    template <int line> static MEMBER void columns(unsigned *b, Place tile, int row, int column) {
        Place p = tile + (row + thread_x % 4 * 2) * line + column + thread_x % 32 / 4;
        b[0] = bits_of(p[0]);
        b[1] = bits_of(p[line]);
        b[2] = bits_of(p[8]);
        b[3] = bits_of(p[line + 8]);
    }
    static MEMBER void again(unsigned *a, float (*s)[4], int step) {
        a[0] = tf32(s[step][0]);
        a[1] = tf32(s[step][2]);
        a[2] = tf32(s[step][1]);
        a[3] = tf32(s[step][3]);
    }
    static MEMBER void fetch(Place to, const Stored *from, bool there) {
        Words w = {{0, 0, 0, 0}};
        if (there)
            w = load16(from);
        for (int i = 0; i < 4; i++)
            w.w[i] = tf32(float_of(w.w[i]));
        store16(to, w);
    }
    static MEMBER void commit() {}
    static MEMBER void wait() {}
    static MEMBER bool whole(int) { return true; }
    static MEMBER void fetch_some(Place, const Stored *, int) {}
    static MEMBER void drain_some(Stored *, const Held *, int) {}
    static MEMBER void put2(Held *to, float low, float high) {
        to[0] = low;
        to[1] = high;
    }
};

KERNEL(attention_bf16_32, ATTEND(BF16)) { attend<Half, 32>(ATTEND_ON); }
KERNEL(attention_grad_q_bf16_32, GRAD_Q(BF16)) { attend_grad_q<Half, 32, 64>(GRAD_Q_ON); }
KERNEL(attention_grad_kv_bf16_32, GRAD_KV(BF16)) { attend_grad_kv<Half, 32, 64>(GRAD_KV_ON); }
KERNEL(attention_bf16_64, ATTEND(BF16)) { attend<Half, 64>(ATTEND_ON); }
KERNEL(attention_grad_q_bf16_64, GRAD_Q(BF16)) { attend_grad_q<Half, 64, 64>(GRAD_Q_ON); }
KERNEL(attention_grad_kv_bf16_64, GRAD_KV(BF16)) { attend_grad_kv<Half, 64, 64>(GRAD_KV_ON); }
KERNEL(attention_bf16_96, ATTEND(BF16)) { attend<Half, 96>(ATTEND_ON); }
KERNEL(attention_grad_q_bf16_96, GRAD_Q(BF16)) { attend_grad_q<Half, 96, 32>(GRAD_Q_ON); }
KERNEL(attention_grad_kv_bf16_96, GRAD_KV(BF16)) { attend_grad_kv<Half, 96, 32>(GRAD_KV_ON); }
KERNEL(attention_bf16_128, ATTEND(BF16)) { attend<Half, 128>(ATTEND_ON); }
KERNEL(attention_grad_q_bf16_128, GRAD_Q(BF16)) { attend_grad_q<Half, 128, 32>(GRAD_Q_ON); }
KERNEL(attention_grad_kv_bf16_128, GRAD_KV(BF16)) { attend_grad_kv<Half, 128, 32>(GRAD_KV_ON); }

KERNEL(attention_tf32_32, ATTEND(float)) { attend<Single, 32>(ATTEND_ON); }
KERNEL(attention_grad_q_tf32_32, GRAD_Q(float)) { attend_grad_q<Single, 32, 64>(GRAD_Q_ON); }
KERNEL(attention_grad_kv_tf32_32, GRAD_KV(float)) { attend_grad_kv<Single, 32, 64>(GRAD_KV_ON); }
KERNEL(attention_tf32_64, ATTEND(float)) { attend<Single, 64>(ATTEND_ON); }
KERNEL(attention_grad_q_tf32_64, GRAD_Q(float)) { attend_grad_q<Single, 64, 64>(GRAD_Q_ON); }
KERNEL(attention_grad_kv_tf32_64, GRAD_KV(float)) { attend_grad_kv<Single, 64, 64>(GRAD_KV_ON); }
KERNEL(attention_tf32_128, ATTEND(float)) { attend<Single, 128>(ATTEND_ON); }
KERNEL(attention_grad_q_tf32_128, GRAD_Q(float)) { attend_grad_q<Single, 128, 32>(GRAD_Q_ON); }
KERNEL(attention_grad_kv_tf32_128, GRAD_KV(float)) { attend_grad_kv<Single, 128, 32>(GRAD_KV_ON); }

#endif
