package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/command/script"
	"relsim/formats"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"train": main}) }

func TestScripts(t *testing.T) {
	published, err := filepath.Abs(filepath.Join("..", "..", "pretrained", "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	commands := map[string]script.Command{"png": pngs, "rows": rows, "spoil": spoil, "convert": convert}
	script.Run(t, commands, func(env *testscript.Env) error {
		env.Setenv("PUBLISHED", published) // tiny published models
		// A step to be killed at, of those that a script saves: every 10th, early in the run.
		env.Setenv("STEP", fmt.Sprintf("step-%08d", 10*(1+rand.IntN(6))))
		return nil
	})
}

// rows writes pictures of a few relations with their captions: rows FILE DIR COUNT.
func rows(ts *testscript.TestScript, _ bool, args []string) {
	count, err := strconv.Atoi(args[2])
	ts.Check(err)
	captions := []string{"{Objects} in a row", "{Subject} growing step by step", "{Objects} around a centre", "One {Object} inside another"}
	var list bytes.Buffer
	for i := range count {
		picture := image.NewRGBA(image.Rect(0, 0, 40, 32))
		for at := range picture.Pix {
			picture.Pix[at] = uint8(53*i + at*(1+i%len(captions)))
		}
		for at := 3; at < len(picture.Pix); at += 4 {
			picture.Pix[at] = 0xff
		}
		var file bytes.Buffer
		ts.Check(png.Encode(&file, picture))
		name := fmt.Sprintf("p%02d", i)
		ts.Check(os.WriteFile(ts.MkAbs(filepath.Join(args[1], name+".png")), file.Bytes(), 0o644))
		fmt.Fprintf(&list, "{\"image_hash\":%q,\"caption\":%q}\n", name, captions[i%len(captions)])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), list.Bytes(), 0o644))
}

// convert writes a data set in another format, three rows in a shard: convert FROM TO.
func convert(ts *testscript.TestScript, _ bool, args []string) {
	ds, err := formats.Open(context.Background(), ts.MkAbs(args[0]), formats.Options{})
	ts.Check(err)
	_, err = formats.Write(context.Background(), ts.MkAbs(args[1]), ds, formats.WriteOptions{ShardRows: 3})
	ts.Check(err)
}

// spoil copies a published model and changes one of its weights, of an image tower: spoil FROM TO.
func spoil(ts *testscript.TestScript, _ bool, args []string) {
	to := ts.MkAbs(args[1])
	ts.Check(os.CopyFS(to, os.DirFS(args[0])))
	path := filepath.Join(to, "model.safetensors")
	ts.Check(os.Chmod(path, 0o644))
	weights, err := os.ReadFile(path)
	ts.Check(err)
	weights[(len(weights)-len(weights)/10)&^3+2] ^= 0x40
	ts.Check(os.WriteFile(path, weights, 0o644))
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
