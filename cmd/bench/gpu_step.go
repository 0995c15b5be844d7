//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package main

import (
	"context"
	"errors"
	"time"

	"relsim/graph"
	"relsim/kernel"
	"relsim/loss"
	"relsim/nn"
	"relsim/optim"
)

// gpuModel is an image tower whose pictures, weights, gradients and embeddings are on the device.
type gpuModel struct {
	*gpu
	pool      *kernel.Pool
	model     *nn.Model
	program   *graph.Program
	emb       *graph.Node
	out       []float32 // embeddings (B, E)
	residents []*graph.Resident
	fetched   *graph.Resident // of out
}

func (m *gpuModel) resident(host []float32) (*graph.Resident, error) {
	r, err := m.backend.Resident(host)
	if err == nil {
		m.residents = append(m.residents, r)
	}
	return r, err
}

// open makes the model and its Program.
func (m *gpuModel) open(j job, training bool) (err error) {
	if m.gpu, err = openGPU(j); err != nil {
		return err
	}
	m.pool = kernel.NewPool(j.Threads)
	if m.model, err = nn.New(*j.Config, j.Vocab, source()); err != nil {
		return err
	}
	fillParams(m.model.Params)
	pixels := pictures(j)
	m.out = make([]float32, j.Batch*j.Config.EmbedDim)
	hosts := [][]float32{m.model.Params.Data(), pixels}
	if training {
		hosts = append(hosts, m.model.Params.Grad())
	}
	for _, host := range hosts {
		if _, err := m.resident(host); err != nil {
			return err
		}
	}
	if m.fetched, err = m.resident(m.out); err != nil {
		return err
	}
	b := graph.NewBuilder()
	images, emb := m.model.Vision(b, j.Batch)
	m.emb = emb
	config := graph.Config{Backend: m.backend, Outputs: []*graph.Node{emb}}
	if training {
		config = graph.Config{Backend: m.backend, Embedding: emb, Training: true}
		if err := m.model.Params.Lend(&config, m.model.Wrt(b)); err != nil {
			return err
		}
	}
	if m.program, err = graph.Compile(b, config); err != nil {
		return err
	}
	return errors.Join(m.model.Bind(m.program), m.program.SetFloats(images, pixels))
}

func (m *gpuModel) forward() error {
	return cmpErr(m.program.Forward(), func() error { return m.program.CopyValue(m.emb, m.out) })
}

// cmpErr is err, or what next returns.
func cmpErr(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}

func (m *gpuModel) close() {
	if m.program != nil {
		m.program.Close()
	}
	for _, r := range m.residents {
		r.Close()
	}
	if m.pool != nil {
		m.pool.Close()
	}
	if m.gpu != nil {
		m.gpu.close()
	}
}

// gpuEncode embeds pictures that are on the device.
type gpuEncode struct{ gpuModel }

func newGPUEncode(_ context.Context, j job) (worker, error) {
	e := &gpuEncode{}
	err := e.open(j, false)
	if err == nil {
		err = e.once()
	}
	if err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *gpuEncode) once() error { return e.many(1) }

// many embeds n times and waits at the end.
func (e *gpuEncode) many(n int) error {
	return e.backend.Together(func() error {
		for range n {
			if err := e.forward(); err != nil {
				return err
			}
		}
		return e.fetched.Download()
	})
}

func (e *gpuEncode) ready() ready {
	r := e.gpu.ready()
	r.Parameters = len(e.model.Params.Data())
	for _, v := range e.out[:e.model.Config.EmbedDim] {
		r.Check = append(r.Check, float64(v))
	}
	return r
}

// gpuStep is a training step: forward, InfoNCE with fixed texts, backward, clipping, AdamW.
type gpuStep struct {
	gpuModel
	loss    *loss.Loss
	texts   []float32
	labels  []int
	opt     *optim.AdamW
	value   *loss.Pending
	pending *optim.Pending
	rate    float64
	check   []float64
	last    float64 // seconds of the last of these
}

func newGPUStep(_ context.Context, j job) (_ worker, err error) {
	s := &gpuStep{rate: j.Rate, labels: numbers[int]("labels", j.Batch, j.Labels), texts: fixedTexts(j)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.open(j, true); err != nil {
		return nil, err
	}
	config := loss.Config{Kind: loss.InfoNCE, Positives: loss.Diagonal, Temperature: j.Config.Temperature}
	if s.loss, err = loss.ForModel(s.model, config, j.Batch, s.backend); err != nil {
		return nil, err
	}
	if _, err := s.resident(s.texts); err != nil {
		return nil, err
	}
	if s.opt, err = optim.NewAdamW(s.model.Params, j.optimizer(), s.pool); err != nil {
		return nil, err
	}
	if err := s.opt.On(s.backend, s.loss.Value()); err != nil {
		return nil, err
	}
	for range j.Steps {
		begin := time.Now()
		if err := s.run(); err != nil {
			return nil, err
		}
		value, err := s.wait()
		if err != nil {
			return nil, err
		}
		s.check, s.last = append(s.check, value), time.Since(begin).Seconds()
	}
	return s, nil
}

// run puts a step into the queue.
func (s *gpuStep) run() error {
	return s.backend.Together(func() error {
		err := s.forward()
		if err == nil {
			s.value, err = s.loss.Enqueue(s.out, s.texts, s.labels, nil)
		}
		if err == nil {
			err = s.program.Backward(s.loss.GradImg)
		}
		if err == nil {
			s.pending, err = s.opt.Enqueue(s.rate)
		}
		return err
	})
}

// wait waits for the last step and returns its loss. A loss or a gradient that is not finite is an error.
func (s *gpuStep) wait() (float64, error) {
	value, _, err := s.value.Wait()
	if _, stepErr := s.pending.Wait(); err == nil {
		err = stepErr
	}
	return value, err
}

func (s *gpuStep) once() error { return s.many(1) }

// many takes n steps and waits for the last.
func (s *gpuStep) many(n int) error {
	for range n {
		if err := s.run(); err != nil {
			return err
		}
	}
	_, err := s.wait()
	return err
}

func (s *gpuStep) ready() ready {
	r := s.gpu.ready()
	r.Check, r.Seconds, r.Parameters = s.check, s.last, len(s.model.Params.Data())
	return r
}

func (s *gpuStep) close() {
	if s.opt != nil {
		s.opt.Close()
	}
	if s.loss != nil {
		s.loss.Close()
	}
	s.gpuModel.close()
}
