package main

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/command/script"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"train": main}) }

func TestScripts(t *testing.T) {
	script.Run(t, map[string]script.Command{"png": pngs}, func(env *testscript.Env) error {
		// A step to be killed at, of those that a script saves: every 10th, early in the run.
		env.Setenv("STEP", fmt.Sprintf("step-%08d", 10*(1+rand.IntN(6))))
		return nil
	})
}

// pngs writes small pictures, each of another grey: png FILE…
func pngs(ts *testscript.TestScript, _ bool, args []string) {
	for i, name := range args {
		picture := image.NewGray(image.Rect(0, 0, 16, 16))
		for at := range picture.Pix {
			picture.Pix[at] = uint8(40*i + at/2)
		}
		var file bytes.Buffer
		ts.Check(png.Encode(&file, picture))
		ts.Check(os.WriteFile(ts.MkAbs(name), file.Bytes(), 0o644))
	}
}
