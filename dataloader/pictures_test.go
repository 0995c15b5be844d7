package dataloader

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	stdjpeg "image/jpeg"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/jpeg"
	"relsim/kernel"
)

func squareOf(t *testing.T, data []byte, size int, p Pictures) *Image {
	t.Helper()
	im, err := DecodeSquare(data, DefaultLimits, Transform{Size: size, Pictures: p})
	if err != nil {
		t.Fatal(err)
	}
	if im.Width != size || im.Height != size {
		t.Fatalf("%d×%d, want %d", im.Width, im.Height, size)
	}
	if err := im.check(); err != nil {
		t.Fatal(err)
	}
	return im
}

// apart returns the mean and the largest difference of two pictures of a size.
func apart(t *testing.T, a, b *Image) (mean float64, most int) {
	t.Helper()
	if a.Width != b.Width || a.Height != b.Height {
		t.Fatalf("%d×%d and %d×%d", a.Width, a.Height, b.Width, b.Height)
	}
	sum := 0
	for i, v := range a.Pix {
		d := max(int(v), int(b.Pix[i])) - min(int(v), int(b.Pix[i]))
		sum += d
		most = max(most, d)
	}
	return float64(sum) / float64(len(a.Pix)), most
}

// TestSquareAsPillow cuts and resizes as upstream does with Pillow: PNG to the bit.
// From JPEG, Pillow rounds and clips colours before and between the passes.
func TestSquareAsPillow(t *testing.T) {
	for _, tt := range []struct {
		file string
		mean float64
		most int
	}{
		{"grey.png", 0, 0},
		{"palette.png", 0, 0},
		{"rgb_wide.png", 0, 0},
		{"jpeg420.jpg", 0.4, 6},
	} {
		im := squareOf(t, readFile(t, tt.file), 448, Pictures{})
		if mean, most := difference(t, im, tt.file+".relsim448.png"); mean > tt.mean || most > tt.most {
			t.Errorf("%s: mean difference %v, largest %d, want at most %v and %d", tt.file, mean, most, tt.mean, tt.most)
		}
	}
}

// photo draws what a photograph has: slow changes of light, edges, texture, noise.
func photo(w, h int, seed uint64) *Image {
	im := noise(w, h, seed)
	a, b, c := 3+float64(seed%5), 2+float64(seed%3), float64(seed)
	for y := range h {
		for x := range w {
			u, v := float64(x)/float64(w), float64(y)/float64(h)
			light := 0.6 + 0.4*math.Sin(a*u+c)*math.Cos(b*v)
			base := [3]float64{200 * light, 150 * light, 110 * light}
			switch {
			case math.Hypot(u-0.4, v-0.5) < 0.2: // a ball
				base = [3]float64{60 + 150*light, 40, 50}
			case v > 0.75: // a floor of tiles
				base[1] += 60 * float64((x*12/w+y*20/h)%2)
			case math.Abs(u-0.8) < 0.05: // a post
				base = [3]float64{30, 40, 90}
			}
			p := im.Pix[3*(y*w+x):][:3]
			for k := range p {
				texture := 6 * math.Sin(float64(x)*0.9+float64(k)) * math.Sin(float64(y)*0.7)
				p[k] = byte(min(max(base[k]+texture+(float64(p[k])-128)/30, 0), 255))
			}
		}
	}
	return im
}

func encodeJPEG(t testing.TB, im image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, im, &stdjpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSquareAsReference holds the fast path to the standard decoder and imaging. That
// one repeats chroma, rounds colours before resampling and between the passes, and
// normalises its weights otherwise: on 4:2:0, means are within 1 and values at
// coloured edges within 40 where the picture shrinks by a third or more, within 3
// and 60 elsewhere; grey pictures, which have no chroma to interpolate, are within 2.
func TestSquareAsReference(t *testing.T) {
	reference := Pictures{JPEG: JPEGReference}
	for _, size := range [][3]int{{640, 480, 224}, {480, 640, 224}, {333, 500, 96}, {501, 333, 64}, {224, 224, 224}, {100, 80, 224}} {
		for seed := range uint64(3) {
			im := photo(size[0], size[1], seed)
			for _, quality := range []int{60, 85, 95} {
				data := encodeJPEG(t, asImage{im}, quality)
				fast, slow := squareOf(t, data, size[2], Pictures{}), squareOf(t, data, size[2], reference)
				meanBound, mostBound := 3.0, 60
				if 3*size[2] <= 2*min(size[0], size[1]) {
					meanBound, mostBound = 1, 40
				}
				if mean, most := apart(t, fast, slow); mean > meanBound || most > mostBound {
					t.Errorf("%v, seed %d, quality %d: mean difference %v, largest %d", size, seed, quality, mean, most)
				}
			}
			grey := image.NewGray(image.Rect(0, 0, size[0], size[1]))
			for i := range grey.Pix {
				grey.Pix[i] = im.Pix[3*i]
			}
			data := encodeJPEG(t, grey, 85)
			fast, slow := squareOf(t, data, size[2], Pictures{}), squareOf(t, data, size[2], reference)
			if mean, most := apart(t, fast, slow); mean > 0.5 || most > 2 {
				t.Errorf("%v, seed %d, grey: mean difference %v, largest %d", size, seed, mean, most)
			}
			// RGB takes the weights of Pillow.
			data = encodePNG(t, asImage{im})
			fast, slow = squareOf(t, data, size[2], Pictures{}), squareOf(t, data, size[2], reference)
			if mean, most := apart(t, fast, slow); mean > 0.5 || most > 2 {
				t.Errorf("%v, seed %d, PNG: mean difference %v, largest %d", size, seed, mean, most)
			}
		}
	}
}

// TestSquareOrientation turns small pictures by EXIF: the square is that of the
// picture as it is seen.
func TestSquareOrientation(t *testing.T) {
	for _, size := range [][2]int{{61, 40}, {40, 61}, {50, 50}} {
		data := encodeJPEG(t, asImage{photo(size[0], size[1], 1)}, 95)
		planes, err := jpeg.Go().Decode(data, jpeg.Rect{X1: size[0], Y1: size[1]}, 1)
		if err != nil {
			t.Fatal(err)
		}
		for o := uint16(1); o <= 8; o++ {
			// Interpolated chroma, one pixel at a time, turned, then cut.
			whole := &Image{Width: size[0], Height: size[1], Pix: make([]byte, 3*size[0]*size[1])}
			one := make([]byte, 3)
			for y := range size[1] {
				for x := range size[0] {
					kernel.ResizeYCbCr(one, kernel.Whole(1, 1), planes, image.Rect(x, y, x+1, y+1), kernel.Lanczos)
					copy(whole.Pix[3*(y*size[0]+x):], one)
				}
			}
			want, err := Transform{Size: 24}.Fit(orient(whole, int(o)))
			if err != nil {
				t.Fatal(err)
			}
			got := squareOf(t, withExif(data, tiff(binary.LittleEndian, o)), 24, Pictures{})
			if mean, most := apart(t, got, want); mean > 0.5 || most > 3 {
				t.Errorf("%v, orientation %d: mean difference %v, largest %d", size, o, mean, most)
			}
		}
	}
}

// TestSquareOfOthers gives the fast path what it leaves alone: pixels are those of
// Decode, resized.
func TestSquareOfOthers(t *testing.T) {
	for _, name := range []string{"jpeg_cmyk.jpg", "palette.png", "lossy_exif6.webp", "lossless_alpha.webp", "bilevel.png"} {
		data := readFile(t, name)
		tr := Transform{Size: 33}
		want, err := tr.Fit(mustDecode(t, data))
		if err != nil {
			t.Fatal(err)
		}
		if got := squareOf(t, data, 33, Pictures{}); !bytes.Equal(got.Pix, want.Pix) {
			t.Errorf("%s: other pixels", name)
		}
	}
}

// TestSquareDraft: a draft is near the picture where it shrinks, and the picture where
// it does not.
func TestSquareDraft(t *testing.T) {
	draft := Pictures{Draft: true}
	for _, tt := range []struct {
		w, h, size int
		same       bool
		mean       float64
	}{
		{640, 480, 120, false, 2}, {640, 480, 100, false, 2}, {641, 999, 80, false, 2}, {480, 640, 32, false, 2},
		{640, 480, 121, true, 0}, {640, 480, 480, true, 0}, {64, 64, 64, true, 0},
	} {
		im := photo(tt.w, tt.h, 3)
		data := encodeJPEG(t, asImage{im}, 90)
		mean, _ := apart(t, squareOf(t, data, tt.size, draft), squareOf(t, data, tt.size, Pictures{}))
		if mean > tt.mean || tt.same != (mean == 0) {
			t.Errorf("%+v: mean difference %v", tt, mean)
		}
		data = encodePNG(t, asImage{im})
		if mean, _ := apart(t, squareOf(t, data, tt.size, draft), squareOf(t, data, tt.size, Pictures{})); mean != 0 {
			t.Errorf("%+v: PNG: mean difference %v", tt, mean)
		}
	}
}

// TestSquareErrors: the fast path refuses what Decode does, in its words.
func TestSquareErrors(t *testing.T) {
	good := readFile(t, "jpeg_exif6.jpg")
	huge := bytes.Clone(good)
	at := bytes.Index(huge, []byte{0xff, 0xc0})
	copy(huge[at+5:], []byte{0x4e, 0x20, 0x4e, 0x20}) // 20000×20000
	for name, data := range map[string][]byte{
		"truncated": good[:len(good)*2/3],
		"no end":    good[:len(good)-2],
		"header":    good[:40],
		"huge":      huge,
		"empty":     {},
		"text":      []byte("no picture"),
		"scan":      slices.Concat(good[:len(good)-200], bytes.Repeat([]byte{0xff, 0x00}, 99), []byte{0xff, 0xd9}),
	} {
		_, want := Decode(data, DefaultLimits)
		_, err := DecodeSquare(data, DefaultLimits, Transform{Size: 8})
		if want == nil || err == nil || err.Error() != want.Error() {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if _, err := DecodeSquare(good, Limits{Bytes: 100, Pixels: 1000}, Transform{Size: 8}); err == nil || !strings.Contains(err.Error(), "more than the limit of 100") {
		t.Errorf("limit of bytes: %v", err)
	}
	if _, err := SquareFile("testdata/none.jpg", DefaultLimits, Transform{Size: 8}); err == nil || !strings.Contains(err.Error(), "none.jpg") {
		t.Errorf("no file: %v", err)
	}
}

// TestSquareTurbo holds libturbojpeg to the decoder in Go, and every tier to every
// other.
func TestSquareTurbo(t *testing.T) {
	_, missing := jpeg.HaveTurbo()
	if missing != nil {
		t.Logf("NOT RUN: turbo: %v", missing)
	}
	for _, name := range []string{"jpeg420.jpg", "jpeg_exif6.jpg", "jpeg_exif3.jpg", "jpeg_grey.jpg", "jpeg_progressive.jpg", "jpeg_cmyk.jpg"} {
		data := readFile(t, name)
		want := squareOf(t, data, 40, Pictures{JPEG: JPEGGo})
		for _, tier := range kernel.Tiers() {
			restore, err := kernel.SetTier(tier)
			if err != nil {
				t.Fatal(err)
			}
			if got := squareOf(t, data, 40, Pictures{}); !bytes.Equal(got.Pix, want.Pix) {
				t.Errorf("%s: other pixels on tier %v", name, tier)
			}
			if missing == nil {
				if got := squareOf(t, data, 40, Pictures{JPEG: JPEGTurbo}); !bytes.Equal(got.Pix, want.Pix) {
					t.Errorf("%s: other pixels from libturbojpeg on tier %v", name, tier)
				}
			}
			restore()
		}
	}
}

func TestChoosePictures(t *testing.T) {
	for _, name := range []string{JPEGAuto, JPEGGo, JPEGReference} {
		p, err := ChoosePictures(name)
		if err != nil {
			t.Error(err)
		} else if err := p.Validate(); err != nil {
			t.Error(err)
		}
	}
	if p, err := ChoosePictures(JPEGTurbo); (err == nil) != (p.JPEG == JPEGTurbo) {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := ChoosePictures("fast"); err == nil || !strings.Contains(err.Error(), `"fast": want auto, go, turbo or reference`) {
		t.Errorf("%v", err)
	}
	for name, want := range map[string]string{"relsim": "", "pillow": ConvertPillow} {
		if got, err := ChooseConvert(name); got != want || err != nil {
			t.Errorf("%s: %q (%v), want %q", name, got, err, want)
		}
	}
	if _, err := ChooseConvert(""); err == nil || !strings.Contains(err.Error(), `"": want relsim or pillow`) {
		t.Errorf("%v", err)
	}
	if err := (Transform{Size: 8, Pictures: Pictures{JPEG: "auto"}}).Validate(); err == nil {
		t.Error("a transform with an open choice is valid")
	}
}

// jpegSet writes pictures and opens them as a data set. Picture 3 is broken.
func jpegSet(t testing.TB, n int) Dataset {
	t.Helper()
	dir := t.TempDir()
	var items []Item
	for i := range n {
		data := encodeJPEG(t, asImage{photo(40+i, 60-i, uint64(i))}, 85)
		if i == 3 {
			data = data[:len(data)/2]
		}
		name := fmt.Sprintf("p%d", i)
		if err := os.WriteFile(filepath.Join(dir, name+".jpg"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		items = append(items, Item{ID: name, Caption: "c", Path: filepath.Join(dir, name+".jpg")})
	}
	return NewRows("pictures", "of jpegSet", items, nil)
}

// batches returns the values of some batches.
func batches(t *testing.T, ds Dataset, workers int, tr Transform, n int) (values []float32, broken int) {
	t.Helper()
	l, err := New(ds, Config{Batch: 4, Workers: workers, Seed: 5, MaxBroken: 0.5, Transform: tr})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range n {
		b, err := l.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, b.Images...)
		broken = b.Broken
	}
	return values, broken
}

// TestLoaderOfFiles: values do not depend on workers or views, and are those of the
// pictures one by one.
func TestLoaderOfFiles(t *testing.T) {
	ds := jpegSet(t, 12)
	tr := Transform{Size: 16, Flip: true, Turn: true}
	want, broken := batches(t, ds, 1, tr, 7)
	if broken != 1 {
		t.Errorf("%d broken pictures, want 1", broken)
	}
	all := make([]int, ds.Len())
	for i := range all {
		all[i] = i
	}
	for name, got := range map[string][]float32{
		"workers": first(batches(t, ds, 3, tr, 7)),
		"square":  first(batches(t, tr.Square(ds), 2, tr, 7)),
	} {
		if !slices.Equal(got, want) {
			t.Errorf("%s: other values", name)
		}
	}
	sub := Subset(ds, "sub", all)
	if _, ok := sub.(Squarer); !ok {
		t.Error("a subset does not pass squares on")
	}
	a, err := tr.Image(context.Background(), sub, 5)
	if err != nil {
		t.Fatal(err)
	}
	b, err := SquareFile(ds.Item(5).Path, DefaultLimits, tr)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Pix, b.Pix) {
		t.Error("a subset gives other pixels")
	}
}

func first[A, B any](a A, _ B) A { return a }

func TestTensors(t *testing.T) {
	ds := jpegSet(t, 6)
	tr := Transform{Size: 16, Normalize: Normalize{Mean: [3]float64{0.5, 0.5, 0.5}, Std: [3]float64{0.25, 0.25, 0.25}}, Flip: true}
	var files []string
	for _, i := range []int{5, 0, 2} {
		files = append(files, ds.Item(i).Path)
	}
	for _, workers := range []int{1, 2} {
		got := make([]float32, len(files)*tr.Len())
		if err := Tensors(context.Background(), got, files, workers, tr); err != nil {
			t.Fatal(err)
		}
		for k, file := range files {
			im, err := SquareFile(file, DefaultLimits, tr)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]float32, tr.Len())
			tr.Apply(want, im, nil)
			if !slices.Equal(got[k*tr.Len():(k+1)*tr.Len()], want) {
				t.Errorf("%d workers: picture %d differs", workers, k)
			}
		}
	}
	if err := Tensors(context.Background(), make([]float32, 2*tr.Len()), []string{files[0], ds.Item(3).Path}, 2, tr); err == nil || !strings.Contains(err.Error(), "p3.jpg") {
		t.Errorf("a broken picture: %v", err)
	}
}

func FuzzDecodeSquare(f *testing.F) {
	for _, name := range []string{"jpeg420.jpg", "jpeg_exif6.jpg", "jpeg_cmyk.jpg", "jpeg_progressive.jpg", "palette.png"} {
		f.Add(readFile(f, name))
	}
	l := Limits{Bytes: 1 << 20, Pixels: 1 << 20}
	f.Fuzz(func(t *testing.T, data []byte) {
		im, err := DecodeSquare(data, l, Transform{Size: 9})
		if err == nil && (im.Width != 9 || im.check() != nil) {
			t.Fatalf("%d×%d: %v", im.Width, im.Height, im.check())
		}
		_, whole := Decode(data, l)
		if whole == nil && err != nil {
			t.Fatalf("Decode takes it, DecodeSquare says %v", err)
		}
		// Other geometries refuse pictures that are too long, and nothing else.
		tr := geometries[len(data)%len(geometries)]
		if len(data)%2 == 1 {
			tr.Pictures = Pictures{Convert: ConvertPillow, Draft: true}
		}
		im, err = DecodeSquare(data, l, tr)
		if w, h := tr.bounds(); err == nil && (im.Width != w || im.Height != h || im.check() != nil) {
			t.Fatalf("%+v: %d×%d: %v", tr, im.Width, im.Height, im.check())
		}
		if whole == nil && err != nil && !strings.Contains(err.Error(), "at most") {
			t.Fatalf("%+v: Decode takes it, DecodeSquare says %v", tr, err)
		}
	})
}

// BenchmarkTensors is what bench/jpeg.py does: files to normalised CHW float.
// RELSIM_BENCH_JPEG names a folder of pictures; without it one is drawn.
func BenchmarkTensors(b *testing.B) {
	dir := os.Getenv("RELSIM_BENCH_JPEG")
	if dir == "" {
		dir = b.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.jpg"), encodeJPEG(b, asImage{photo(640, 480, 1)}, 85), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	if err != nil || len(files) == 0 {
		b.Fatalf("%s: %d pictures, %v", dir, len(files), err)
	}
	tr := Transform{Size: 224, Normalize: Normalize{Mean: [3]float64{0.5, 0.5, 0.5}, Std: [3]float64{0.25, 0.25, 0.25}}}
	dst := make([]float32, len(files)*tr.Len())
	for _, name := range []string{JPEGGo, JPEGTurbo, JPEGReference} {
		p, err := ChoosePictures(name)
		if err != nil {
			b.Logf("NOT RUN: %s: %v", name, err)
			continue
		}
		tr.Pictures = p
		b.Run("jpeg="+name, func(b *testing.B) {
			for b.Loop() {
				if err := Tensors(context.Background(), dst, files, 1, tr); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(files))/1e6, "ms/picture")
		})
	}
}
