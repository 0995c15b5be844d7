package dataloader

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// published reads the configuration of a processor from the test data.
func published(t testing.TB, name string) Transform {
	t.Helper()
	tr, err := ReadPreprocessor(readFile(t, "preprocess/preprocessor_config."+name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// table reads the processors' value of each byte and channel.
func table(t testing.TB, name string) (lut [3][256]float32) {
	t.Helper()
	data := readFile(t, "preprocess/lut."+name+".f32")
	if err := binary.Read(bytes.NewReader(data), binary.LittleEndian, &lut); err != nil {
		t.Fatal(err)
	}
	return lut
}

// TestPreprocessAsPublished compares with what transformers' processors make of the
// pictures: every byte of the cropped ones, and every bit of the values.
func TestPreprocessAsPublished(t *testing.T) {
	for _, processor := range []string{"clip", "dinov2"} {
		tr, lut := published(t, processor), table(t, processor)
		for _, name := range []string{"grey.png", "palette.png", "rgb_wide.png", "preprocess/rgb_portrait.png", "preprocess/rgb_landscape.png"} {
			data := readFile(t, name)
			golden := "preprocess/" + filepath.Base(name) + "." + processor + "224.png"
			im, err := DecodeSquare(data, DefaultLimits, tr)
			if err != nil {
				t.Fatal(err)
			}
			if mean, most := difference(t, im, golden); most != 0 {
				t.Errorf("%s: mean difference %v, largest %d, want none", golden, mean, most)
			}
			_, _, want := rgbImage(t, golden)
			fromFile, fromPicture := make([]float32, tr.Len()), make([]float32, tr.Len())
			tr.Apply(fromFile, im, nil)
			tr.Apply(fromPicture, mustDecode(t, data), nil)
			for i, c := range want {
				for ch, v := range []byte{c.R, c.G, c.B} {
					at := ch*len(want) + i
					if w := lut[ch][v]; fromFile[at] != w || fromPicture[at] != w {
						t.Fatalf("%s: pixel %d, channel %d: %v and %v, want %v", golden, i, ch, fromFile[at], fromPicture[at], w)
					}
				}
			}
		}
	}
}

// TestPreprocessJPEG: what decoders of JPEG leave of the difference.
func TestPreprocessJPEG(t *testing.T) {
	for _, tt := range []struct {
		file, decoder string
		mean          float64
		most          int
	}{
		{"jpeg420.jpg", JPEGGo, 0.4, 3},
		{"jpeg_exif6.jpg", JPEGGo, 0.3, 3},
		{"jpeg420.jpg", JPEGReference, 1.4, 90}, // repeats chroma
		{"jpeg_exif6.jpg", JPEGReference, 0.24, 3},
	} {
		data := bytes.Replace(readFile(t, tt.file), []byte("Exif\x00"), []byte("Else\x00"), 1) // as it is stored
		for _, processor := range []string{"clip", "dinov2"} {
			tr := published(t, processor)
			tr.Pictures.JPEG = tt.decoder
			im, err := DecodeSquare(data, DefaultLimits, tr)
			if err != nil {
				t.Fatal(err)
			}
			mean, most := difference(t, im, "preprocess/"+tt.file+"."+processor+"224.png")
			t.Logf("%s, %s, %s: mean difference %.3f, largest %d", tt.file, processor, tt.decoder, mean, most)
			if mean > tt.mean || most > tt.most {
				t.Errorf("want at most %v and %d", tt.mean, tt.most)
			}
		}
	}
}

// geometries are transforms of all kinds for results of about 40 pixels.
var geometries = []Transform{
	{Size: 40, Geometry: Geometry{Resize: ResizeShortest, Side: 40, Filter: "bicubic"}},
	{Size: 40, Geometry: Geometry{Resize: ResizeShortest, Side: 46, Filter: "bicubic", Middle: MiddleEven}},
	{Size: 40, Geometry: Geometry{Resize: ResizeShortest, Side: 33, Filter: "bilinear"}}, // less than the crop
	{Size: 30, Width: 50, Geometry: Geometry{Resize: ResizeShortest, Side: 40, Filter: "lanczos"}},
	{Size: 40, Geometry: Geometry{Resize: ResizeShortest, Side: 45, Filter: "box"}},
	{Size: 40, Geometry: Geometry{Resize: ResizeShortest, Side: 45, Filter: "nearest"}},
	{Size: 40, Geometry: Geometry{Resize: ResizeExact, Height: 40, Width: 40, Filter: "bilinear"}},
	{Size: 40, Width: 31, Geometry: Geometry{Resize: ResizeExact, Height: 40, Width: 31, Filter: "bicubic"}},
	{Size: 40, Geometry: Geometry{Resize: ResizeExact, Height: 50, Width: 35, Filter: "lanczos", Middle: MiddleEven}},
	{Size: 40, Geometry: Geometry{Resize: ResizeNone}},
	{Size: 40, Geometry: Geometry{Resize: ResizeNone, Middle: MiddleEven}},
}

// TestGeometryFast holds the fast path of JPEG to the pixels of the same planes, turned
// by EXIF, and then resized and cropped as RGB. That rounds twice more, and colours that
// do not exist are clipped before and not after.
func TestGeometryFast(t *testing.T) {
	for _, size := range [][2]int{{61, 90}, {90, 61}, {41, 52}, {160, 200}} {
		data := encodeJPEG(t, asImage{photo(size[0], size[1], 1)}, 95)
		// Interpolated chroma, not resized.
		whole, err := DecodeSquare(data, DefaultLimits, Transform{Size: size[1], Width: size[0], Geometry: Geometry{Resize: ResizeNone}})
		if err != nil {
			t.Fatal(err)
		}
		whole.made = shape{}
		for _, tr := range geometries {
			if err := tr.Validate(); err != nil {
				t.Fatal(err)
			}
			for o := uint16(1); o <= 8; o++ {
				want, err := tr.Fit(orient(whole, int(o)))
				if err != nil {
					t.Fatal(err)
				}
				got, err := DecodeSquare(withExif(data, tiff(binary.LittleEndian, o)), DefaultLimits, tr)
				if err != nil {
					t.Fatal(err)
				}
				meanBound, mostBound := 0.5, 4
				if f := tr.Geometry.Filter; o > 1 && (f == "box" || f == "nearest") {
					meanBound, mostBound = 4, 80 // by the standard decoder, which repeats chroma
				}
				if mean, most := apart(t, got, want); mean > meanBound || most > mostBound {
					t.Errorf("%+v of %v, orientation %d: mean difference %v, largest %d", tr.Geometry, size, o, mean, most)
				}
			}
		}
	}
}

// TestGeometryReference holds the fast path to the standard decoder. The bounds are
// those of TestSquareAsReference; a picture that hardly shrinks keeps the difference in
// chroma.
func TestGeometryReference(t *testing.T) {
	for _, size := range [][2]int{{320, 240}, {200, 330}} {
		data := encodeJPEG(t, asImage{photo(size[0], size[1], 2)}, 90)
		for _, tr := range geometries {
			fast, err := DecodeSquare(data, DefaultLimits, tr)
			if err != nil {
				t.Fatal(err)
			}
			tr.Pictures.JPEG = JPEGReference
			slow, err := DecodeSquare(data, DefaultLimits, tr)
			if err != nil {
				t.Fatal(err)
			}
			meanBound, mostBound := 1.0, 40
			if tr.Geometry.Resize == ResizeNone || tr.Geometry.Filter == "nearest" {
				meanBound, mostBound = 3, 80
			}
			if mean, most := apart(t, fast, slow); mean > meanBound || most > mostBound {
				t.Errorf("%+v of %v: mean difference %v, largest %d", tr.Geometry, size, mean, most)
			}
		}
	}
}

// TestGeometryOfOthers gives other geometries what the fast path leaves alone (CMYK,
// palettes, opacity, WebP with an EXIF orientation, 16 bits): pixels are those of Decode,
// resized.
func TestGeometryOfOthers(t *testing.T) {
	for _, name := range []string{"jpeg_cmyk.jpg", "palette.png", "lossy_exif6.webp", "lossless_alpha.webp", "bilevel.png", "preprocess/rgba.png", "preprocess/rgb16.png", "preprocess/grey16.png"} {
		data := readFile(t, name)
		for _, tr := range geometries {
			want, err := tr.Fit(mustDecode(t, data))
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeSquare(data, DefaultLimits, tr)
			if err != nil || !bytes.Equal(got.Pix, want.Pix) {
				t.Errorf("%s, %+v: other pixels (%v)", name, tr.Geometry, err)
			}
		}
	}
}

// TestGeometryDraft: a draft is near the picture, and the picture where it does not
// shrink enough.
func TestGeometryDraft(t *testing.T) {
	for _, size := range [][2]int{{640, 480}, {481, 643}, {170, 300}, {100, 120}} {
		data := encodeJPEG(t, asImage{photo(size[0], size[1], 3)}, 90)
		for _, tr := range geometries {
			want, err := DecodeSquare(data, DefaultLimits, tr)
			if err != nil {
				t.Fatal(err)
			}
			tr.Pictures.Draft = true
			got, err := DecodeSquare(data, DefaultLimits, tr)
			if err != nil {
				t.Fatal(err)
			}
			bound := 4.0
			switch {
			case size[0] == 100 || tr.Geometry.Resize == ResizeNone:
				bound = 0
			case tr.Geometry.Filter == "nearest":
				bound = 6 // one pixel is not the mean of 64
			}
			if mean, _ := apart(t, got, want); mean > bound {
				t.Errorf("%+v of %v: mean difference %v, want at most %v", tr.Geometry, size, mean, bound)
			}
		}
	}
}

// centreCrop is transformers' center_crop (image_transforms.py): a picture with room
// for both, and the crop of that.
func centreCrop(im *Image, w, h int) *Image {
	floor := func(a int) int { return int(math.Floor(float64(a) / 2)) }
	top, left := floor(im.Height-h), floor(im.Width-w)
	at := func(x, y int) (p [3]byte) {
		if x >= 0 && y >= 0 && x < im.Width && y < im.Height {
			copy(p[:], im.Pix[3*(y*im.Width+x):])
		}
		return p
	}
	if top < 0 || top+h > im.Height || left < 0 || left+w > im.Width {
		newHeight, newWidth := max(h, im.Height), max(w, im.Width)
		topPad := int(math.Ceil(float64(newHeight-im.Height) / 2))
		leftPad := int(math.Ceil(float64(newWidth-im.Width) / 2))
		old := at
		at = func(x, y int) [3]byte { return old(x-leftPad, y-topPad) }
		top, left = max(top+topPad, 0), max(left+leftPad, 0)
	}
	out := &Image{Width: w, Height: h}
	for y := range h {
		for x := range w {
			p := at(left+x, top+y)
			out.Pix = append(out.Pix, p[:]...)
		}
	}
	return out
}

func TestCentreCrop(t *testing.T) {
	for w := 1; w <= 9; w++ {
		for h := 1; h <= 9; h++ {
			im := noise(w, h, uint64(10*w+h))
			for _, to := range [][2]int{{4, 4}, {5, 5}, {6, 3}, {3, 8}} {
				tr := Transform{Size: to[1], Width: to[0], Geometry: Geometry{Resize: ResizeNone}}
				got, err := tr.Fit(im)
				if err != nil {
					t.Fatal(err)
				}
				if want := centreCrop(im, to[0], to[1]); !bytes.Equal(got.Pix, want.Pix) || got.Width != to[0] || got.Height != to[1] {
					t.Errorf("%d×%d to %v: %v, want %v", w, h, to, got.Pix, want.Pix)
				}
			}
		}
	}
}

// TestMiddle has the first pixel of a crop, worked out by hand from both libraries'
// formulas: (N-W)//2 with ⌈(W-N)/2⌉ of padding, and round((N-W)/2) with (W-N)//2.
func TestMiddle(t *testing.T) {
	for _, tt := range []struct{ n, w, down, even int }{
		{224, 224, 0, 0}, {225, 224, 0, 0}, {226, 224, 1, 1}, {227, 224, 1, 2}, {229, 224, 2, 2}, {231, 224, 3, 4},
		{223, 224, -1, 0}, {222, 224, -1, -1}, {221, 224, -2, -1}, {1, 4, -2, -1},
	} {
		if down, even := MiddleDown.of(tt.n, tt.w), MiddleEven.of(tt.n, tt.w); down != tt.down || even != tt.even {
			t.Errorf("%d of %d: %d and %d, want %d and %d", tt.w, tt.n, down, even, tt.down, tt.even)
		}
	}
}

// TestFrame has sizes that transformers computes for pictures of the fixtures.
func TestFrame(t *testing.T) {
	for _, tt := range []struct {
		w, h, side    int
		width, height int
	}{
		{130, 171, 224, 224, 294}, {130, 171, 256, 256, 336}, {211, 149, 224, 317, 224}, {211, 149, 256, 362, 256},
		{160, 110, 224, 325, 224}, {160, 110, 256, 372, 256}, {300, 180, 224, 373, 224}, {300, 180, 256, 426, 256}, {180, 120, 224, 336, 224},
	} {
		f, err := (Transform{Size: 224, Geometry: Geometry{Resize: ResizeShortest, Side: tt.side, Filter: "bicubic"}}).frame(tt.w, tt.h)
		if err != nil || f.to.Width != tt.width || f.to.Height != tt.height {
			t.Errorf("%d×%d to %d: %d×%d, want %d×%d (%v)", tt.w, tt.h, tt.side, f.to.Width, f.to.Height, tt.width, tt.height, err)
		}
	}
}

// TestMadePicture: a picture of the size that a network takes is resized and cropped
// like any other, unless that has been done.
func TestMadePicture(t *testing.T) {
	tr := Transform{Size: 40, Geometry: Geometry{Resize: ResizeShortest, Side: 46, Filter: "bicubic"}}
	raw := noise(40, 40, 5)
	once, err := tr.Fit(raw)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(once.Pix, raw.Pix) {
		t.Fatal("a picture of the size is not resized")
	}
	if twice, err := tr.Fit(once); err != nil || twice != once {
		t.Errorf("what Fit has made is not taken as it is (%v)", err)
	}
	want, got := make([]float32, tr.Len()), make([]float32, tr.Len())
	tr.Apply(want, raw, nil)
	tr.Apply(got, once, nil)
	if !slices.Equal(got, want) {
		t.Error("Apply gives other values for what Fit has made")
	}
	im, err := tr.Square(NewMemory("m", []Item{{ID: "a"}}, []*Image{raw})).Image(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	tr.Apply(got, im, nil)
	if !slices.Equal(got, want) {
		t.Error("Apply gives other values for what Square has made")
	}
	// For another geometry it is a picture like others.
	other := tr
	other.Geometry.Side = 50
	if im, err := other.Fit(once); err != nil || bytes.Equal(im.Pix, once.Pix) {
		t.Errorf("another geometry takes it as it is (%v)", err)
	}
}

// TestGeometryOfFiles: loader, cache and Tensors give what Apply makes of the decoded
// file, augmented or not.
func TestGeometryOfFiles(t *testing.T) {
	ds := jpegSet(t, 9)
	for _, tr := range []Transform{
		{Size: 24, Geometry: Geometry{Resize: ResizeShortest, Side: 28, Filter: "bicubic"}, Flip: true, Turn: true},
		{Size: 20, Width: 27, Geometry: Geometry{Resize: ResizeExact, Height: 20, Width: 27, Filter: "bilinear"}, Flip: true},
	} {
		want, broken := batches(t, ds, 1, tr, 3)
		cache := OpenCache(t.TempDir(), 1<<20, func(s string) { t.Error(s) })
		for range 2 {
			got, again := batches(t, WithCache(ds, cache), 2, tr, 3)
			if !slices.Equal(got, want) || again != broken {
				t.Errorf("%+v: other values from the cache", tr.Geometry)
			}
		}
		if s := cache.Stats(); s.Hits == 0 || s.Written == 0 || s.Damaged != 0 {
			t.Errorf("%+v: %+v", tr.Geometry, s)
		}
		path := ds.(*rows).items[0].Path
		one := make([]float32, tr.Len())
		if err := Tensors(context.Background(), one, []string{path}, 1, tr); err != nil {
			t.Fatal(err)
		}
		im, err := SquareFile(path, DefaultLimits, tr)
		if err != nil {
			t.Fatal(err)
		}
		plain := make([]float32, tr.Len())
		tr.Apply(plain, im, nil)
		if !slices.Equal(one, plain) {
			t.Errorf("%+v: Tensors gives other values", tr.Geometry)
		}
	}
}

// TestApplyRectangle mirrors a result that is no square.
func TestApplyRectangle(t *testing.T) {
	for _, size := range [][2]int{{3, 2}, {1, 4}, {4, 1}} {
		w, h := size[0], size[1]
		tr := Transform{Size: h, Width: w, Geometry: Geometry{Resize: ResizeNone}, Flip: true, Normalize: Normalize{Std: [3]float64{1, 1, 1}}}
		im := noise(w, h, 3)
		for draw := range uint64(2) {
			got := make([]float32, tr.Len())
			tr.Apply(got, im, bitsFor(t, draw))
			for y := range h {
				for x := range w {
					u := x
					if draw == 1 {
						u = w - 1 - x
					}
					for c := range 3 {
						if v, want := got[c*w*h+y*w+x], float32(float64(im.Pix[3*(y*w+u)+c])/255); v != want {
							t.Fatalf("%v, mirrored %d: (%d, %d) is %v, want %v", size, draw, x, y, v, want)
						}
					}
				}
			}
		}
	}
}

// TestCacheKey: the names of entries of relsim's own geometry are those of the first
// version, and each setting has names of its own.
func TestCacheKey(t *testing.T) {
	data := []byte("abc")
	if got, want := keyOf(data, Transform{Size: 64, Pictures: Pictures{JPEG: "go", Draft: true}}), sha256.Sum256([]byte("relsim square 1\n64 \"go\" true\n3\nabc")); got != cacheKey(want) {
		t.Errorf("%x, want %x", got, want)
	}
	seen := map[cacheKey]Transform{}
	for _, tr := range append([]Transform{{Size: 40}, {Size: 41}, {Size: 40, Pictures: Pictures{Draft: true}}}, geometries...) {
		k := keyOf(data, tr)
		if other, ok := seen[k]; ok {
			t.Errorf("%+v and %+v have one name", tr, other)
		}
		seen[k] = tr
	}
}

func TestGeometryJSON(t *testing.T) {
	for _, tr := range geometries {
		data, err := json.Marshal(tr.Geometry)
		if err != nil {
			t.Fatal(err)
		}
		var back Geometry
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err := d.Decode(&back); err != nil || back != tr.Geometry {
			t.Errorf("%s: %+v (%v)", data, back, err)
		}
	}
	if data, _ := json.Marshal(Geometry{}); string(data) != "{}" {
		t.Errorf("%s", data)
	}
	if data, _ := json.Marshal(Normalize{Std: [3]float64{1, 1, 1}}); string(data) != `{"mean":[0,0,0],"std":[1,1,1]}` {
		t.Errorf("%s", data) // as it was before there was a scale
	}
}

func TestGeometryValidate(t *testing.T) {
	good := Geometry{Resize: ResizeShortest, Side: 8, Filter: "bicubic"}
	for want, change := range map[string]func(*Transform){
		`resize is "longest"`:   func(t *Transform) { t.Geometry.Resize = "longest" },
		"side is 0":             func(t *Transform) { t.Geometry.Side = 0 },
		"side is 8193":          func(t *Transform) { t.Geometry.Side = 8193 },
		"height is 3":           func(t *Transform) { t.Geometry.Height = 3 },
		"width is 0":            func(t *Transform) { t.Geometry = Geometry{Resize: ResizeExact, Height: 3, Filter: "box"} },
		"side is 5":             func(t *Transform) { t.Geometry = Geometry{Side: 5} },
		`filter is ""`:          func(t *Transform) { t.Geometry.Filter = "" },
		`filter is "hamming"`:   func(t *Transform) { t.Geometry.Filter = "hamming" },
		`filter is "box": want`: func(t *Transform) { t.Geometry = Geometry{Filter: "box"} },
		`middle is "up"`:        func(t *Transform) { t.Geometry.Middle = "up" },
		`middle is "even"`:      func(t *Transform) { t.Geometry = Geometry{Middle: MiddleEven} },
		"9×8 pixels":            func(t *Transform) { t.Width, t.Turn = 9, true },
		"8×9 pixels":            func(t *Transform) { t.Size, t.Width, t.Geometry = 9, 8, Geometry{} },
		"width -1":              func(t *Transform) { t.Width = -1 },
		"scale NaN":             func(t *Transform) { t.Normalize.Scale = math.NaN() },
		"scale -1":              func(t *Transform) { t.Normalize.Scale = -1 },
		"std 0":                 func(t *Transform) { t.Normalize.Scale = 1 },
	} {
		tr := Transform{Size: 8, Geometry: good}
		if err := tr.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&tr)
		if err := tr.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestLongPictures: no picture, however thin, costs more than it is worth.
func TestLongPictures(t *testing.T) {
	thin := &Image{Width: 300_000, Height: 1, Pix: bytes.Repeat([]byte{10, 20, 30}, 300_000)}
	for _, tt := range []struct {
		g    Geometry
		want string
	}{
		{Geometry{Resize: ResizeShortest, Side: 224, Filter: "bicubic"}, "would be 67200000 long, want at most 16777216"},
		{Geometry{Resize: ResizeExact, Height: 224, Width: 224, Filter: "bicubic"}, "sides of 262144 at most"},
	} {
		tr := Transform{Size: 224, Geometry: tt.g}
		if _, err := tr.Fit(thin); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	for _, f := range []string{"nearest", "lanczos"} {
		tr := Transform{Size: 50, Geometry: Geometry{Resize: ResizeShortest, Side: 50, Filter: f}}
		im, err := tr.Fit(thin)
		if err != nil || !bytes.Equal(im.Pix, bytes.Repeat([]byte{10, 20, 30}, 2500)) {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestWithSize(t *testing.T) {
	tr := Transform{Size: 224, Geometry: Geometry{Resize: ResizeShortest, Side: 256, Filter: "bicubic"}}
	for size, side := range map[int]int{224: 256, 448: 512, 518: 592, 112: 128, 56: 64, 7: 8} {
		if got, err := tr.WithSize(size); err != nil || got.Size != size || got.Geometry.Side != side {
			t.Errorf("%d: %+v (%v), want a side of %d", size, got, err, side)
		}
	}
	tr = Transform{Size: 20, Width: 30, Geometry: Geometry{Resize: ResizeExact, Height: 24, Width: 36, Filter: "box"}}
	if got, err := tr.WithSize(40); err != nil || got.Width != 60 || got.Geometry.Height != 48 || got.Geometry.Width != 72 {
		t.Errorf("%+v (%v)", got, err)
	}
	if got, err := (Transform{Size: 64}).WithSize(96); err != nil || got != (Transform{Size: 96}) {
		t.Errorf("%+v (%v)", got, err)
	}
	for _, size := range []int{0, -3, 8193, 8000} { // of the last one, a side is too long
		if _, err := (Transform{Size: 224, Geometry: Geometry{Resize: ResizeShortest, Side: 256, Filter: "box"}}).WithSize(size); err == nil {
			t.Errorf("%d is no error", size)
		}
	}
}

// FuzzFit gives pictures of any size and geometry: the result has the size, or there is
// an error.
func FuzzFit(f *testing.F) {
	f.Add(uint16(30), uint16(20), uint16(8), uint16(8), uint16(9), uint16(0), uint8(0))
	f.Add(uint16(3), uint16(500), uint16(80), uint16(7), uint16(90), uint16(4), uint8(7))
	f.Add(uint16(1), uint16(1), uint16(2), uint16(2), uint16(1), uint16(1), uint8(14))
	f.Fuzz(func(t *testing.T, w, h, size, width, a, b uint16, kind uint8) {
		im := noise(int(w%600)+1, int(h%600)+1, uint64(kind))
		tr := Transform{Size: int(size % 300), Width: int(width % 300)}
		names := []string{"nearest", "box", "bilinear", "bicubic", "lanczos"}
		g := &tr.Geometry
		g.Filter = names[int(kind/4)%5]
		switch kind % 4 {
		case 0:
			g.Resize, g.Side = ResizeShortest, int(a%300)
		case 1:
			g.Resize, g.Height, g.Width = ResizeExact, int(a%300), int(b%300)
		case 2:
			g.Resize, g.Filter = ResizeNone, ""
		case 3:
			*g = Geometry{}
		}
		if kind >= 128 && g.Resize != CropSquare {
			g.Middle = MiddleEven
		}
		if tr.Validate() != nil {
			return
		}
		got, err := tr.Fit(im)
		if err != nil {
			t.Fatal(err)
		}
		wantW, wantH := tr.bounds()
		if got.Width != wantW || got.Height != wantH || len(got.Pix) != 3*wantW*wantH {
			t.Fatalf("%d×%d, %d bytes", got.Width, got.Height, len(got.Pix))
		}
		tr.Apply(make([]float32, tr.Len()), got, rand.New(rand.NewPCG(1, 2)))
	})
}

func TestStoredRect(t *testing.T) {
	const w, h = 7, 5 // as stored
	im := noise(w, h, 2)
	for o := 1; o <= 8; o++ {
		seen := orient(im, o)
		r := image.Rect(1, 2, 4, 4)
		s := storedRect(r, o, w, h)
		part := func(im *Image, r image.Rectangle) *Image {
			out := &Image{Width: r.Dx(), Height: r.Dy()}
			for y := r.Min.Y; y < r.Max.Y; y++ {
				out.Pix = append(out.Pix, im.Pix[3*(y*im.Width+r.Min.X):3*(y*im.Width+r.Max.X)]...)
			}
			return out
		}
		if got, want := orient(part(im, s), o), part(seen, r); !bytes.Equal(got.Pix, want.Pix) {
			t.Errorf("orientation %d: %v is stored at %v", o, r, s)
		}
	}
}

func ExampleTransform_WithSize() {
	data, err := os.ReadFile(filepath.Join("testdata", "preprocess", "preprocessor_config.dinov2.json"))
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err := ReadPreprocessor(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err = t.WithSize(518)
	fmt.Println(t.Size, t.Geometry.Side, err)
	// Output:
	// 518 592 <nil>
}

// TestConvertPillow compares with convert("RGB") of pictures with opacity, 16 bits and an
// EXIF orientation, and with what processors make of that. PNG is exact.
func TestConvertPillow(t *testing.T) {
	pillow := Pictures{Convert: ConvertPillow}
	for _, tt := range []struct {
		file, golden string
		tr           Transform
		mean         float64
		most         int
	}{
		{"preprocess/rgba.png", "clip224", published(t, "clip"), 0, 0},
		{"preprocess/rgba.png", "dinov2224", published(t, "dinov2"), 0, 0},
		{"preprocess/grey16.png", "rgb", Transform{}, 0, 0},
		{"preprocess/grey16.png", "relsim448", Transform{Size: 448}, 0, 0},
		{"preprocess/rgb16.png", "rgb", Transform{}, 0, 0},
		{"preprocess/grey_alpha.png", "rgb", Transform{}, 0, 0},
		{"preprocess/palette_trns.png", "rgb", Transform{}, 0, 0},
		{"palette.png", "clip224", published(t, "clip"), 0, 0},
		{"grey.png", "dinov2224", published(t, "dinov2"), 0, 0},
		{"jpeg_exif6.jpg", "clip224", published(t, "clip"), 0.3, 3},
		{"jpeg_exif6.jpg", "dinov2224", published(t, "dinov2"), 0.3, 3},
		{"jpeg_exif3.jpg", "rgb", Transform{}, 0.4, 3},
		{"jpeg_exif6.jpg", "rgb", Transform{}, 0.4, 3},
	} {
		golden := "preprocess/" + filepath.Base(tt.file) + "." + tt.golden + ".png"
		if tt.tr.Size == 0 { // as it is
			w, h, _ := rgbImage(t, golden)
			tt.tr = Transform{Size: h, Width: w, Geometry: Geometry{Resize: ResizeNone}}
		}
		tt.tr.Pictures = pillow
		im, err := DecodeSquare(readFile(t, tt.file), DefaultLimits, tt.tr)
		if err != nil {
			t.Error(err)
			continue
		}
		if mean, most := difference(t, im, golden); mean > tt.mean || most > tt.most {
			t.Errorf("%s: mean difference %.3f, largest %d, want at most %v and %d", golden, mean, most, tt.mean, tt.most)
		}
	}
	if err := (Transform{Size: 8, Pictures: Pictures{Convert: "white"}}).Validate(); err == nil || !strings.Contains(err.Error(), `"white": want "pillow"`) {
		t.Errorf("%v", err)
	}
	if keyOf(nil, Transform{Size: 8}) == keyOf(nil, Transform{Size: 8, Pictures: pillow}) {
		t.Error("one name in the cache")
	}
}

// TestConvertPillowForms: a transparent colour is dropped like opacity, in the formats that
// keep it apart, and 16-bit grey is clipped with one too.
func TestConvertPillowForms(t *testing.T) {
	chunk := func(kind string, data []byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
		b = append(append(b, kind...), data...)
		return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
	}
	// One row of two pixels of 16-bit grey, 300 and 7, of which 300 is transparent.
	header := append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 2), 1), 16, 0, 0, 0, 0)
	var rows bytes.Buffer
	z := zlib.NewWriter(&rows)
	z.Write([]byte{0, 1, 44, 0, 7})
	z.Close()
	file := slices.Concat([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", header), chunk("tRNS", []byte{1, 44}), chunk("IDAT", rows.Bytes()), chunk("IEND", nil))
	for _, tt := range []struct {
		data []byte
		want []byte
	}{
		{file, []byte{255, 255, 255, 7, 7, 7}},
		{encodePNG(t, &image.NRGBA64{Pix: []byte{0x12, 0xff, 0x34, 0xff, 0x56, 0xff, 0, 0, 0xfe, 0xff, 1, 0, 2, 0, 0x80, 0}, Stride: 16, Rect: image.Rect(0, 0, 2, 1)}), []byte{0x12, 0x34, 0x56, 0xfe, 1, 2}},
		{encodePNG(t, &image.NRGBA{Pix: []byte{9, 8, 7, 0, 1, 2, 3, 255}, Stride: 8, Rect: image.Rect(0, 0, 2, 1)}), []byte{9, 8, 7, 1, 2, 3}},
	} {
		im, err := DecodeSquare(tt.data, DefaultLimits, Transform{Size: 1, Width: 2, Geometry: Geometry{Resize: ResizeNone}, Pictures: Pictures{Convert: ConvertPillow}})
		if err != nil || !bytes.Equal(im.Pix, tt.want) {
			t.Errorf("%v (%v), want %v", im, err, tt.want)
		}
	}
}

// BenchmarkGeometry makes the inputs of published models of a JPEG picture.
func BenchmarkGeometry(b *testing.B) {
	path := filepath.Join(b.TempDir(), "a.jpg")
	if err := os.WriteFile(path, encodeJPEG(b, asImage{photo(640, 480, 1)}, 85), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, g := range []struct {
		name string
		Geometry
	}{
		{"square", Geometry{}},
		{"clip", Geometry{Resize: ResizeShortest, Side: 224, Filter: "bicubic"}},
		{"dinov2", Geometry{Resize: ResizeShortest, Side: 256, Filter: "bicubic"}},
		{"vit", Geometry{Resize: ResizeExact, Height: 224, Width: 224, Filter: "bilinear"}},
	} {
		b.Run("geometry="+g.name, func(b *testing.B) {
			tr := Transform{Size: 224, Geometry: g.Geometry, Normalize: Normalize{Std: [3]float64{1, 1, 1}}}
			dst := make([]float32, tr.Len())
			for b.Loop() {
				if err := Tensors(context.Background(), dst, []string{path}, 1, tr); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
