// Package loss compares the embeddings of a batch of pictures with those of
// their captions: InfoNCE from image to text as in relsim (arXiv:2512.07833),
// symmetric as in CLIP (arXiv:2103.00020), with several positives per row as in
// supervised contrastive learning (arXiv:2004.11362), with masking of negatives
// that are none, and the sigmoid loss of SigLIP (arXiv:2303.15343).
//
// A [Loss] is a small compiled graph of its own over all embeddings of a step.
// It returns the gradients of the embeddings, from which the encoders go on;
// so the batch that is compared can be larger than the one an encoder holds. The
// logits of a batch of B are made in blocks of rows, forward and once more backward:
// the memory grows with B, not with B².
package loss
