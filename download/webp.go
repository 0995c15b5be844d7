package download

import (
	"image"
	"io"
	"sync"

	"github.com/deepteams/webp"
)

// warm encodes something once: webp v1.1.0 makes its tables at the first call, without regard to others that run
// already.
var warm = sync.OnceValue(func() error {
	return webp.Encode(io.Discard, image.NewNRGBA(image.Rect(0, 0, 16, 16)), webp.DefaultOptions())
})

// encodeWebP writes lossy WebP.
func encodeWebP(w io.Writer, im image.Image, quality int) error {
	if err := warm(); err != nil {
		return err
	}
	o := webp.DefaultOptions()
	o.Quality = float32(quality)
	return webp.Encode(w, im, o)
}
