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
// # Memory
//
// All values of a Program lie in one arena, which is planned by liveness: what is
// not read again makes room, and an op overwrites an operand where it may. What
// takes a pass over memory (norms, GELUs) is not kept for Backward but computed
// again. With [Config.Checkpoint] only the values marked by [Builder.Checkpoint],
// the inputs of blocks, are kept (arXiv:1604.06174). With [Config.Lent] activations
// lie where gradients will be that are computed after their end. [Program.Close] gives
// the arena back.
//
// # Micro-batches
//
// A contrastive loss needs the embeddings of the whole batch, but memory does not
// have to hold their activations. [Replicas.ForwardEach] runs the micro-batches
// forward and keeps their embeddings; the loss and its gradient follow, over all
// embeddings; [Replicas.BackwardEach] runs those again whose activations are gone
// and adds the gradients up (gradient caching, arXiv:2101.06983). The result is the gradient of
// the whole batch: every op treats the rows of a batch apart, and dropout draws
// the same masks again from the same seed.
//
// # Layout
//
// Values are row-major float32 vectors, matrices and tensors; indices are int32
// vectors. The residual stream is a matrix (B·T, D): B batch, T tokens, D width.
package graph
