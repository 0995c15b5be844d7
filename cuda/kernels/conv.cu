// Convolution by way of patches, and pooling of pictures. x is (images, inC, inH, inW) with first, else (images·inH·inW, inC).
#include "typed.h"

#define PATCH_SHAPE int inC, int inH, int inW, int kh, int kw, int sh, int sw, int ph, int pw, int outH, int outW, int first

DEVICE Index place(Index b, int c, int y, int x, int inC, int inH, int inW, int first) {
    return first ? ((b * inC + c) * inH + y) * inW + x : ((b * inH + y) * inW + x) * inC + c;
}

// patches: y (images·outH·outW, patch) = the values of x that each value of a convolution sees, zeros outside. A patch is (inC, kh, kw)
// with first, else (kh, kw, inC).
KERNEL(patches, void *to, const void *from, int types, Index rows, PATCH_SHAPE) {
    int patch = inC * kh * kw;
    bool whole = first ? (kw | sw | inW) % 8 == 0 && pw == 0 : inC % 8 == 0;
    typed(whole, types, to, from, [&](auto w, auto y, auto x) {
        EACH(p, rows * patch / w.n) {
            Index i = p * w.n, r = i / patch;
            int e = (int)(i - r * patch), c = first ? e / kw / kh : e % inC, kx = first ? e % kw : e / inC % kw;
            int ky = first ? e / kw % kh : e / inC / kw;
            int iy = (int)(r / outW % outH) * sh + ky - ph, ix = (int)(r % outW) * sw + kx - pw;
            Values<w.n> v = {};
            if (iy >= 0 && iy < inH && ix >= 0 && ix < inW)
                v = load(x + place(r / outW / outH, c, iy, ix, inC, inH, inW, first), w);
            store(y + i, v);
        }
    });
}

// patches_grad: dx, of n elements, from the gradient of patches. Each element adds up, in one order, where it is in them.
KERNEL(patches_grad, void *to, const void *from, int types, Index n, PATCH_SHAPE) {
    int patch = inC * kh * kw;
    typed(!first && inC % 8 == 0, types, to, from, [&](auto w, auto dx, auto d) {
        EACH(p, n / w.n) {
            Index i = p * w.n;
            int c = (int)(first ? i / inW / inH % inC : i % inC), ix = (int)(first ? i % inW : i / inC % inW);
            int iy = (int)(first ? i / inW % inH : i / inC / inW % inH);
            Index b = i / inC / inH / inW;
            Values<w.n> sum = {};
            for (int ky = 0; ky < kh; ky++) {
                int oy = iy + ph - ky;
                if (oy < 0 || oy % sh || oy / sh >= outH)
                    continue;
                for (int kx = 0; kx < kw; kx++) {
                    int ox = ix + pw - kx;
                    if (ox < 0 || ox % sw || ox / sw >= outW)
                        continue;
                    Index row = (b * outH + oy / sh) * outW + ox / sw;
                    auto v = load(d + (row * patch + (first ? (c * kh + ky) * kw + kx : (ky * kw + kx) * inC + c)), w);
                    for (int l = 0; l < w.n; l++)
                        sum.v[l] += v.v[l];
                }
            }
            store(dx + i, sum);
        }
    });
}

// turn: y (matrices, cols, rows), of n elements, has the transposes of x (matrices, rows, cols).
KERNEL(turn, void *to, const void *from, int types, Index n, int rows, int cols) {
    Any y = any(to, types & 1), x = any(from, types & 2);
    EACH(i, n) {
        Index matrix = i / rows / cols, c = i / rows % cols, r = i % rows;
        store1(y + i, load1(x + ((matrix * rows + r) * cols + c)));
    }
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
