package dataloader

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/color/palette"
	"image/gif"
	"image/jpeg"
	"runtime"
	"slices"
	"strings"
	"testing"

	relsimjpeg "relsim/jpeg"
)

// ways are all ways to a picture: whole, and as a square by each decoder of JPEG in Go.
func ways() map[string]func(data []byte) error {
	square := func(p Pictures) func([]byte) error {
		return func(data []byte) error {
			_, err := DecodeSquare(data, DefaultLimits, Transform{Size: 32, Pictures: p})
			return err
		}
	}
	return map[string]func(data []byte) error{
		"whole":     func(data []byte) error { _, err := Decode(data, DefaultLimits); return err },
		"square":    square(Pictures{}),
		"draft":     square(Pictures{Draft: true}),
		"reference": square(Pictures{JPEG: JPEGReference}),
		"pillow":    square(Pictures{Convert: ConvertPillow}),
	}
}

// cost is the memory that f takes, in bytes.
func cost(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// claiming changes the size in every frame header of a JPEG file.
func claiming(t *testing.T, data []byte, width, height uint16) []byte {
	t.Helper()
	data = slices.Clone(data)
	at := max(bytes.Index(data, []byte{0xff, 0xc0}), bytes.Index(data, []byte{0xff, 0xc2}))
	if at < 0 {
		t.Fatal("no frame header")
	}
	binary.BigEndian.PutUint16(data[at+5:], height)
	binary.BigEndian.PutUint16(data[at+7:], width)
	return data
}

// pngOfSize is a PNG file of nothing but its header and a little of its data.
func pngOfSize(width, height uint32, depth, colour byte) []byte {
	data := pngClaiming(width, height)
	data[24], data[25] = depth, colour
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	chunk := []byte("IDAT\x78\x9c\x00")
	data = append(data, 0, 0, 0, 3)
	data = append(data, chunk...)
	return binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(chunk))
}

// TestClaims: a header of 50,000×50,000 pixels, or of as many as are allowed, costs nothing in a file that is too short for
// them.
func TestClaims(t *testing.T) {
	files := make(map[string][]byte)
	for _, name := range []string{"jpeg420.jpg", "jpeg_exif6.jpg", "jpeg_cmyk.jpg", "jpeg_grey.jpg", "jpeg_progressive.jpg"} {
		data := readFile(t, name)
		files[name+" of 50000×50000"] = claiming(t, data, 50000, 50000)
		files[name+" of 65535×1"] = claiming(t, data, 65535, 1)
		files[name+" of 10000×10000"] = claiming(t, data, 10000, 10000)
		files[name+" of 65500×1500"] = claiming(t, data, 65500, 1500)
	}
	for name, kind := range map[string][2]byte{"16-bit RGBA": {16, 6}, "RGB": {8, 2}, "grey": {8, 0}, "bilevel": {1, 0}} {
		files[name+" PNG of 50000×50000"] = pngOfSize(50000, 50000, kind[0], kind[1])
		files[name+" PNG of 10000×10000"] = pngOfSize(10000, 10000, kind[0], kind[1])
	}
	for name, data := range files {
		for way, decode := range ways() {
			var err error
			n := cost(func() { err = decode(data) })
			if err == nil {
				t.Errorf("%s, %s: no error", name, way)
			}
			if strings.Contains(name, "50000×50000") && !strings.Contains(err.Error(), "50000×50000 pixels, more than the limit of 100000000") {
				t.Errorf("%s, %s: %v", name, way, err)
			}
			if n > 16<<20 {
				t.Errorf("%s, %s costs %d MiB: %v", name, way, n>>20, err)
			}
		}
	}
	// What is as short as it can be is a picture: one colour.
	plain := image.NewPaletted(image.Rect(0, 0, 3000, 3000), palette.Plan9)
	if err := ways()["whole"](encodePNG(t, plain)); err != nil {
		t.Errorf("a PNG of one colour: %v", err)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 3000, 3000)), &jpeg.Options{Quality: 1}); err != nil {
		t.Fatal(err)
	}
	for way, decode := range ways() {
		if err := decode(b.Bytes()); err != nil {
			t.Errorf("a JPEG of one colour, %s: %v", way, err)
		}
	}
}

// TestScans: a picture of thousands of scans is refused before any of them, by every way.
func TestScans(t *testing.T) {
	data := readFile(t, "jpeg_progressive.jpg")
	end := bytes.LastIndex(data, []byte{0xff, 0xd9})
	scan := data[bytes.LastIndex(data, []byte{0xff, 0xda}):end]
	bomb := slices.Clone(data[:end])
	for range relsimjpeg.MaxScans + 1 {
		bomb = append(bomb, scan...)
	}
	bomb = append(bomb, 0xff, 0xd9)
	for way, decode := range ways() {
		if err := decode(bomb); err == nil || !strings.Contains(err.Error(), "more than 256 scans") {
			t.Errorf("%s: %v", way, err)
		}
	}
}

// TestSecondFrame: a file with a second frame header, of another size, is no picture of either.
func TestSecondFrame(t *testing.T) {
	for _, name := range []string{"jpeg420.jpg", "jpeg_grey.jpg", "jpeg_progressive.jpg"} {
		data := readFile(t, name)
		at := max(bytes.Index(data, []byte{0xff, 0xc0}), bytes.Index(data, []byte{0xff, 0xc2}))
		length := 2 + int(binary.BigEndian.Uint16(data[at+2:]))
		second := claiming(t, data[at:at+length], 9000, 9000)
		for way, decode := range ways() {
			var err error
			n := cost(func() { err = decode(slices.Concat(data[:at+length], second, data[at+length:])) })
			if err == nil || n > 4<<20 {
				t.Errorf("%s, %s: %v, %d MiB", name, way, err, n>>20)
			}
		}
	}
}

// TestTruncatedSquares: cuts of all formats are errors by every way, or the whole picture.
func TestTruncatedSquares(t *testing.T) {
	files := make(map[string][]byte)
	for _, name := range []string{"rgb_wide.png", "grey.png", "bilevel.png", "palette.png", "jpeg420.jpg", "jpeg_grey.jpg", "jpeg_cmyk.jpg", "jpeg_exif6.jpg", "jpeg_progressive.jpg",
		"lossy.webp", "lossless.webp", "lossy_alpha.webp", "lossless_alpha.webp", "lossy_exif6.webp"} {
		files[name] = readFile(t, name)
	}
	for name, data := range files {
		for way, decode := range ways() {
			if err := decode(data); err != nil {
				t.Fatalf("%s, %s: %v", name, way, err)
			}
			step := max(1, len(data)/23)
			for n := 0; n < len(data)*9/10; n += step {
				if err := decode(data[:n]); err == nil {
					t.Errorf("%s, %s: cut to %d of %d bytes is accepted", name, way, n, len(data))
				}
			}
		}
	}
}

// TestAnimated: of an animated PNG the still picture is taken; an animated WebP and GIF are refused, and say why.
func TestAnimated(t *testing.T) {
	still := encodePNG(t, asImage{noise(20, 10, 5)})
	control := append([]byte("acTL"), 0, 0, 0, 2, 0, 0, 0, 0)
	frame := append([]byte("fdAT"), 0, 0, 0, 1, 1, 2, 3, 4)
	chunk := func(b []byte) []byte {
		return slices.Concat(binary.BigEndian.AppendUint32(nil, uint32(len(b)-4)), b, binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)))
	}
	end := len(still) - 12
	animated := slices.Concat(still[:33], chunk(control), still[33:end], chunk(frame), still[end:])
	want, got := mustDecode(t, still), mustDecode(t, animated)
	if !bytes.Equal(got.Pix, want.Pix) {
		t.Error("the still picture of an animated PNG is another one")
	}
	var g bytes.Buffer
	frames := []*image.Paletted{image.NewPaletted(image.Rect(0, 0, 4, 4), color.Palette{color.White, color.Black}), image.NewPaletted(image.Rect(0, 0, 4, 4), color.Palette{color.White, color.Black})}
	if err := gif.EncodeAll(&g, &gif.GIF{Image: frames, Delay: []int{1, 1}}); err != nil {
		t.Fatal(err)
	}
	for way, decode := range ways() {
		if err := decode(g.Bytes()); err == nil || !strings.Contains(err.Error(), "not a PNG, JPEG or WebP picture") {
			t.Errorf("GIF, %s: %v", way, err)
		}
		if err := decode(readFile(t, "animated.webp")); err == nil || !strings.Contains(err.Error(), "WebP") {
			t.Errorf("WebP, %s: %v", way, err)
		}
	}
}

// TestWebPClaims: a small canvas with a large picture in it, and a canvas that is too large.
func TestWebPClaims(t *testing.T) {
	alpha := readFile(t, "lossy_alpha.webp")
	at := bytes.Index(alpha, []byte("VP8X"))
	if at < 0 {
		t.Fatal("no VP8X")
	}
	small, large := slices.Clone(alpha), slices.Clone(alpha)
	frame := bytes.Index(small, []byte{0x9d, 0x01, 0x2a}) // start code of a key frame; sizes follow
	binary.LittleEndian.PutUint16(small[frame+3:], 9000)
	binary.LittleEndian.PutUint16(small[frame+5:], 9000)
	copy(large[at+12:], []byte{0x4f, 0xc3, 0, 0x4f, 0xc3, 0}) // 50,000×50,000
	for name, data := range map[string][]byte{"a large picture on a small canvas": small, "a large canvas": large} {
		for way, decode := range ways() {
			var err error
			n := cost(func() { err = decode(data) })
			if err == nil || n > 4<<20 {
				t.Errorf("%s, %s: %v, %d MiB", name, way, err, n>>20)
			}
		}
	}
}
