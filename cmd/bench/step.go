package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"relsim/graph"
	"relsim/kernel"
	"relsim/loss"
	"relsim/nn"
	"relsim/optim"
	"relsim/training"
)

// step is a whole training step of a two-tower model on a batch in memory:
// forward, loss, backward, clipping, AdamW.
type step struct {
	pool      *kernel.Pool
	towers    *kernel.Pool // the same, in the precision of the towers
	model     *nn.Model
	shards    int
	vision    *graph.Replicas
	text      *graph.Replicas // nil: the captions are fixed vectors
	loss      *loss.Loss
	optimizer *optim.AdamW // nil: the weights stay
	rate      float64
	images    []float32 // embeddings of the batch, (B, E)
	texts     []float32
	labels    []int
	check     []float64
	last      float64 // seconds of the last step of these
}

func newStep(_ context.Context, j job) (worker, error) { return openStep(j, true) }

// newEncoderStep is the step of the image encoder alone, without optimiser: what
// the peer of stock Gorgonia ops does.
func newEncoderStep(_ context.Context, j job) (worker, error) { return openStep(j, false) }

func openStep(j job, whole bool) (_ worker, err error) {
	s := &step{rate: j.Rate, pool: kernel.NewPool(j.Threads), labels: numbers[int]("labels", j.Batch, j.Labels)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.model, err = nn.New(*j.Config, j.Vocab, source()); err != nil {
		return nil, err
	}
	fillParams(s.model.Params)
	if s.towers, err = j.pool(s.pool); err != nil {
		return nil, err
	}
	s.shards = training.ShardsFor(*j.Config, j.Batch)
	part := j.Batch / s.shards

	b := graph.NewBuilder()
	images, emb := s.model.Vision(b, part)
	pixels := pictures(j)
	if s.vision, err = s.compile(b, emb, j, func(p *graph.Program, shard int) error {
		n := len(pixels) / s.shards
		return p.SetFloats(images, pixels[shard*n:(shard+1)*n])
	}); err != nil {
		return nil, err
	}
	n := j.Batch * j.Config.EmbedDim
	s.images, s.texts = make([]float32, n), make([]float32, n)
	config := loss.Config{Kind: loss.Symmetric, Positives: loss.SameRelation, Temperature: j.Config.Temperature}
	switch {
	case whole && j.Config.Has(nn.TextTower):
		b := graph.NewBuilder()
		in, emb := s.model.Text(b, part)
		ids, weights := captions(j, s.model)
		if s.text, err = s.compile(b, emb, j, func(p *graph.Program, shard int) error {
			n := len(ids) / s.shards
			if err := p.SetIDs(in.IDs, ids[shard*n:(shard+1)*n]); err != nil {
				return err
			}
			return p.SetFloats(in.Weights, weights[shard*n:(shard+1)*n])
		}); err != nil {
			return nil, err
		}
	default:
		s.texts = fixedTexts(j)
		config = loss.Config{Kind: loss.InfoNCE, Positives: loss.Diagonal, Temperature: j.Config.Temperature}
	}
	if whole {
		if s.optimizer, err = optim.NewAdamW(s.model.Params, j.optimizer(), s.pool); err != nil {
			return nil, err
		}
	}
	if s.loss, err = loss.ForModel(s.model, config, j.Batch, graph.NewCPU(s.pool)); err != nil {
		return nil, err
	}
	for range j.Steps {
		begin := time.Now()
		value, err := s.run()
		if err != nil {
			return nil, err
		}
		s.check, s.last = append(s.check, value), time.Since(begin).Seconds()
	}
	return s, nil
}

// pool returns p for products in the precision of a job.
func (j job) pool(p *kernel.Pool) (*kernel.Pool, error) {
	if !j.BF16 {
		return p, nil
	}
	return p.With(kernel.BF16), kernel.CheckPrecision(kernel.BF16)
}

// compile makes the training programs of one tower, one for each shard. Bind binds the inputs of a shard; they stay.
func (s *step) compile(b *graph.Builder, emb *graph.Node, j job, bind func(p *graph.Program, shard int) error) (*graph.Replicas, error) {
	config := graph.Config{Embedding: emb, Wrt: s.model.Wrt(b), Training: true, Checkpoint: j.Checkpoint}
	if s.shards == 1 {
		if err := s.model.Params.Lend(&config, config.Wrt); err != nil {
			return nil, err
		}
	}
	return graph.CompileReplicas(b, config, s.shards, s.towers, func(p *graph.Program, shard int) error {
		return errors.Join(s.model.Bind(p), bind(p, shard))
	})
}

// pictures returns the batch of a job, (B, 3, S, S), of variance one.
func pictures(j job) []float32 {
	side := j.Config.Vision.ImageSize
	x := make([]float32, j.Batch*3*side*side)
	fill(x, "images", math.Sqrt(3), 0)
	return x
}

// captions returns the inputs of the text encoder.
func captions(j job, m *nn.Model) (ids []int32, weights []float32) {
	all := numbers[int32]("ids", j.Batch*j.Words, j.Vocab)
	rows := make([][]int32, j.Batch)
	for i := range rows {
		rows[i] = all[i*j.Words:][:j.Words]
	}
	n := j.Batch * j.Config.Text.Length
	ids, weights = make([]int32, n), make([]float32, n)
	m.FillText(ids, weights, rows, nil, 0)
	return ids, weights
}

// fixedTexts returns vectors (B, E) of length one.
func fixedTexts(j job) []float32 {
	x := make([]float32, j.Batch*j.Config.EmbedDim)
	fill(x, "texts", 1, 0)
	kernel.L2Normalize(nil, x, x, j.Batch, j.Config.EmbedDim, 1e-12)
	return x
}

func (j job) optimizer() optim.Config {
	c := optim.Default()
	c.Beta1, c.Beta2, c.Eps, c.WeightDecay, c.ClipNorm = j.Betas[0], j.Betas[1], j.Eps, j.Decay, j.Clip
	return c
}

// bound loads nothing: the inputs are bound once.
func bound(*graph.Program, int) error { return nil }

// run takes a step and returns the loss.
func (s *step) run() (float64, error) {
	if err := s.vision.ForwardEach(s.shards, bound, s.images); err != nil {
		return 0, err
	}
	if s.text != nil {
		if err := s.text.ForwardEach(s.shards, bound, s.texts); err != nil {
			return 0, err
		}
	}
	value, _, err := s.loss.Run(s.images, s.texts, s.labels, nil)
	if err != nil {
		return 0, err
	}
	if err := s.vision.BackwardEach(s.shards, bound, s.loss.GradImg); err != nil {
		return 0, err
	}
	if s.text != nil {
		if err := s.text.BackwardEach(s.shards, bound, s.loss.GradTxt); err != nil {
			return 0, err
		}
	}
	if s.optimizer != nil {
		if _, err := s.optimizer.Step(s.rate); err != nil {
			return 0, err
		}
	}
	if math.IsNaN(value) {
		return 0, fmt.Errorf("the loss is %v", value)
	}
	return value, nil
}

func (s *step) once() error {
	_, err := s.run()
	return err
}

func (s *step) threads() *kernel.Pool { return s.towers }

func (s *step) ready() ready {
	r := ready{Check: s.check, Seconds: s.last, Path: fmt.Sprintf("%v, %v", kernel.Active(), s.towers.Precision())}
	for _, p := range s.model.Params.All() {
		if s.text != nil || strings.HasPrefix(p.Name, "vision.") {
			r.Parameters += p.Size()
		}
	}
	return r
}

func (s *step) close() {
	if s.loss != nil {
		s.loss.Close()
	}
	for _, r := range []*graph.Replicas{s.vision, s.text} {
		if r != nil {
			r.Close()
		}
	}
	s.pool.Close()
}
