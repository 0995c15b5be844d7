package phash_test

import (
	"bufio"
	"context"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relsim/dataloader"
	"relsim/phash"
	"relsim/scenes"
)

// picture makes the pictures that testdata/hashes.txt has the hashes of, by integers alone.
func picture(w, h int, at func(x, y int) (r, g, b int)) *dataloader.Image {
	im := &dataloader.Image{Width: w, Height: h, Pix: make([]byte, 0, 3*w*h)}
	for y := range h {
		for x := range w {
			r, g, b := at(x, y)
			im.Pix = append(im.Pix, byte(r), byte(g), byte(b))
		}
	}
	return im
}

// pictures are the named pictures of the fixture. drawn and noisy say how many scenes and pictures of noise.
func pictures(t testing.TB, drawn, noisy int) map[string]*dataloader.Image {
	t.Helper()
	all := map[string]*dataloader.Image{
		"black":    picture(40, 30, func(x, y int) (int, int, int) { return 0, 0, 0 }),
		"white":    picture(64, 64, func(x, y int) (int, int, int) { return 255, 255, 255 }),
		"orange":   picture(33, 47, func(x, y int) (int, int, int) { return 250, 140, 3 }),
		"pixel":    picture(1, 1, func(x, y int) (int, int, int) { return 9, 99, 199 }),
		"column":   picture(1, 300, func(x, y int) (int, int, int) { return y, 255 - y, y * y }),
		"row":      picture(500, 1, func(x, y int) (int, int, int) { return x, x * x, x / 2 }),
		"exact":    picture(32, 32, func(x, y int) (int, int, int) { return 8 * x, 8 * y, x * y }),
		"across":   picture(100, 80, func(x, y int) (int, int, int) { return x, x, x }),
		"down":     picture(80, 100, func(x, y int) (int, int, int) { return 2 * y, y, 3 * y }),
		"checkers": picture(96, 96, func(x, y int) (int, int, int) { v := 255 * ((x/12 + y/12) % 2); return v, v, v }),
		"mirrored": picture(64, 48, func(x, y int) (int, int, int) {
			return 4 * min(x, 63-x), 5 * y, 200 - 3*min(x, 63-x)
		}),
		"centred": picture(90, 90, func(x, y int) (int, int, int) {
			a, b := min(x, 89-x), min(y, 89-y)
			return a * b / 8, 255 - a - b, 5 * a
		}),
		"turned": picture(128, 128, func(x, y int) (int, int, int) { v := (x - y) * (x - y) / 64; return v, v / 2, 7 }),
		"tall":   picture(31, 1999, func(x, y int) (int, int, int) { return x*y/61 + y, y / 8, x * 8 }),
	}
	cfg := scenes.Config{Seed: 5, Size: 64, TrainProfiles: (drawn + 9) / 10, Twins: 10, ValProfiles: 1, ValTwins: 1, TestProfiles: 1, TestTwins: 1}
	ds, err := dataloader.Scenes(cfg, scenes.Train)
	if err != nil {
		t.Fatal(err)
	}
	for i := range drawn {
		im, err := ds.Image(context.Background(), i)
		if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprintf("scene%04d", i)] = im
	}
	rng := rand.New(rand.NewPCG(5, 7))
	for i := range noisy {
		w, h, symmetric := 1+rng.IntN(120), 1+rng.IntN(120), i%3
		noise := make([]int, w*h)
		for k := range noise {
			noise[k] = rng.IntN(256)
		}
		all[fmt.Sprintf("noise%04d", i)] = picture(w, h, func(x, y int) (int, int, int) {
			if symmetric > 0 {
				x = min(x, w-1-x)
			}
			if symmetric > 1 {
				y = min(y, h-1-y)
			}
			v := noise[y*w+x]
			return v, v * v, v / 3
		})
	}
	return all
}

// TestOf compares with hashes of imagehash. With RELSIM_PHASH_PICTURES the pictures are written into that folder, for
// testdata/reference.py, and with RELSIM_PHASH_HASHES its output takes the place of the fixture; RELSIM_PHASH_COUNT says
// how many scenes and pictures of noise there are.
func TestOf(t *testing.T) {
	count, hashes := 20, filepath.Join("testdata", "hashes.txt")
	if s := os.Getenv("RELSIM_PHASH_COUNT"); s != "" {
		if _, err := fmt.Sscan(s, &count); err != nil {
			t.Fatal(err)
		}
	}
	all := pictures(t, count, count)
	if dir := os.Getenv("RELSIM_PHASH_PICTURES"); dir != "" {
		for name, im := range all {
			writePNG(t, filepath.Join(dir, name+".png"), im)
		}
		return
	}
	if path := os.Getenv("RELSIM_PHASH_HASHES"); path != "" {
		hashes = path
	}
	f, err := os.Open(hashes)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen, bits := 0, 0
	for sc := bufio.NewScanner(f); sc.Scan(); seen++ {
		file, hash, _ := strings.Cut(sc.Text(), " ")
		want, err := phash.Parse(hash)
		im := all[strings.TrimSuffix(file, ".png")]
		if err != nil || im == nil {
			t.Fatalf("%s: %q: %v", hashes, sc.Text(), err)
		}
		if got := phash.Of(im); got != want {
			t.Errorf("%s (%d×%d): %v, imagehash has %v", file, im.Width, im.Height, got, want)
			bits += got.Distance(want)
		}
	}
	if seen != len(all) {
		t.Errorf("%d hashes, %d pictures", seen, len(all))
	}
	t.Logf("%d pictures, %d bits differ", seen, bits)
}

func writePNG(t *testing.T, path string, im *dataloader.Image) {
	to := image.NewNRGBA(image.Rect(0, 0, im.Width, im.Height))
	for i := range im.Width * im.Height {
		copy(to.Pix[4*i:], im.Pix[3*i:3*i+3])
		to.Pix[4*i+3] = 255
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, to); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
