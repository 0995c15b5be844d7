package dataloader

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/disintegration/imaging"
)

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustDecode(t *testing.T, data []byte) *Image {
	t.Helper()
	im, err := Decode(data, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func encodePNG(t testing.TB, im image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, im); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rgbImage reads a golden PNG with the standard library.
func rgbImage(t *testing.T, name string) (w, h int, pix []color.NRGBA) {
	t.Helper()
	m, err := png.Decode(bytes.NewReader(readFile(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	b := m.Bounds()
	for y := range b.Dy() {
		for x := range b.Dx() {
			pix = append(pix, color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA))
		}
	}
	return b.Dx(), b.Dy(), pix
}

// difference returns the mean and the largest absolute difference to a golden
// PNG, composited over white.
func difference(t *testing.T, im *Image, golden string) (mean float64, most int) {
	t.Helper()
	w, h, want := rgbImage(t, golden)
	if im.Width != w || im.Height != h {
		t.Fatalf("%s: %d×%d, want %d×%d", golden, im.Width, im.Height, w, h)
	}
	sum := 0
	for i, c := range want {
		for k, v := range []byte{c.R, c.G, c.B} {
			over := math.Round((float64(v)*float64(c.A) + 255*float64(255-c.A)) / 255)
			d := int(im.Pix[3*i+k]) - int(over)
			d = max(d, -d)
			sum += d
			most = max(most, d)
		}
	}
	return float64(sum) / float64(len(im.Pix)), most
}

func TestDecodeAsOthers(t *testing.T) {
	for _, tt := range []struct {
		file, golden string
		mean         float64
		most         int
	}{
		{"palette.png", "palette.png.rgb.png", 0, 0},
		{"bilevel.png", "bilevel.png.rgb.png", 0, 0},
		{"jpeg_grey.jpg", "jpeg_grey.jpg.rgb.png", 0.24, 3},
		{"jpeg_cmyk.jpg", "jpeg_cmyk.jpg.rgb.png", 0.24, 3},
		{"jpeg_progressive.jpg", "jpeg_progressive.jpg.rgb.png", 1.4, 90},
		{"jpeg_exif3.jpg", "jpeg_exif3.jpg.exif_applied.rgb.png", 1.4, 90},
		{"jpeg_exif6.jpg", "jpeg_exif6.jpg.exif_applied.rgb.png", 1.4, 90},
		{"lossless.webp", "lossless.webp.png", 0, 0},
		{"lossless_alpha.webp", "lossless_alpha.webp.png", 0, 0},
		{"lossy.webp", "lossy.webp.png", 0, 0},
		{"lossy_alpha.webp", "lossy_alpha.webp.png", 0, 0},
	} {
		im, err := DecodeFile(filepath.Join("testdata", tt.file), DefaultLimits)
		if err != nil {
			t.Error(err)
			continue
		}
		if mean, most := difference(t, im, tt.golden); mean > tt.mean || most > tt.most {
			t.Errorf("%s: mean difference %.3f, largest %d, want at most %v and %d", tt.file, mean, most, tt.mean, tt.most)
		}
	}
}

// Every opacity and value over white, in 8 and 16 bits, against float64.
func TestAlpha(t *testing.T) {
	im8 := image.NewNRGBA(image.Rect(0, 0, 256, 256))
	im16 := image.NewNRGBA64(im8.Rect)
	for a := range 256 {
		for c := range 256 {
			im8.SetNRGBA(c, a, color.NRGBA{byte(c), byte(255 - c), byte(c / 2), byte(a)})
			im16.SetNRGBA64(c, a, color.NRGBA64{uint16(c*257 + a), uint16(c * 3), uint16(65535 - c), uint16(a*257 - a/2)})
		}
	}
	got8, got16 := mustDecode(t, encodePNG(t, im8)), mustDecode(t, encodePNG(t, im16))
	check := func(what string, x, y int, got []byte, alpha float64, values ...float64) {
		for k, v := range values {
			if want := alpha*v + (1-alpha)*255; math.Abs(float64(got[k])-want) > 0.5+1e-9 {
				t.Fatalf("%s (%d, %d) channel %d: %d, want %v", what, x, y, k, got[k], want)
			}
		}
	}
	for y := range 256 {
		for x := range 256 {
			i := 3 * (y*256 + x)
			c := im8.NRGBAAt(x, y)
			check("8 bits", x, y, got8.Pix[i:], float64(c.A)/255, float64(c.R), float64(c.G), float64(c.B))
			d := im16.NRGBA64At(x, y)
			check("16 bits", x, y, got16.Pix[i:], float64(d.A)/65535, float64(d.R)/257, float64(d.G)/257, float64(d.B)/257)
		}
	}
}

// Every 16-bit grey value is rounded, as grey and as colour.
func Test16Bits(t *testing.T) {
	grey := image.NewGray16(image.Rect(0, 0, 256, 256))
	rgb := image.NewRGBA64(grey.Rect)
	for v := range 1 << 16 {
		grey.SetGray16(v%256, v/256, color.Gray16{uint16(v)})
		rgb.SetRGBA64(v%256, v/256, color.RGBA64{uint16(v), uint16(65535 - v), 1000, 65535})
	}
	g, c := mustDecode(t, encodePNG(t, grey)), mustDecode(t, encodePNG(t, rgb))
	for v := range 1 << 16 {
		want := byte(math.Round(float64(v) / 257))
		if p := g.Pix[3*v : 3*v+3]; p[0] != want || p[1] != want || p[2] != want {
			t.Fatalf("grey %d: %v, want %d", v, p, want)
		}
		if p, inverse := c.Pix[3*v:3*v+3], byte(math.Round(float64(65535-v)/257)); p[0] != want || p[1] != inverse || p[2] != 4 {
			t.Fatalf("red %d: %v, want %d %d 4", v, p, want, inverse)
		}
	}
}

// noise is a picture of random opaque colours.
func noise(w, h int, seed uint64) *Image {
	rng := rand.New(rand.NewPCG(seed, 1))
	im := &Image{Width: w, Height: h, Pix: make([]byte, 3*w*h)}
	for i := range im.Pix {
		im.Pix[i] = byte(rng.Uint32())
	}
	return im
}

// asImage lets an Image be an image.Image.
type asImage struct{ *Image }

func (m asImage) ColorModel() color.Model { return color.NRGBAModel }
func (m asImage) Bounds() image.Rectangle { return image.Rect(0, 0, m.Width, m.Height) }
func (m asImage) At(x, y int) color.Color {
	p := m.Pix[3*(y*m.Width+x):]
	return color.NRGBA{p[0], p[1], p[2], 255}
}

func TestPNGForms(t *testing.T) {
	src := noise(17, 9, 1)
	check := func(name string, data []byte, want []byte) {
		t.Helper()
		im, err := Decode(data, DefaultLimits)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if im.Width != 17 || im.Height != 9 || !bytes.Equal(im.Pix, want) {
			t.Errorf("%s: %d×%d, pixels differ", name, im.Width, im.Height)
		}
	}
	check("RGB", encodePNG(t, asImage{src}), src.Pix)

	grey := image.NewGray(image.Rect(0, 0, 17, 9))
	paletted := image.NewPaletted(grey.Rect, color.Palette{color.NRGBA{1, 2, 3, 255}, color.NRGBA{200, 100, 0, 0}, color.NRGBA{0, 0, 0, 128}})
	var wantGrey, wantPalette []byte
	for i := range 17 * 9 {
		v := src.Pix[i]
		grey.Pix[i], paletted.Pix[i] = v, v%3
		wantGrey = append(wantGrey, v, v, v)
		wantPalette = append(wantPalette, [][]byte{{1, 2, 3}, {255, 255, 255}, {127, 127, 127}}[v%3]...)
	}
	check("grey", encodePNG(t, grey), wantGrey)
	check("palette with alpha", encodePNG(t, paletted), wantPalette)
}

func TestOnePixel(t *testing.T) {
	im := mustDecode(t, encodePNG(t, asImage{&Image{Width: 1, Height: 1, Pix: []byte{9, 8, 7}}}))
	if im.Width != 1 || im.Height != 1 || !bytes.Equal(im.Pix, []byte{9, 8, 7}) {
		t.Errorf("%+v", im)
	}
}

// tiff makes an EXIF block of two entries, the second one the orientation.
func tiff(order binary.AppendByteOrder, orientation uint16) []byte {
	b := []byte("MM\x00*")
	if order == binary.AppendByteOrder(binary.LittleEndian) {
		b = []byte("II*\x00")
	}
	b = order.AppendUint32(b, 10)
	b = append(b, 0, 0) // a gap
	b = order.AppendUint16(b, 2)
	for _, e := range [][2]uint16{{0x0100, 77}, {0x0112, orientation}} {
		b = order.AppendUint16(b, e[0])
		b = order.AppendUint16(b, 3)
		b = order.AppendUint32(b, 1)
		b = order.AppendUint16(b, e[1])
		b = append(b, 0, 0)
	}
	return order.AppendUint32(b, 0)
}

// withExif puts an EXIF block into a JPEG or PNG.
func withExif(data, exif []byte) []byte {
	if data[0] == 0xff {
		payload := append([]byte("Exif\x00\x00"), exif...)
		segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(2+len(payload)))
		return slices.Concat(data[:2], []byte("\xff\xfe\x00\x04hi"), segment, payload, data[2:])
	}
	const header = 8 + 25 // signature and IHDR
	chunk := append([]byte("eXIf"), exif...)
	sum := crc32.ChecksumIEEE(chunk)
	chunk = slices.Concat(binary.BigEndian.AppendUint32(nil, uint32(len(exif))), chunk, binary.BigEndian.AppendUint32(nil, sum))
	return slices.Concat(data[:header], chunk, data[header:])
}

// All eight orientations against imaging's own reading of JPEG files.
func TestOrientation(t *testing.T) {
	src := noise(13, 7, 2)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, asImage{src}, &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	for o := uint16(0); o <= 9; o++ {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			data := withExif(b.Bytes(), tiff(order, o))
			got := mustDecode(t, data)
			want, err := imaging.Decode(bytes.NewReader(data), imaging.AutoOrientation(true))
			if err != nil {
				t.Fatal(err)
			}
			if wantRGB := toRGB(want, false); got.Width != wantRGB.Width || got.Height != wantRGB.Height || !bytes.Equal(got.Pix, wantRGB.Pix) {
				t.Errorf("orientation %d in JPEG, %v: %d×%d, or other pixels", o, order, got.Width, got.Height)
			}
		}
		upright := orient(src, int(o))
		if got := mustDecode(t, withExif(encodePNG(t, asImage{src}), tiff(binary.BigEndian, o))); !bytes.Equal(got.Pix, upright.Pix) || got.Width != upright.Width {
			t.Errorf("orientation %d in PNG: %d×%d, or other pixels", o, got.Width, got.Height)
		}
	}
	// Orientation 6: the first stored row is the right column, from its top.
	upright := orient(src, 6)
	for x := range src.Width {
		if got, want := upright.Pix[3*(x*upright.Width+upright.Width-1):][:3], src.Pix[3*x:][:3]; !bytes.Equal(got, want) {
			t.Fatalf("row %d of the right column: %v, want %v", x, got, want)
		}
	}
	flat, turned := mustDecode(t, readFile(t, "lossy.webp")), mustDecode(t, readFile(t, "lossy_exif6.webp"))
	if want := orient(flat, 6); turned.Width != 31 || turned.Height != 43 || !bytes.Equal(turned.Pix, want.Pix) {
		t.Errorf("orientation 6 in WebP: %d×%d, or other pixels", turned.Width, turned.Height)
	}
}

func TestBrokenExifIsUpright(t *testing.T) {
	whole := tiff(binary.LittleEndian, 6)
	for n := range len(whole) - 8 { // before the orientation's value
		if o := orientationOf(whole[:n]); o != 1 {
			t.Errorf("%d bytes: orientation %d", n, o)
		}
	}
	for i := range whole {
		for _, v := range []byte{0, 1, 0x7f, 0xff} {
			b := slices.Clone(whole)
			b[i] = v
			if o := orientationOf(b); o < 1 || o > 8 {
				t.Errorf("byte %d = %d: orientation %d", i, v, o)
			}
		}
	}
}

// pngClaiming is a PNG whose header claims a size and that has no pixels.
func pngClaiming(w, h uint32) []byte {
	ihdr := append([]byte("IHDR"), binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)...)
	ihdr = append(ihdr, 8, 6, 0, 0, 0)
	b := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), ihdr...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(ihdr))
}

func TestHugePicturesCostNothing(t *testing.T) {
	jpg := readFile(t, "jpeg_exif6.jpg")
	at := bytes.Index(jpg, []byte{0xff, 0xc0}) // baseline frame: length, precision, height, width
	if at < 0 {
		t.Fatal("no frame header")
	}
	jpg = slices.Clone(jpg)
	binary.BigEndian.PutUint16(jpg[at+5:], 20000)
	binary.BigEndian.PutUint16(jpg[at+7:], 20000)
	lossy := slices.Clone(readFile(t, "lossy.webp"))
	binary.LittleEndian.PutUint16(lossy[26:], 16383)
	binary.LittleEndian.PutUint16(lossy[28:], 16383)
	for name, data := range map[string][]byte{
		"PNG":      pngClaiming(20000, 20000),
		"huge PNG": pngClaiming(1<<31-1, 1<<31-1),
		"JPEG":     jpg,
		"WebP":     lossy,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(data, DefaultLimits)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "more than the limit of 100000000") && !strings.Contains(err.Error(), "dimension overflow") {
			t.Errorf("%s: %v", name, err)
		}
		if d := after.TotalAlloc - before.TotalAlloc; d > 1<<20 {
			t.Errorf("%s costs %d bytes of memory", name, d)
		}
	}
	if _, err := Decode(pngClaiming(20000, 20000), DefaultLimits); err == nil || !strings.Contains(err.Error(), "20000×20000") {
		t.Errorf("the size is not named: %v", err)
	}
}

func TestLimits(t *testing.T) {
	data := encodePNG(t, asImage{noise(10, 10, 3)})
	path := filepath.Join(t.TempDir(), "a.png")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	whole := Limits{Bytes: int64(len(data)), Pixels: 100}
	if _, err := DecodeFile(path, whole); err != nil {
		t.Error(err)
	}
	for _, l := range []Limits{{whole.Bytes - 1, 100}, {whole.Bytes, 99}} {
		if _, err := DecodeFile(path, l); err == nil || !strings.Contains(err.Error(), "more than the limit") {
			t.Errorf("%+v: %v", l, err)
		}
		if _, err := Decode(data, l); err == nil || !strings.Contains(err.Error(), "more than the limit") {
			t.Errorf("%+v: %v", l, err)
		}
	}
}

// Every cut of a file is an error, or (a JPEG without its end marker) the whole
// picture; no cut is half a picture.
func TestTruncated(t *testing.T) {
	for _, name := range []string{"palette.png", "jpeg_grey.jpg", "jpeg_progressive.jpg", "lossy.webp", "lossless.webp", "lossy_alpha.webp"} {
		data := readFile(t, name)
		want := mustDecode(t, data)
		for n := 0; n < len(data); n += 1 + n/40 {
			im, err := Decode(data[:n], DefaultLimits)
			if err == nil && !bytes.Equal(im.Pix, want.Pix) {
				t.Errorf("%s cut to %d of %d bytes is another picture", name, n, len(data))
			}
			if err == nil && n < len(data)*9/10 {
				t.Errorf("%s cut to %d of %d bytes is accepted", name, n, len(data))
			}
		}
	}
	start := readFile(t, "jpeg_grey.jpg")
	if _, err := Decode(start[:20], DefaultLimits); err == nil || !strings.Contains(err.Error(), "truncated") {
		t.Errorf("the first bytes of a JPEG: %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	var g bytes.Buffer
	if err := gif.Encode(&g, asImage{noise(4, 4, 4)}, nil); err != nil {
		t.Fatal(err)
	}
	for want, data := range map[string][]byte{
		"the file is empty":           {},
		"not a PNG, JPEG or WebP":     g.Bytes(),
		"<html>":                      []byte("<html>404 not found</html>"),
		"WebP":                        readFile(t, "animated.webp"),
		"PNG header":                  []byte("\x89PNG\r\n\x1a\n"),
		"JPEG header":                 []byte("\xff\xd8\xff"),
		"WebP header":                 []byte("RIFF\x04\x00\x00\x00WEBP"),
		"invalid format: zero height": pngClaiming(0, 0),
	} {
		_, err := Decode(data, DefaultLimits)
		if err == nil || !strings.HasPrefix(err.Error(), "dataloader: decode: ") {
			t.Errorf("%s: %v", want, err)
		} else if want[0] != '<' && want != "invalid format: zero height" && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	dir := t.TempDir()
	if _, err := DecodeFile(filepath.Join(dir, "none.png"), DefaultLimits); !os.IsNotExist(unwrap(err)) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := DecodeFile(dir, DefaultLimits); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("folder: %v", err)
	}
}

func unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return err
}

// A decoder that panics gives an error.
func TestPanicOfADecoder(t *testing.T) {
	im, err := guard(func() (*Image, error) { panic("index out of range") })
	if im != nil || err == nil || !strings.Contains(err.Error(), "index out of range") {
		t.Errorf("%v, %v", im, err)
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 8000 {
			f.Add(b)
		}
	}
	f.Add(pngClaiming(100, 100))
	limits := Limits{Bytes: 1 << 20, Pixels: 1 << 16}
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := Decode(b, limits)
		if err != nil {
			if im != nil || !strings.HasPrefix(err.Error(), "dataloader: decode: ") {
				t.Fatalf("%v, %v", im, err)
			}
			return
		}
		if err := im.check(); err != nil {
			t.Fatal(err)
		}
		if int64(im.Width)*int64(im.Height) > limits.Pixels {
			t.Fatalf("%d×%d pixels", im.Width, im.Height)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	data := map[string][]byte{
		"format=png64":  encodePNG(b, asImage{noise(64, 64, 5)}),
		"format=jpeg":   readFile(b, "jpeg_exif6.jpg"),
		"format=cmyk":   readFile(b, "jpeg_cmyk.jpg"),
		"format=webp43": readFile(b, "lossy.webp"),
	}
	for name, d := range data {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(d)))
			for b.Loop() {
				if _, err := Decode(d, DefaultLimits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
