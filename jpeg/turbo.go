package jpeg

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"sync"
	"unsafe"

	"relsim/kernel"
)

// TurboEnv is the environment variable that names the file of libturbojpeg. Without
// it, the names under which systems install it are tried.
const TurboEnv = "RELSIM_TURBOJPEG"

// library is libturbojpeg, by the functions that version 2 and 3 share.
type library struct {
	path string
	// Each calls the C function tj… of the same name.
	initDecompress func() unsafe.Pointer
	destroy        func(handle unsafe.Pointer)
	// decompressToYUVPlanes returns 0 for success.
	decompressToYUVPlanes func(handle unsafe.Pointer, data []byte, planes *[3]unsafe.Pointer, strides *[3]int32, flags int32) int32
}

// Flags of tjDecompressToYUVPlanes, turbojpeg.h.
const (
	tjAccurateDCT   = 4096
	tjStopOnWarning = 8192
)

// loaded finds the library once. A library that cannot be used is an error that
// says why.
var loaded = sync.OnceValues(func() (*library, error) {
	l, err := open()
	if err != nil {
		return nil, err
	}
	if err := l.check(); err != nil {
		return nil, fmt.Errorf("jpeg: libturbojpeg %s: %w", l.path, err)
	}
	return l, nil
})

// HaveTurbo returns the path or name of libturbojpeg as it was loaded, or an error
// that says why it cannot be used: it is not installed, it is another library or too
// old, or it gives other samples than the decoder in Go.
func HaveTurbo() (path string, err error) {
	l, err := loaded()
	if err != nil {
		return "", err
	}
	return l.path, nil
}

// Turbo returns a decoder that calls libturbojpeg. Progressive pictures, those in
// several scans, drafts, and those that the library warns of go to the decoder in Go. Samples
// and errors are those of [Go], save of pictures that are damaged in their coded data:
// the library passes by some codes that do not exist, and its vector code and its C
// differ where sums wrap around.
//
// The error is that of [HaveTurbo].
func Turbo() (Decoder, error) {
	l, err := loaded()
	if err != nil {
		return nil, err
	}
	return &turboDecoder{library: l}, nil
}

type turboDecoder struct {
	*library
	slow    goDecoder
	out     kernel.YCbCr
	planes  [3][]byte
	pointer [3]unsafe.Pointer
	stride  [3]int32
}

func (d *turboDecoder) Decode(data []byte, part Rect, shrink int) (*kernel.YCbCr, error) {
	p := parser{data: data}
	if err := p.header(); err != nil {
		return nil, err
	}
	if p.Progressive || !p.OneScan || shrink != 1 {
		return d.slow.Decode(data, part, shrink)
	}
	// The library takes memory first, and makes up tables that are missing.
	if p.bounds(part) != nil || p.complete() != nil || d.decode(data, &p) != nil {
		return d.slow.Decode(data, part, shrink)
	}
	return &d.out, nil
}

// decode calls the library, with memory for whole units.
func (d *turboDecoder) decode(data []byte, p *parser) error {
	d.out = kernel.YCbCr{Width: p.Width, Height: p.Height, SubX: p.SubX, SubY: p.SubY}
	for i, c := range p.parts[:p.Components] {
		d.stride[i] = int32(8 * c.across)
		d.planes[i] = grow(d.planes[i], 8*c.down*8*c.across+32)
		d.pointer[i] = unsafe.Pointer(&d.planes[i][0])
	}
	d.out.Y, d.out.YStride = d.planes[0], int(d.stride[0])
	if p.Components == 3 {
		d.out.Cb, d.out.Cr, d.out.CStride = d.planes[1], d.planes[2], int(d.stride[1])
	}
	// A handle costs some microseconds, and an error may leave it in any state.
	handle := d.initDecompress()
	if handle == nil {
		return fmt.Errorf("tjInitDecompress failed")
	}
	defer d.destroy(handle)
	if rc := d.decompressToYUVPlanes(handle, data, &d.pointer, &d.stride, tjAccurateDCT|tjStopOnWarning); rc != 0 {
		return fmt.Errorf("tjDecompressToYUVPlanes returned %d", rc)
	}
	return nil
}

// check decodes a small picture by the library and in Go.
func (l *library) check() error {
	picture := image.NewRGBA(image.Rect(0, 0, 45, 37))
	for y := range 37 {
		for x := range 45 {
			picture.SetRGBA(x, y, color.RGBA{uint8(5 * x), uint8(6 * y), uint8(x * y), 255})
		}
	}
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, picture, nil); err != nil {
		return err
	}
	p := parser{data: b.Bytes()}
	if err := p.header(); err != nil {
		return err
	}
	d := turboDecoder{library: l}
	if err := d.decode(b.Bytes(), &p); err != nil {
		return fmt.Errorf("does not decode a test picture: %w", err)
	}
	want, err := Go().Decode(b.Bytes(), Rect{0, 0, 45, 37}, 1)
	if err != nil {
		return err
	}
	if !Same(&d.out, want) {
		return fmt.Errorf("decodes a test picture to other samples than the accurate integer method gives: another version or library?")
	}
	return nil
}

// Same reports whether two pictures have the same size and samples, whatever lies
// behind their rows.
func Same(a, b *kernel.YCbCr) bool {
	if a.Width != b.Width || a.Height != b.Height || (a.Cb == nil) != (b.Cb == nil) {
		return false
	}
	same := func(p, q []byte, pStride, qStride, w, h int) bool {
		for y := range h {
			if !bytes.Equal(p[y*pStride:][:w], q[y*qStride:][:w]) {
				return false
			}
		}
		return true
	}
	if !same(a.Y, b.Y, a.YStride, b.YStride, a.Width, a.Height) {
		return false
	}
	if a.Cb == nil {
		return true
	}
	w, h := a.ChromaSize()
	return a.SubX == b.SubX && a.SubY == b.SubY &&
		same(a.Cb, b.Cb, a.CStride, b.CStride, w, h) && same(a.Cr, b.Cr, a.CStride, b.CStride, w, h)
}
