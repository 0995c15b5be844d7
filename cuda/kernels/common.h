// What kernels share: loops over elements, sums over a block, and functions that no library of the device gives.
#pragma once

#include "port.h"

typedef long long Index; // an arena may have more than 2^31 elements

// EACH runs its body for every i below n, a thread for each as far as the grid goes.
#define EACH(i, n) \
    for (Index i = (Index)block_x * threads_x + thread_x, each_step = (Index)blocks_x * threads_x; i < (n); i += each_step)

DEVICE float larger(float a, float b) { return a > b ? a : b; }
DEVICE float not_a_number() { return float_of(0x7fc00000u); }
DEVICE float infinity() { return float_of(0x7f800000u); }

// Values are neighbours in memory.
template <int N> struct Values {
    float v[N];
};

// Pack is as many as are loaded at once: 16 bytes in bfloat16, 32 in float32.
typedef Values<8> Pack;

DEVICE float load1(const float *p) { return *p; }
DEVICE float load1(const BF16 *p) { return widen(*p); }
DEVICE void store1(float *p, float x) { *p = x; }
DEVICE void store1(BF16 *p, float x) { *p = narrow(x); }

// load8 and store8 want an address that is a multiple of 16.
DEVICE Pack load8(const float *p) {
    Words a = load16(p), b = load16(p + 4);
    Pack x;
    for (int i = 0; i < 4; i++) {
        x.v[i] = float_of(a.w[i]);
        x.v[4 + i] = float_of(b.w[i]);
    }
    return x;
}
DEVICE Pack load8(const BF16 *p) {
    Words a = load16(p);
    Pack x;
    for (int i = 0; i < 4; i++) {
        x.v[2 * i] = float_of(a.w[i] << 16);
        x.v[2 * i + 1] = float_of(a.w[i] & 0xffff0000u);
    }
    return x;
}
DEVICE void store8(float *p, Pack x) {
    Words a, b;
    for (int i = 0; i < 4; i++) {
        a.w[i] = bits_of(x.v[i]);
        b.w[i] = bits_of(x.v[4 + i]);
    }
    store16(p, a);
    store16(p + 4, b);
}
DEVICE void store8(BF16 *p, Pack x) {
    Words a;
    for (int i = 0; i < 4; i++)
        a.w[i] = narrow2(x.v[2 * i], x.v[2 * i + 1]);
    store16(p, a);
}

// block_sum adds v over the threads of a block, which are a multiple of 32; every thread gets the sum. Its order depends
// on the block alone.
DEVICE float block_sum(float v) {
    SHARED(float, block_parts, 32);
    for (int d = 16; d; d >>= 1)
        v += shuffle_xor(v, d);
    if (threads_x == 32)
        return v;
    if (thread_x % 32 == 0)
        block_parts[thread_x / 32] = v;
    barrier();
    v = thread_x % 32 < threads_x / 32 ? block_parts[thread_x % 32] : 0;
    for (int d = 16; d; d >>= 1)
        v += shuffle_xor(v, d);
    barrier(); // block_parts may be written again
    return v;
}

// block_sums is block_sum of two at once.
struct Two {
    float a, b;
};
DEVICE Two block_sums(float a, float b) {
    typedef float Line[2];
    SHARED(Line, block_pairs, 32);
    for (int d = 16; d; d >>= 1) {
        a += shuffle_xor(a, d);
        b += shuffle_xor(b, d);
    }
    if (threads_x == 32)
        return Two{a, b};
    if (thread_x % 32 == 0) {
        block_pairs[thread_x / 32][0] = a;
        block_pairs[thread_x / 32][1] = b;
    }
    barrier();
    bool mine = thread_x % 32 < threads_x / 32;
    a = mine ? block_pairs[thread_x % 32][0] : 0;
    b = mine ? block_pairs[thread_x % 32][1] : 0;
    for (int d = 16; d; d >>= 1) {
        a += shuffle_xor(a, d);
        b += shuffle_xor(b, d);
    }
    barrier();
    return Two{a, b};
}

// block_max is the largest v of the block; a NaN is passed by.
DEVICE float block_max(float v) {
    SHARED(float, block_tops, 32);
    for (int d = 16; d; d >>= 1)
        v = larger(v, shuffle_xor(v, d));
    if (thread_x % 32 == 0)
        block_tops[thread_x / 32] = v;
    barrier();
    v = thread_x % 32 < threads_x / 32 ? block_tops[thread_x % 32] : -infinity();
    for (int d = 16; d; d >>= 1)
        v = larger(v, shuffle_xor(v, d));
    barrier();
    return v;
}

// exp1 is e^x to 4e-7 of it, for all x: 0 below -104, infinity above 88.8, NaN for NaN.
DEVICE float exp1(float x) {
    x = x < -104 ? -104 : x > 89 ? 89 : x; // whose results are 0 and infinity; a NaN stays
    float n = floor1(fma1(x, 1.442695041f, 0.5f));
    float r = fma1(n, -0.693145752f, x); // ln 2 in two parts, the first of few bits
    r = fma1(n, -1.42860677e-6f, r);
    int k = (int)n, half = k >> 1; // 2^k may be no number of its own
    return exp2_near(r * 1.442695041f) * float_of((unsigned)(half + 127) << 23) * float_of((unsigned)(k - half + 127) << 23);
}

// log1 is the natural logarithm, to 2e-7·max(1, |log x|).
DEVICE float log1(float x) { return log2_near(x) * 0.6931471806f; }

// log1p1 is log(1 + x) for x in [0, 1].
DEVICE float log1p1(float x) {
    float u = 1 + x, rest = x - (u - 1); // u is rounded: what is lost, times the derivative
    return log1(u) + rest / u;
}

DEVICE float sigmoid(float x) {
    float e = exp1(x > 0 ? -x : x);
    return (x > 0 ? 1 : e) / (1 + e);
}

DEVICE float tanh1(float x) {
    float a = x < 0 ? -x : x;
    float e = exp1(-2 * a), t = (1 - e) / (1 + e);
    return x < 0 ? -t : t;
}

// normal_tail is the probability that a normal variable is above z >= 0, to 1e-7: Abramowitz, Stegun, 26.2.17.
DEVICE float normal_tail(float z) {
    float t = 1 / (1 + 0.2316419f * z);
    float p = fma1(fma1(fma1(fma1(1.330274429f, t, -1.821255978f), t, 1.781477937f), t, -0.356563782f), t, 0.319381530f) * t;
    return 0.3989422804f * exp1(-0.5f * z * z) * p;
}

DEVICE float normal_cdf(float x) { return x < 0 ? normal_tail(-x) : 1 - normal_tail(x); }

// The forms of GELU: kernel.GELUKind.
enum { gelu_erf, gelu_tanh, gelu_quick };

// gelu1 is the Gaussian error linear unit (arXiv:1606.08415).
DEVICE float gelu1(float x, int form) {
    if (x == -infinity())
        return 0;
    if (form == gelu_erf)
        return x * normal_cdf(x);
    if (form == gelu_tanh)
        return 0.5f * x * (1 + tanh1(0.7978845608f * fma1(0.044715f * x * x, x, x)));
    return x * sigmoid(1.702f * x);
}

// gelu_slope is its derivative.
DEVICE float gelu_slope(float x, int form) {
    if (x == infinity() || x == -infinity())
        return x > 0;
    if (form == gelu_erf)
        return fma1(x, 0.3989422804f * exp1(-0.5f * x * x), normal_cdf(x));
    if (form == gelu_tanh) {
        float t = tanh1(0.7978845608f * fma1(0.044715f * x * x, x, x));
        return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.7978845608f * fma1(0.134145f * x, x, 1);
    }
    float s = sigmoid(1.702f * x);
    return s + 1.702f * x * s * (1 - s);
}

// Random bits of dropout, as on the host: package kernel, Dropout.
DEVICE unsigned long long split_mix(unsigned long long x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

// dropout_key is the key of an op, given its number and the seed of the run, which is in memory: what a graph has recorded
// reads the seed of now.
DEVICE unsigned long long dropout_key(const unsigned long long *seed, unsigned long long op) {
    return split_mix(split_mix(seed[0]) ^ op);
}

DEVICE float dropout_factor(Index i, unsigned long long key, unsigned threshold, float scale) {
    unsigned long long k = split_mix(key + (unsigned long long)(i / 8192));
    unsigned h = (unsigned)(i % 8192) * 0x9e3779b1u ^ (unsigned)k;
    h = (h ^ h >> 16) * 0x7feb352du;
    h = (h ^ h >> 15) * 0x846ca68bu + (unsigned)(k >> 32);
    h = (h ^ h >> 16) * 0x7feb352du;
    h ^= h >> 15;
    return h < threshold ? 0 : scale;
}
