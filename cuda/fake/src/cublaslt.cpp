// cublasLt's functions: products of column-major matrices as plain loops, put off in their stream like all other work. What the
// library refuses is refused here, and so is what it does not look at and would get wrong: matrices that overlap, are not memory
// of the device, or are not aligned as the heuristics were told.
#include "engine.h"

#include <algorithm>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) int

using namespace fake;

namespace {

enum { notInitialized = 1, invalidArgument = 7, executionFailed = 13, notSupported = 15 };
enum { real32 = 0, bfloat16 = 14 };
enum { compute32 = 68, computeTF32 = 77 };
enum { epilogueDefault = 1, epilogueBias = 4, gelu = 32, aux = 128, dgelu = 64 | 128, bgradB = 512 };

struct Handle {};

const uint32_t anyEpilogue = ~0u;
bool broken, late;
uint32_t refused; // an epilogue

struct Layout {
    int type;
    uint64_t rows, cols;
    int64_t ld;
    size_t bytes() const { return ((cols - 1) * ld + rows) * (type == bfloat16 ? 2 : 4); }
};

struct Description {
    int compute;
    int transA = 0, transB = 0;
    uint32_t epilogue = epilogueDefault;
    char *bias = nullptr, *aux = nullptr;
    int64_t auxLd = 0;
};

struct Preference {
    uint64_t workspace = 0;
    uint32_t alignment[4] = {256, 256, 256, 256}; // A, B, C, D
};

// Algorithm is what lies in the 64 bytes that a program passes on.
struct Algorithm {
    uint64_t magic, problem, workspace;
    uint32_t alignment[4];
    uint64_t reserved[3];
};
static_assert(sizeof(Algorithm) == 64, "cublasLtMatmulAlgo_t has 64 bytes");

struct Heuristic {
    Algorithm algorithm;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};
static_assert(sizeof(Heuristic) == 96, "cublasLtMatmulHeuristicResult_t has 96 bytes");

const uint64_t magic = 0x6b65726e656c4c54;

// problem is a hash of all that a kernel is chosen for.
uint64_t problem(const Description &d, const Layout *const l[4]) {
    uint64_t h = 1469598103934665603ull;
    auto mix = [&](uint64_t v) { h = (h ^ v) * 1099511628211ull; };
    mix(d.compute), mix(d.transA), mix(d.transB), mix(d.epilogue), mix(d.auxLd);
    for (int i = 0; i < 4; i++)
        mix(l[i]->type), mix(l[i]->rows), mix(l[i]->cols), mix(l[i]->ld);
    return h;
}

bool hasBias(const Description &d) { return d.epilogue & (epilogueBias | bgradB); }
bool hasAux(const Description &d) { return d.epilogue & aux; }
bool refuses(const Description &d) { return refused == d.epilogue || refused == anyEpilogue; }

// check says whether the library would do the product: a code.
int check(const Description &d, const Layout *const l[4]) {
    const Layout &a = *l[0], &b = *l[1], &c = *l[2], &r = *l[3];
    for (int i = 0; i < 4; i++)
        if (l[i]->rows < 1 || l[i]->cols < 1 || l[i]->ld < (int64_t)l[i]->rows)
            return invalidArgument;
    uint64_t m = d.transA ? a.cols : a.rows, ka = d.transA ? a.rows : a.cols;
    uint64_t n = d.transB ? b.rows : b.cols, kb = d.transB ? b.cols : b.rows;
    if (ka != kb || r.rows != m || r.cols != n || c.rows != m || c.cols != n)
        return invalidArgument;
    if (a.type != b.type || c.type != r.type)
        return notSupported;
    bool types = a.type == real32 ? r.type == real32 : a.type == bfloat16 && (r.type == real32 || r.type == bfloat16);
    if (!types || (d.compute == computeTF32 && a.type != real32) || (d.compute != compute32 && d.compute != computeTF32))
        return notSupported;
    switch (d.epilogue) {
    case epilogueDefault: case epilogueBias: case gelu: case gelu | epilogueBias: case gelu | aux: case gelu | aux | epilogueBias:
    case dgelu: case bgradB:
        break;
    default:
        return notSupported;
    }
    if (hasBias(d) && (!d.bias || (size_t)d.bias % 16))
        return notSupported;
    if (hasAux(d) && (!d.aux || (size_t)d.aux % 16 || d.auxLd % 8 || d.auxLd < (int64_t)m))
        return notSupported;
    return success;
}

float load(const char *p, size_t i, int type) {
    if (type == real32)
        return ((const float *)p)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)p)[i] << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

void store(char *p, size_t i, int type, float v) {
    if (type == real32) {
        ((float *)p)[i] = v;
        return;
    }
    uint32_t bits;
    memcpy(&bits, &v, 4);
    bits = v != v ? bits | 1 << 22 : bits + 0x7fff + (bits >> 16 & 1); // to nearest, ties to even
    ((uint16_t *)p)[i] = (uint16_t)(bits >> 16);
}

// tf32 rounds to 11 bits, ties away from zero, as tensor cores are given operands.
float tf32(float v) {
    uint32_t bits;
    memcpy(&bits, &v, 4);
    if (v - v == 0)
        bits += 0x1000;
    bits &= ~0x1fffu;
    memcpy(&v, &bits, 4);
    return v;
}

// pack copies op(x) to lines of one k each.
std::vector<float> pack(const char *x, const Layout &l, bool transposed, size_t outer, size_t k, bool rounded) {
    std::vector<float> p(outer * k);
    for (size_t i = 0; i < outer; i++)
        for (size_t j = 0; j < k; j++) {
            float v = load(x, transposed ? j + i * l.ld : i + j * l.ld, l.type);
            p[j * outer + i] = rounded ? tf32(v) : v;
        }
    return p;
}

// panel adds four columns of the product to sums (4, m).
__attribute__((optimize("O3"), target_clones("avx2", "default"))) void panel(float *__restrict sums, const float *__restrict a,
                                                                             const float *__restrict b, size_t m, size_t n, size_t k, size_t j) {
    for (size_t p = 0; p < k; p++) {
        const float *line = a + p * m;
        float b0 = b[p * n + j], b1 = j + 1 < n ? b[p * n + j + 1] : 0, b2 = j + 2 < n ? b[p * n + j + 2] : 0, b3 = j + 3 < n ? b[p * n + j + 3] : 0;
        for (size_t i = 0; i < m; i++) {
            sums[i] += line[i] * b0;
            sums[m + i] += line[i] * b1;
            sums[2 * m + i] += line[i] * b2;
            sums[3 * m + i] += line[i] * b3;
        }
    }
}

double geluOf(double x) { return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))); }

double geluSlope(double x) {
    double t = tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 3 * 0.044715 * x * x);
}

struct Product {
    Description d;
    Layout la, lb, lc, ld;
    float alpha, beta;
    const char *a, *b, *c;
    char *r;
    char *workspace;
    size_t workspaceSize;

    void run() const {
        size_t m = ld.rows, n = ld.cols, k = d.transA ? la.rows : la.cols;
        bool rounded = d.compute == computeTF32;
        std::vector<float> pa = pack(a, la, d.transA, m, k, rounded), pb = pack(b, lb, !d.transB, n, k, rounded);
        if (workspaceSize)
            memset(workspace, 0xff, workspaceSize); // NaN: it is the library's
        if (d.epilogue == bgradB)
            for (size_t j = 0; j < n; j++) {
                float sum = 0;
                for (size_t p = 0; p < k; p++)
                    sum += load(b, d.transB ? j + p * lb.ld : p + j * lb.ld, lb.type);
                store(d.bias, j, ld.type, sum);
            }
        std::vector<float> sums(4 * m);
        for (size_t j0 = 0; j0 < n; j0 += 4) {
            std::fill(sums.begin(), sums.end(), 0.f);
            panel(sums.data(), pa.data(), pb.data(), m, n, k, j0);
            for (size_t j = j0; j < std::min(j0 + 4, n); j++)
                for (size_t i = 0; i < m; i++)
                    finish(i, j, sums[(j - j0) * m + i]);
        }
    }

    void finish(size_t i, size_t j, float sum) const {
        float v = alpha * sum;
        if (beta != 0)
            v += beta * load(c, i + j * lc.ld, lc.type);
        if (d.epilogue & epilogueBias)
            v += load(d.bias, i, ld.type); // along the columns of D
        if (d.epilogue == dgelu) {
            v *= (float)geluSlope(load(d.aux, i + j * d.auxLd, ld.type));
        } else if (d.epilogue & gelu) {
            if (hasAux(d))
                store(d.aux, i + j * d.auxLd, ld.type, v);
            v = (float)geluOf(v);
        }
        store(r, i + j * ld.ld, ld.type, v);
    }
};

bool overlap(const char *a, size_t n, const char *b, size_t m) { return a < b + m && b < a + n; }

} // namespace

extern "C" __attribute__((visibility("default"))) size_t cublasLtGetVersion() { return 120805; }

API cublasLtCreate(void **handle) {
    if (broken || !haveContext())
        return notInitialized;
    *handle = new Handle;
    return success;
}

API cublasLtDestroy(void *handle) {
    delete (Handle *)handle;
    return success;
}

API cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t cols, int64_t ld) {
    *layout = new Layout{type, rows, cols, ld};
    return success;
}

API cublasLtMatrixLayoutDestroy(void *layout) {
    delete (Layout *)layout;
    return success;
}

API cublasLtMatmulDescCreate(void **description, int compute, int scale) {
    if (scale != real32)
        return invalidArgument;
    *description = new Description{compute};
    return success;
}

API cublasLtMatmulDescDestroy(void *description) {
    delete (Description *)description;
    return success;
}

template <class T> static int set(T &to, const void *value, size_t size) {
    if (size != sizeof to)
        return invalidArgument;
    memcpy(&to, value, size);
    return success;
}

API cublasLtMatmulDescSetAttribute(void *description, int attribute, const void *value, size_t size) {
    auto d = (Description *)description;
    switch (attribute) {
    case 3: return set(d->transA, value, size);
    case 4: return set(d->transB, value, size);
    case 7: return set(d->epilogue, value, size);
    case 8: return set(d->bias, value, size);
    case 11: return set(d->aux, value, size);
    case 12: return set(d->auxLd, value, size);
    }
    return invalidArgument;
}

API cublasLtMatmulPreferenceCreate(void **preference) {
    *preference = new Preference;
    return success;
}

API cublasLtMatmulPreferenceDestroy(void *preference) {
    delete (Preference *)preference;
    return success;
}

API cublasLtMatmulPreferenceSetAttribute(void *preference, int attribute, const void *value, size_t size) {
    auto p = (Preference *)preference;
    if (attribute == 1)
        return set(p->workspace, value, size);
    if (attribute >= 5 && attribute <= 8)
        return set(p->alignment[attribute - 5], value, size);
    return invalidArgument;
}

API cublasLtMatmulAlgoGetHeuristic(void *handle, void *description, void *la, void *lb, void *lc, void *ld, void *preference, int asked,
                                   Heuristic *results, int *found) {
    *found = 0;
    if (!handle || !description || !la || !lb || !lc || !ld || !preference || asked < 1)
        return invalidArgument;
    auto &d = *(Description *)description;
    const Layout *l[4] = {(Layout *)la, (Layout *)lb, (Layout *)lc, (Layout *)ld};
    auto &p = *(Preference *)preference;
    if (int status = check(d, l))
        return status;
    for (int i = 0; i < 4; i++)
        if (p.alignment[i] < (l[i]->type == bfloat16 ? 2u : 4u))
            return notSupported;
    if (refuses(d) && !late)
        return notSupported;
    Algorithm a{magic, problem(d, l), std::min(p.workspace, 4 * l[3]->rows * l[3]->cols), {}, {}};
    for (int i = 0; i < 4; i++)
        a.alignment[i] = std::min(p.alignment[i], 16u); // what a kernel loads in one piece
    results[0] = Heuristic{a, a.workspace, success, 1, {}};
    *found = 1;
    return success;
}

API cublasLtMatmul(void *handle, void *description, const float *alpha, const char *a, void *la, const char *b, void *lb, const float *beta,
                   const char *c, void *lc, char *r, void *ld, const Algorithm *algorithm, char *workspace, size_t workspaceSize, void *stream) {
    if (!handle || !description || !la || !lb || !lc || !ld || !algorithm || !a || !b || !c || !r)
        return invalidArgument;
    auto &d = *(Description *)description;
    const Layout *l[4] = {(Layout *)la, (Layout *)lb, (Layout *)lc, (Layout *)ld};
    if (int status = check(d, l))
        return status;
    if (refuses(d))
        return notSupported;
    if (algorithm->magic != magic || algorithm->problem != problem(d, l) || workspaceSize < algorithm->workspace ||
        (workspaceSize && ((size_t)workspace % 256 || !insideDevice(workspace, workspaceSize))))
        return invalidArgument;
    struct Piece {
        const char *at;
        size_t bytes;
        bool written;
    };
    std::vector<Piece> pieces = {{r, l[3]->bytes(), true}, {a, l[0]->bytes(), false}, {b, l[1]->bytes(), false}};
    if (c != r || l[2]->ld != l[3]->ld) { // in place or apart
        if (*beta != 0)
            pieces.push_back({c, l[2]->bytes(), false});
    }
    size_t size = l[3]->type == bfloat16 ? 2 : 4;
    if (hasBias(d))
        pieces.push_back({d.bias, size * (d.epilogue == bgradB ? l[3]->cols : l[3]->rows), d.epilogue == bgradB});
    if (hasAux(d))
        pieces.push_back({d.aux, size * ((l[3]->cols - 1) * d.auxLd + l[3]->rows), d.epilogue != dgelu});
    if (workspaceSize)
        pieces.push_back({workspace, workspaceSize, true});
    for (size_t i = 0; i < pieces.size(); i++) {
        if (!insideDevice(pieces[i].at, pieces[i].bytes))
            return invalidArgument;
        for (size_t j = 0; j < i; j++)
            if ((pieces[i].written || pieces[j].written) && overlap(pieces[i].at, pieces[i].bytes, pieces[j].at, pieces[j].bytes))
                return invalidArgument;
    }
    const char *at[4] = {a, b, c, r};
    for (int i = 0; i < 4; i++)
        if ((size_t)at[i] % algorithm->alignment[i])
            return invalidArgument;
    Product p{d, *l[0], *l[1], *l[2], *l[3], *alpha, *beta, a, b, c, r, workspace, algorithm->workspace};
    int status = enqueue(stream, "cublasLtMatmul", [p](std::string &) {
        p.run();
        return (int)success;
    });
    switch (status) {
    case success: return success;
    case invalidHandle: return invalidArgument;
    case invalidContext: return notInitialized;
    }
    return executionFailed;
}

// fakeCublasLt lets the library not start, or have no kernel for an epilogue (0: there is one for each; -1: for any), which
// heuristics say, or not before the product itself.
API fakeCublasLt(int notStarting, uint32_t epilogue, int notBefore) {
    broken = notStarting;
    refused = epilogue;
    late = notBefore;
    return success;
}
