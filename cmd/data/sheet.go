package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"relsim/command"
	"relsim/scenes"
)

const sheetUsage = `usage: data sheet --out FILE.png [flags]

Draws a labelled sheet of every relation as a PNG file.

`

// Measures of the sheet in pixels.
const (
	sheetGap   = 2
	sheetLabel = 16
)

// sheet writes a labelled picture of all relations.
func sheet(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("sheet", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, sheetUsage)
		flags.PrintDefaults()
	}
	out := flags.String("out", "", "PNG `file` to write")
	seed := flags.Uint64("seed", 1, "seed of the benchmark")
	size := flags.Int("size", 64, "side of a picture in `pixels`")
	each := flags.Int("each", 3, "pictures of every relation")
	columns := flags.Int("columns", 4, "relations beside each other")
	zoom := flags.Int("zoom", 1, "draw every pixel as a square of this many `pixels`")
	bits := flags.Int("bits", 4, "`bits` of every channel to keep: 8 shows the noise, fewer make the file small")
	only := flags.String("only", "", "`relations` to show, separated by commas (default all)")
	near := flags.Bool("near", false, "show near misses, each right of its true picture")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *out == "" {
		return command.Usagef("sheet: --out is missing")
	}
	if *each < 1 || *each > 100 || *columns < 1 || *columns > 100 || *zoom < 1 || *zoom > 16 || *bits < 1 || *bits > 8 {
		return command.Usagef("sheet: --each and --columns go from 1 to 100, --zoom from 1 to 16, --bits from 1 to 8")
	}
	cfg := scenes.Default()
	cfg.Seed, cfg.Size = *seed, *size
	if err := cfg.Validate(); err != nil {
		return command.Usage(err)
	}
	families := scenes.Families()
	if *only != "" {
		families = families[:0]
		for name := range strings.SplitSeq(*only, ",") {
			family, ok := scenes.FamilyByName(name)
			if !ok {
				return command.Usagef("sheet: --only: no relation %q", name)
			}
			families = append(families, family)
		}
	}
	img, err := drawSheet(ctx, cfg, layout{families, *each, *columns, *zoom, *bits, *near})
	if err != nil {
		return err
	}
	return writeFile(*out, func(w io.Writer) error {
		return (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(w, img)
	})
}

// layout says what a sheet shows.
type layout struct {
	families                  []scenes.Family
	each, columns, zoom, bits int
	near                      bool
}

// drawSheet lays out the first pictures of the test split by relation, or its near misses beside them.
func drawSheet(ctx context.Context, cfg scenes.Config, l layout) (image.Image, error) {
	test, err := scenes.Open(cfg, scenes.Test)
	if err != nil {
		return nil, err
	}
	source := test
	if l.near {
		if source, err = scenes.Open(cfg, scenes.NearMiss); err != nil {
			return nil, err
		}
	}
	shown := make(map[int][]scenes.Picture)
	missing := len(l.families)
	for i := 0; i < source.Len() && missing > 0; i++ {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		f := source.Family(i)
		if !slices.ContainsFunc(l.families, func(g scenes.Family) bool { return g.ID == f }) || len(shown[f]) >= l.each {
			continue
		}
		p := source.Picture(i)
		if l.near {
			shown[f] = append(shown[f], test.Picture(p.Pair))
		}
		shown[f] = append(shown[f], p)
		if len(shown[f]) >= l.each {
			missing--
		}
	}
	side := cfg.Size * l.zoom
	cellWidth := l.each*(side+sheetGap) + 4*sheetGap
	cellHeight := side + sheetLabel + 2*sheetGap
	rows := (len(l.families) + l.columns - 1) / l.columns
	img := image.NewRGBA(image.Rect(0, 0, l.columns*cellWidth, rows*cellHeight))
	draw.Draw(img, img.Bounds(), image.White, image.Point{}, draw.Src)
	for i, family := range l.families {
		x, y := i%l.columns*cellWidth+2*sheetGap, i/l.columns*cellHeight
		label := family.Name
		if family.HeldOut {
			label += " (held out)"
		}
		pen := font.Drawer{Dst: img, Src: image.Black, Face: basicfont.Face7x13, Dot: fixed.P(x, y+sheetLabel-4)}
		pen.DrawString(label)
		for j, p := range shown[family.ID] {
			if j < l.each {
				paste(img, x+j*(side+sheetGap), y+sheetLabel, cfg.Size, l.zoom, coarse(p.Pix, l.bits))
			}
		}
	}
	return img, nil
}

// coarse rounds every value to the given number of bits.
func coarse(pix []byte, bits int) []byte {
	levels := 1<<bits - 1
	out := make([]byte, len(pix))
	for i, v := range pix {
		out[i] = byte((int(v)*levels + 127) / 255 * 255 / levels)
	}
	return out
}

// paste copies an RGB picture of size×size to (x, y), each pixel as a square of side zoom.
func paste(dst *image.RGBA, x, y, size, zoom int, pix []byte) {
	for j := range size * zoom {
		for i := range size * zoom {
			q := pix[3*(j/zoom*size+i/zoom):]
			dst.SetRGBA(x+i, y+j, color.RGBA{q[0], q[1], q[2], 255})
		}
	}
}

// writeFile writes a file beside its place and moves it there when it is whole.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
