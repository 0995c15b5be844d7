// What the kernels are written in. One source has three compilers: NVRTC or nvcc, for a GPU; clang, for the PTX that is
// checked in (no CUDA toolkit, so no headers and no library of device functions); and g++ with package fake, for tests
// on the host.
//
//   KERNEL(name, parameters) { … }   a kernel
//   DEVICE, MEMBER                   before a function, or one of a class
//   UNROLL, LOOP                     before a loop: its arrays are to be registers, or its code is not to be repeated
//   SHARED(T, name, n)               n values of T in the block's shared memory
//   DYNAMIC_SHARED(T, name)          the dynamic shared memory of the launch
//   thread_x, block_x, threads_x, blocks_x (y, z)
//   barrier()                        of the block
//   shuffle_down(v, d), shuffle_xor(v, mask)   of a whole warp
//   exp2_near(x), log2_near(x)       to 2 units of the last place, as the hardware has them
//   root(x), root64(x), fma1(a, b, c)   rounded to nearest
//   BF16                             a bfloat16 in memory: the upper half of a float
//   widen(BF16), narrow(float)       from and to it, rounded to nearest, ties to even; NaN stays NaN
//   narrow2(low, high)               two of them in a word, the first in the lower half
//   load16(p), store16(p, Words)     16 bytes at once, at a multiple of 16
//
// And from compute capability 8.0 on, where TENSOR_CORES is defined, for a whole warp at a time (PTX ISA, 9.7.14):
//
//   mma_bf16(d, a, b)                d += a·b of 16×8, 16×16 and 16×8 values: a and b in bfloat16, d and sums in float32
//   mma_tf32(d, a, b)                d += a·b of 16×8, 16×8 and 8×8 values of tf32(x), which rounds to nearest
//   load_matrices(r, at)             four 8×8 matrices of 16-bit values from shared memory; lane l has the address of row
//   load_matrices_turned(r, at)      l%8 of matrix l/8; turned gives their transposes
//   copy_ahead(at, from, there)      16 bytes of global memory to shared memory, or zeros, by the time of copies_wait
//   copies_commit(), copies_wait<n>()   end a group of a thread's copies; wait for all of its groups but the last n
//
// Where lane l has what, with g = l/4 and t = l%4, two values of bfloat16 in a register, the lower one first:
//
//   d[0], d[1] = d[g][2t], d[g][2t+1]; d[2], d[3] = d[g+8][2t], d[g+8][2t+1]
//   bf16: a[0] = a[g][2t, 2t+1], a[1] = a[g+8][2t, 2t+1], a[2] = a[g][2t+8, 2t+9], a[3] = a[g+8][2t+8, 2t+9];
//         b[0] = b[2t, 2t+1][g], b[1] = b[2t+8, 2t+9][g]
//   tf32: a[0] = a[g][t], a[1] = a[g+8][t], a[2] = a[g][t+4], a[3] = a[g+8][t+4]; b[0] = b[t][g], b[1] = b[t+4][g]
//   load_matrices: r[i] = matrix i[g][2t, 2t+1]; turned: matrix i[2t, 2t+1][g]
//
// An address of shared memory, of type SharedAt, is shared_at(pointer) and goes on in bytes.
#pragma once

struct BF16 {
    unsigned short bits;
};

struct Words {
    unsigned w[4];
};

#if defined(RELSIM_FAKE)

#include "fake.h"

DEVICE Words load16(const void *p) {
    Words v;
    fake::copy16(&v, p, p);
    return v;
}
DEVICE void store16(void *p, Words v) { fake::copy16(p, &v, p); }

#elif defined(__clang__) && defined(__CUDA__)

#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define UNROLL _Pragma("unroll")
#define LOOP _Pragma("unroll 1")
#define MEMBER __attribute__((device)) inline __attribute__((always_inline))
#define DEVICE static MEMBER
#define KERNEL(name, ...) extern "C" __global__ void name(__VA_ARGS__)
#define thread_x ((int)__nvvm_read_ptx_sreg_tid_x())
#define thread_y ((int)__nvvm_read_ptx_sreg_tid_y())
#define thread_z ((int)__nvvm_read_ptx_sreg_tid_z())
#define block_x ((int)__nvvm_read_ptx_sreg_ctaid_x())
#define block_y ((int)__nvvm_read_ptx_sreg_ctaid_y())
#define block_z ((int)__nvvm_read_ptx_sreg_ctaid_z())
#define threads_x ((int)__nvvm_read_ptx_sreg_ntid_x())
#define threads_y ((int)__nvvm_read_ptx_sreg_ntid_y())
#define threads_z ((int)__nvvm_read_ptx_sreg_ntid_z())
#define blocks_x ((int)__nvvm_read_ptx_sreg_nctaid_x())
#define blocks_y ((int)__nvvm_read_ptx_sreg_nctaid_y())
#define blocks_z ((int)__nvvm_read_ptx_sreg_nctaid_z())
#define barrier() __nvvm_bar_sync(0)
DEVICE float shuffle_down(float v, int d) { return __nvvm_shfl_sync_down_f32(0xffffffffu, v, d, 31); }
DEVICE float shuffle_xor(float v, int mask) { return __nvvm_shfl_sync_bfly_f32(0xffffffffu, v, mask, 31); }
DEVICE float exp2_near(float x) { return __nvvm_ex2_approx_f(x); }
DEVICE float exp2_flush(float x) { return __nvvm_ex2_approx_ftz_f(x); }
DEVICE float log2_near(float x) { return __nvvm_lg2_approx_f(x); }
DEVICE float root(float x) { return __nvvm_sqrt_rn_f(x); }
DEVICE double root64(double x) { return __nvvm_sqrt_rn_d(x); }
DEVICE float fma1(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
DEVICE float floor1(float x) { return __builtin_floorf(x); }
DEVICE unsigned bits_of(float x) { return __builtin_bit_cast(unsigned, x); }
DEVICE float float_of(unsigned b) { return __builtin_bit_cast(float, b); }
typedef unsigned Four __attribute__((ext_vector_type(4), may_alias));
DEVICE Words load16(const void *p) {
    Four v = *(const Four *)p;
    return Words{{v.x, v.y, v.z, v.w}};
}
DEVICE void store16(void *p, Words v) { *(Four *)p = Four{v.w[0], v.w[1], v.w[2], v.w[3]}; }

#else

#define UNROLL _Pragma("unroll")
#define LOOP _Pragma("unroll 1")
#define MEMBER __device__ __forceinline__
#define DEVICE static MEMBER
#define KERNEL(name, ...) extern "C" __global__ void name(__VA_ARGS__)
#define thread_x ((int)threadIdx.x)
#define thread_y ((int)threadIdx.y)
#define thread_z ((int)threadIdx.z)
#define block_x ((int)blockIdx.x)
#define block_y ((int)blockIdx.y)
#define block_z ((int)blockIdx.z)
#define threads_x ((int)blockDim.x)
#define threads_y ((int)blockDim.y)
#define threads_z ((int)blockDim.z)
#define blocks_x ((int)gridDim.x)
#define blocks_y ((int)gridDim.y)
#define blocks_z ((int)gridDim.z)
#define barrier() __syncthreads()
DEVICE float shuffle_down(float v, int d) { return __shfl_down_sync(0xffffffffu, v, d); }
DEVICE float shuffle_xor(float v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
DEVICE float exp2_near(float x) {
    float y;
    asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
DEVICE float exp2_flush(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
DEVICE float log2_near(float x) {
    float y;
    asm("lg2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
DEVICE float root(float x) { return __fsqrt_rn(x); }
DEVICE double root64(double x) { return __dsqrt_rn(x); }
DEVICE float fma1(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEVICE float floor1(float x) { return floorf(x); }
DEVICE unsigned bits_of(float x) { return __float_as_uint(x); }
DEVICE float float_of(unsigned b) { return __uint_as_float(b); }
DEVICE Words load16(const void *p) {
    uint4 v = *(const uint4 *)p;
    return Words{{v.x, v.y, v.z, v.w}};
}
DEVICE void store16(void *p, Words v) { *(uint4 *)p = make_uint4(v.w[0], v.w[1], v.w[2], v.w[3]); }

#endif

#if !defined(RELSIM_FAKE)

#if __CUDA_ARCH__ >= 800
DEVICE unsigned narrow2(float low, float high) {
    unsigned y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}
DEVICE BF16 narrow(float x) {
    BF16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}
#endif

#define SHARED(T, name, n) __shared__ T name[n]
#define DYNAMIC_SHARED(T, name) \
    extern __shared__ __attribute__((aligned(16))) unsigned char dynamic_shared[]; \
    T *name = (T *)dynamic_shared
#endif

DEVICE float widen(BF16 x) { return float_of((unsigned)x.bits << 16); }

#if defined(RELSIM_FAKE) || __CUDA_ARCH__ < 800
DEVICE BF16 narrow(float x) {
    unsigned b = bits_of(x);
    if (x != x)
        return BF16{0x7fff}; // as the hardware does
    return BF16{(unsigned short)((b + 0x7fff + (b >> 16 & 1)) >> 16)};
}
DEVICE unsigned narrow2(float low, float high) { return narrow(low).bits | (unsigned)narrow(high).bits << 16; }
#endif

#if !defined(RELSIM_FAKE) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define TENSOR_CORES 1

typedef unsigned SharedAt;

DEVICE SharedAt shared_at(const void *p) {
    SharedAt at;
    asm("{ .reg .u64 a; cvta.to.shared.u64 a, %1; cvt.u32.u64 %0, a; }" : "=r"(at) : "l"(p));
    return at;
}

DEVICE void mma_bf16(float *d, const unsigned *a, const unsigned *b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE void mma_tf32(float *d, const unsigned *a, const unsigned *b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE unsigned tf32(float x) {
    unsigned r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
    return r;
}

DEVICE void load_matrices(unsigned *r, SharedAt at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

DEVICE void load_matrices_turned(unsigned *r, SharedAt at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

DEVICE void copy_ahead(SharedAt at, const void *from, bool there) {
    asm volatile("{ .reg .u64 a; cvta.to.global.u64 a, %1; cp.async.cg.shared.global [%0], [a], 16, %2; }"
                 : : "r"(at), "l"(from), "r"(there ? 16 : 0) : "memory");
}

DEVICE void copies_commit() { asm volatile("cp.async.commit_group;" : : : "memory"); }
template <int n> DEVICE void copies_wait() { asm volatile("cp.async.wait_group %0;" : : "n"(n) : "memory"); }

#endif
