package dataloader

import (
	"bytes"
	"errors"
	"fmt"
)

// Measure returns the size of a picture in pixels from its header, as [Decode] would give it: an EXIF orientation is
// applied. Nothing is decoded, so that a picture that is broken behind its header has a size too.
func Measure(data []byte, l Limits) (width, height int, err error) {
	_, err = guard(func() (*Image, error) {
		c, ok := codecOf(data)
		if !ok {
			return nil, errors.New("not a PNG, JPEG or WebP picture")
		}
		cfg, err := c.config(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("%s header: %w", c.name, truncated(err))
		}
		if width, height = cfg.Width, cfg.Height; width < 1 || height < 1 || int64(width) > l.Pixels/int64(height) {
			return nil, fmt.Errorf("%s of %d×%d pixels, want 1 to %d", c.name, width, height, l.Pixels)
		}
		if orientationOf(c.exif(data)) >= 5 { // turned by a quarter
			width, height = height, width
		}
		return nil, nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("dataloader: measure: %w", err)
	}
	return width, height, nil
}
