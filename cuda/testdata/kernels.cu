// Kernels for tests of the driver's binding, some of them wrong on purpose.
#include "common.h"

// axpy adds a·x to y; n values.
KERNEL(axpy, float a, const float *x, float *y, int n) {
    int i = block_x * threads_x + thread_x;
    if (i < n)
        y[i] = a * x[i] + y[i];
}

// row_sums writes the sum of each row of x (rows, cols) to y; a block for each row.
DEVICE void row_sums(const float *x, float *y, int cols, bool meet) {
    SHARED(float, parts, 32);
    float sum = 0;
    for (int c = thread_x; c < cols; c += threads_x)
        sum += x[(long long)block_x * cols + c];
    for (int d = 16; d; d >>= 1)
        sum += shuffle_down(sum, d);
    if (thread_x % 32 == 0)
        parts[thread_x / 32] = sum;
    if (meet)
        barrier();
    if (thread_x == 0) {
        for (int i = 1; i < threads_x / 32; i++)
            sum += parts[i];
        y[block_x] = sum;
    }
}

KERNEL(sums, const float *x, float *y, int cols) { row_sums(x, y, cols, true); }

// sums_race lacks a barrier.
KERNEL(sums_race, const float *x, float *y, int cols) { row_sums(x, y, cols, false); }

// reverse reverses each block's threads_x values of x, through dynamic shared memory.
KERNEL(reverse, float *x) {
    DYNAMIC_SHARED(float, row);
    row[thread_x] = x[block_x * threads_x + thread_x];
    barrier();
    x[block_x * threads_x + thread_x] = row[threads_x - 1 - thread_x];
}

// where writes the number of each thread of the grid to y, by all three dimensions.
KERNEL(where, int *y) {
    int t = (thread_z * threads_y + thread_y) * threads_x + thread_x;
    int b = (block_z * blocks_y + block_y) * blocks_x + block_x;
    int i = b * threads_x * threads_y * threads_z + t;
    y[i] = i;
}

// parameters writes what it is given to y.
KERNEL(parameters, long long *y, int a, long long b, float c, const float *null) {
    y[0] = a;
    y[1] = b;
    y[2] = (long long)(c * 1024);
    y[3] = null == 0;
}

// beyond writes one value behind the n of y.
KERNEL(beyond, float *y, int n) { y[n + thread_x] = 1; }

// beyond_shared writes behind the end of shared memory.
KERNEL(beyond_shared, float *y) {
    SHARED(float, part, 8);
    part[thread_x] = 1;
    barrier();
    y[thread_x] = part[thread_x % 8];
}

// unset reads shared memory that nobody has written to.
KERNEL(unset, float *y) {
    SHARED(float, part, 32);
    y[thread_x] = part[thread_x];
}

// apart lets one half of a warp shuffle and the other come to a barrier.
KERNEL(apart, float *y) {
    float v = 1;
    if (thread_x < 16)
        v = shuffle_xor(v, 1);
    else
        barrier();
    y[thread_x] = v;
}

// halves writes n values of x to y in bfloat16, and those to z; by is 1, 2 or 8: how many at once.
KERNEL(halves, BF16 *y, float *z, const float *x, int n, int by) {
    for (int i = thread_x * by; i < n; i += threads_x * by)
        if (by == 8) {
            store8(y + i, load8(x + i));
            store8(z + i, load8(y + i));
        } else if (by == 2) {
            unsigned two = narrow2(x[i], x[i + 1]);
            y[i].bits = two;
            y[i + 1].bits = two >> 16;
            z[i] = widen(y[i]);
            z[i + 1] = widen(y[i + 1]);
        } else {
            store1(y + i, load1(x + i));
            store1(z + i, load1(y + i));
        }
}

// askew reads 16 bytes at an address that is no multiple of 16.
KERNEL(askew, float *x) { store8(x, load8(x + 2)); }

// overtaken lets each of two warps read what the other has written, and write there again; that all have read is not waited for.
KERNEL(overtaken, float *y) {
    SHARED(float, part, 64);
    part[thread_x] = thread_x;
    barrier();
    float v = shuffle_xor(part[63 - thread_x], 0);
    part[thread_x] = -1;
    y[thread_x] = v;
}

#if defined(TENSOR_CORES)
// product_bf16: d (16, 8) += a (16, 16)·b (16, 8) by one warp, values of bfloat16 loaded as matrices.
KERNEL(product_bf16, float *d, const unsigned short *a, const unsigned short *b) {
    SHARED(unsigned, memory, 128 + 64);
    unsigned short *left = (unsigned short *)memory, *right = left + 256;
    for (int i = thread_x; i < 256; i += 32)
        left[i] = a[i];
    for (int i = thread_x; i < 128; i += 32)
        right[i] = b[i];
    barrier();
    unsigned ra[4], rb[4];
    int row = thread_x % 8, matrix = thread_x / 8;
    load_matrices(ra, shared_at(left + (row + matrix % 2 * 8) * 16 + matrix / 2 * 8)); // rows, then columns
    load_matrices_turned(rb, shared_at(right + (row + matrix % 2 * 8) * 8));           // two matrices, twice
    int g = thread_x / 4, t = thread_x % 4;
    float *low = d + g * 8 + 2 * t, *high = low + 64, sums[4] = {low[0], low[1], high[0], high[1]};
    mma_bf16(sums, ra, rb);
    low[0] = sums[0], low[1] = sums[1], high[0] = sums[2], high[1] = sums[3];
}

// product_tf32: d (16, 8) += a (16, 8)·b (8, 8) by one warp.
KERNEL(product_tf32, float *d, const float *a, const float *b) {
    int g = thread_x / 4, t = thread_x % 4;
    unsigned ra[4] = {tf32(a[g * 8 + t]), tf32(a[(g + 8) * 8 + t]), tf32(a[g * 8 + t + 4]), tf32(a[(g + 8) * 8 + t + 4])};
    unsigned rb[2] = {tf32(b[t * 8 + g]), tf32(b[(t + 4) * 8 + g])};
    float *low = d + g * 8 + 2 * t, *high = low + 64, sums[4] = {low[0], low[1], high[0], high[1]};
    mma_tf32(sums, ra, rb);
    low[0] = sums[0], low[1] = sums[1], high[0] = sums[2], high[1] = sums[3];
}

// matrices writes four 8×8 matrices of 16 bits to y, as they are and transposed.
KERNEL(matrices, unsigned *y, const unsigned *x) {
    SHARED(unsigned, memory, 128);
    for (int i = thread_x; i < 128; i += 32)
        memory[i] = x[i];
    barrier();
    unsigned plain[4], turned[4];
    load_matrices(plain, shared_at(memory + thread_x * 4));
    load_matrices_turned(turned, shared_at(memory + thread_x * 4));
    for (int i = 0; i < 4; i++) {
        y[i * 32 + thread_x] = plain[i];
        y[128 + i * 32 + thread_x] = turned[i];
    }
}

// ahead copies the first n of 4·threads values in two groups of 16 bytes a thread, zeros beyond, and writes each to y when its
// group has landed; early waits for fewer groups than that.
KERNEL(ahead, float *y, const float *x, int n, int early) {
    DYNAMIC_SHARED(float, memory);
    int i = thread_x * 4, half = threads_x * 4;
    SharedAt at = shared_at(memory);
    copy_ahead(at + i * 4, x + i, i < n);
    copies_commit();
    copy_ahead(at + (half + i) * 4, x + half + i, half + i < n);
    copies_commit();
    if (early)
        copies_wait<2>();
    else
        copies_wait<1>();
    barrier();
    for (int j = thread_x; j < half; j += threads_x)
        y[j] = memory[j];
    copies_wait<0>();
    barrier();
    for (int j = thread_x; j < half; j += threads_x)
        y[half + j] = memory[half + j];
}

// unequal lets one half of a warp shuffle and the other multiply.
KERNEL(unequal, float *y) {
    float d[4] = {};
    unsigned a[4] = {}, b[2] = {};
    if (thread_x < 16)
        d[0] = shuffle_xor(1.0f, 1);
    else
        mma_bf16(d, a, b);
    y[thread_x] = d[0];
}

// unrounded multiplies values that tf32 has not rounded.
KERNEL(unrounded, float *y) {
    float d[4] = {};
    unsigned a[4] = {bits_of(1.1f), 0, 0, 0}, b[2] = {};
    mma_tf32(d, a, b);
    y[thread_x] = d[0];
}

// unwaited ends before its copies have landed.
KERNEL(unwaited, const float *x) {
    DYNAMIC_SHARED(float, memory);
    copy_ahead(shared_at(memory + 4 * thread_x), x, true);
}
#endif
