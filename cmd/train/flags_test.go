package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"relsim/command"
)

func TestTurn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "turn.json")
	if err := os.WriteFile(file, []byte(`{"turn": true}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		want bool
	}{
		{"scenes", []string{"--data", "scenes"}, true},
		{"scenes/off", []string{"--data", "scenes", "--turn=false"}, false},
		{"rows", []string{"--data", "rows.jsonl"}, false},
		{"rows/on", []string{"--data", "rows.jsonl", "--turn"}, true},
		{"rows/config", []string{"--data", "rows.jsonl", "--config", file}, true},
		{"rows/flag wins", []string{"--data", "rows.jsonl", "--config", file, "--turn=false"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, err := parse(tt.args, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			c, err := o.training(1000)
			if err != nil {
				t.Fatal(err)
			}
			if c.Turn != tt.want || !c.Flip {
				t.Errorf("turn %v, flip %v, want %v and true", c.Turn, c.Flip, tt.want)
			}
		})
	}
}

func TestSteps(t *testing.T) {
	for _, tt := range []struct {
		epochs   string
		pictures int
		want     int // 0: refused
	}{
		{"1", 640, 10},
		{"2.5", 640, 25},
		{"0.0001", 640, 1},
		{"1e9", 64, 1e9},
		{"1e9", 65, 0},
		{"1e300", 640, 0},
		{"1e300", 0, 0}, // before the number of pictures is known
		{"1e6", 0, maxSteps},
	} {
		o, err := parse([]string{"--data", "scenes", "--batch", "64", "--epochs", tt.epochs}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		c, err := o.training(tt.pictures)
		if tt.want == 0 {
			if !errors.Is(err, command.ErrUsage) {
				t.Errorf("%s epochs of %d pictures: %v, want a usage error", tt.epochs, tt.pictures, err)
			}
		} else if err != nil || c.Steps != tt.want {
			t.Errorf("%s epochs of %d pictures: %d steps (%v), want %d", tt.epochs, tt.pictures, c.Steps, err, tt.want)
		}
	}
}
