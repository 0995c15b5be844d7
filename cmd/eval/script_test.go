package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/command/script"
	"relsim/hub"
	"relsim/nn"
	"relsim/scenes"
	"relsim/training"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"eval": main, "tinyrun": script.TinyRun, "adaptedrun": adaptedRun})
}

func TestScripts(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	commands := maps.Clone(judgeCommands)
	commands["pictures"] = pictures
	script.Run(t, commands, func(e *testscript.Env) error {
		judges(e)
		e.Setenv("PUBLISHED", filepath.Join(root, "pretrained", "testdata"))                    // tiny published models
		e.Setenv("ALEX", filepath.Join(root, "lpips", "testdata", "alex", "model.safetensors")) // a small AlexNet with its head
		return nil
	})
}

// pictures writes pictures with their captions in files of text beside them: pictures DIR COUNT.
func pictures(ts *testscript.TestScript, _ bool, args []string) {
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	captions := []string{"{Objects} in a row", "{Subject} growing step by step", "{Objects} around a centre"}
	for i := range count {
		im := image.NewGray(image.Rect(0, 0, 24, 24))
		for at := range im.Pix {
			im.Pix[at] = uint8(11*i + at*(1+i%len(captions)))
		}
		var file bytes.Buffer
		ts.Check(png.Encode(&file, im))
		stem := ts.MkAbs(filepath.Join(args[0], fmt.Sprintf("p%d", i)))
		ts.Check(os.WriteFile(stem+".png", file.Bytes(), 0o644))
		ts.Check(os.WriteFile(stem+".txt", []byte(captions[i%len(captions)]+"\n"+captions[i%len(captions)]+" again\n"), 0o644))
	}
}

// adaptedRun trains adapters a few steps into the folder of its first argument, in the published towers of the others.
func adaptedRun() {
	s := scenes.Default()
	s.Size, s.TrainProfiles, s.ValProfiles, s.TestProfiles = 32, 6, 4, 12
	c := training.Default()
	c.Batch, c.MicroBatch, c.Steps, c.Freeze = 16, 16, 2, nn.TextTower
	c.Model.LoRA = &nn.LoRA{Rank: 2, Alpha: 4}
	ctx := context.Background()
	var bases training.Bases
	var err, other error
	bases.Vision, err = training.OpenBase(ctx, os.Args[2], hub.Options{})
	bases.Text, other = training.OpenBase(ctx, os.Args[3], hub.Options{})
	if err = errors.Join(err, other); err == nil {
		err = bases.Configure(&c, 0, []string{"q", "v"})
	}
	var data *training.Data
	if err == nil {
		data, err = training.OpenData(ctx, training.Source{Data: training.ScenesName, Scenes: &s})
	}
	if err == nil {
		o := training.Options{Out: os.Args[1], Resume: training.ResumeNever, Threads: 1, Workers: 1, Keep: 1, Bases: bases}
		_, err = training.Run(ctx, c, o, data, training.Observer{})
	}
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}
