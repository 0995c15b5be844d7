package jpeg

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"relsim/kernel"
)

// golden is a picture and what libjpeg-turbo decodes it to.
type golden struct {
	name string
	data []byte
	want kernel.YCbCr
	rgb  []byte
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func goldens(t testing.TB) (all []golden) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.planes")
	if err != nil || len(files) < 13 {
		t.Fatalf("%d files of planes: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".planes")
		g := golden{name: name, data: read(t, name+".jpg")}
		h, err := ReadHeader(g.data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		planes := read(t, filepath.Base(file))
		g.want = kernel.YCbCr{Width: h.Width, Height: h.Height, SubX: h.SubX, SubY: h.SubY, YStride: h.Width}
		cut := func(n int) (b []byte) {
			b, planes = planes[:n], planes[n:]
			return b
		}
		g.want.Y = cut(h.Width * h.Height)
		if h.Components == 3 {
			w, hc := g.want.ChromaSize()
			g.want.CStride = w
			g.want.Cb, g.want.Cr = cut(w*hc), cut(w*hc)
		}
		if len(planes) != 3*h.Width*h.Height {
			t.Fatalf("%s: %d bytes of RGB, want 3·%d·%d", name, len(planes), h.Width, h.Height)
		}
		g.rgb = planes
		all = append(all, g)
	}
	return all
}

func whole(t testing.TB, data []byte) Rect {
	t.Helper()
	h, err := ReadHeader(data)
	if err != nil {
		t.Fatal(err)
	}
	return Rect{0, 0, h.Width, h.Height}
}

// eachTier runs f on every tier of the kernels.
func eachTier(t *testing.T, f func(t *testing.T)) {
	for _, tier := range kernel.Tiers() {
		t.Run(tier.String(), func(t *testing.T) {
			restore, err := kernel.SetTier(tier)
			if err != nil {
				t.Fatal(err)
			}
			defer restore()
			f(t)
		})
	}
}

// decoders are the implementations that this machine has.
func decoders(t *testing.T) map[string]Decoder {
	all := map[string]Decoder{"go": Go()}
	if d, err := Turbo(); err != nil {
		t.Logf("NOT RUN: turbo: %v", err)
	} else {
		all["turbo"] = d
	}
	return all
}

// TestGolden holds planes to libjpeg-turbo's, bit for bit.
func TestGolden(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		for name, d := range decoders(t) {
			for _, g := range goldens(t) {
				got, err := d.Decode(g.data, whole(t, g.data), 1)
				if err != nil {
					t.Errorf("%s: %s: %v", name, g.name, err)
				} else if !Same(got, &g.want) {
					t.Errorf("%s: %s: other samples than libjpeg-turbo's", name, g.name)
				}
			}
		}
	})
}

// TestColours holds what kernel.ResizeYCbCr makes of planes to libjpeg's colours, at
// full size: that of 4:2:0 shows that chroma is interpolated in the same way. libjpeg
// rounds twice, so that a value may be 2 off.
func TestColours(t *testing.T) {
	for _, g := range goldens(t) {
		side := min(g.want.Width, g.want.Height)
		got := make([]byte, 3*side*side)
		left := (g.want.Width - side) / 2
		kernel.ResizeYCbCr(got, kernel.Whole(side, side), &g.want, image.Rect(left, 0, left+side, side), kernel.Lanczos)
		sum, n := 0, 0
		for y := range side {
			for i, v := range got[3*y*side : 3*(y+1)*side] {
				want := g.rgb[3*(y*g.want.Width+left)+i]
				d := max(int(v), int(want)) - min(int(v), int(want))
				if d > 2 {
					t.Fatalf("%s: row %d, value %d: %d, want %d", g.name, y, i, v, want)
				}
				sum += d
				n++
			}
		}
		if mean := float64(sum) / float64(n); mean > 0.4 {
			t.Errorf("%s: mean difference %v", g.name, mean)
		}
	}
}

// TestPart decodes parts; a sample that is asked for is that of the whole picture.
func TestPart(t *testing.T) {
	for _, g := range goldens(t) {
		d := Go()
		for _, part := range []Rect{{0, 0, 1, 1}, {17, 9, 18, 33}, {8, 8, 24, 16}, {g.want.Width - 3, 5, g.want.Width, g.want.Height}, {31, 15, 34, 18}} {
			// A decoder's memory holds the picture before: make it another one.
			if _, err := d.Decode(other(t), Rect{0, 0, 64, 64}, 1); err != nil {
				t.Fatal(err)
			}
			got, err := d.Decode(g.data, part, 1)
			if err != nil {
				t.Fatal(err)
			}
			check := func(name string, a, b []byte, aStride, bStride int, r Rect) {
				for y := r.Y0; y < r.Y1; y++ {
					if !bytes.Equal(a[y*aStride+r.X0:y*aStride+r.X1], b[y*bStride+r.X0:y*bStride+r.X1]) {
						t.Errorf("%s: part %v: %s: row %d differs", g.name, part, name, y)
						return
					}
				}
			}
			check("Y", got.Y, g.want.Y, got.YStride, g.want.YStride, part)
			if g.want.Cb == nil {
				continue
			}
			w, h := g.want.ChromaSize()
			chroma := Rect{
				max(part.X0/got.SubX-1, 0), max(part.Y0/got.SubY-1, 0),
				min((part.X1-1)/got.SubX+2, w), min((part.Y1-1)/got.SubY+2, h),
			}
			check("Cb", got.Cb, g.want.Cb, got.CStride, g.want.CStride, chroma)
			check("Cr", got.Cr, g.want.Cr, got.CStride, g.want.CStride, chroma)
		}
		if _, err := d.Decode(g.data, Rect{0, 0, g.want.Width + 1, 1}, 1); err == nil {
			t.Errorf("%s: a part outside of the picture is decoded", g.name)
		}
	}
}

// other is a picture that looks like none of the test data.
func other(t testing.TB) []byte {
	return encode(t, 64, 64, 50, rand.New(rand.NewPCG(99, 1)))
}

// encode draws and encodes a picture with the encoder of the standard library.
func encode(t testing.TB, w, h, quality int, rng *rand.Rand) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetRGBA(x, y, color.RGBA{uint8(x*255/w + rng.IntN(9)), uint8(y*200/h + rng.IntN(30)), uint8(rng.IntN(256)), 255})
		}
	}
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, m, &stdjpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSizes compares pictures of many sizes with the standard library's planes: its
// transform rounds otherwise, by 1 at most.
func TestSizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	all := decoders(t)
	for w := 1; w < 36; w++ {
		for _, h := range []int{1, 2, 8, 15, 16, 17, w} {
			data := encode(t, w, h, 30+w*2, rng)
			m, err := stdjpeg.Decode(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			want := m.(*image.YCbCr)
			for name, d := range all {
				got, err := d.Decode(data, Rect{0, 0, w, h}, 1)
				if err != nil {
					t.Fatalf("%s: %d×%d: %v", name, w, h, err)
				}
				near := func(a, b []byte, aStride, bStride, w, h int) {
					for y := range h {
						for x := range w {
							if d := int(a[y*aStride+x]) - int(b[y*bStride+x]); d < -1 || d > 1 {
								t.Fatalf("%s: %d×%d: (%d, %d): %d, want %d", name, w, h, x, y, a[y*aStride+x], b[y*bStride+x])
							}
						}
					}
				}
				near(got.Y, want.Y, got.YStride, want.YStride, w, h)
				cw, ch := got.ChromaSize()
				near(got.Cb, want.Cb, got.CStride, want.CStride, cw, ch)
				near(got.Cr, want.Cr, got.CStride, want.CStride, cw, ch)
			}
		}
	}
}

// TestTruncated cuts pictures off at every byte: that is always an error.
func TestTruncated(t *testing.T) {
	for name, d := range decoders(t) {
		for _, g := range goldens(t) {
			for n := range g.data {
				if _, err := d.Decode(g.data[:n], Rect{0, 0, g.want.Width, g.want.Height}, 1); err == nil {
					t.Fatalf("%s: %s: %d of %d bytes decode", name, g.name, n, len(g.data))
				}
			}
		}
	}
}

// TestBroken writes other bytes into pictures: nothing panics. Of those that are
// decoded all the same, the decoders make the same, but for few.
func TestBroken(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	all := decoders(t)
	errs, both, same := 0, 0, 0
	for _, g := range goldens(t) {
		for range 400 {
			data := bytes.Clone(g.data)
			for range 1 + rng.IntN(3) {
				data[rng.IntN(len(data))] = byte(rng.Uint32())
			}
			h, err := ReadHeader(data)
			if err != nil || h.Width*h.Height > 1<<20 {
				continue
			}
			want, err := all["go"].Decode(data, Rect{0, 0, h.Width, h.Height}, 1)
			if err != nil {
				errs++
				continue
			}
			both++
			if turbo := all["turbo"]; turbo != nil {
				if got, err := turbo.Decode(data, Rect{0, 0, h.Width, h.Height}, 1); err != nil {
					t.Errorf("%s: turbo says %v, go decodes it", g.name, err)
				} else if Same(got, want) {
					same++
				}
			}
		}
	}
	if errs < 500 || both < 500 {
		t.Errorf("%d errors and %d pictures: the test does not see both", errs, both)
	}
	if all["turbo"] != nil && same < both*49/50 {
		t.Errorf("%d of %d damaged pictures are the same", same, both)
	}
}

func TestUnsupported(t *testing.T) {
	change := func(at func([]byte) int, to byte) []byte {
		data := read(t, "420.jpg")
		data[at(data)] = to
		return data
	}
	frame := func(b []byte) int { return bytes.Index(b, []byte{0xff, markSOF0}) }
	rgb := bytes.Replace(read(t, "444.jpg"), []byte("JFIF\x00"), []byte("XXXX\x00"), 1)
	f := bytes.Index(rgb, []byte{0xff, markSOF0})
	s := bytes.Index(rgb, []byte{0xff, markSOS})
	for i, id := range []byte("RGB") {
		rgb[f+10+3*i], rgb[s+5+2*i] = id, id
	}
	for name, data := range map[string][]byte{
		"CMYK":             read(t, "cmyk.jpg"),
		"arithmetic":       change(func(b []byte) int { return frame(b) + 1 }, 0xc9),
		"lossless":         change(func(b []byte) int { return frame(b) + 1 }, 0xc3),
		"12 bits":          change(func(b []byte) int { return frame(b) + 4 }, 12),
		"4:1:1":            change(func(b []byte) int { return frame(b) + 11 }, 0x41),
		"sampled twice":    change(func(b []byte) int { return frame(b) + 14 }, 0x21),
		"height in a line": change(func(b []byte) int { return frame(b) + 6 }, 0),
		"RGB":              rgb,
	} {
		if name == "height in a line" {
			data[frame(data)+5] = 0
		}
		if _, err := ReadHeader(data); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
		for decoder, d := range decoders(t) {
			if _, err := d.Decode(data, Rect{0, 0, 8, 8}, 1); !errors.Is(err, ErrUnsupported) {
				t.Errorf("%s: %s: %v", decoder, name, err)
			}
		}
	}
}

// TestClaims gives a picture the size that would take 6 GB: memory is not taken.
func TestClaims(t *testing.T) {
	for _, name := range []string{"420.jpg", "420_progressive.jpg", "grey.jpg"} {
		data := read(t, name)
		at := max(bytes.Index(data, []byte{0xff, markSOF0}), bytes.Index(data, []byte{0xff, markSOF2}))
		copy(data[at+5:], []byte{0xff, 0xfe, 0xff, 0xfe})
		for decoder, d := range decoders(t) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := d.Decode(data, Rect{0, 0, 0xfffe, 0xfffe}, 1)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), "truncated") {
				t.Errorf("%s: %s: %v", decoder, name, err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("%s: %s: %d bytes were allocated", decoder, name, n)
			}
		}
	}
}

// TestMissing takes parts of files away that decoding cannot do without.
func TestMissing(t *testing.T) {
	for name, tt := range map[string]struct {
		mark byte
		want string
	}{
		"quantisation": {markDQT, "without quantisation"},
		"codes":        {markDHT, "without its Huffman tables"},
		"frame":        {markSOF0, "before the frame"},
		"scan":         {markSOS, ""},
	} {
		data := read(t, "420.jpg")
		for {
			i := bytes.Index(data, []byte{0xff, tt.mark})
			if i < 0 {
				break
			}
			n := 2 + int(data[i+2])<<8 + int(data[i+3])
			data = append(data[:i:i], data[i+n:]...)
		}
		for decoder, d := range decoders(t) {
			if _, err := d.Decode(data, Rect{0, 0, 45, 37}, 1); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: without %s: %v, want %q", decoder, name, err, tt.want)
			}
		}
	}
	// A component that no scan brings is not grey: it is missing.
	data := read(t, "420_separate.jpg")
	second := bytes.LastIndex(data, []byte{0xff, markSOS})
	data = append(data[:second:second], 0xff, markEOI)
	for decoder, d := range decoders(t) {
		if _, err := d.Decode(data, Rect{0, 0, 45, 37}, 1); err == nil || !strings.Contains(err.Error(), "no scan of component 3") {
			t.Errorf("%s: %v", decoder, err)
		}
	}
}

func TestScanBomb(t *testing.T) {
	data := read(t, "grey_progressive.jpg")
	scan := data[bytes.LastIndex(data, []byte{0xff, markSOS}) : len(data)-2]
	bomb := bytes.Clone(data[:len(data)-2])
	for range 2 * MaxScans {
		bomb = append(bomb, scan...)
	}
	bomb = append(bomb, 0xff, markEOI)
	if n := Scans(bomb); n != MaxScans+1 {
		t.Errorf("%d scans, want all that are counted, %d", n, MaxScans+1)
	}
	for name, want := range map[string]int{"420.jpg": 1, "420_separate.jpg": 3} {
		if n := Scans(read(t, name)); n != want {
			t.Errorf("%s: %d scans, want %d", name, n, want)
		}
	}
	for n := range len(data) {
		Scans(data[:n])
	}
	if _, err := Go().Decode(bomb, Rect{0, 0, 45, 37}, 1); err == nil || !strings.Contains(err.Error(), "scans") {
		t.Errorf("%v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.data)
	}
	f.Add(read(f, "cmyk.jpg"))
	d := Go()
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ReadHeader(data)
		if err != nil || h.Width*h.Height > 1<<22 {
			return
		}
		got, err := d.Decode(data, Rect{0, 0, h.Width, h.Height}, 1)
		if err != nil {
			return
		}
		if got.Width != h.Width || got.Height != h.Height || len(got.Y) < got.YStride*(h.Height-1)+h.Width {
			t.Fatalf("%d×%d with %d samples, header %v", got.Width, got.Height, len(got.Y), h)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	data := encode(b, 640, 480, 85, rand.New(rand.NewPCG(5, 6)))
	turbo, err := Turbo()
	for name, d := range map[string]Decoder{"go": Go(), "turbo": turbo} {
		if d == nil {
			b.Logf("NOT RUN: turbo: %v", err)
			continue
		}
		b.Run("decoder="+name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := d.Decode(data, Rect{80, 0, 560, 480}, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestDraft compares pictures of a part of their size with the definition in float64:
// the low frequencies of each block at fewer places.
func TestDraft(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	c := func(u int) float64 {
		if u == 0 {
			return math.Sqrt2 / 2
		}
		return 1
	}
	for _, n := range []int{1, 2} {
		for range 200 {
			var coefficients, steps [64]int16
			var exact [8][8]float64
			for v := range 8 {
				for u := range 8 {
					i := kernel.IDCTOrder[8*v+u]
					steps[i], coefficients[i] = int16(1+rng.IntN(20)), int16(rng.NormFloat64()*20)
					exact[v][u] = float64(steps[i]) * float64(coefficients[i])
				}
			}
			dst := make([]byte, 5*n)
			draft(dst, 5, n, &coefficients, &steps)
			if coefficients != [64]int16{} {
				t.Fatal("coefficients are not 0 afterwards")
			}
			for y := range n {
				for x := range n {
					want := 128.0
					for v := range n {
						for u := range n {
							want += c(u) * c(v) / 4 * exact[v][u] * math.Cos(float64((2*x+1)*u)*math.Pi/float64(2*n)) *
								math.Cos(float64((2*y+1)*v)*math.Pi/float64(2*n))
						}
					}
					if d := math.Abs(float64(dst[5*y+x]) - min(max(want, 0), 255)); d > 0.55 {
						t.Fatalf("%d×%d: (%d, %d): %d, want %v", n, n, x, y, dst[5*y+x], want)
					}
				}
			}
		}
	}
	for name, d := range decoders(t) {
		for _, g := range goldens(t) {
			for _, shrink := range []int{4, 8} {
				got, err := d.Decode(g.data, whole(t, g.data), shrink)
				if err != nil {
					t.Fatalf("%s: %s: %v", name, g.name, err)
				}
				// The mean of a block is its first coefficient, whatever the size.
				for y := range g.want.Height / 8 {
					for x := range g.want.Width / 8 {
						big, small, n := 0.0, 0.0, 8/shrink
						for j := range 8 {
							for i := range 8 {
								big += float64(g.want.Y[(8*y+j)*g.want.YStride+8*x+i]) / 64
							}
						}
						for j := range n {
							for i := range n {
								small += float64(got.Y[(n*y+j)*got.YStride+n*x+i]) / float64(n*n)
							}
						}
						if math.Abs(big-small) > 8 { // clipping moves means
							t.Errorf("%s: %s: 1/%d: block (%d, %d) has the mean %v, want %v", name, g.name, shrink, x, y, small, big)
						}
					}
				}
			}
			if _, err := d.Decode(g.data, whole(t, g.data), 3); err == nil {
				t.Errorf("%s: a third of the size is decoded", name)
			}
		}
	}
}
