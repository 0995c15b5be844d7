package main

import (
	"relsim/nn"
	"relsim/optim"
)

// job is one side of a piece of work, as a process of its own is told about it:
// this program again, or bench/peer.py. Both read the same JSON.
type job struct {
	Kind    string `json:"kind"`
	Threads int    `json:"threads"`

	// Of models.
	Config *nn.Config `json:"config,omitempty"`
	Batch  int        `json:"batch,omitempty"`
	Vocab  int        `json:"vocab,omitempty"`  // words known
	Words  int        `json:"words,omitempty"`  // of a caption
	Labels int        `json:"labels,omitempty"` // different relations
	Rate   float64    `json:"rate,omitempty"`   // learning rate
	Decay  float64    `json:"decay,omitempty"`
	Betas  [2]float64 `json:"betas"`
	Eps    float64    `json:"eps,omitempty"`
	Clip   float64    `json:"clip,omitempty"`
	Steps  int        `json:"steps,omitempty"` // whose losses are compared; they warm up
	BF16   bool       `json:"bf16,omitempty"`  // products in bfloat16

	// Checkpoint computes the blocks' values again in the backward pass.
	Checkpoint bool `json:"checkpoint,omitempty"`

	// Of pictures.
	Dir     string     `json:"dir,omitempty"` // folder of JPEG files
	Workers int        `json:"workers,omitempty"`
	Size    int        `json:"size,omitempty"` // side of the square wanted
	Mean    [3]float64 `json:"mean"`
	Std     [3]float64 `json:"std"`
	JPEG    string     `json:"jpeg,omitempty"`    // our decoder; "": the one in Go
	Tensors bool       `json:"tensors,omitempty"` // torchvision's tensors instead of Pillow

	// Of search.
	N       int `json:"n,omitempty"`
	Queries int `json:"queries,omitempty"`
	Dim     int `json:"dim,omitempty"`
	K       int `json:"k,omitempty"`

	// Of GPUs.
	Shapes [][3]int `json:"shapes,omitempty"` // of products, (m, n, k)
	Heads  [][4]int `json:"heads,omitempty"`  // of attention, (batch, tokens, heads, width of one)

	// Group is which kernels.
	Group string `json:"group,omitempty"`
}

// modelJob returns the job of training or embedding with a preset.
func modelJob(kind, preset string, batch int) job {
	c, err := nn.Preset(preset)
	if err != nil {
		panic(err) // the presets are part of the program
	}
	o := optim.Default()
	j := job{
		Kind: kind, Config: &c, Batch: batch, Vocab: 4096, Words: c.Text.Length, Labels: 24,
		Rate: 1e-4, Decay: o.WeightDecay, Betas: [2]float64{o.Beta1, o.Beta2}, Eps: o.Eps, Clip: o.ClipNorm, Steps: 2,
	}
	if c.Text.Kind == nn.Bag {
		j.Vocab, j.Words = 353, 8 // those of the demo
	}
	return j
}

// clipJob returns the job of the image tower of CLIP ViT-L/14, by itself.
//
// Source: arXiv:2103.00020, table 20; the configuration of openai/clip-vit-large-patch14.
func clipJob(kind string, batch int) job {
	j := modelJob(kind, "vit-l/16", batch)
	j.Config.Text = nn.TextConfig{Kind: nn.NoText}
	v := &j.Config.Vision
	v.PatchSize, v.NoPatchBias, v.InputNorm, v.GELU, v.NormEps = 14, true, true, nn.GELUQuick, 1e-5
	v.Head, j.Config.EmbedDim = nn.HeadProjection, 768
	return j
}

// tunedJob returns the job of training adapters of rank 16 in it, and a head for embeddings as wide as MiniLM's, as
// train --preset relsim-clip does.
func tunedJob(batch int) job {
	j := clipJob("step", batch)
	v := &j.Config.Vision
	v.Projection, v.Head, j.Config.EmbedDim = j.Config.EmbedDim, nn.HeadLinear, 384
	j.Config.LoRA = &nn.LoRA{Rank: 16, Alpha: 32, Dropout: .05, Targets: []string{"attn.q", "attn.v"}}
	return j
}

// ready is what a side says when it has warmed up.
type ready struct {
	Parameters int       `json:"parameters"`
	Check      []float64 `json:"check"`      // numbers that both sides must agree on
	Seconds    float64   `json:"seconds"`    // of a repetition, warm; 0: not measured yet
	Path       string    `json:"path"`       // how it does the work, where there was a choice
	BaseBytes  float64   `json:"base_bytes"` // resident before the work: interpreter and libraries

	Versions map[string]string `json:"versions,omitempty"` // of a peer's libraries, where the job is "probe", or of what drives a GPU
	Warned   []string          `json:"warned,omitempty"`
	Modes    []string          `json:"modes,omitempty"` // ways in which a peer does the work

	Checks map[string][]float64 `json:"checks,omitempty"` // Check, of each work
}

// sample is what a side says of a number of repetitions.
type sample struct {
	Seconds float64 `json:"seconds"` // of all of them
	CPU     float64 `json:"cpu"`     // seconds of processor, of all threads
	Peak    float64 `json:"peak"`    // FLOP/s of the threads, the larger of just before and after; 0: not measured
	Mallocs float64 `json:"mallocs"` // allocations of all of them
	Parts   []part  `json:"parts"`   // of jobs that measure many things
	Ops     []gpuOp `json:"ops,omitempty"`
}

// part is one kernel or limit, measured once.
type part struct {
	Name  string  `json:"name"`
	Pass  string  `json:"pass"`  // column of the table
	Speed float64 `json:"speed"` // per second: operations or bytes
	Limit float64 `json:"limit"` // what the machine can do of these; 0: no limit known
	Unit  string  `json:"unit"`
}
