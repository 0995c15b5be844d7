// A GPU on the host, as its kernels see it. Every thread of a block is a fiber; a block runs on one thread of the
// system. A fiber gives way where threads meet (barrier, shuffle), and only there, so the order in which the others run in between
// is ours to choose: FAKECUDA_SEED shuffles it, and a barrier that is missing shows.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace fake {

struct Int3 {
    int x, y, z;
};

// Thread is where the fiber that runs now stands.
struct Thread {
    Int3 thread, block, threads, blocks;
    int index, lane, warp; // index of the thread in its block
};

extern thread_local Thread *current;

void blockBarrier();

// give hands up to 64 bytes to the warp for an operation, and waits until all lanes have come to it; given is what a lane gave,
// until taken, which waits until all have it. All lanes of the warp have to take part, in the same operation.
void give(const char *operation, const void *from, size_t size);
const void *given(int lane);
void taken();

// exchange gives v to the warp and returns what lane `from` gave.
void exchange(const void *give, void *take, int from, size_t size);

// copyAhead copies 16 bytes to shared memory, or zeros, as late as the thread's copies allow; until then they are NaN.
void copyAhead(uintptr_t to, const void *from, bool there);
void commitCopies();
void waitCopies(size_t groups); // that may be left

// wrong ends the kernel with an error.
[[noreturn]] void wrong(const char *what);

// shared returns the block's memory of a declaration: the same for all threads of a block, and full of NaN at first.
void *shared(const void *declaration, size_t size);
void *dynamicShared();

// A launch copies the parameters, so that they may change afterwards.
using Bound = std::function<void()>;
struct Kernel {
    std::function<Bound(void **)> bind;
};
void registerKernel(const char *name, Kernel kernel);

// isDevice says whether a pointer is into memory of the device.
bool isDevice(const void *p);
[[noreturn]] void foreignPointer(const char *kernel, int parameter, const void *p);

// misaligned ends the launch: 16 bytes at once lie at a multiple of 16.
[[noreturn]] void misaligned(const void *p);

inline void copy16(void *to, const void *from, const void *device) {
    if ((uintptr_t)device % 16)
        misaligned(device);
    memcpy(to, from, 16);
}

template <class T> void checkParameter(const char *kernel, int i, T v) {
    if constexpr (std::is_pointer_v<T>) {
        if (v && !isDevice((const void *)v))
            foreignPointer(kernel, i, (const void *)v);
    }
}

struct Register {
    template <class... A> Register(const char *name, void (*f)(A...)) {
        registerKernel(name, Kernel{[name, f](void **p) { return bind(name, f, p, std::index_sequence_for<A...>{}); }});
    }
    template <class... A, size_t... I> static Bound bind(const char *name, void (*f)(A...), void **p, std::index_sequence<I...>) {
        std::tuple<std::decay_t<A>...> args(*(std::decay_t<A> *)p[I]...);
        return [name, f, args] {
            (checkParameter(name, (int)I, std::get<I>(args)), ...);
            std::apply(f, args);
        };
    }
};

} // namespace fake

#define UNROLL
#define LOOP
#define MEMBER inline
#define DEVICE static MEMBER
#define KERNEL(name, ...) \
    static void name(__VA_ARGS__); \
    static fake::Register fake_register_##name(#name, name); \
    static void name(__VA_ARGS__)
#define SHARED(T, name, n) \
    static const char fake_shared_##name = 0; \
    T(&name)[n] = *(T(*)[n])fake::shared(&fake_shared_##name, sizeof(T) * (n))
#define DYNAMIC_SHARED(T, name) T *name = (T *)fake::dynamicShared()
#define thread_x (fake::current->thread.x)
#define thread_y (fake::current->thread.y)
#define thread_z (fake::current->thread.z)
#define block_x (fake::current->block.x)
#define block_y (fake::current->block.y)
#define block_z (fake::current->block.z)
#define threads_x (fake::current->threads.x)
#define threads_y (fake::current->threads.y)
#define threads_z (fake::current->threads.z)
#define blocks_x (fake::current->blocks.x)
#define blocks_y (fake::current->blocks.y)
#define blocks_z (fake::current->blocks.z)
#define barrier() fake::blockBarrier()

template <class T> static inline T shuffle_down(T v, int d) {
    T r = v;
    int from = fake::current->lane + d;
    fake::exchange(&v, &r, from < 32 ? from : fake::current->lane, sizeof v);
    return r;
}

template <class T> static inline T shuffle_xor(T v, int mask) {
    T r = v;
    fake::exchange(&v, &r, fake::current->lane ^ mask, sizeof v);
    return r;
}

static inline float exp2_near(float x) { return exp2f(x); }
static inline float exp2_flush(float x) { return x < -126 ? 0 : exp2f(x); }
static inline float log2_near(float x) { return log2f(x); }
static inline float root(float x) { return sqrtf(x); }
static inline double root64(double x) { return sqrt(x); }
static inline float fma1(float a, float b, float c) { return fmaf(a, b, c); }
static inline float floor1(float x) { return floorf(x); }
static inline unsigned bits_of(float x) {
    unsigned b;
    memcpy(&b, &x, 4);
    return b;
}
static inline float float_of(unsigned b) {
    float x;
    memcpy(&x, &b, 4);
    return x;
}

#include "tensor.h"
