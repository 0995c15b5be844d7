// Pictures as they come from the host: bytes, and what they stand for.
#include "typed.h"

// pixels: y (planes, plane) = table[x], x being bytes and each plane having a table of 256 values. A block of 256 threads takes
// 4096 pixels, so that a plane takes so many blocks. A thread has four neighbours at a time, where sizes and addresses
// allow: a warp reads 128 bytes and writes 512 without a gap. All its bytes are on their way before it waits for the table.
KERNEL(pixels, float *y, const unsigned char *x, const float *tables, int plane, int blocks) {
    SHARED(float, table, 256);
    int first = block_x % blocks * 4096 + thread_x, last = plane;
    Index at = (Index)(block_x / blocks) * plane;
    y += at;
    x += at;
    tables += (Index)(block_x / blocks) * 256;
    if (plane % 4 == 0 && aligned(y) && ((unsigned long long)x & 3) == 0) {
        first = block_x % blocks * 1024 + thread_x, last = plane / 4;
        unsigned v[4];
        UNROLL
        for (int k = 0; k < 4; k++)
            v[k] = first + 256 * k < last ? ((const unsigned *)x)[first + 256 * k] : 0;
        table[thread_x] = tables[thread_x];
        barrier();
        UNROLL
        for (int k = 0; k < 4; k++)
            if (first + 256 * k < last) {
                Words four;
                for (int j = 0; j < 4; j++)
                    four.w[j] = bits_of(table[v[k] >> 8 * j & 255]);
                store16(y + 4 * (first + 256 * k), four);
            }
        return;
    }
    table[thread_x] = tables[thread_x];
    barrier();
    for (int k = 0; k < 16; k++)
        if (first + 256 * k < last)
            y[first + 256 * k] = table[x[first + 256 * k]];
}
