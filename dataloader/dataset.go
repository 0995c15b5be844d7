// Package dataloader turns pictures with captions into training batches.
//
// A [Dataset] is a numbered set of items; package formats reads one from a file of
// rows and a folder of pictures, [Scenes] generates one in memory. A [Transform]
// makes a picture the input of a network. A [Loader] runs decoding and
// transforming in parallel and hands out batches:
//
//   - The order of the items is a pure function of (seed, epoch), and the
//     augmentation of an item one of (seed, epoch, index), as is which of its
//     captions it comes with. None depends on the number of workers.
//   - The order is random throughout, or goes shard by shard through a buffer
//     ([Config].Shuffle); several processes share it out ([Config].Ranks).
//   - An epoch visits every item once, in a new order (of a [Mix], as often as
//     its weight says). The items that are left
//     when fewer than a batch remain are dropped; other ones in every epoch.
//   - A picture that cannot be read is passed by, counted and listed; the next
//     good one takes its place. Too many of them stop the loader with an error.
//   - A batch larger than memory comes in micro-batches ([Loader.Load]), as often
//     as they are needed; how many of them are kept is bounded in bytes.
//   - [Loader.State] names the position after the last batch handed out;
//     [Loader.Restore] continues there, bit for bit.
//
// [ForEach] and [LoadAll] read pictures in order without shuffling, for
// evaluation.
package dataloader

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
)

// Item is what is known about a picture before it is decoded.
type Item struct {
	ID       string  // image_hash: names the picture
	URL      string  // url_link: where it came from
	Caption  string  // anonymous caption, such as "{Subject} growing step by step"; the first where there are several
	Literal  string  // caption of what is seen, such as "red circles growing"
	Relation string  // name of the relation; "" when it is not known
	Pair     string  // of a near miss: ID of the true picture that it was made from
	Split    string  // part of the data that the row says it belongs to
	Family   int     // number of the relation's family; -1: none
	Profile  int     // number of the attribute profile, shared by twins; -1: none
	Count    int     // number of elements; 0: not known
	Ink      float64 // share of the picture that is drawn on; 0: not known
	HeldOut  bool    // the relation is not trained on
	Gravity  bool    // the relation knows up from down: the picture must not be turned
	Group    string  // number of the seed group that the picture belongs to; "": none
	File     string  // name of the file in which the row stands; "": not from a file
	Line     int     // number of the row or line in File, from 1; 0: it has none
	Path     string  // file of the picture, or the shard that holds it; "": not from a file
	Member   string  // name of the picture inside of Path; "": Path is the picture

	// Captions are all captions of the picture where it has several; one of them is drawn for each epoch. nil:
	// Caption is the only one.
	Captions []string

	Quoted bool // quotes stood around a caption in the file; they are not part of it any more
}

// Image is a picture of 8-bit RGB pixels, interleaved, row by row from the top:
// Pix[3*(y*Width+x)+c], c = 0 red, 1 green, 2 blue. It is oriented as it is meant
// to be seen, and transparent parts show white.
type Image struct {
	Width, Height int
	Pix           []byte

	made shape // by the Transform that has made it; zero: a picture as it came
}

// Dataset is a numbered set of pictures with captions. Its methods may be called
// from several goroutines at once.
type Dataset interface {
	// Name says in a few words what the set is, for logs and reports.
	Name() string
	// Len is the number of items.
	Len() int
	// Item describes item i, 0 <= i < Len().
	Item(i int) Item
	// Image decodes the picture of item i. The caller must not change it: a set
	// in memory returns its own pixels.
	Image(ctx context.Context, i int) (*Image, error)
	// Fingerprint is a hash of what the set consists of. A training run that is
	// resumed asks for the same one.
	Fingerprint() string
}

// NewMemory returns a set of pictures in memory. Image i belongs to item i.
//
// NewMemory panics if the numbers of items and images differ, or if an image has
// not the pixels that its size asks for.
func NewMemory(name string, items []Item, images []*Image) Dataset {
	if len(items) != len(images) {
		panic(fmt.Sprintf("dataloader: NewMemory: %d items, %d images", len(items), len(images)))
	}
	h := sha256.New()
	for i, im := range images {
		if err := im.check(); err != nil {
			panic(fmt.Sprintf("dataloader: NewMemory: image %d: %v", i, err))
		}
		it := items[i]
		fmt.Fprintf(h, "%q %q %q %q %d %d %t %t %d %d\n", it.ID, it.Caption, it.Literal, it.Relation,
			it.Family, it.Profile, it.HeldOut, it.Gravity, im.Width, im.Height)
		if len(it.Captions) > 0 {
			fmt.Fprintf(h, "%q\n", it.Captions)
		}
		h.Write(im.Pix)
	}
	return &memory{name: name, items: items, images: images, fingerprint: hex.EncodeToString(h.Sum(nil)[:16])}
}

type memory struct {
	name        string
	items       []Item
	images      []*Image
	fingerprint string
}

func (m *memory) Name() string        { return m.name }
func (m *memory) Len() int            { return len(m.items) }
func (m *memory) Item(i int) Item     { return m.items[i] }
func (m *memory) Fingerprint() string { return m.fingerprint }

func (m *memory) Image(ctx context.Context, i int) (*Image, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return m.images[i], nil
}

// check returns an error if the pixels do not fit the size.
func (im *Image) check() error {
	switch {
	case im == nil:
		return fmt.Errorf("no image")
	case im.Width < 1 || im.Height < 1:
		return fmt.Errorf("size %d×%d", im.Width, im.Height)
	case im.Width > math.MaxInt32 || im.Height > math.MaxInt32 || len(im.Pix) != 3*im.Width*im.Height:
		return fmt.Errorf("size %d×%d with %d bytes, want %d", im.Width, im.Height, len(im.Pix), 3*im.Width*im.Height)
	}
	return nil
}

// Subset returns the items of ds with the given indices, in that order, as a set
// of its own.
//
// Subset panics if an index is out of range.
func Subset(ds Dataset, name string, indices []int) Dataset {
	n := ds.Len()
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", ds.Fingerprint())
	var b [8]byte
	for _, i := range indices {
		if i < 0 || i >= n {
			panic(fmt.Sprintf("dataloader: Subset: index %d of %d items", i, n))
		}
		binary.LittleEndian.PutUint64(b[:], uint64(i))
		h.Write(b[:])
	}
	return &subset{ds: ds, name: name, indices: indices, fingerprint: hex.EncodeToString(h.Sum(nil)[:16])}
}

type subset struct {
	ds          Dataset
	name        string
	indices     []int
	fingerprint string
}

func (s *subset) Name() string        { return s.name }
func (s *subset) Len() int            { return len(s.indices) }
func (s *subset) Item(i int) Item     { return s.ds.Item(s.indices[i]) }
func (s *subset) Fingerprint() string { return s.fingerprint }

func (s *subset) Image(ctx context.Context, i int) (*Image, error) {
	return s.ds.Image(ctx, s.indices[i])
}

// RequireCaptions returns an error that names the first item without a caption,
// or without a literal one if that is asked for. Rows without captions are
// welcome in a gallery, and cannot be trained on.
func RequireCaptions(ds Dataset, literal bool) error {
	field := "caption"
	if literal {
		field = "literal_caption"
	}
	for i := range ds.Len() {
		it := ds.Item(i)
		if (literal && it.Literal == "") || (!literal && it.Caption == "") {
			if it.File != "" {
				return fmt.Errorf("dataloader: %s: missing %q, which training needs", it.Row(), field)
			}
			return fmt.Errorf("dataloader: %s: item %d (%s): missing %q, which training needs", ds.Name(), i, it.ID, field)
		}
	}
	return nil
}
