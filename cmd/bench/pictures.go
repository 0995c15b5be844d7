package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"

	"relsim/scenes"
)

// The photographs of the work with JPEG files: as many, of this size, in files of 50 kB or so.
const (
	photographs            = 128
	photoWidth, photoHight = 640, 480
)

// rowsFile lists the photographs for formats.Open.
const rowsFile = "rows.jsonl"

// photos writes the photographs. It runs in a process of its own: the memory of
// the one that starts the others counts as theirs.
type photos struct{ dir string }

func newPhotos(ctx context.Context, j job) (worker, error) {
	return &photos{j.Dir}, writePhotographs(ctx, j.Dir, photographs)
}

func (*photos) once() error  { return nil }
func (*photos) ready() ready { return ready{} }
func (*photos) close()       {}

// writePhotographs writes n JPEG files, 4:2:0 of quality 85: a scene in front of a
// gradient, with the noise of a camera, which is what makes the files of
// photographs as long as they are.
func writePhotographs(ctx context.Context, dir string, n int) error {
	c := scenes.Default()
	c.Size, c.TrainProfiles = photoHight, n/c.Twins+1
	set, err := scenes.Open(c, scenes.Train)
	if err != nil {
		return err
	}
	list, err := os.Create(filepath.Join(dir, rowsFile))
	if err != nil {
		return err
	}
	defer list.Close()
	lines := bufio.NewWriter(list)
	encoder := json.NewEncoder(lines)
	var file bytes.Buffer
	for i := range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := set.Picture(i)
		file.Reset()
		if err := jpeg.Encode(&file, photograph(p.Pix, uint32(i)), &jpeg.Options{Quality: 85}); err != nil {
			return err
		}
		name := fmt.Sprintf("photo%04d", i)
		if err := os.WriteFile(filepath.Join(dir, name+".jpg"), file.Bytes(), 0o644); err != nil {
			return err
		}
		if err := encoder.Encode(map[string]string{"image_hash": name, "caption": p.Caption, "url_link": ""}); err != nil {
			return err
		}
	}
	if err := lines.Flush(); err != nil {
		return err
	}
	return list.Close()
}

// photograph puts a square scene into a wider picture.
func photograph(pix []byte, number uint32) *image.RGBA {
	im := image.NewRGBA(image.Rect(0, 0, photoWidth, photoHight))
	seed := seedOf("noise") + number
	const border = (photoWidth - photoHight) / 2
	for y := range photoHight {
		for x := range photoWidth {
			at := im.PixOffset(x, y)
			h := hash(seed, y*photoWidth+x)
			light := (x+y)*40/(photoWidth+photoHight) - 20
			for c := range 3 {
				v := 100 + 30*c
				if s := x - border; s >= 0 && s < photoHight {
					v = int(pix[3*(y*photoHight+s)+c])
				}
				grain := int(h>>(8*c)&15) + int(h>>(8*c+4)&15) - 15
				im.Pix[at+c] = uint8(min(max(v+light+3*grain/4, 0), 255))
			}
			im.Pix[at+3] = 255
		}
	}
	return im
}
