// Package metrics holds pure functions of scores, ranks and images: retrieval metrics with an exact treatment of
// ties, triplet accuracy and the area under the ROC curve, bootstrap intervals over clusters, and structural
// similarity (SSIM).
package metrics
