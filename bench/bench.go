// Package bench holds the peers of cmd/bench: Python scripts that do the same
// work in PyTorch, NumPy and Pillow. They are part of the binary.
package bench

import _ "embed"

// Peer is the script for a Python with PyTorch; its head describes how it is run.
//
//go:embed peer.py
var Peer []byte

// GPU is the script for one with a GPU, which lies beside the other.
//
//go:embed gpu.py
var GPU []byte
