// Matrix products for devices without cublasLt and shapes that it does not take, and what follows products that it does.
//
// Operands are in float32 or bfloat16: bit i of types says that operand i is in bfloat16, in the order of the parameters.
#include "common.h"

#if defined(RELSIM_FAKE)
#define UNROLL
#else
#define UNROLL _Pragma("unroll")
#endif

enum { then_nothing, then_gelu, then_add, then_dropout_add, then_gelu_grad };

DEVICE float value_of(const void *p, bool half, Index i) { return half ? load1((const BF16 *)p + i) : load1((const float *)p + i); }
DEVICE void put(void *p, bool half, Index i, float v) {
    if (half)
        store1((BF16 *)p + i, v);
    else
        store1((float *)p + i, v);
}
DEVICE Pack values_of(const void *p, bool half, Index i) { return half ? load8((const BF16 *)p + i) : load8((const float *)p + i); }
DEVICE void put8(void *p, bool half, Index i, Pack v) {
    if (half)
        store8((BF16 *)p + i, v);
    else
        store8((float *)p + i, v);
}

DEVICE unsigned long long bits_at(const void *p) { return (unsigned long long)p; }

// Ends is what is done with the sum v of each element:
//
//   always            v += bias of its column (unless null)
//   then_gelu         keep = v (unless null), C = gelu(v)
//   then_add          C = v + other
//   then_dropout_add  C = v·factor + other
//   then_gelu_grad    C = v·gelu'(other)
//
// C may be other.
struct Ends {
    void *C;
    const void *bias, *other;
    void *keep;
    bool half_c, half_bias, half_other, half_keep;
    bool whole; // eight neighbours in a row are aligned everywhere
    int n, what, form;
    unsigned long long key;
    unsigned threshold;
    float factor;
};

// ends_of takes the types of C, bias, other and keep from four neighbouring bits.
DEVICE Ends ends_of(void *C, const void *bias, const void *other, void *keep, int half_c, int halves, int n, int what, int form,
                    const unsigned long long *seed, unsigned long long op, unsigned threshold, float factor) {
    bool whole = n % 8 == 0 && ((bits_at(C) | bits_at(bias) | bits_at(other) | bits_at(keep)) & 15) == 0;
    return Ends{C, bias, other, keep, half_c != 0, (halves & 1) != 0, (halves & 2) != 0, (halves & 4) != 0, whole, n, what, form,
                what == then_dropout_add ? dropout_key(seed, op) : 0, threshold, factor};
}

DEVICE float after(const Ends &e, float v, float other, Index at) {
    switch (e.what) {
    case then_gelu: return gelu1(v, e.form);
    case then_add: return v + other;
    case then_dropout_add: return v * dropout_factor(at, e.key, e.threshold, e.factor) + other;
    case then_gelu_grad: return v * gelu_slope(other, e.form);
    }
    return v;
}

// finish1 does it for the element at a place, of a column; finish8 for eight neighbours, where the rows are whole.
DEVICE void finish1(const Ends &e, Index at, int column, float v) {
    if (e.bias)
        v += value_of(e.bias, e.half_bias, column);
    if (e.keep)
        put(e.keep, e.half_keep, at, v);
    put(e.C, e.half_c, at, after(e, v, e.other ? value_of(e.other, e.half_other, at) : 0, at));
}

DEVICE void finish8(const Ends &e, Index at, int column, Pack v) {
    if (e.bias) {
        Pack b = values_of(e.bias, e.half_bias, column);
        for (int k = 0; k < 8; k++)
            v.v[k] += b.v[k];
    }
    if (e.keep)
        put8(e.keep, e.half_keep, at, v);
    Pack o = {};
    if (e.other)
        o = values_of(e.other, e.half_other, at);
    for (int k = 0; k < 8; k++)
        v.v[k] = after(e, v.v[k], o.v[k], at + k);
    put8(e.C, e.half_c, at, v);
}

// finish_tile does it for the block's tile of side × side sums in shared memory, in rows of a length. Those of block_z make the part of
// that number of C.
DEVICE void finish_tile(const Ends &e, const float *sums, int side, int line, int m) {
    int across = side / 8;
    for (int c = thread_x; c < side * across; c += threads_x) {
        int r = block_y * side + c / across, first = c % across * 8, column = block_x * side + first;
        const float *from = sums + c / across * line + first;
        Index at = ((Index)block_z * m + r) * e.n + column;
        if (r >= m || column >= e.n)
            continue;
        if (e.whole)
            finish8(e, at, column, load8(from));
        else
            for (int l = 0; l < 8 && column + l < e.n; l++)
                finish1(e, at + l, column + l, from[l]);
    }
}

// product_then finishes the sums V, (size/n, n), of which there are several parts, to be added, one behind the other. C may be V or
// other, and keep may be V.
KERNEL(product_then, void *C, const void *V, const void *bias, const void *other, void *keep, const unsigned long long *seed, int types,
       int n, Index size, int parts, int what, int form, unsigned long long op, unsigned threshold, float factor) {
    Ends e = ends_of(C, bias, other, keep, types & 1, types >> 2, n, what, form, seed, op, threshold, factor);
    bool half_v = types & 2;
    if (!e.whole || (bits_at(V) & 15)) {
        EACH(i, size) {
            float v = value_of(V, half_v, i);
            for (int p = 1; p < parts; p++)
                v += value_of(V, half_v, p * size + i);
            finish1(e, i, (int)(i % n), v);
        }
        return;
    }
    EACH(j, size / 8) {
        Index i = 8 * j;
        Pack v = values_of(V, half_v, i);
        for (int p = 1; p < parts; p++) {
            Pack more = values_of(V, half_v, p * size + i);
            for (int k = 0; k < 8; k++)
                v.v[k] += more.v[k];
        }
        finish8(e, i, (int)(i % n), v);
    }
}

// gemm: C (m, n) = op(A)·op(B) + bias, and what follows it.
//
// op(A) is (m, k): A, or with transA the transpose of A (k, m); op(B) is (k, n): B, or with transB that of B (n, k). Blocks
// of 16 × 16 threads make 64 × 64 elements, 4 × 4 each, of the sums over each k that lie in the block's share of them: those of
// block_z make the part of that number of C.
KERNEL(gemm, void *C, const void *A, const void *B, const void *bias, const void *other, void *keep, const unsigned long long *seed,
       int types, int m, int n, int k, int each, int transA, int transB, int what, int form, unsigned long long op, unsigned threshold,
       float factor) {
    enum { small_side = 64, small_row = 68 };
    SHARED(float, sums, small_side * small_row);
    typedef float Line[68]; // 64 and some, so that the columns of a load lie in different banks
    SHARED(Line, a, 16);
    SHARED(Line, b, 16);
    int tx = thread_x % 16, ty = thread_x / 16, i0 = block_y * 64, j0 = block_x * 64, begin = block_z * each;
    int end = k - begin < each ? k : begin + each;
    float sum[4][4] = {{0}};
    for (int p0 = begin; p0 < end; p0 += 16) {
        for (int l = thread_x; l < 64 * 16; l += 256) {
            // Neighbouring threads read neighbouring elements.
            int i = transA ? l % 64 : l / 16, p = transA ? l / 64 : l % 16;
            bool in = i0 + i < m && p0 + p < end;
            a[p][i] = in ? value_of(A, types & 2, transA ? (Index)(p0 + p) * m + i0 + i : (Index)(i0 + i) * k + p0 + p) : 0;
            int j = transB ? l / 16 : l % 64;
            p = transB ? l % 16 : l / 64;
            in = j0 + j < n && p0 + p < end;
            b[p][j] = in ? value_of(B, types & 4, transB ? (Index)(j0 + j) * k + p0 + p : (Index)(p0 + p) * n + j0 + j) : 0;
        }
        barrier();
        for (int p = 0; p < 16; p++)
            UNROLL for (int i = 0; i < 4; i++)
                UNROLL for (int j = 0; j < 4; j++)
                    sum[i][j] = fma1(a[p][ty + 16 * i], b[p][tx + 16 * j], sum[i][j]);
        barrier();
    }
    // The sums go by way of shared memory, so that each thread has eight neighbours.
    UNROLL for (int i = 0; i < 4; i++)
        UNROLL for (int j = 0; j < 4; j++)
            sums[(ty + 16 * i) * small_row + tx + 16 * j] = sum[i][j];
    barrier();
    Ends e = ends_of(C, bias, other, keep, types & 1, types >> 3, n, what, form, seed, op, threshold, factor);
    finish_tile(e, sums, small_side, small_row, m);
}

#if defined(TENSOR_CORES)

// Tiles of 128 × 64 bytes of k: 32 values of bfloat16, or 16 of float32 for TF32. A tile lies in shared memory as its matrix does: by
// rows of 64 bytes of k, or turned, by rows of 128 values. Rows have some bytes more, so that what is read together lies in
// different banks.
struct Halves {
    enum { chunk = 8, slab = 32, turned_row = 272, bytes = 2 };
};
struct Singles {
    enum { chunk = 4, slab = 16, turned_row = 544, bytes = 4 };
};
DEVICE void multiply(Halves, float *d, const unsigned *a, const unsigned *b) { mma_bf16(d, a, b); }
DEVICE void multiply(Singles, float *d, const unsigned *a, const unsigned *b) { mma_tf32(d, a, b); }

enum { tile_side = 128, tile_row = 80, tile_bytes = 128 * 80, tile_stages = 3, sums_row = 132 };

// fetch copies a tile ahead: 16 bytes at a time, two for each of 256 threads. first is the first of the matrix' count rows (columns,
// if turned), begin and end are the k.
template <class S, bool turned> DEVICE void fetch(SharedAt to, const void *X, int first, int count, int begin, int end, int line) {
    enum { across = (turned ? (int)tile_side : (int)S::slab) / S::chunk };
    for (int c = thread_x; c < 512; c += 256) {
        int row = c / across, part = c % across;
        int outer = turned ? first + part * S::chunk : first + row, p = turned ? begin + row : begin + part * S::chunk;
        bool there = outer < count && p < end;
        Index at = turned ? (Index)p * line + outer : (Index)outer * line + p;
        copy_ahead(to + row * (turned ? (int)S::turned_row : (int)tile_row) + part * 16, (const char *)X + (there ? at * S::bytes : 0), there);
    }
}

DEVICE void round_all(unsigned *r, int n) {
    for (int i = 0; i < n; i++)
        r[i] = tf32(float_of(r[i]));
}

// left reads 16 rows of one step of k as the left side of a product; at and memory are the tile.
template <class S, bool turned> DEVICE void left(unsigned *a, SharedAt at, const char *memory, int row, int step) {
    int lane = thread_x % 32, r = lane % 8, j = lane / 8;
    if (!turned) {
        load_matrices(a, at + (row + j % 2 * 8 + r) * tile_row + step * 32 + j / 2 * 16);
    } else if (S::bytes == 2) {
        load_matrices_turned(a, at + (step * 16 + j / 2 * 8 + r) * S::turned_row + (row + j % 2 * 8) * 2);
    } else {
        const float *v = (const float *)(memory + (step * 8 + lane % 4) * S::turned_row) + row + lane / 4;
        a[0] = bits_of(v[0]), a[1] = bits_of(v[8]), a[2] = bits_of(v[S::turned_row]), a[3] = bits_of(v[S::turned_row + 8]);
    }
    if (S::bytes == 4)
        round_all(a, 4);
}

// right reads 16 columns of one step of k as the right sides of two products.
template <class S, bool turned> DEVICE void right(unsigned *b, SharedAt at, const char *memory, int column, int step) {
    int lane = thread_x % 32, r = lane % 8, j = lane / 8;
    if (!turned) {
        load_matrices(b, at + (column + j / 2 * 8 + r) * tile_row + step * 32 + j % 2 * 16);
    } else if (S::bytes == 2) {
        load_matrices_turned(b, at + (step * 16 + j % 2 * 8 + r) * S::turned_row + (column + j / 2 * 8) * 2);
    } else {
        const float *v = (const float *)(memory + (step * 8 + lane % 4) * S::turned_row) + column + lane / 4;
        b[0] = bits_of(v[0]), b[1] = bits_of(v[S::turned_row]), b[2] = bits_of(v[8]), b[3] = bits_of(v[S::turned_row + 8]);
    }
    if (S::bytes == 4)
        round_all(b, 4);
}

// multiply_tiles adds up a block of 128 × 128; each of 8 warps has 64 × 32 of it in sum.
template <class S, bool turnA, bool turnB>
DEVICE void multiply_tiles(float (*sum)[4][4], const void *A, const void *B, int m, int n, int k, int begin, int end, char *memory) {
    int warp = thread_x / 32, i0 = block_y * tile_side, j0 = block_x * tile_side, row = warp / 4 * 64, column = warp % 4 * 32;
    SharedAt at = shared_at(memory);
    int slabs = (end - begin + S::slab - 1) / S::slab;
    for (int s = 0; s < slabs + tile_stages - 1; s++) {
        // What is s behind was copied tile_stages-1 turns ago.
        int now = s - (tile_stages - 1);
        if (now >= 0) {
            copies_wait<tile_stages - 2>();
            barrier(); // all have it, and are done with the one before, which the next copy takes the place of
        }
        if (s < slabs) {
            int to = s % tile_stages * 2 * tile_bytes, p = begin + s * S::slab;
            fetch<S, turnA>(at + to, A, i0, m, p, end, turnA ? m : k);
            fetch<S, turnB>(at + to + tile_bytes, B, j0, n, p, end, turnB ? n : k);
        }
        copies_commit();
        if (now < 0)
            continue;
        int from = now % tile_stages * 2 * tile_bytes;
        UNROLL for (int step = 0; step < 2; step++) {
            unsigned a[4][4], b[2][4];
            UNROLL for (int i = 0; i < 4; i++)
                left<S, turnA>(a[i], at + from, memory + from, row + 16 * i, step);
            UNROLL for (int j = 0; j < 2; j++)
                right<S, turnB>(b[j], at + from + tile_bytes, memory + from + tile_bytes, column + 16 * j, step);
            UNROLL for (int i = 0; i < 4; i++)
                UNROLL for (int j = 0; j < 4; j++)
                    multiply(S(), sum[i][j], a[i], b[j / 2] + j % 2 * 2);
        }
    }
    copies_wait<0>();
}

template <class S> DEVICE void multiply_tiles_of(float (*sum)[4][4], const void *A, const void *B, int m, int n, int k, int begin, int end,
                                                 int transA, int transB, char *memory) {
    if (transA && transB)
        multiply_tiles<S, true, false>(sum, A, B, m, n, k, begin, end, memory);
    else if (transA)
        multiply_tiles<S, true, true>(sum, A, B, m, n, k, begin, end, memory);
    else if (transB)
        multiply_tiles<S, false, false>(sum, A, B, m, n, k, begin, end, memory);
    else
        multiply_tiles<S, false, true>(sum, A, B, m, n, k, begin, end, memory);
}

// gemm_tensor is gemm by tensor cores, of A and B both in bfloat16, or both in float32, whose values are rounded to TF32. Rows of both
// are multiples of 16 bytes, and begin at such; each is a multiple of 32, unless it is k. Blocks of 256 threads make 128 × 128
// elements, with 4·128·132 bytes of shared memory, which is more than three stages of tiles.
KERNEL(gemm_tensor, void *C, const void *A, const void *B, const void *bias, const void *other, void *keep, const unsigned long long *seed,
       int types, int m, int n, int k, int each, int transA, int transB, int what, int form, unsigned long long op, unsigned threshold,
       float factor) {
    DYNAMIC_SHARED(char, memory);
    float sum[4][4][4] = {};
    int begin = block_z * each, end = k - begin < each ? k : begin + each;
    if (types & 2)
        multiply_tiles_of<Halves>(sum, A, B, m, n, k, begin, end, transA, transB, memory);
    else
        multiply_tiles_of<Singles>(sum, A, B, m, n, k, begin, end, transA, transB, memory);

    // The sums go by way of shared memory, so that each thread has eight neighbours.
    int warp = thread_x / 32, lane = thread_x % 32, row = warp / 4 * 64 + lane / 4, column = warp % 4 * 32 + lane % 4 * 2;
    float *sums = (float *)memory;
    barrier(); // all are done with the tiles
    UNROLL for (int i = 0; i < 4; i++)
        UNROLL for (int j = 0; j < 4; j++) {
            float *to = sums + (row + 16 * i) * sums_row + column + 8 * j;
            to[0] = sum[i][j][0], to[1] = sum[i][j][1];
            to[8 * sums_row] = sum[i][j][2], to[8 * sums_row + 1] = sum[i][j][3];
        }
    barrier();
    Ends e = ends_of(C, bias, other, keep, types & 1, types >> 3, n, what, form, seed, op, threshold, factor);
    finish_tile(e, sums, tile_side, sums_row, m);
}

#endif
