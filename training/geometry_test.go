package training

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"relsim/dataloader"
)

// TestGeometryConfig keeps a geometry in the configuration, says nothing where there is none, and refuses what it does
// not know.
func TestGeometryConfig(t *testing.T) {
	_, c := tiny()
	old, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(old, []byte("geometry")) || bytes.Contains(old, []byte("scale")) {
		t.Errorf("a configuration of relsim's own geometry says so: %s", old)
	}
	if got, err := parseConfig(old); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%+v (%v), want %+v", got, err, c)
	}
	c.Geometry = dataloader.Geometry{Resize: dataloader.ResizeShortest, Side: 36, Filter: "bicubic"}
	c.Normalize = dataloader.Normalize{Mean: [3]float64{0.5, 0.5, 0.5}, Std: [3]float64{0.5, 0.5, 0.5}, Scale: 1.0 / 255}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseConfig(text)
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%+v (%v), want %+v", got, err, c)
	}
	if tr := got.transform(); tr.Geometry != c.Geometry || tr.Normalize != c.Normalize {
		t.Errorf("%+v", tr)
	}
	if field, _, _, differs := c.diff(func() Config { d := c; d.Geometry.Side = 37; return d }()); !differs || field != "geometry.side" {
		t.Errorf("%q differs: %t", field, differs)
	}
	for from, want := range map[string]string{
		`"side":36`:          `unknown field "sides"`,
		`"filter":"bicubic"`: `filter is "cubic"`,
	} {
		to := map[string]string{`"side":36`: `"sides":36`, `"filter":"bicubic"`: `"filter":"cubic"`}[from]
		if _, err := parseConfig(bytes.Replace(text, []byte(from), []byte(to), 1)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", to, err, want)
		}
	}
}

// TestGeometryTrains trains by a published geometry: the model embeds raw pictures and prepared ones alike, and the run
// is not resumed under another one.
func TestGeometryTrains(t *testing.T) {
	s, c := tiny()
	d := tinyData(t, s)
	c.Steps, c.Geometry = 2, dataloader.Geometry{Resize: dataloader.ResizeShortest, Side: 40, Filter: "bicubic"}
	o := options(t)
	if _, err := Run(t.Context(), c, o, d, Observer{}); err != nil {
		t.Fatal(err)
	}
	e, err := Open(o.Out, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var raw, prepared []*dataloader.Image
	for i := range 3 {
		im, err := d.Train.Image(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		made, err := e.config.transform().Fit(im)
		if err != nil {
			t.Fatal(err)
		}
		raw, prepared = append(raw, im), append(prepared, made)
	}
	a, err := e.Images(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Images(t.Context(), prepared)
	if err != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("prepared pictures have other embeddings (%v)", err)
	}
	c.Geometry.Side = 41
	if _, err := Run(t.Context(), c, o, d, Observer{}); err == nil || !strings.Contains(err.Error(), "geometry.side") {
		t.Errorf("resumed under another geometry: %v", err)
	}
}

// TestEvaluatePictures: what evaluation says about pictures takes the place of what a model was trained with, part by part.
func TestEvaluatePictures(t *testing.T) {
	trained := dataloader.Pictures{Draft: true, Convert: dataloader.ConvertPillow}
	reference, own := dataloader.Pictures{JPEG: dataloader.JPEGReference}, ""
	for _, tt := range []struct {
		o    EvaluateOptions
		want dataloader.Pictures
	}{
		{EvaluateOptions{}, trained},
		{EvaluateOptions{Pictures: &reference}, dataloader.Pictures{JPEG: dataloader.JPEGReference, Convert: dataloader.ConvertPillow}},
		{EvaluateOptions{Convert: &own}, dataloader.Pictures{Draft: true}},
		{EvaluateOptions{Pictures: &reference, Convert: &own}, reference},
	} {
		if got := tt.o.pictures(trained); got != tt.want {
			t.Errorf("%+v, want %+v", got, tt.want)
		}
	}
}
