package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/command/script"
	"relsim/hub"
	"relsim/nn"
	"relsim/scenes"
	"relsim/training"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"export": main, "tinyrun": tinyRun})
}

func TestScripts(t *testing.T) {
	published, err := filepath.Abs(filepath.Join("..", "..", "pretrained", "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	script.Run(t, nil, func(env *testscript.Env) error {
		env.Setenv("PUBLISHED", published) // tiny published models
		return nil
	})
}

// tinyRun trains two steps into the folder of its first argument, with the published models of its second (pictures)
// and third (captions), and adapters on the modules of the other arguments.
func tinyRun() {
	if err := trainTiny(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}

func trainTiny(out, vision, text string, targets []string) error {
	ctx := context.Background()
	s := scenes.Default()
	s.Size, s.TrainProfiles, s.ValProfiles, s.TestProfiles = 32, 6, 4, 12
	data, err := training.OpenData(ctx, training.Source{Data: training.ScenesName, Scenes: &s})
	if err != nil {
		return err
	}
	c := training.Default()
	c.Batch, c.MicroBatch, c.Steps, c.Freeze = 16, 16, 2, nn.TextTower
	o := training.Options{Out: out, Resume: training.ResumeNever, Threads: 1, Workers: 1, Keep: 1}
	if o.Bases.Vision, err = training.OpenBase(ctx, vision, hub.Options{}); err != nil {
		return err
	}
	if o.Bases.Text, err = training.OpenBase(ctx, text, hub.Options{}); err != nil {
		return err
	}
	if len(targets) > 0 {
		c.Model.LoRA = &nn.LoRA{Rank: 2, Alpha: 4}
	}
	if err := o.Bases.Configure(&c, 0, targets); err != nil {
		return err
	}
	_, err = training.Run(ctx, c, o, data, training.Observer{})
	return err
}
