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

// NewShards is [NewRows] for items that lie in groups, such as shards: groups has the number of each item's, not
// negative. notes say what was passed by when the items were listed.
//
// NewShards panics if the numbers of items and groups differ.
func NewShards(name, fingerprint string, items []Item, groups []int32, notes []string, read ReadFunc) Dataset {
	if len(groups) != len(items) {
		panic(fmt.Sprintf("dataloader: NewShards: %d items in %d groups", len(items), len(groups)))
	}
	return &rows{name: name, items: items, groups: groups, notes: notes, fingerprint: fingerprint, read: read}
}

// View is a data set that has the items of another, with the same pictures in the same order, and says other things of
// them. What it does not say itself (weights, groups, files) is asked of the other.
type View interface {
	Dataset
	Unwrap() Dataset
}

// Notes says what was passed by when the items of ds were listed, such as members of shards that are links.
func Notes(ds Dataset) []string {
	switch d := ds.(type) {
	case *rows:
		return d.notes
	case *subset:
		return Notes(d.ds)
	case *squared:
		return Notes(d.Dataset)
	case *mixed:
		var list []string
		for _, set := range d.sets {
			list = append(list, Notes(set)...)
		}
		return list
	case View:
		return Notes(d.Unwrap())
	}
	return nil
}

type rows struct {
	name        string
	items       []Item
	groups      []int32 // of the items; nil: none
	notes       []string
	fingerprint string
	read        ReadFunc // nil: the files of the items' paths
	cache       *Cache   // of squares; nil: none
}

func (d *rows) Name() string        { return d.name }
func (d *rows) Len() int            { return len(d.items) }
func (d *rows) Item(i int) Item     { return d.items[i] }
func (d *rows) Fingerprint() string { return d.fingerprint }
func (d *rows) Groups() []int32     { return d.groups }

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

// ReadFile reads the file of a picture, into buf where it has room. It must be a regular one, of at most
// [DefaultLimits].Bytes.
func ReadFile(path string, buf []byte) ([]byte, error) { return readPicture(path, DefaultLimits, buf) }

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
	case *mixed:
		set, k := d.of(i)
		return Bytes(ctx, set, k)
	case View:
		return Bytes(ctx, d.Unwrap(), i)
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
