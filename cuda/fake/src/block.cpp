// How a kernel runs: its blocks one after the other, the threads of a block as fibers.
#include "engine.h"

#include <algorithm>
#include <csetjmp>
#include <csignal>
#include <map>
#include <sys/mman.h>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace fake {

thread_local Thread *current;

namespace {

const size_t stackSize = 128 << 10;
const size_t redZone = 64; // bytes behind each piece of shared memory that nobody may write to
const unsigned char redByte = 0xa5;

enum State { ready, atBarrier, atExchange, ended };

// Copy is one into shared memory that the thread has not waited for.
struct Copy {
    char *to;
    const char *from; // null for zeros
    size_t group;
};

struct Fiber {
#if defined(__x86_64__)
    void *sp;
#else
    ucontext_t context;
#endif
    char *stack = nullptr; // with a page below that nobody may touch
    State state;
    Thread place;
    unsigned char given[64]; // to the warp
    const char *operation;   // for which
    std::vector<Copy> copies; // that have not landed
    size_t groups;            // of them that are complete
};

struct Piece {
    char *at;
    size_t size;
};

// Block is what runs now.
struct Block {
    std::vector<Fiber> fibers;
    const Bound *body;
    std::vector<char> *memory; // shared
    size_t used, limit;
    std::map<const void *, Piece> pieces;
    char *dynamic;
    std::string trouble;
    int status = illegalAddress; // of an escape
#if defined(__x86_64__)
    void *sp; // of the scheduler
#else
    ucontext_t context;
#endif
    sigjmp_buf escape;
    bool running = false;
};

thread_local Block *block;

Fiber &fiber() { return block->fibers[current->index]; }

#if defined(__x86_64__)
// switchTo saves the registers that a function keeps, and takes up those that lie on another stack.
extern "C" void fake_switch(void **save, void *to);
asm(".globl fake_switch\n"
    "fake_switch:\n"
    " push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
    " mov %rsp, (%rdi)\n mov %rsi, %rsp\n"
    " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret\n");
#endif

void giveWay(State s) {
    Fiber &f = fiber();
    f.state = s;
#if defined(__x86_64__)
    fake_switch(&f.sp, block->sp);
#else
    swapcontext(&f.context, &block->context);
#endif
}

void enter() {
    (*block->body)();
    if (!fiber().copies.empty())
        wrong("a thread ends before its copies have landed");
    giveWay(ended);
    __builtin_trap(); // an ended fiber is not taken up again
}

void prepare(Fiber &f) {
    f.state = ready;
    f.copies.clear();
    f.groups = 0;
    char *top = f.stack + stackSize;
#if defined(__x86_64__)
    void **s = (void **)top;
    *--s = nullptr; // keeps the stack at the entry aligned as a call does
    *--s = (void *)enter;
    for (int i = 0; i < 6; i++)
        *--s = nullptr;
    f.sp = s;
#else
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack;
    f.context.uc_stack.ss_size = top - f.stack;
    f.context.uc_link = nullptr;
    makecontext(&f.context, enter, 0);
#endif
}

void resume(Fiber &f) {
    current = &f.place;
#if defined(__x86_64__)
    fake_switch(&block->sp, f.sp);
#else
    swapcontext(&block->context, &f.context);
#endif
}

std::string at(const Thread &t) {
    auto three = [](Int3 v) { return std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z); };
    return "thread " + three(t.thread) + " of block " + three(t.block);
}

// waitingFor names what threads of a warp wait in.
std::string waitingFor(size_t first, size_t end) {
    for (size_t i = first; i < end; i++)
        if (block->fibers[i].state == atExchange)
            return std::string("a ") + block->fibers[i].operation;
    return "nothing";
}

// meetWarp lets a warp go on whose threads all wait for each other, and returns whether it does. trouble says why it never will.
bool meetWarp(size_t first) {
    auto &fibers = block->fibers;
    size_t end = std::min(fibers.size(), first + 32), waiting = 0;
    for (size_t i = first; i < end; i++)
        waiting += fibers[i].state == atExchange;
    if (waiting < end - first) {
        for (size_t i = first; i < end && waiting; i++)
            if (fibers[i].state == ended || fibers[i].state == atBarrier) {
                block->trouble = waitingFor(first, end) + " waits for " + at(fibers[i].place) + ", which has " +
                                 (fibers[i].state == ended ? "ended" : "come to a barrier");
                break;
            }
        return false;
    }
    for (size_t i = first; i < end; i++) {
        if (strcmp(fibers[i].operation, fibers[first].operation) != 0) {
            block->trouble = at(fibers[i].place) + " has come to " + fibers[i].operation + " where others of its warp have come to " +
                             fibers[first].operation;
            return false;
        }
        fibers[i].state = ready;
    }
    return true;
}

// meetBlock lets a block go on whose threads all wait at the barrier.
bool meetBlock() {
    auto &fibers = block->fibers;
    for (auto &f : fibers)
        if (f.state != atBarrier && f.state != ended)
            return false;
    bool went = false;
    for (auto &f : fibers)
        if (f.state == atBarrier) {
            f.state = ready;
            went = true;
        }
    return went;
}

struct sigaction oldSegv, oldBus;

void onFault(int sig, siginfo_t *info, void *context) {
    if (block && block->running) {
        char text[96];
        snprintf(text, sizeof text, "illegal address %p in ", info->si_addr);
        block->trouble = text + at(*current);
        siglongjmp(block->escape, 1);
    }
    struct sigaction &old = sig == SIGBUS ? oldBus : oldSegv;
    if (old.sa_flags & SA_SIGINFO) {
        old.sa_sigaction(sig, info, context);
        return;
    }
    signal(sig, SIG_DFL);
}

// runFibers runs one block to its end. In some blocks a warp goes on as far as it can before the next one runs, in others all keep
// step.
int runFibers(Random &random) {
    auto &fibers = block->fibers;
    size_t warps = (fibers.size() + 31) / 32;
    std::vector<size_t> order(fibers.size()), turns(warps);
    for (size_t i = 0; i < order.size(); i++)
        order[i] = i;
    for (size_t i = 0; i < warps; i++)
        turns[i] = i;
    bool ahead = random.seed && random.below(2);
    std::vector<size_t> lanes(32);
    for (;;) {
        bool went = false;
        if (ahead) {
            random.shuffle(turns);
            for (size_t w : turns)
                do {
                    lanes.clear();
                    for (size_t i = w * 32; i < std::min(fibers.size(), w * 32 + 32); i++)
                        if (fibers[i].state == ready)
                            lanes.push_back(i);
                    random.shuffle(lanes);
                    for (size_t i : lanes)
                        resume(fibers[i]);
                } while (meetWarp(w * 32));
        } else {
            random.shuffle(order);
            for (size_t i : order)
                if (fibers[i].state == ready)
                    resume(fibers[i]);
            for (size_t w = 0; w < warps; w++)
                went = meetWarp(w * 32) || went;
        }
        bool left = false;
        for (auto &f : fibers)
            left = left || f.state != ended;
        if (!left)
            return success;
        went = meetBlock() || went;
        if (!block->trouble.empty())
            return launchFailed;
        if (!went) {
            block->trouble = "some threads of a block wait at a barrier, others at a shuffle";
            return launchFailed;
        }
    }
}

int checkRedZones() {
    for (auto &[declaration, piece] : block->pieces)
        for (size_t i = 0; i < redZone; i++)
            if ((unsigned char)piece.at[piece.size + i] != redByte) {
                block->trouble = "a write behind the end of " + std::to_string(piece.size) + " bytes of shared memory";
                return illegalAddress;
            }
    return success;
}

char *take(size_t size) {
    size_t begin = (block->used + 15) & ~size_t(15);
    if (begin + size + redZone > block->memory->size())
        return nullptr;
    char *p = block->memory->data() + begin;
    memset(p, 0xff, size); // NaN
    memset(p + size, redByte, redZone);
    block->used = begin + size + redZone;
    return p;
}

} // namespace

void blockBarrier() { giveWay(atBarrier); }

void give(const char *operation, const void *from, size_t size) {
    Fiber &f = fiber();
    memcpy(f.given, from, size);
    f.operation = operation;
    giveWay(atExchange);
}

const void *given(int lane) { return block->fibers[current->warp * 32 + lane].given; }

void taken() { giveWay(atExchange); }

void exchange(const void *from, void *take, int lane, size_t size) {
    give("shuffle", from, size);
    memcpy(take, given(lane), size);
    taken();
}

void copyAhead(uintptr_t to, const void *from, bool there) {
    if (to % 16 || (there && (uintptr_t)from % 16))
        misaligned(to % 16 ? (const void *)to : from);
    if (there && !isDevice(from))
        wrong("copy_ahead from what is not memory of the device");
    memset((void *)to, 0xff, 16); // NaN
    fiber().copies.push_back({(char *)to, there ? (const char *)from : nullptr, fiber().groups});
}

void commitCopies() { fiber().groups++; }

void waitCopies(size_t groups) {
    Fiber &f = fiber();
    size_t landed = 0;
    for (auto &c : f.copies) {
        if (c.group + groups >= f.groups) // later groups come after it
            break;
        if (c.from)
            memcpy(c.to, c.from, 16);
        else
            memset(c.to, 0, 16);
        landed++;
    }
    f.copies.erase(f.copies.begin(), f.copies.begin() + landed);
}

void wrong(const char *what) {
    block->trouble = what + (" in " + at(*current));
    block->status = launchFailed;
    siglongjmp(block->escape, 1);
}

void *shared(const void *declaration, size_t size) {
    auto found = block->pieces.find(declaration);
    if (found != block->pieces.end())
        return found->second.at;
    block->limit += size;
    char *p = block->limit > staticShared ? nullptr : take(size);
    if (!p) {
        block->trouble = "more than 48 KiB of static shared memory";
        siglongjmp(block->escape, 1);
    }
    block->pieces[declaration] = {p, size};
    return p;
}

void *dynamicShared() { return block->dynamic; }

void foreignPointer(const char *kernel, int parameter, const void *p) {
    char text[160];
    snprintf(text, sizeof text, "parameter %d of %s is %p, which is not memory of the device", parameter, kernel, p);
    block->trouble = text;
    siglongjmp(block->escape, 1);
}

void misaligned(const void *p) {
    char text[64];
    snprintf(text, sizeof text, "misaligned address %p in ", p);
    block->trouble = text + at(*current);
    block->status = misalignedAddress;
    siglongjmp(block->escape, 1);
}

int runGrid(const Launch &l, Random &random, std::string &trouble) {
    static std::vector<char *> stacks; // of earlier launches; one runs at a time
    static std::vector<char> memory(maxShared + (256 << 10));
    Block b;
    block = &b;
    size_t n = size_t(l.threads.x) * l.threads.y * l.threads.z, page = 4096;
    while (stacks.size() < n) {
        char *m = (char *)mmap(nullptr, stackSize + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(m, page, PROT_NONE);
        stacks.push_back(m + page);
    }
    b.fibers.resize(n);
    b.body = &l.body;
    b.memory = &memory;
    for (size_t i = 0; i < n; i++)
        b.fibers[i].stack = stacks[i];
    struct sigaction action {};
    action.sa_sigaction = onFault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &oldSegv);
    sigaction(SIGBUS, &action, &oldBus);

    std::vector<size_t> order(size_t(l.blocks.x) * l.blocks.y * l.blocks.z);
    for (size_t i = 0; i < order.size(); i++)
        order[i] = i;
    random.shuffle(order);
    volatile int status = success;
    if (sigsetjmp(b.escape, 1)) {
        status = b.status;
    } else {
        b.running = true;
        for (size_t k = 0; k < order.size() && status == success; k++) {
            int i = (int)order[k];
            Int3 where{i % l.blocks.x, i / l.blocks.x % l.blocks.y, i / l.blocks.x / l.blocks.y};
            b.pieces.clear();
            b.used = b.limit = 0;
            b.dynamic = nullptr;
            static const char dynamicKey = 0;
            if (l.shared) {
                b.dynamic = take(l.shared);
                b.pieces[&dynamicKey] = {b.dynamic, l.shared};
            }
            for (int t = 0; t < (int)n; t++) {
                Int3 thread{t % l.threads.x, t / l.threads.x % l.threads.y, t / l.threads.x / l.threads.y};
                b.fibers[t].place = {thread, where, l.threads, l.blocks, t, t % 32, t / 32};
                prepare(b.fibers[t]);
            }
            status = runFibers(random);
            if (status == success)
                status = checkRedZones();
        }
    }
    b.running = false;
    sigaction(SIGSEGV, &oldSegv, nullptr);
    sigaction(SIGBUS, &oldBus, nullptr);
    block = nullptr;
    trouble = b.trouble;
    return status;
}

} // namespace fake
