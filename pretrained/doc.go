// Package pretrained reads published models from their folders: CLIP, DINOv2,
// BERT sentence encoders such as MiniLM, and vision transformers of timm.
//
// [Open] reads what a folder says: config.json, the layout of
// sentence-transformers where there is one, and the headers of model.safetensors or
// of its shards. It compares the names, shapes and types of all tensors, and takes
// no memory for them. [Model.Config] is then a configuration of package nn. It may
// be changed before the parameters are declared: another image size (positions
// are interpolated), fewer words, another head, dropout. [Model.Weights] fills the
// parameters from the files.
//
// Everything in the folder is taken for hostile: sizes are bounded, and files are
// read from the folder itself or from the folder of blobs that a hub cache keeps
// beside it, nowhere else.
package pretrained
