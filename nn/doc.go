// Package nn holds the models: layers, a vision transformer, text encoders and
// the two-tower [Model] made of them.
//
// A layer is a struct of parameters whose Forward adds nodes to a
// [graph.Builder]; it computes nothing itself. Parameters live in a [Params],
// one flat buffer of values and one of gradients, under the names that the
// checkpoints of timm and open_clip use where one exists.
//
// Shapes in comments: B batch, T tokens, D width, H heads, E width of the
// embedding, S side of the image.
package nn
