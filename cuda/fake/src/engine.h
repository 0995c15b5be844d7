// What the driver and the running of blocks share.
#pragma once

#include "fake.h"

#include <vector>

namespace fake {

// Codes of the driver, cuda.h.
enum Code {
    success = 0,
    invalidValue = 1,
    outOfMemory = 2,
    unavailable = 46,
    noDevice = 100,
    invalidDevice = 101,
    invalidImage = 200,
    invalidContext = 201,
    invalidPTX = 218,
    invalidHandle = 400,
    notFound = 500,
    notReady = 600,
    illegalAddress = 700,
    misalignedAddress = 716,
    launchFailed = 719,
    captureUnsupported = 900,
    captureInvalidated = 901,
    captureUnjoined = 904,
};

const size_t staticShared = 48 << 10;
const size_t maxShared = 227 << 10;

// Random is a small generator. Seed 0 changes no order.
struct Random {
    uint64_t seed, state;
    explicit Random(uint64_t seed) : seed(seed), state(seed * 0x9e3779b97f4a7c15ull) {}
    uint64_t next() {
        uint64_t x = state += 0x9e3779b97f4a7c15ull; // SplitMix64
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
        x = (x ^ x >> 27) * 0x94d049bb133111ebull;
        return x ^ x >> 31;
    }
    size_t below(size_t n) { return next() % n; }
    template <class T> void shuffle(std::vector<T> &v) {
        if (seed)
            for (size_t i = v.size(); i > 1; i--)
                std::swap(v[i - 1], v[below(i)]);
    }
};

// Launch is a kernel with its parameters.
struct Launch {
    std::string name;
    Bound body;
    Int3 blocks, threads;
    size_t shared;
};

// runGrid runs a kernel and returns a code of the driver; trouble says what went wrong.
int runGrid(const Launch &l, Random &random, std::string &trouble);

// enqueue puts work like that of a kernel into a stream; run returns a code and says what went wrong.
int enqueue(void *stream, const std::string &name, std::function<int(std::string &)> run);

// insideDevice says whether n bytes at p are part of one piece of memory of the device.
bool insideDevice(const void *p, size_t n);

// haveContext says whether the thread has a context, and one that can be used.
bool haveContext();

} // namespace fake
