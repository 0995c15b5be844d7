// Convolution and pooling of pictures. y is (batch·outH·outW, outC); x is (batch, inC, inH, inW) with first, else
// (batch·inH·inW, inC); w is (outC, inC, kh, kw).
#include "common.h"

#define CONV_SHAPE \
    int batch, int inC, int inH, int inW, int outC, int kh, int kw, int sh, int sw, int ph, int pw, int outH, int outW, int first

DEVICE Index place(int b, int c, int y, int x, int inC, int inH, int inW, int first) {
    return first ? (((Index)b * inC + c) * inH + y) * inW + x : (((Index)b * inH + y) * inW + x) * inC + c;
}

KERNEL(conv2d, float *y, const float *x, const float *w, const float *bias, CONV_SHAPE) {
    EACH(i, (Index)batch * outH * outW * outC) {
        int co = (int)(i % outC), ox = (int)(i / outC % outW), oy = (int)(i / outC / outW % outH), b = (int)(i / outC / outW / outH);
        float sum = bias ? bias[co] : 0;
        for (int ci = 0; ci < inC; ci++)
            for (int ky = 0; ky < kh; ky++) {
                int iy = oy * sh + ky - ph;
                if (iy < 0 || iy >= inH)
                    continue;
                for (int kx = 0; kx < kw; kx++) {
                    int ix = ox * sw + kx - pw;
                    if (ix >= 0 && ix < inW)
                        sum = fma1(x[place(b, ci, iy, ix, inC, inH, inW, first)], w[(((Index)co * inC + ci) * kh + ky) * kw + kx], sum);
                }
            }
        y[i] = sum;
    }
}

// conv2d_grad_x: a thread for each element of dx, in its order.
KERNEL(conv2d_grad_x, float *dx, const float *dy, const float *w, CONV_SHAPE) {
    EACH(i, (Index)batch * inC * inH * inW) {
        int ci, iy, ix, b = (int)(i / inC / inH / inW);
        if (first) {
            ix = (int)(i % inW), iy = (int)(i / inW % inH), ci = (int)(i / inW / inH % inC);
        } else {
            ci = (int)(i % inC), ix = (int)(i / inC % inW), iy = (int)(i / inC / inW % inH);
        }
        float sum = 0;
        for (int ky = 0; ky < kh; ky++) {
            int oy = iy + ph - ky;
            if (oy < 0 || oy % sh || oy / sh >= outH)
                continue;
            for (int kx = 0; kx < kw; kx++) {
                int ox = ix + pw - kx;
                if (ox < 0 || ox % sw || ox / sw >= outW)
                    continue;
                const float *d = dy + (((Index)b * outH + oy / sh) * outW + ox / sw) * outC;
                for (int co = 0; co < outC; co++)
                    sum = fma1(d[co], w[(((Index)co * inC + ci) * kh + ky) * kw + kx], sum);
            }
        }
        dx[i] = sum;
    }
}

// conv2d_grad_w: a block for each element of dw.
KERNEL(conv2d_grad_w, float *dw, const float *dy, const float *x, CONV_SHAPE) {
    int kx = block_x % kw, ky = block_x / kw % kh, ci = block_x / kw / kh % inC, co = block_x / kw / kh / inC;
    float sum = 0;
    for (Index i = thread_x; i < (Index)batch * outH * outW; i += threads_x) {
        int iy = (int)(i / outW % outH) * sh + ky - ph, ix = (int)(i % outW) * sw + kx - pw;
        if (iy >= 0 && iy < inH && ix >= 0 && ix < inW)
            sum = fma1(dy[i * outC + co], x[place((int)(i / outW / outH), ci, iy, ix, inC, inH, inW, first)], sum);
    }
    sum = block_sum(sum);
    if (thread_x == 0)
        dw[block_x] = sum;
}

#define POOL_SHAPE int batch, int inH, int inW, int channels, int size, int stride, int outH, int outW

// top_of is the place in x of the first largest value of a window; a NaN is the largest.
DEVICE Index top_of(const float *x, int b, int c, int oy, int ox, int inH, int inW, int channels, int size, int stride) {
    Index best = -1;
    for (int y = oy * stride; y < oy * stride + size && y < inH; y++)
        for (int s = ox * stride; s < ox * stride + size && s < inW; s++) {
            Index at = (((Index)b * inH + y) * inW + s) * channels + c;
            if (best < 0 || x[at] > x[best] || (x[at] != x[at] && x[best] == x[best]))
                best = at;
        }
    return best;
}

KERNEL(max_pool2d, float *y, const float *x, POOL_SHAPE) {
    EACH(i, (Index)batch * outH * outW * channels) {
        int c = (int)(i % channels), ox = (int)(i / channels % outW), oy = (int)(i / channels / outW % outH);
        y[i] = x[top_of(x, (int)(i / channels / outW / outH), c, oy, ox, inH, inW, channels, size, stride)];
    }
}

// max_pool2d_grad: each element of dx looks at the windows that it is part of.
KERNEL(max_pool2d_grad, float *dx, const float *dy, const float *x, POOL_SHAPE) {
    EACH(i, (Index)batch * inH * inW * channels) {
        int c = (int)(i % channels), ix = (int)(i / channels % inW), iy = (int)(i / channels / inW % inH);
        int b = (int)(i / channels / inW / inH);
        float sum = 0;
        for (int oy = iy < size ? 0 : (iy - size) / stride + 1; oy < outH && oy * stride <= iy; oy++)
            for (int ox = ix < size ? 0 : (ix - size) / stride + 1; ox < outW && ox * stride <= ix; ox++)
                if (top_of(x, b, c, oy, ox, inH, inW, channels, size, stride) == i)
                    sum += dy[(((Index)b * outH + oy) * outW + ox) * channels + c];
        dx[i] = sum;
    }
}
