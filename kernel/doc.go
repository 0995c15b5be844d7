// Package kernel holds the CPU kernels that models are trained with: matrix
// products, convolution, attention, and the element-wise and row-wise functions
// between them, each forward and backward, in float32 and row-major order.
//
// # Tiers
//
// Every kernel exists as generic Go. Where it pays there is generated assembly
// beside it, on amd64 for AVX2 with FMA and for AVX-512, on arm64 for NEON. A [Tier]
// names such a set, and each kernel takes the best implementation that the active
// tier allows. The active tier is the highest one that the processor has. The
// environment variable RELSIM_KERNEL (generic, avx2, avx512, avx512bf16, amx or neon)
// or [SetTier] lowers it. A tier that is asked for and is not there is an error and
// never a silent fallback: see [Init]. With the build tag noasm, and on other
// architectures, there is only the generic tier.
//
// # Precision
//
// Everything is float32, unless [Pool.With] asks for the products of layers in
// bfloat16: their operands are rounded to it while they are packed, sums and results
// stay float32. Intel's AMX does that many times as fast as float32.
//
// # Threads
//
// A kernel takes a [Pool] and cuts its work into pieces whose borders depend on
// the shape alone; a sum across pieces is taken in the order of the pieces. Results
// therefore have the same bits for every number of threads. They differ between
// tiers in the last bits, as sums are taken in another order. A nil *Pool means the
// calling goroutine only.
//
// # Memory
//
// Scratch memory is kept for the next call. In a steady state no kernel allocates.
//
// # Errors
//
// Kernels panic with the numbers when a length does not fit: that is a bug of the
// caller. A NaN among the inputs of an output makes that output NaN.
package kernel

//go:generate sh _asm/generate.sh
