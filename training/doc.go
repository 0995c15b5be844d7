// Package training trains two-tower models and opens trained ones.
//
// [Run] is the loop: load, resume, step, log, validate, save. A run has a
// folder:
//
//	metrics.jsonl          one [Row] for every step and validation
//	skipped.jsonl          pictures that could not be read, with reasons
//	checkpoints/step-…     one folder each: weights, optimiser, configuration
//
// The weights are a pure function of the [Config] and the data: they do not
// depend on [Options], such as the number of threads, nor on how often the run
// was interrupted and resumed.
//
// A step is: vision and text towers forward, in micro-batches; the loss over
// the embeddings of the whole batch; both towers backward with the gradient of
// their embeddings (gradient caching, Gao et al., arXiv:2101.06983); AdamW.
//
// [Open] opens a run or a checkpoint for inference.
package training
