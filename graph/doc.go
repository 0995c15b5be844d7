// Package graph builds models as Gorgonia graphs of coarse ops and runs them.
//
// A [Builder] makes the graph: its methods are the ops of the two-tower model
// (linear, layer norm, attention, convolution, pooling, losses …), each a
// gorgonia.SDOp with a symbolic gradient. [Compile] turns part of the graph into
// a [Program], which is a gorgonia.VM: it prunes, differentiates, orders, plans
// all memory in one arena and binds one kernel of the [Backend] to each op.
//
// # Two phases
//
// A Program runs forward up to its outputs and backward from a gradient that
// the caller brings ([Config.Embedding]) or from a scalar ([Config.Loss]).
// Gradients go to buffers of the caller ([Program.SetGrad]), and overwrite or
// add to what is there ([Program.SetAccumulate]). A steady step allocates
// nothing.
//
// # Micro-batches
//
// A contrastive loss needs the embeddings of the whole batch, memory does not
// have to hold their activations ([gradient caching]). With a Program for a
// micro-batch of m rows, a batch of k·m rows takes
//
//	for i := range k { seed, inputs of i; Forward; keep Value(embedding) }
//	loss and its gradient over all k·m embeddings
//	for i := range k { SetAccumulate(i > 0); the same seed and inputs of i; Forward; Backward(rows i of the gradient) }
//
// The gradient is that of the whole batch, because every op treats the rows of a
// batch apart and dropout depends on the seed alone.
//
// # Layout
//
// Values are row-major float32 vectors, matrices and tensors; indices are int32
// vectors. The residual stream is a matrix (B·T, D): B batch, T tokens, D width.
//
// [gradient caching]: https://arxiv.org/abs/2101.06983
package graph
