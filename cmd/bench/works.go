package main

import (
	"fmt"
	"math"
	"slices"

	"relsim/dataloader"
	"relsim/kernel"
)

// work is one thing to measure.
type work struct {
	name     string
	about    string
	bar      string // what it is held to
	explicit bool   // too long for a run of everything: only where its name is given
	pair     *pair  // ours beside a peer, or
	parts    []job  // jobs that measure many things each
}

// pair is work that a peer does, too.
type pair struct {
	job
	pictures bool    // needs the photographs
	scaling  bool    // ours is measured on one thread as well
	flops    float64 // of one repetition
	unit     string  // what a repetition is, or
	units    int     // the number of unit in a repetition
	// rival is what the peer does where that is this program, too, and not Python; alone says that there is no peer.
	rival     *job
	rivalName string
	alone     bool
	// same compares what both sides say of their results.
	same func(ours, theirs []float64) error
}

// works lists everything, in the order of the report.
func works(threads int) []work {
	stepWork := func(name, preset string, batch int, bar string) work {
		j := modelJob("step", preset, batch)
		j.Threads = threads
		about := fmt.Sprintf("training step, %s, batch %d", preset, batch)
		return work{name: name, about: about, bar: bar, pair: &pair{
			job: j, scaling: true, flops: stepFLOPs(*j.Config, batch), unit: "pictures", units: batch, same: sameLosses,
		}}
	}
	gorgonia, stock := stockJob("encoder"), stockJob("stock")
	gorgonia.Threads, stock.Threads = threads, threads
	large := modelJob("step", "vit-b/16", 64)
	large.Threads, large.Steps, large.Checkpoint = threads, 1, true
	encode, tuned := clipJob("encode", 16), tunedJob(16)
	encode.Threads, tuned.Threads, tuned.Steps = threads, threads, 1
	stem, rest := visionFLOPs(*encode.Config)
	embedJob := modelJob("embed", "vit-b/32", 32)
	embedJob.Threads, embedJob.Workers, embedJob.Mean, embedJob.Std = threads, threads, imageNetMean, imageNetStd
	list := []work{
		{name: "limits", about: "multiply-adds and memory, one thread and all", parts: limitJobs(threads)},
	}
	names := make([]string, 0, len(groups))
	for name := range groups {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		list = append(list, work{name: "kernel/" + name, about: "kernels as a share of what binds them", parts: []job{{Kind: "kernels", Group: name, Threads: threads}}})
	}
	return append(list,
		stepWork("step/vit-ti8", "vit-ti/8", 256, "1.5"),
		stepWork("step/vit-s16", "vit-s/16", 16, "1.4"),
		stepWork("step/vit-b16", "vit-b/16", 8, "1.2"),
		stepWork("step/demo", "scenes", 64, ""),
		work{name: "step/gorgonia", about: "forward, InfoNCE, backward of ViT-Ti/8 with four layers, batch 32", bar: "8", pair: &pair{
			job: gorgonia, rival: &stock, rivalName: "Gorgonia", unit: "pictures", units: gorgonia.Batch, same: sameLosses,
		}},
		work{name: "embed/vit-b32", about: "embedding JPEG files 640 × 480, ViT-B/32, 224 px", bar: "1.5", pair: &pair{
			job: embedJob, pictures: true, unit: "pictures", units: photographs, same: sameDirection,
		}},
		work{name: "jpeg/go", about: "JPEG 640 × 480 → 224 × 224 floats, one thread", bar: "1.5", pair: &pair{
			job: job{Kind: "jpeg", Threads: 1, Size: 224}, pictures: true, unit: "pictures", units: photographs, same: sameColours,
		}},
		work{name: "jpeg/turbo", about: "the same with libturbojpeg, beside torchvision's tensors", bar: "2", explicit: !haveTurbo(), pair: &pair{
			job: job{Kind: "jpeg", Threads: 1, Size: 224, JPEG: dataloader.JPEGTurbo, Tensors: true}, pictures: true, unit: "pictures", units: photographs, same: sameColours,
		}},
		work{name: "search/exact-28k", about: "top 10 of 28,000 × 384, 1,000 queries", bar: "2", pair: &pair{
			job: job{Kind: "search", Threads: threads, N: 28000, Queries: 1000, Dim: 384, K: 10}, unit: "queries", units: 1000, same: sameNeighbours,
		}},
		work{name: "search/int8-10m", about: "top 10 of 10 million × 384 by 8-bit codes, re-ranked exactly (5 GB, minutes)", explicit: true, parts: []job{
			{Kind: "codes", Threads: threads, N: 10e6, Queries: 1000, Dim: 384, K: 10},
		}},
		bf16Work("precision/linear", "the linear layers of ViT-B, three passes, bf16 beside float32", "1.5", linearJob(threads)),
		bf16Work("precision/vit-b16", "training step, vit-b/16, batch 8, bf16 beside float32", "1.3", stepWork("", "vit-b/16", 8, "").pair.job),
		work{name: "memory/vit-b16", about: "training step, vit-b/16, batch 64, blocks computed again", explicit: true, pair: &pair{
			job: large, alone: true, flops: stepFLOPs(*large.Config, large.Batch), unit: "pictures", units: large.Batch,
		}},
		work{name: "embed/clip-l14", about: "embedding pictures in memory, CLIP ViT-L/14, 224 px, batch 16", explicit: true, pair: &pair{
			job: encode, alone: true, flops: float64(encode.Batch) * (stem.first + stem.rest + rest - unreadFLOPs(*encode.Config)), unit: "pictures", units: encode.Batch,
		}},
		work{name: "memory/clip-l14", about: "training step of adapters of rank 16, CLIP ViT-L/14, batch 16", explicit: true, pair: &pair{
			job: tuned, alone: true, unit: "pictures", units: tuned.Batch,
		}},
		work{name: "loader", about: "pictures a second from a Loader", parts: []job{{Kind: "loader", Threads: threads}}},
	)
}

// bf16Work is work in bf16, with the same work in float32 as its peer.
func bf16Work(name, about, bar string, j job) work {
	rival := j
	j.BF16 = true
	p := &pair{job: j, rival: &rival, rivalName: "float32", unit: "repetitions", units: 1, same: nearLosses}
	if j.Kind == "step" {
		p.unit, p.units, p.flops = "pictures", j.Batch, stepFLOPs(*j.Config, j.Batch)
	} else {
		p.flops = linearFLOPs
	}
	return work{name: name, about: about, bar: bar, explicit: kernel.CheckPrecision(kernel.BF16) != nil, pair: p}
}

// haveTurbo reports whether libturbojpeg is installed.
func haveTurbo() bool {
	_, err := dataloader.ChoosePictures(dataloader.JPEGTurbo)
	return err == nil
}

// limitJobs measures on one thread and on all.
func limitJobs(threads int) []job {
	jobs := []job{{Kind: "limits", Threads: 1}}
	if threads > 1 {
		jobs = append(jobs, job{Kind: "limits", Threads: threads})
	}
	return jobs
}

// sameLosses holds the losses of the first steps against each other: with the same weights and inputs they differ by
// rounding, and the second ones by what that makes of the step between, so that they tell of gradients, clipping and
// optimiser, too.
func sameLosses(ours, theirs []float64) error {
	return within(1e-3, ours, theirs)
}

// nearLosses is sameLosses for operands of 8 bits of precision.
func nearLosses(ours, theirs []float64) error { return within(.03, ours, theirs) }

func within(share float64, ours, theirs []float64) error {
	for i := range ours {
		if !(math.Abs(ours[i]-theirs[i]) <= share*math.Abs(ours[i])) {
			return fmt.Errorf("losses %.5g and %.5g", ours, theirs)
		}
	}
	return nil
}

// sameDirection holds two embeddings against each other: decoders of JPEG differ
// in the last bit of a pixel.
func sameDirection(ours, theirs []float64) error {
	var dot, a, b float64
	for i := range ours {
		dot += ours[i] * theirs[i]
		a += ours[i] * ours[i]
		b += theirs[i] * theirs[i]
	}
	if cosine := dot / math.Sqrt(a*b); !(cosine >= .99) {
		return fmt.Errorf("embeddings of the first picture with a cosine of %.4f", cosine)
	}
	return nil
}

// sameColours holds mean colours against each other, in 0 to 1.
func sameColours(ours, theirs []float64) error {
	for i := range ours {
		if !(math.Abs(ours[i]-theirs[i]) <= .01) {
			return fmt.Errorf("mean colours %.4f and %.4f", ours, theirs)
		}
	}
	return nil
}

// sameNeighbours holds the neighbours of a query against each other: rounding may
// exchange two that are as near.
func sameNeighbours(ours, theirs []float64) error {
	found := 0
	for _, n := range ours {
		if slices.Contains(theirs, n) {
			found++
		}
	}
	if found < len(ours)-1 {
		return fmt.Errorf("neighbours %v and %v", ours, theirs)
	}
	return nil
}
