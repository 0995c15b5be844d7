// Package retrieval evaluates similarity measures by retrieval: every query picture ranks a gallery, and the ranks of
// the pictures that share its relation tell how relational the measure is, those of its attribute twins how
// superficial. [Index] is exact nearest-neighbour search over embeddings; [Evaluate] compares methods on one [Set] and
// returns the [Result] that becomes metrics.json.
package retrieval
