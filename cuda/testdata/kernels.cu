// Kernels for tests of the driver's binding, some of them wrong on purpose.
#include "common.h"

// axpy adds a·x to y; n values.
KERNEL(axpy, float a, const float *x, float *y, int n) {
    int i = block_x * threads_x + thread_x;
    if (i < n)
        y[i] = a * x[i] + y[i];
}

// sums writes the sum of each row of x (rows, cols) to y; a block for each row.
KERNEL(sums, const float *x, float *y, int cols) {
    SHARED(float, parts, 32);
    float sum = 0;
    for (int c = thread_x; c < cols; c += threads_x)
        sum += x[(long long)block_x * cols + c];
    for (int d = 16; d; d >>= 1)
        sum += shuffle_down(sum, d);
    if (thread_x % 32 == 0)
        parts[thread_x / 32] = sum;
#if !defined(NO_BARRIER)
    barrier();
#endif
    if (thread_x == 0) {
        for (int i = 1; i < threads_x / 32; i++)
            sum += parts[i];
        y[block_x] = sum;
    }
}

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
