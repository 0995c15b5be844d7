// Elements by themselves. Where results may take the memory of an operand, each element is read before it is written.
#include "typed.h"

// add: y = a + b.
KERNEL(add, void *y, const void *a, const void *b, int types, Index n) {
    typed(n % 8 == 0, types, y, a, b, [&](auto w, auto y, auto a, auto b) {
        map(w, y, a, b, n, [](float a, float b, Index) { return a + b; });
    });
}

KERNEL(scale, void *y, const void *x, int types, float by, Index n) {
    typed(n % 8 == 0, types, y, x, [&](auto w, auto y, auto x) { map(w, y, x, n, [=](float x, Index) { return by * x; }); });
}

// times: y = s·x, with the scalar s in memory.
KERNEL(times, float *y, const float *x, const float *s, Index n) {
    float by = s[0];
    EACH(i, n)
    y[i] = by * x[i];
}

KERNEL(scale_exp, float *y, const float *x, const float *s, Index n) {
    float by = exp1(s[0]);
    EACH(i, n)
    y[i] = by * x[i];
}

KERNEL(add_scalar, float *y, const float *x, const float *s, Index n) {
    float by = s[0];
    EACH(i, n)
    y[i] = x[i] + by;
}

// copy: y = x, in the type of y.
KERNEL(copy, void *y, const void *x, int types, Index n) {
    typed(n % 8 == 0, types, y, x, [&](auto w, auto y, auto x) { map(w, y, x, n, [](float x, Index) { return x; }); });
}

// axpy: y += a·x.
KERNEL(axpy, float *y, const float *x, float a, Index n) {
    alike(n % 8 == 0, 0, y, x, [&](auto w, auto y, auto x) {
        map(w, y, y, x, n, [=](float y, float x, Index) { return fma1(a, x, y); });
    });
}

KERNEL(relu, void *y, const void *x, int types, Index n) {
    alike(n % 8 == 0, types, y, x, [&](auto w, auto y, auto x) { map(w, y, x, n, [](float x, Index) { return x < 0 ? 0 : x; }); });
}

// relu_grad: dx = dy where y is above 0.
KERNEL(relu_grad, void *dx, const void *y, const void *dy, int types, Index n) {
    alike(n % 8 == 0, types, dx, y, dy, [&](auto w, auto dx, auto y, auto dy) {
        map(w, dx, y, dy, n, [](float y, float dy, Index) { return y > 0 ? dy : 0; });
    });
}

KERNEL(gelu, void *y, const void *x, int types, int form, Index n) {
    alike(n % 8 == 0, types, y, x, [&](auto w, auto y, auto x) { map(w, y, x, n, [=](float x, Index) { return gelu1(x, form); }); });
}

KERNEL(gelu_grad, void *dx, const void *x, const void *dy, int types, int form, Index n) {
    alike(n % 8 == 0, types, dx, x, dy, [&](auto w, auto dx, auto x, auto dy) {
        map(w, dx, x, dy, n, [=](float x, float dy, Index) { return dy * gelu_slope(x, form); });
    });
}

// swiglu: y (rows, cols) = silu(gate)·value of x (rows, [gate|value]).
KERNEL(swiglu, void *y, const void *x, int types, Index rows, int cols) {
    alike(cols % 8 == 0, types, y, x, [&](auto w, auto y, auto x) {
        EACH(p, rows * cols / w.n) {
            Index i = p * w.n, gate_at = i + i / cols * cols;
            auto gate = load(x + gate_at, w), value = load(x + gate_at + cols, w);
            for (int k = 0; k < w.n; k++)
                value.v[k] *= gate.v[k] == -infinity() ? 0 : gate.v[k] * sigmoid(gate.v[k]);
            store(y + i, value);
        }
    });
}

KERNEL(swiglu_grad, void *dx, const void *x, const void *dy, int types, Index rows, int cols) {
    alike(cols % 8 == 0, types, dx, x, dy, [&](auto w, auto dx, auto x, auto dy) {
        EACH(p, rows * cols / w.n) {
            Index i = p * w.n, gate_at = i + i / cols * cols;
            auto gate = load(x + gate_at, w), value = load(x + gate_at + cols, w), d = load(dy + i, w);
            for (int k = 0; k < w.n; k++) {
                float s = sigmoid(gate.v[k]), silu = gate.v[k] == -infinity() ? 0 : gate.v[k] * s;
                gate.v[k] = d.v[k] * value.v[k] * (s + silu * (1 - s));
                value.v[k] = d.v[k] * silu;
            }
            store(dx + gate_at, gate);
            store(dx + gate_at + cols, value);
        }
    });
}

// dropout: y = x·factor, the factors being a function of the seed, the op and the place.
KERNEL(dropout, void *y, const void *x, const unsigned long long *seed, int types, unsigned long long op, unsigned threshold, float scale,
       Index n) {
    unsigned long long key = dropout_key(seed, op);
    typed(n % 8 == 0, types, y, x, [&](auto w, auto y, auto x) {
        map(w, y, x, n, [=](float x, Index i) { return x * dropout_factor(i, key, threshold, scale); });
    });
}

// column_scale: y (rows, cols) = x·gain, by columns.
KERNEL(column_scale, void *y, const void *x, const float *gain, int types, Index rows, int cols) {
    typed(cols % 8 == 0 && aligned(gain), types, y, x, [&](auto w, auto y, auto x) {
        EACH(p, rows * cols / w.n) {
            Index i = p * w.n;
            auto v = load(x + i, w), g = load(gain + i % cols, w);
            for (int k = 0; k < w.n; k++)
                v.v[k] *= g.v[k];
            store(y + i, v);
        }
    });
}

// add_columns: y (rows, cols) = x, with z (rows, width) added to the columns from a place on.
KERNEL(add_columns, void *y, const void *x, const void *z, int types, Index rows, int cols, int from, int width) {
    typed((cols | from | width) % 8 == 0, types, y, x, z, [&](auto w, auto y, auto x, auto z) {
        EACH(p, rows * cols / w.n) {
            Index i = p * w.n;
            int c = (int)(i % cols) - from;
            auto v = load(x + i, w);
            if (c >= 0 && c < width) {
                auto more = load(z + (i / cols * width + c), w);
                for (int k = 0; k < w.n; k++)
                    v.v[k] += more.v[k];
            }
            store(y + i, v);
        }
    });
}

// get_columns: y (rows, width) = the columns of x (rows, cols) from a place on.
KERNEL(get_columns, void *y, const void *x, int types, Index rows, int cols, int from, int width) {
    typed((cols | from | width) % 8 == 0, types, y, x, [&](auto w, auto y, auto x) {
        EACH(p, rows * width / w.n) {
            Index i = p * w.n;
            store(y + i, load(x + (i / width * cols + from + i % width), w));
        }
    });
}

// put_columns: the columns of y (rows, cols) from a place on = x (rows, width).
KERNEL(put_columns, void *y, const void *x, int types, Index rows, int cols, int from, int width) {
    typed((cols | from | width) % 8 == 0, types, y, x, [&](auto w, auto y, auto x) {
        EACH(p, rows * width / w.n) {
            Index i = p * w.n;
            store(y + (i / width * cols + from + i % width), load(x + i, w));
        }
    });
}

// transpose: y (cols, rows) of x (rows, cols), in squares of 32 by blocks of 32 × 8 threads.
KERNEL(transpose, void *to, const void *from, int types, int rows, int cols) {
    typedef float Line[33]; // a column more: columns lie in different banks
    SHARED(Line, square, 32);
    int r0 = block_y * 32, c0 = block_x * 32;
    Any y = any(to, types & 1), x = any(from, types & 2);
    for (int r = thread_y; r < 32; r += 8)
        if (r0 + r < rows && c0 + thread_x < cols)
            square[r][thread_x] = load1(x + ((Index)(r0 + r) * cols + c0 + thread_x));
    barrier();
    for (int c = thread_y; c < 32; c += 8)
        if (c0 + c < cols && r0 + thread_x < rows)
            store1(y + ((Index)(c0 + c) * rows + r0 + thread_x), square[thread_x][c]);
}
