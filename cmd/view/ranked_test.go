package main

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"

	"relsim/formats"
	"relsim/report"
	"relsim/retrieval"
	"relsim/training"
)

// ranked writes, for scripts, the report of an evaluation of twelve pictures in two captions into the folder of its first
// argument, and the pictures and their rows beside it.
func ranked() {
	if err := writeRanked(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func writeRanked(dir string) error {
	images := filepath.Join(dir, "images")
	if err := os.MkdirAll(images, 0o777); err != nil {
		return err
	}
	var rows []byte
	var ours, theirs []float32
	for i := range 12 {
		rows = fmt.Appendf(rows, `{"image_hash":"p%d","caption":"{Subject} in way %d"}`+"\n", i, i%2)
		im := image.NewNRGBA(image.Rect(0, 0, 24, 24))
		for k := range 24 * 24 {
			im.SetNRGBA(k%24, k/24, color.NRGBA{byte(20 * i), byte(10 * (k % 24)), 90, 255})
		}
		f, err := os.Create(filepath.Join(images, fmt.Sprintf("p%d.png", i)))
		if err != nil {
			return err
		}
		if err := png.Encode(f, im); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		ours, theirs = append(ours, float32(i%2), float32(1-i%2)), append(theirs, float32(i/6), float32(1-i/6))
	}
	file := filepath.Join(dir, "rows.jsonl")
	if err := os.WriteFile(file, rows, 0o666); err != nil {
		return err
	}
	source, err := training.Source{Data: file, Images: images, Val: file}.Absolute()
	if err != nil {
		return err
	}
	gallery, err := formats.Open(context.Background(), file, formats.Options{Images: images})
	if err != nil {
		return err
	}
	c := retrieval.Default()
	c.Resamples = 5
	result, err := retrieval.Evaluate(context.Background(), retrieval.NewSet(gallery.Name(), "rows", gallery, nil), []retrieval.Method{
		retrieval.Embedded("relsim", retrieval.Trained, ours, nil, 2), retrieval.Embedded("other", retrieval.Baseline, theirs, nil, 2),
	}, c)
	if err != nil {
		return err
	}
	result.Rankings.Fingerprint = gallery.Fingerprint()
	result.Rankings.Source = fmt.Appendf(nil, `{"data":%q,"images":%q,"val":%q}`, source.Data, source.Images, source.Val)
	return report.Write(filepath.Join(dir, "report"), report.Input{Result: result})
}
