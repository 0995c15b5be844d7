package main

import (
	"bytes"
	"strings"
	"testing"

	"relsim/training"
)

func TestProgressOfValidation(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values map[string]float64
		want   string
	}{
		{"pictures", map[string]float64{"recall@1": 0.25, "image_to_caption.recall@1": 0.5}, "run: step 3: validation recall@1 0.250\n"},
		{"captions", map[string]float64{"image_to_caption.recall@1": 0.5}, "run: step 3: validation image_to_caption.recall@1 0.500\n"},
		{"neither", map[string]float64{"map": 0.5}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			newProgress(&out, false).observer("run").Eval(training.Row{Step: 3, Validation: tt.values})
			if out.String() != tt.want {
				t.Errorf("%q, want %q", &out, tt.want)
			}
		})
	}
}

// What follows a bar that was cleared is at the start of an empty line.
func TestProgressClear(t *testing.T) {
	var out bytes.Buffer
	p := &progress{out: &out, terminal: true}
	p.start("train", 10, 3)
	p.bar.RenderBlank()
	if !strings.Contains(out.String(), "train") {
		t.Fatalf("no bar: %q", &out)
	}
	p.clear()
	text := out.String()
	if last := text[strings.LastIndex(text, "train"):]; !strings.HasSuffix(last, "\r") {
		t.Errorf("%q after the bar, want an end of \\r", last)
	}
	if p.bar != nil {
		t.Error("the bar goes on")
	}
	p.clear() // no bar: nothing to do
}
