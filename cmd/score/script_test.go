package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/command/script"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"score": main, "tinyrun": script.TinyRun})
}

func TestScripts(t *testing.T) {
	weights, err := filepath.Abs("../../lpips/testdata/alex/model.safetensors") // a small AlexNet with its head
	if err != nil {
		t.Fatal(err)
	}
	published, err := filepath.Abs("../../pretrained/testdata") // tiny published models
	if err != nil {
		t.Fatal(err)
	}
	script.Run(t, map[string]script.Command{"picture": picture}, func(e *testscript.Env) error {
		e.Setenv("ALEX", weights)
		e.Setenv("PUBLISHED", published)
		return nil
	})
}

// picture writes a PNG of stripes: picture FILE SIDE WIDTH, where a pixel's colour follows x/WIDTH.
func picture(ts *testscript.TestScript, _ bool, args []string) {
	side, err := strconv.Atoi(args[1])
	ts.Check(err)
	width, err := strconv.Atoi(args[2])
	ts.Check(err)
	im := image.NewRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			c := color.RGBA{A: 255, R: byte(40 * (x / width)), G: byte(3 * y), B: 90}
			im.SetRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	ts.Check(png.Encode(&b, im))
	path := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	ts.Check(os.WriteFile(path, b.Bytes(), 0o644))
}
