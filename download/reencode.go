package download

import (
	"errors"
	"fmt"
)

// Reencode makes of the file of a picture what a download with these options would store: Encode, Resize and Quality.
func (o *Options) Reencode(data []byte) ([]byte, error) {
	if err := o.ValidateEncode(); err != nil {
		return nil, err
	}
	if int64(len(data)) > o.MaxBytes {
		return nil, fmt.Errorf("%d bytes, more than the limit of %d", len(data), o.MaxBytes)
	}
	k := sniff(data[:min(len(data), sniffBytes)], "")
	if k.refused != "" {
		return nil, errors.New(k.refused)
	}
	if _, err := header(k, data, o.MaxPixels); err != nil {
		return nil, err
	}
	p, err := o.decode(k, data)
	if err != nil {
		return nil, err
	}
	return p.data, nil
}

// ValidateEncode returns an error that says which option of encoding cannot be.
func (o *Options) ValidateEncode() error {
	fail := func(format string, args ...any) error { return fmt.Errorf("download: "+format, args...) }
	switch {
	case o.Encode != "" && o.Encode != PNG && o.Encode != JPEG && o.Encode != WebP:
		return fail("encode %q: want %s, %s or %s", o.Encode, PNG, JPEG, WebP)
	case o.Resize < 0 || o.Resize > 1<<14:
		return fail("resize to %d pixels: want 1 to %d", o.Resize, 1<<14)
	case o.Resize > 0 && o.Encode == "":
		return fail("resize to %d pixels: want encode too, since resized pictures are not as received", o.Resize)
	case o.Quality < 1 || o.Quality > 100:
		return fail("quality %d: want 1 to 100", o.Quality)
	}
	return nil
}
