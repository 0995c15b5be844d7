// Operands of several types and widths, by one body each. A kernel takes such an operand as void *, and types, in which bit i is
// set where operand i is in bfloat16, in the order of the parameters.
#pragma once

#include "common.h"

// Any is an operand whose type is looked at for each access.
struct Any {
    char *p;
    bool half;
};

DEVICE Any operator+(Any a, Index i) { return Any{a.p + (a.half ? 2 * i : 4 * i), a.half}; }
DEVICE float load1(Any a) { return a.half ? load1((const BF16 *)a.p) : load1((const float *)a.p); }
DEVICE void store1(Any a, float x) {
    if (a.half)
        store1((BF16 *)a.p, x);
    else
        store1((float *)a.p, x);
}

// Widths of access.
struct One {
    enum { n = 1 };
};
struct Eight {
    enum { n = 8 };
};

template <class T> DEVICE Values<1> load(T p, One) { return Values<1>{{load1(p)}}; }
template <class T> DEVICE Values<8> load(T p, Eight) { return load8(p); }
template <class T> DEVICE void store(T p, Values<1> x) { store1(p, x.v[0]); }
template <class T> DEVICE void store(T p, Values<8> x) { store8(p, x); }

// aligned says whether 16 bytes at once may be had at each of the addresses; a null pointer may.
DEVICE bool aligned(const void *a) { return ((unsigned long long)a & 15) == 0; }
template <class... P> DEVICE bool aligned(const void *a, P... rest) { return aligned(a) && aligned(rest...); }

// as calls f with a pointer of the operand's type.
template <class F> DEVICE void as(bool half, const void *p, F f) {
    if (half)
        f((BF16 *)p);
    else
        f((float *)p);
}
DEVICE Any any(const void *p, bool half) { return Any{(char *)p, half}; }

// typed calls f with a width and the operands: eight values at a time, of their types, where they are whole, which has to say
// that the sizes are multiples of 8, and the addresses aligned; else one at a time, of Any.
template <class F> DEVICE void typed(bool whole, int types, void *a, const void *b, F f) {
    if (!whole || !aligned(a, b))
        f(One(), any(a, types & 1), any(b, types & 2));
    else
        as(types & 1, a, [&](auto *a) { as(types & 2, b, [&](auto *b) { f(Eight(), a, b); }); });
}
template <class F> DEVICE void typed(bool whole, int types, void *a, const void *b, const void *c, F f) {
    if (!whole || !aligned(a, b, c))
        f(One(), any(a, types & 1), any(b, types & 2), any(c, types & 4));
    else
        as(types & 1, a, [&](auto *a) {
            as(types & 2, b, [&](auto *b) { as(types & 4, c, [&](auto *c) { f(Eight(), a, b, c); }); });
        });
}

// alike is typed for bodies that are long: eight values at a time only where all operands have one type.
template <class F> DEVICE void alike(bool whole, int types, void *a, const void *b, F f) {
    if (!whole || !aligned(a, b) || (types != 0 && types != 3))
        f(One(), any(a, types & 1), any(b, types & 2));
    else
        as(types, a, [&](auto *a) { f(Eight(), a, (decltype(a))b); });
}
template <class F> DEVICE void alike(bool whole, int types, void *a, const void *b, const void *c, F f) {
    if (!whole || !aligned(a, b, c) || (types != 0 && types != 7))
        f(One(), any(a, types & 1), any(b, types & 2), any(c, types & 4));
    else
        as(types, a, [&](auto *a) { f(Eight(), a, (decltype(a))b, (decltype(a))c); });
}

// by_width calls f with the width of accesses, for operands of one type.
template <class F> DEVICE void by_width(bool whole, F f) {
    if (whole)
        f(Eight());
    else
        f(One());
}

// map writes f(x, i) for each element.
template <class W, class Y, class X, class F> DEVICE void map(W w, Y y, X x, Index n, F f) {
    EACH(p, n / W::n) {
        auto v = load(x + p * W::n, w);
        for (int k = 0; k < W::n; k++)
            v.v[k] = f(v.v[k], p * W::n + k);
        store(y + p * W::n, v);
    }
}

// map writes f(a, b, i) for each element.
template <class W, class Y, class A, class B, class F> DEVICE void map(W w, Y y, A a, B b, Index n, F f) {
    EACH(p, n / W::n) {
        auto v = load(a + p * W::n, w);
        auto u = load(b + p * W::n, w);
        for (int k = 0; k < W::n; k++)
            v.v[k] = f(v.v[k], u.v[k], p * W::n + k);
        store(y + p * W::n, v);
    }
}
