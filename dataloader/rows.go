package dataloader

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
)

// ReadFunc reads the file of picture i as it is stored: into buf where it has room, else into new memory. No more
// than [DefaultLimits].Bytes are asked for. It may be called from several goroutines at once.
type ReadFunc func(ctx context.Context, i int, buf []byte) ([]byte, error)

// NewRows returns a set of items whose pictures are stored in files, as PNG, JPEG or WebP. read gets them, out of a
// shard for example; nil: each is the file Item.Path. A picture that cannot be read is an error only when it is asked for.
func NewRows(name, fingerprint string, items []Item, read ReadFunc) Dataset {
	return &rows{name: name, items: items, fingerprint: fingerprint, read: read}
}

type rows struct {
	name        string
	items       []Item
	fingerprint string
	read        ReadFunc // nil: the files of the items' paths
	cache       *Cache   // of squares; nil: none
}

func (d *rows) Name() string        { return d.name }
func (d *rows) Len() int            { return len(d.items) }
func (d *rows) Item(i int) Item     { return d.items[i] }
func (d *rows) Fingerprint() string { return d.fingerprint }

func (d *rows) Image(ctx context.Context, i int) (*Image, error) {
	data, err := d.data(ctx, i, new(workspace))
	if err != nil {
		return nil, err
	}
	im, err := decode(data, DefaultLimits, "")
	if err != nil {
		return nil, fmt.Errorf("dataloader: decode %s: %w", d.items[i].Picture(), err)
	}
	return im, nil
}

// data returns the file of picture i. It may lie in w.
func (d *rows) data(ctx context.Context, i int, w *workspace) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d.read == nil {
		return w.read(d.items[i].Path, DefaultLimits)
	}
	data, err := d.read(ctx, i, w.file[:0])
	w.keep(data)
	return data, err
}

// Picture says where the picture is: its file, or the shard and its name in there.
func (it Item) Picture() string {
	if it.Member != "" {
		return it.Path + ":" + it.Member
	}
	return it.Path
}

// Row says where the row stands: the name of its file and the line, or the member of a shard.
func (it Item) Row() string {
	switch {
	case it.Line > 0:
		return fmt.Sprintf("%s:%d", it.File, it.Line)
	case it.Member != "":
		return it.File + ":" + it.Member
	}
	return it.File
}

// Bytes returns the file of picture i of ds as it is stored; of a set in memory, the picture as PNG.
func Bytes(ctx context.Context, ds Dataset, i int) ([]byte, error) {
	switch d := ds.(type) {
	case *rows:
		return d.data(ctx, i, new(workspace))
	case *subset:
		return Bytes(ctx, d.ds, d.indices[i])
	case *squared:
		return Bytes(ctx, d.Dataset, i)
	}
	im, err := ds.Image(ctx, i)
	if err != nil {
		return nil, err
	}
	nrgba := image.NewNRGBA(image.Rect(0, 0, im.Width, im.Height))
	for k := range im.Width * im.Height {
		copy(nrgba.Pix[4*k:], im.Pix[3*k:3*k+3])
		nrgba.Pix[4*k+3] = 255
	}
	var b bytes.Buffer
	if err := png.Encode(&b, nrgba); err != nil {
		return nil, fmt.Errorf("dataloader: encode picture %d of %s: %w", i, ds.Name(), err)
	}
	return b.Bytes(), nil
}
