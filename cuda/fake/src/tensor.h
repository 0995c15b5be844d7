// What the hardware from compute capability 8.0 on has more: products of small matrices by a whole warp, and copies that go on
// behind. Where each lane has which value is the PTX ISA's, 9.7.14; port.h tells it.
#pragma once

#define TENSOR_CORES 1

typedef uintptr_t SharedAt;

static inline SharedAt shared_at(const void *p) { return (SharedAt)p; }

namespace fake {

inline float ofBits(unsigned b) {
    float x;
    memcpy(&x, &b, 4);
    return x;
}

// towardsZero rounds as tensor cores round their sums (Fasi, Higham, Mikaitis, Pranesh, PeerJ Computer Science 7:e330).
inline float towardsZero(double x) {
    float y = (float)x;
    return std::isfinite(y) && std::fabs((double)y) > std::fabs(x) ? std::nextafterf(y, 0) : y;
}

// Fragments are what a lane hands to a product.
struct Fragments {
    unsigned a[4], b[2];
};

inline const Fragments &fragments(int lane) { return *(const Fragments *)given(lane); }

// product is d += a·b for the lane's four values, where a(row, k) and b(k, column) find values in the fragments.
template <int depth, class A, class B> void product(const char *name, float *d, const unsigned *a, const unsigned *b, A of_a, B of_b) {
    Fragments mine;
    memcpy(mine.a, a, sizeof mine.a);
    memcpy(mine.b, b, sizeof mine.b);
    give(name, &mine, sizeof mine);
    int g = current->lane / 4, t = current->lane % 4;
    double sums[4] = {d[0], d[1], d[2], d[3]};
    for (int k = 0; k < depth; k++) {
        float above = of_a(g, k), below = of_a(g + 8, k), left = of_b(k, 2 * t), right = of_b(k, 2 * t + 1);
        sums[0] += (double)above * left;
        sums[1] += (double)above * right;
        sums[2] += (double)below * left;
        sums[3] += (double)below * right;
    }
    for (int i = 0; i < 4; i++)
        d[i] = towardsZero(sums[i]);
    taken();
}

inline float halfOf(unsigned pair, int i) { return ofBits(i ? pair & 0xffff0000u : pair << 16); }

inline void loadMatrices(const char *name, unsigned *r, SharedAt at, bool turned) {
    if (at % 16)
        misaligned((const void *)at);
    give(name, (const void *)at, 16);
    int g = current->lane / 4, t = current->lane % 4;
    for (int i = 0; i < 4; i++) {
        auto value = [&](int row, int column) { return (unsigned)((const unsigned short *)given(8 * i + row))[column]; };
        r[i] = turned ? value(2 * t, g) | value(2 * t + 1, g) << 16 : value(g, 2 * t) | value(g, 2 * t + 1) << 16;
    }
    taken();
}

} // namespace fake

static inline void mma_bf16(float *d, const unsigned *a, const unsigned *b) {
    fake::product<16>("mma_bf16", d, a, b,
        [](int row, int k) { return fake::halfOf(fake::fragments(row % 8 * 4 + k % 8 / 2).a[row / 8 + k / 8 * 2], k % 2); },
        [](int k, int column) { return fake::halfOf(fake::fragments(column * 4 + k % 8 / 2).b[k / 8], k % 2); });
}

static inline void mma_tf32(float *d, const unsigned *a, const unsigned *b) {
    for (int i = 0; i < 4; i++)
        if ((a[i] | b[i % 2]) & 0x1fff)
            fake::wrong("mma_tf32 of a value that has more bits than tf32 gives");
    fake::product<8>("mma_tf32", d, a, b,
        [](int row, int k) { return fake::ofBits(fake::fragments(row % 8 * 4 + k % 4).a[row / 8 + k / 4 * 2]); },
        [](int k, int column) { return fake::ofBits(fake::fragments(column * 4 + k % 4).b[k / 4]); });
}

// tf32 rounds to nearest, and halves away from zero.
static inline unsigned tf32(float x) {
    unsigned b;
    memcpy(&b, &x, 4);
    return x != x ? 0x7fffe000u : (b & 0x7f800000u) == 0x7f800000u ? b : (b + 0x1000u) & ~0x1fffu;
}

static inline void load_matrices(unsigned *r, SharedAt at) { fake::loadMatrices("load_matrices", r, at, false); }
static inline void load_matrices_turned(unsigned *r, SharedAt at) { fake::loadMatrices("load_matrices_turned", r, at, true); }

static inline void copy_ahead(SharedAt at, const void *from, bool there) { fake::copyAhead(at, from, there); }
static inline void copies_commit() { fake::commitCopies(); }
template <int n> static inline void copies_wait() { fake::waitCopies(n); }
