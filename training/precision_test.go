package training

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/kernel"
)

// TestPrecision trains in bfloat16: the losses are near those of float32 and not the same, an interrupted run goes on
// bit for bit, and one in another precision does not go on at all.
func TestPrecision(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	if errors.Is(kernel.CheckPrecision(kernel.BF16), kernel.ErrBF16) {
		t.Skip("NOT RUN: no instructions for bf16 here; TestPrecisionMissing is for this case")
	}
	losses := func(o Options) []float64 {
		rows, err := ReadLog(filepath.Join(o.Out, MetricsFile))
		if err != nil {
			t.Fatal(err)
		}
		var list []float64
		for _, row := range rows {
			if row.Validation == nil {
				list = append(list, row.Loss)
			}
		}
		return list
	}
	float32Run, bf16Run := options(t), options(t)
	mustRun(t, c, float32Run, d)
	c.Precision = kernel.BF16
	want := weights(t, mustRun(t, c, bf16Run, d).Checkpoint)
	exact, coarse := losses(float32Run), losses(bf16Run)
	if exact[0] == coarse[0] {
		t.Errorf("the first loss is %v in both precisions", exact[0])
	}
	// The first steps see much the same weights: the embeddings, of length one, differ by some 2⁻⁸, and logits by
	// that over the temperature, 0.07.
	for i := range 3 {
		if d := math.Abs(exact[i] - coarse[i]); d > 0.1 {
			t.Errorf("step %d: loss %v in float32, %v in bf16", i+1, exact[i], coarse[i])
		}
	}

	o := options(t)
	o.Threads = 3
	ctx, cancel := context.WithCancel(context.Background())
	watch := Observer{Step: func(row Row) {
		if row.Step == 7 {
			cancel()
		}
	}}
	if _, err := Run(ctx, c, o, d, watch); !errors.Is(err, ErrInterrupted) {
		t.Fatalf("interrupted at step 7: %v", err)
	}
	other := c
	other.Precision = kernel.Float32
	const differs = "config differs: precision bf16 in the checkpoint, float32 asked for"
	if _, err := Run(context.Background(), other, o, d, Observer{}); err == nil || !strings.Contains(err.Error(), differs) {
		t.Errorf("resumed in float32: error %v, want %q in it", err, differs)
	}
	summary := mustRun(t, c, o, d)
	if got := weights(t, summary.Checkpoint); !bytes.Equal(got, want) {
		t.Error("the weights of the resumed run differ from those of the uninterrupted one")
	}

	// The model embeds in float32 unless it is asked for something else: vectors of length one, much the same.
	var vectors [3][]float32
	for i, open := range []func() (*Embedder, error){
		func() (*Embedder, error) { return Open(summary.Checkpoint, 1) },
		func() (*Embedder, error) { return OpenIn(summary.Checkpoint, 2, kernel.Float32) },
		func() (*Embedder, error) { return OpenIn(summary.Checkpoint, 2, kernel.BF16) },
	} {
		e, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if vectors[i], err = e.Dataset(context.Background(), d.Val, nil); err != nil {
			t.Fatal(err)
		}
		e.Close()
	}
	if !slices.Equal(vectors[0], vectors[1]) {
		t.Error("Open does not embed in float32")
	}
	if slices.Equal(vectors[0], vectors[2]) {
		t.Error("OpenIn embeds in float32 where bf16 is asked for")
	}
	for at := 0; at < len(vectors[0]); at += c.Model.EmbedDim {
		cosine := 0.0
		for i := range c.Model.EmbedDim {
			cosine += float64(vectors[0][at+i]) * float64(vectors[2][at+i])
		}
		if cosine < 0.999 {
			t.Errorf("picture %d: cosine of both embeddings %v", at/c.Model.EmbedDim, cosine)
		}
	}
}

// TestPrecisionMissing asks for bfloat16 of a tier that does not have it.
func TestPrecisionMissing(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	restore, err := kernel.SetTier(kernel.Generic)
	if err != nil {
		t.Fatal(err)
	}
	defer restore()
	c.Precision = kernel.BF16
	o := options(t)
	if _, err := Run(context.Background(), c, o, d, Observer{}); !errors.Is(err, kernel.ErrBF16) {
		t.Errorf("error %v, want %v", err, kernel.ErrBF16)
	}
	if _, err := OpenIn(o.Out, 1, kernel.BF16); !errors.Is(err, kernel.ErrBF16) {
		t.Errorf("opened: error %v, want %v", err, kernel.ErrBF16)
	}
	if precision, err := ChoosePrecision(AutoPrecision); precision != kernel.Float32 || err != nil {
		t.Errorf("auto is %v, %v; want float32", precision, err)
	}
	if files, _ := filepath.Glob(filepath.Join(o.Out, "*")); len(files) > 0 {
		t.Errorf("left %v", files)
	}
}

// TestPrecisionConfig reads configurations of before there was a choice, and of a choice that there is not.
func TestPrecisionConfig(t *testing.T) {
	_, c := tiny()
	c.Precision = kernel.BF16
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parseConfig(text); err != nil || got.Precision != kernel.BF16 {
		t.Errorf("precision %v, error %v; want bf16", got.Precision, err)
	}
	const line = `"precision":"bf16",`
	if !bytes.Contains(text, []byte(line)) {
		t.Fatalf("no %s in %s", line, text)
	}
	old := bytes.Replace(text, []byte(line), nil, 1)
	if got, err := parseConfig(old); err != nil || got.Precision != kernel.Float32 {
		t.Errorf("precision %v, error %v; want float32 where none is named", got.Precision, err)
	}
	unknown := bytes.Replace(text, []byte(`"bf16"`), []byte(`"fp8"`), 1)
	if _, err := parseConfig(unknown); err == nil || !strings.Contains(err.Error(), `precision "fp8": want float32, tf32 or bf16`) {
		t.Errorf("precision fp8: error %v", err)
	}
	c.Precision = 7
	if err := c.Validate(); err == nil {
		t.Error("precision 7 is valid")
	}
}
