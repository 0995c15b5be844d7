// The optimiser's step over flat buffers: their places are multiples of 16 bytes. Sums are in float64 and in an order that the
// shape gives, as on the host: kernel.SumSquares, kernel.AdamW.
#include "common.h"

// Control is what a step knows of itself, for the kernels of later steps and for the host.
struct Control {
    int stopped; // 0, or why nothing is changed any more
    int steps;   // taken
    double norm; // of the gradient, before clipping
    float scale; // of the gradient
};

enum { stopped_by_norm = 1, stopped_by_value = 2 };

struct Floats {
    float v[4];
};

DEVICE Floats load_floats(const float *p) {
    Words w = load16(p);
    Floats f = {{float_of(w.w[0]), float_of(w.w[1]), float_of(w.w[2]), float_of(w.w[3])}};
    return f;
}

DEVICE void store_floats(float *p, Floats f) {
    Words w = {{bits_of(f.v[0]), bits_of(f.v[1]), bits_of(f.v[2]), bits_of(f.v[3])}};
    store16(p, w);
}

// square_parts: parts[block] = Σ x², of every blocks_x-th piece of 4·256 elements. Blocks of 256 threads.
KERNEL(square_parts, double *parts, const float *x, Index n) {
    SHARED(double, square_sums, 256);
    double v = 0;
    Index whole = n / 4;
    EACH(i, whole) {
        Floats f = load_floats(x + 4 * i);
        v += ((double)f.v[0] * f.v[0] + (double)f.v[1] * f.v[1]) + ((double)f.v[2] * f.v[2] + (double)f.v[3] * f.v[3]);
    }
    Index rest = 4 * whole + thread_x;
    if (block_x == 0 && rest < n)
        v += (double)x[rest] * x[rest];
    square_sums[thread_x] = v;
    for (int d = 128; d; d >>= 1) {
        barrier();
        if (thread_x < d)
            square_sums[thread_x] += square_sums[thread_x + d];
    }
    if (thread_x == 0)
        parts[block_x] = square_sums[0];
}

// Rate is what a group of parameters has of the learning rate: w = w·keep - rate·m/(√v·root + eps).
struct Rate {
    float rate, keep;
};

// adamw_begin decides on a step, in one block of 256 threads: the norm is the root of the sum of parts, above clip (0: no bound)
// the gradient is scaled down; a norm, or one of the values, that is not finite stops the step and all later ones. groups has
// the decay and the factor of the learning rate of each group.
KERNEL(adamw_begin, Control *control, Rate *rates, const double *parts, int count, const float *values, int value_count, const double *groups,
       int group_count, double clip, double rate, double correction) {
    SHARED(double, part_sums, 256);
    double v = 0;
    for (int i = thread_x; i < count; i += 256)
        v += parts[i];
    part_sums[thread_x] = v;
    for (int d = 128; d; d >>= 1) {
        barrier();
        if (thread_x < d)
            part_sums[thread_x] += part_sums[thread_x + d];
    }
    for (int i = thread_x; i < group_count; i += 256) {
        double lr = rate * groups[2 * i + 1];
        rates[i].rate = (float)(lr / correction);
        rates[i].keep = (float)(1 - lr * groups[2 * i]);
    }
    if (thread_x != 0 || control->stopped)
        return;
    double norm = root64(part_sums[0]);
    control->norm = norm;
    if (!(norm <= 1.7976931348623157e308)) {
        control->stopped = stopped_by_norm;
        return;
    }
    for (int i = 0; i < value_count; i++)
        if (!(values[i] > -infinity() && values[i] < infinity())) {
            control->stopped = stopped_by_value;
            return;
        }
    double scale = clip > 0 ? clip / (norm + 1e-6) : 1;
    control->scale = (float)(scale < 1 ? scale : 1);
    control->steps++;
}

DEVICE void adamw1(float *w, float g, float *m, float *v, Rate r, float scale, float beta1, float rest1, float beta2, float rest2, float root2,
                   float eps) {
    float d = scale * g;
    *m = beta1 * *m + rest1 * d;
    *v = beta2 * *v + rest2 * d * d;
    *w = *w * r.keep - r.rate * (*m / (root(*v) * root2 + eps));
}

// adamw: a step of chunks of 4,096 elements at most, each of a block and of one group: chunks has, for each, the group, the number
// of elements, and where it begins, in the lower and in the upper half.
KERNEL(adamw, float *w, const float *g, float *m, float *v, const Control *control, const Rate *rates, const int *chunks, float beta1, float rest1,
       float beta2, float rest2, float root2, float eps) {
    if (control->stopped)
        return;
    const int *chunk = chunks + 4 * (Index)block_x;
    Rate r = rates[chunk[0]];
    Index low = (Index)(unsigned)chunk[2] | (Index)chunk[3] << 32, high = low + chunk[1];
    float scale = control->scale;
    // Elements before the first multiple of 4, and behind the last.
    Index first = (low + 3) / 4 * 4, last = high / 4 * 4;
    if (first > last)
        first = last = high;
    Index odd = thread_x < first - low ? low + thread_x : last + thread_x - (first - low);
    if (odd < high && (odd < first || odd >= last))
        adamw1(w + odd, g[odd], m + odd, v + odd, r, scale, beta1, rest1, beta2, rest2, root2, eps);
    for (Index i = first + 4 * thread_x; i < last; i += 4 * threads_x) {
        Floats fw = load_floats(w + i), fg = load_floats(g + i), fm = load_floats(m + i), fv = load_floats(v + i);
        for (int j = 0; j < 4; j++)
            adamw1(&fw.v[j], fg.v[j], &fm.v[j], &fv.v[j], r, scale, beta1, rest1, beta2, rest2, root2, eps);
        store_floats(w + i, fw);
        store_floats(m + i, fm);
        store_floats(v + i, fv);
    }
}

// average: y = d·y + rest·x, unless control (which may be null) says that nothing changes.
KERNEL(average, float *y, const float *x, const Control *control, float d, float rest, Index n) {
    if (control && control->stopped)
        return;
    EACH(i, n / 4) {
        Floats a = load_floats(y + 4 * i), b = load_floats(x + 4 * i);
        for (int j = 0; j < 4; j++)
            a.v[j] = fma1(rest, b.v[j], d * a.v[j]);
        store_floats(y + 4 * i, a);
    }
    Index at = n / 4 * 4 + thread_x;
    if (block_x == 0 && at < n)
        y[at] = fma1(rest, x[at], d * y[at]);
}

// exchange_floats: x and y change places.
KERNEL(exchange_floats, float *x, float *y, Index n) {
    EACH(i, n / 4) {
        Words a = load16(x + 4 * i), b = load16(y + 4 * i);
        store16(x + 4 * i, b);
        store16(y + 4 * i, a);
    }
    Index at = n / 4 * 4 + thread_x;
    if (block_x == 0 && at < n) {
        float a = x[at];
        x[at] = y[at];
        y[at] = a;
    }
}

// clamp_above: x = min(x, most); NaN stays.
KERNEL(clamp_above, float *x, float most, Index n) {
    EACH(i, n)
    x[i] = x[i] > most ? most : x[i];
}
