// The driver's functions on the host: what a program may rely on, and no more. Work in streams is put off as long as the
// program does not wait for it; with FAKECUDA_SEED it is done at other moments and in other orders that the streams and
// events allow. So a copy whose memory is used too early, or a wait that is missing, shows.
//
// Environment, read by cuInit: FAKECUDA_SEED, FAKECUDA_DEVICES (1), FAKECUDA_VERSION (12080), FAKECUDA_MEMORY (bytes, 1 GiB),
// FAKECUDA_BUSY (so many devices, from 0, cannot be had), FAKECUDA_MODE (compute mode of all).
#include "engine.h"

#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <sys/mman.h>

using namespace fake;

namespace {

using Clock = std::chrono::steady_clock;

// Node is a piece of work, and what has to be done before it.
struct Node {
    std::function<int()> run;
    std::vector<std::shared_ptr<Node>> after;
    bool done = false;
    Clock::time_point when;
};
using Work = std::shared_ptr<Node>;

struct Graph {
    std::vector<Work> nodes; // a copy of them is done at each launch
};

struct Executable {
    std::vector<Work> nodes;
    Work last; // launch
};

struct Stream {
    Work last;
    std::vector<Work> waits;  // of what comes next
    Graph *capture = nullptr; // where work goes instead
    Stream *origin = nullptr; // of the capture
    std::vector<Stream *> joined;
    bool spoiled = false; // the capture
    Work before;          // last and waits at its begin: what comes after it goes on from there
    std::vector<Work> waitsBefore;
};

struct Event {
    Work work;
    Graph *capture = nullptr;
    Stream *origin = nullptr;
};

struct Module {
    std::string text;
};

struct Function {
    Kernel *kernel;
    std::string name;
    size_t shared = staticShared;
};

struct Allocation {
    char *map;
    size_t mapped, size;
};

std::recursive_mutex lock;
Random randomness(0);
int devices = 1, version = 12080, busy = 0, mode = 0;
size_t total = 1 << 30, used;
std::map<char *, Allocation> memory, pinned;
std::vector<Work> pending;
std::set<Stream *> streams;
std::set<Event *> events;
std::set<Executable *> executables;
int lost = success; // the context, since this code
std::string trouble;
long launchesLeft = -1; // until the device is lost
char contextObject;
thread_local void *currentContext;

std::map<std::string, Kernel> &kernels() {
    static std::map<std::string, Kernel> table;
    return table;
}

const size_t page = 4096;
const unsigned char slack = 0x5a; // between an allocation and its guard page

size_t up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// take maps memory that ends at a guard page, to 16 bytes, and begins after one.
char *take(size_t n, std::map<char *, Allocation> &list, bool poison) {
    size_t body = up(up(n, 16), page), mapped = body + 2 * page;
    char *m = (char *)mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED)
        return nullptr;
    mprotect(m, page, PROT_NONE);
    mprotect(m + page + body, page, PROT_NONE);
    char *p = m + page + body - up(n, 16);
    if (poison)
        memset(m + page, 0xff, body); // NaN
    memset(p + n, slack, up(n, 16) - n);
    list[p] = {m, mapped, n};
    return p;
}

int give(char *p, std::map<char *, Allocation> &list) {
    auto it = list.find(p);
    if (it == list.end())
        return invalidValue;
    Allocation a = it->second;
    for (size_t i = a.size; i < up(a.size, 16); i++)
        if ((unsigned char)p[i] != slack) {
            trouble = "a write behind the end of " + std::to_string(a.size) + " bytes";
            lost = illegalAddress;
        }
    munmap(a.map, a.mapped);
    list.erase(it);
    return lost;
}

// inside says whether n bytes at p are part of one piece of memory.
bool inside(const std::map<char *, Allocation> &list, const void *p, size_t n) {
    auto it = list.upper_bound((char *)p);
    if (it == list.begin())
        return false;
    --it;
    return (char *)p + n <= it->first + it->second.size;
}

bool isReady(const Work &w) {
    for (auto &a : w->after)
        if (!a->done)
            return false;
    return true;
}

void finish(const Work &w) {
    if (lost == success) {
        int status = w->run ? w->run() : success;
        if (status != success)
            lost = status;
    }
    w->done = true;
    w->when = Clock::now();
    w->after.clear();
    w->run = nullptr;
}

// before is target and all that it waits for, by whatever way.
std::set<Node *> before(const Work &target) {
    std::set<Node *> seen;
    std::vector<Node *> stack{target.get()};
    while (!stack.empty()) {
        Node *n = stack.back();
        stack.pop_back();
        if (!n->done && seen.insert(n).second)
            for (auto &a : n->after)
                stack.push_back(a.get());
    }
    return seen;
}

bool leadsTo(const Work &w, const Work &target) { return before(target).count(w.get()) > 0; }

void sweep() {
    std::vector<Work> left;
    for (auto &w : pending)
        if (!w->done)
            left.push_back(w);
    pending.swap(left);
}

// step does one piece of work that is ready: any, or with seed 0 the oldest that target waits for.
bool step(const Work &target) {
    std::vector<Work> can;
    std::set<Node *> needed;
    if (target && !randomness.seed)
        needed = before(target);
    for (auto &w : pending)
        if (!w->done && isReady(w) && (randomness.seed || !target || needed.count(w.get())))
            can.push_back(w);
    if (can.empty())
        return false;
    finish(can[randomness.seed ? randomness.below(can.size()) : 0]);
    return true;
}

int complete(const Work &target) {
    if (target && !randomness.seed) { // the order in which it was put there is one that is allowed
        auto needed = before(target);
        for (auto &w : pending)
            if (needed.count(w.get()))
                finish(w);
    }
    while (target && !target->done)
        if (!step(target))
            return lost = launchFailed; // cannot happen: the order has no circles
    sweep();
    return lost;
}

int completeAll() {
    while (step(nullptr)) {
    }
    sweep();
    return lost;
}

// wander does some work at a moment that the program does not choose.
void wander() {
    if (!randomness.seed)
        return;
    for (size_t n = randomness.below(4); n > 0; n--)
        if (!step(nullptr))
            break;
}

// put adds work to a stream, or to the graph that it is recorded into.
Work put(Stream *s, std::function<int()> run) {
    auto w = std::make_shared<Node>();
    w->run = std::move(run);
    w->after = std::move(s->waits);
    s->waits.clear();
    if (s->last && !(s->last->done && !s->capture))
        w->after.push_back(s->last);
    s->last = w;
    if (s->capture) {
        s->capture->nodes.push_back(w);
    } else {
        pending.push_back(w);
        wander();
    }
    return w;
}

Stream *streamOf(void *p) { return streams.count((Stream *)p) ? (Stream *)p : nullptr; }

// notInCapture spoils the captures that are under way: the call is not allowed then.
int notInCapture() {
    int status = success;
    for (auto s : streams)
        if (s->capture) {
            s->origin->spoiled = true;
            status = captureUnsupported;
        }
    return status;
}

} // namespace

namespace fake {

void registerKernel(const char *name, Kernel kernel) { kernels()[name] = std::move(kernel); }

bool isDevice(const void *p) { return inside(memory, p, 0); }

} // namespace fake

#define API extern "C" __attribute__((visibility("default"))) int
#define LOCK std::lock_guard<std::recursive_mutex> guard(lock)
#define CONTEXT \
    LOCK; \
    if (!currentContext) \
        return invalidContext; /* another thread than the device's */ \
    if (lost != success) \
        return lost
#define NO_CAPTURE \
    if (int status = notInCapture()) \
        return status
#define STREAM(s, p) \
    Stream *s = streamOf(p); \
    if (!s) \
    return invalidHandle

API cuDriverGetVersion(int *v) {
    if (const char *text = getenv("FAKECUDA_VERSION"))
        version = atoi(text);
    *v = version;
    return success;
}

API cuInit(unsigned) {
    if (const char *text = getenv("FAKECUDA_SEED"))
        randomness = Random(strtoull(text, nullptr, 10));
    if (const char *text = getenv("FAKECUDA_DEVICES"))
        devices = atoi(text);
    if (const char *text = getenv("FAKECUDA_BUSY"))
        busy = atoi(text);
    if (const char *text = getenv("FAKECUDA_MODE"))
        mode = atoi(text);
    if (const char *text = getenv("FAKECUDA_MEMORY"))
        total = strtoull(text, nullptr, 10);
    return devices ? success : noDevice;
}

API cuGetErrorName(int code, const char **name) {
    static const std::map<int, const char *> names = {
        {success, "CUDA_SUCCESS"}, {invalidValue, "CUDA_ERROR_INVALID_VALUE"}, {outOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"},
        {unavailable, "CUDA_ERROR_DEVICE_UNAVAILABLE"}, {noDevice, "CUDA_ERROR_NO_DEVICE"}, {invalidDevice, "CUDA_ERROR_INVALID_DEVICE"}, {invalidImage, "CUDA_ERROR_INVALID_IMAGE"},
        {invalidContext, "CUDA_ERROR_INVALID_CONTEXT"}, {invalidPTX, "CUDA_ERROR_INVALID_PTX"},
        {invalidHandle, "CUDA_ERROR_INVALID_HANDLE"}, {notFound, "CUDA_ERROR_NOT_FOUND"}, {notReady, "CUDA_ERROR_NOT_READY"},
        {illegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {misalignedAddress, "CUDA_ERROR_MISALIGNED_ADDRESS"}, {launchFailed, "CUDA_ERROR_LAUNCH_FAILED"},
        {captureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"}, {captureInvalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"},
        {captureUnjoined, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED"}};
    auto it = names.find(code);
    *name = it == names.end() ? nullptr : it->second;
    return it == names.end() ? invalidValue : success;
}

API cuGetErrorString(int code, const char **text) {
    LOCK;
    static std::string kept;
    kept = code == lost && !trouble.empty() ? trouble : "fake driver";
    *text = kept.c_str();
    return success;
}

API cuDeviceGetCount(int *n) {
    *n = devices;
    return success;
}

API cuDeviceGet(int *device, int ordinal) {
    if (ordinal < 0 || ordinal >= devices)
        return invalidDevice;
    *device = ordinal;
    return success;
}

API cuDeviceGetName(char *name, int size, int) {
    snprintf(name, size, "fake GPU");
    return success;
}

API cuDeviceGetUuid(unsigned char *uuid, int device) {
    for (int i = 0; i < 16; i++)
        uuid[i] = (unsigned char)(device + i);
    return success;
}

API cuDeviceTotalMem_v2(size_t *bytes, int) {
    *bytes = total;
    return success;
}

API cuDeviceGetAttribute(int *value, int attribute, int) {
    const std::map<int, int> values = {{16, 4}, {20, mode}, {38, 1 << 20}, {75, 8}, {76, 0}, {97, (int)maxShared}};
    auto it = values.find(attribute);
    if (it == values.end())
        return invalidValue;
    *value = it->second;
    return success;
}

API cuDevicePrimaryCtxRetain(void **context, int device) {
    if (device < busy)
        return unavailable;
    *context = &contextObject;
    return success;
}

API cuDevicePrimaryCtxRelease_v2(int) { return success; }

API cuCtxSetCurrent(void *context) {
    currentContext = context;
    return success;
}

API cuCtxSynchronize() {
    CONTEXT;
    NO_CAPTURE;
    return completeAll();
}

API cuMemGetInfo_v2(size_t *free, size_t *all) {
    CONTEXT;
    *free = total - used;
    *all = total;
    return success;
}

API cuMemAlloc_v2(char **p, size_t n) {
    CONTEXT;
    NO_CAPTURE;
    if (n == 0)
        return invalidValue;
    if (n > total - used)
        return outOfMemory;
    *p = take(n, memory, true);
    if (!*p)
        return outOfMemory;
    used += n;
    return success;
}

API cuMemFree_v2(char *p) {
    CONTEXT;
    NO_CAPTURE;
    if (int status = completeAll())
        return status;
    auto it = memory.find(p);
    if (it == memory.end())
        return invalidValue;
    used -= it->second.size;
    return give(p, memory);
}

API cuMemHostAlloc(char **p, size_t n, unsigned) {
    CONTEXT;
    if (n == 0)
        return invalidValue;
    *p = take(n, pinned, false);
    return *p ? success : outOfMemory;
}

API cuMemFreeHost(char *p) {
    CONTEXT;
    return give(p, pinned);
}

// Copies of memory that is not pinned are done at once. They wait for no stream of the kind that is made here.
API cuMemcpyHtoD_v2(char *dst, const void *src, size_t n) {
    CONTEXT;
    NO_CAPTURE;
    if (!inside(memory, dst, n))
        return invalidValue;
    memcpy(dst, src, n);
    return success;
}

API cuMemcpyDtoH_v2(void *dst, const char *src, size_t n) {
    CONTEXT;
    NO_CAPTURE;
    if (!inside(memory, src, n))
        return invalidValue;
    memcpy(dst, src, n);
    return success;
}

static int copyLater(void *dst, const void *src, size_t n, void *stream, bool ok) {
    STREAM(s, stream);
    if (!ok)
        return invalidValue;
    put(s, [=] {
        memcpy(dst, src, n);
        return success;
    });
    return success;
}

API cuMemcpyHtoDAsync_v2(char *dst, const void *src, size_t n, void *stream) {
    CONTEXT;
    return copyLater(dst, src, n, stream, inside(memory, dst, n) && inside(pinned, src, n));
}

API cuMemcpyDtoHAsync_v2(void *dst, const char *src, size_t n, void *stream) {
    CONTEXT;
    return copyLater(dst, src, n, stream, inside(pinned, dst, n) && inside(memory, src, n));
}

API cuMemcpyDtoDAsync_v2(char *dst, const char *src, size_t n, void *stream) {
    CONTEXT;
    return copyLater(dst, src, n, stream, inside(memory, dst, n) && inside(memory, src, n));
}

API cuMemsetD32Async(char *dst, unsigned value, size_t n, void *stream) {
    CONTEXT;
    STREAM(s, stream);
    if (!inside(memory, dst, 4 * n) || (size_t)dst % 4)
        return invalidValue;
    put(s, [=] {
        for (size_t i = 0; i < n; i++)
            ((unsigned *)dst)[i] = value;
        return success;
    });
    return success;
}

API cuStreamCreate(void **stream, unsigned) {
    CONTEXT;
    auto s = new Stream;
    streams.insert(s);
    *stream = s;
    return success;
}

API cuStreamDestroy_v2(void *stream) {
    CONTEXT;
    STREAM(s, stream);
    if (s->capture)
        return captureUnsupported;
    streams.erase(s);
    delete s;
    return success;
}

API cuStreamSynchronize(void *stream) {
    CONTEXT;
    STREAM(s, stream);
    NO_CAPTURE;
    return complete(s->last);
}

API cuStreamQuery(void *stream) {
    CONTEXT;
    STREAM(s, stream);
    NO_CAPTURE;
    if (!s->last || s->last->done)
        return success;
    step(s->last); // so that who asks again and again comes to an end
    return s->last->done ? lost : notReady;
}

API cuStreamWaitEvent(void *stream, void *event, unsigned) {
    CONTEXT;
    STREAM(s, stream);
    auto e = (Event *)event;
    if (!events.count(e))
        return invalidHandle;
    if (!e->work)
        return success;
    if (e->capture && !s->capture) { // the stream joins the capture
        s->capture = e->capture;
        s->origin = e->origin;
        s->before = std::move(s->last);
        s->waitsBefore = std::move(s->waits);
        s->waits.clear();
        s->last = nullptr;
        e->origin->joined.push_back(s);
    }
    if (s->capture && e->capture != s->capture) {
        s->origin->spoiled = true;
        return captureInvalidated;
    }
    s->waits.push_back(e->work);
    return success;
}

API cuStreamBeginCapture_v2(void *stream, int) {
    CONTEXT;
    STREAM(s, stream);
    if (s->capture)
        return captureUnsupported;
    s->capture = new Graph;
    s->origin = s;
    s->before = std::move(s->last);
    s->waitsBefore = std::move(s->waits);
    s->last = nullptr;
    s->waits.clear();
    s->joined.clear();
    s->spoiled = false;
    return success;
}

API cuStreamEndCapture(void *stream, void **graph) {
    CONTEXT;
    STREAM(s, stream);
    *graph = nullptr;
    if (!s->capture || s->origin != s)
        return captureInvalidated;
    Graph *g = s->capture;
    int status = s->spoiled ? captureInvalidated : success;
    for (auto other : s->joined) {
        bool back = !other->last;
        for (auto &w : s->waits)
            back = back || (other->last && leadsTo(other->last, w));
        back = back || (other->last && s->last && leadsTo(other->last, s->last));
        if (!back && status == success)
            status = captureUnjoined;
        other->capture = nullptr;
        other->last = std::move(other->before);
        other->waits = std::move(other->waitsBefore);
    }
    s->capture = nullptr;
    s->last = std::move(s->before);
    s->waits = std::move(s->waitsBefore);
    for (auto e : events)
        if (e->capture == g) {
            e->capture = nullptr;
            e->work = nullptr;
        }
    if (status != success) {
        delete g;
        return status;
    }
    *graph = g;
    return success;
}

API cuEventCreate(void **event, unsigned) {
    CONTEXT;
    auto e = new Event;
    events.insert(e);
    *event = e;
    return success;
}

API cuEventDestroy_v2(void *event) {
    CONTEXT;
    if (!events.erase((Event *)event))
        return invalidHandle;
    delete (Event *)event;
    return success;
}

API cuEventRecord(void *event, void *stream) {
    CONTEXT;
    STREAM(s, stream);
    auto e = (Event *)event;
    if (!events.count(e))
        return invalidHandle;
    e->work = put(s, nullptr);
    e->capture = s->capture;
    e->origin = s->origin;
    return success;
}

API cuEventSynchronize(void *event) {
    CONTEXT;
    auto e = (Event *)event;
    if (!events.count(e))
        return invalidHandle;
    if (e->capture)
        return captureUnsupported;
    return complete(e->work);
}

API cuEventQuery(void *event) {
    CONTEXT;
    auto e = (Event *)event;
    if (!events.count(e))
        return invalidHandle;
    if (!e->work || e->work->done)
        return success;
    step(e->work);
    return e->work->done ? lost : notReady;
}

API cuEventElapsedTime(float *ms, void *begin, void *end) {
    CONTEXT;
    auto a = (Event *)begin, b = (Event *)end;
    if (!events.count(a) || !events.count(b) || !a->work || !b->work)
        return invalidHandle;
    if (!a->work->done || !b->work->done)
        return notReady;
    *ms = std::chrono::duration<float, std::milli>(b->work->when - a->work->when).count();
    return success;
}

// cuModuleLoadDataEx takes PTX and keeps its text: which kernels it has.
API cuModuleLoadDataEx(void **module, const char *image, unsigned n, const int *options, void **values) {
    CONTEXT;
    NO_CAPTURE;
    if (strncmp(image, ".version ", 9) != 0 && !strstr(image, "\n.version ")) {
        for (unsigned i = 0; i + 1 < n; i++)
            if (options[i] == 5) // CU_JIT_ERROR_LOG_BUFFER, whose size follows
                snprintf((char *)values[i], (size_t)values[i + 1], "fake ptxas: line 1; fatal: missing .version directive");
        return invalidPTX;
    }
    *module = new Module{image};
    return success;
}

API cuModuleUnload(void *module) {
    CONTEXT;
    delete (Module *)module;
    return success;
}

API cuModuleGetFunction(void **function, void *module, const char *name) {
    CONTEXT;
    auto m = (Module *)module;
    auto k = kernels().find(name);
    if (k == kernels().end() || m->text.find(".entry " + std::string(name) + "(") == std::string::npos)
        return notFound;
    *function = new Function{&k->second, name};
    return success;
}

API cuFuncGetAttribute(int *value, int attribute, void *) {
    if (attribute != 0) // CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK
        return invalidValue;
    *value = 1024;
    return success;
}

API cuFuncSetAttribute(void *function, int attribute, int value) {
    CONTEXT;
    if (attribute != 8 || value < 0 || (size_t)value > maxShared) // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        return invalidValue;
    ((Function *)function)->shared = value;
    return success;
}

int fake::enqueue(void *stream, const std::string &name, std::function<int(std::string &)> run) {
    CONTEXT;
    STREAM(s, stream);
    put(s, [=] {
        if (launchesLeft == 0) {
            trouble = "the device has gone";
            return (int)launchFailed;
        }
        if (launchesLeft > 0)
            launchesLeft--;
        std::string what;
        int status = run(what);
        if (status != success)
            trouble = name + ": " + what;
        return status;
    });
    return success;
}

bool fake::insideDevice(const void *p, size_t n) {
    LOCK;
    return inside(memory, p, n);
}

bool fake::haveContext() {
    LOCK;
    return currentContext && lost == success;
}

API cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void *stream, void **params, void **) {
    CONTEXT;
    if (!streamOf(stream))
        return invalidHandle;
    auto f = (Function *)function;
    if (!gx || !gy || !gz || !bx || !by || !bz || gy > 65535 || gz > 65535 || gx > 2147483647u || bx * by * bz > 1024 || bz > 64 ||
        shared > f->shared)
        return invalidValue;
    Launch l{f->name, f->kernel->bind(params), {(int)gx, (int)gy, (int)gz}, {(int)bx, (int)by, (int)bz}, shared};
    return enqueue(stream, l.name, [l](std::string &what) { return runGrid(l, randomness, what); });
}

API cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long) {
    CONTEXT;
    auto e = new Executable{((Graph *)graph)->nodes, nullptr};
    executables.insert(e);
    *executable = e;
    return success;
}

API cuGraphLaunch(void *executable, void *stream) {
    CONTEXT;
    STREAM(s, stream);
    auto e = (Executable *)executable;
    if (!executables.count(e))
        return invalidHandle;
    if (s->capture)
        return captureUnsupported;
    if (e->last && !e->last->done)
        s->waits.push_back(e->last); // launches of one graph follow on one another
    Work before = put(s, nullptr);
    std::map<Node *, Work> copies;
    for (auto &node : e->nodes) {
        auto w = std::make_shared<Node>();
        w->run = node->run;
        for (auto &a : node->after)
            w->after.push_back(copies[a.get()]);
        if (w->after.empty())
            w->after.push_back(before);
        copies[node.get()] = w;
        pending.push_back(w);
        s->waits.push_back(w);
    }
    e->last = put(s, nullptr);
    return success;
}

API cuGraphExecDestroy(void *executable) {
    CONTEXT;
    if (!executables.erase((Executable *)executable))
        return invalidHandle;
    delete (Executable *)executable;
    return success;
}

API cuGraphDestroy(void *graph) {
    LOCK;
    delete (Graph *)graph;
    return success;
}

// fakeLoseAfter lets the device be lost after n more launches (below 0: never).
API fakeLoseAfter(long n) {
    LOCK;
    launchesLeft = n;
    return success;
}

// fakeReset makes a lost device as new. Memory stays as it is.
API fakeReset(unsigned long long seed) {
    LOCK;
    lost = success;
    launchesLeft = -1;
    trouble.clear();
    pending.clear();
    randomness = Random(seed);
    return success;
}
