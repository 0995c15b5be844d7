package viewer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io/fs"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"relsim/dataloader"
)

// Sides are the sizes that pictures are shown in: no side of a picture is longer, in pixels.
var Sides = []int{256, 96, 160, 512, 1280}

func isSide(side int) bool { return slices.Contains(Sides, side) }

// State says what is known of a picture.
type State byte

// The states of a picture.
const (
	Unchecked State = iota // nobody has looked
	Good                   // it can be decoded
	Missing                // it is not there
	Broken                 // it is there, and cannot be decoded
	Present                // it is there; whether it can be decoded was not asked
)

func (s State) String() string {
	return [...]string{"not checked yet", "picture ok", "picture missing", "picture broken", "picture there, not decoded"}[s]
}

// StateOf says what the error of reading a picture means: nil, [Good]; a file that is not there, [Missing]; the end of a
// context, [Unchecked]; any other, [Broken].
func StateOf(err error) State {
	switch {
	case err == nil:
		return Good
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return Unchecked
	case errors.Is(err, fs.ErrNotExist):
		return Missing
	}
	return Broken
}

// Thumb is a picture, encoded as it is shown.
type Thumb struct {
	Type string // image/jpeg or image/png
	Data []byte
	etag string
}

// Pictures makes the pictures of a data set as small as they are shown, and keeps those that were asked for last. Its
// methods may be called from several goroutines.
type Pictures struct {
	ds     dataloader.Dataset
	decode *semaphore.Weighted // as many at once as there are processors
	flight singleflight.Group  // one picture is made once

	mu    sync.Mutex
	cache lru
}

// NewPictures returns the pictures of ds. Those that were made last are kept in memory bytes of memory.
func NewPictures(ds dataloader.Dataset, memory int64) *Pictures {
	return &Pictures{ds: ds, decode: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))), cache: lru{limit: memory}}
}

// Len is the number of pictures.
func (p *Pictures) Len() int { return p.ds.Len() }

// Get returns picture i, 0 <= i < Len(), at most side pixels wide and high. It is encoded as JPEG, or as PNG where that
// is smaller. [StateOf] says what an error means.
func (p *Pictures) Get(ctx context.Context, i, side int) (Thumb, error) {
	key := thumbKey{i, side}
	p.mu.Lock()
	thumb, ok := p.cache.get(key)
	p.mu.Unlock()
	if ok {
		return thumb, nil
	}
	// Who asked first may go away: the others still want it, so that it is made without its context.
	made := p.flight.DoChan(fmt.Sprint(i, "/", side), func() (any, error) {
		shared := context.WithoutCancel(ctx)
		if err := p.decode.Acquire(shared, 1); err != nil {
			return nil, err
		}
		defer p.decode.Release(1)
		thumb, err := makeThumb(shared, p.ds, i, side)
		if err == nil {
			p.mu.Lock()
			p.cache.add(key, thumb)
			p.mu.Unlock()
		}
		return thumb, err
	})
	select {
	case r := <-made:
		if r.Err != nil {
			return Thumb{}, r.Err
		}
		return r.Val.(Thumb), nil
	case <-ctx.Done():
		return Thumb{}, ctx.Err()
	}
}

// makeThumb decodes picture i and makes it small.
func makeThumb(ctx context.Context, ds dataloader.Dataset, i, side int) (Thumb, error) {
	im, err := shrunk(ctx, ds, i, side)
	if err != nil {
		return Thumb{}, err
	}
	rgba := image.NewNRGBA(image.Rect(0, 0, im.Width, im.Height))
	for k := range im.Width * im.Height {
		copy(rgba.Pix[4*k:], im.Pix[3*k:3*k+3])
		rgba.Pix[4*k+3] = 255
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, rgba, &jpeg.Options{Quality: 82}); err != nil {
		return Thumb{}, fmt.Errorf("viewer: encode picture %d: %w", i, err)
	}
	thumb := Thumb{Type: "image/jpeg", Data: b.Bytes()}
	if im.Width*im.Height <= 160*160 { // of a drawing, PNG may be smaller, and is sharp
		var b bytes.Buffer
		if err := png.Encode(&b, rgba); err != nil {
			return Thumb{}, fmt.Errorf("viewer: encode picture %d: %w", i, err)
		}
		if b.Len() < len(thumb.Data) {
			thumb = Thumb{Type: "image/png", Data: b.Bytes()}
		}
	}
	thumb.etag = etagOf(thumb.Data)
	return thumb, nil
}

// shrunk returns picture i, no side of it longer than side pixels.
func shrunk(ctx context.Context, ds dataloader.Dataset, i, side int) (*dataloader.Image, error) {
	data, err := dataloader.Bytes(ctx, ds, i)
	if err != nil {
		return nil, err
	}
	w, h, err := dataloader.Measure(data, dataloader.DefaultLimits)
	if err != nil {
		return nil, err
	}
	if longer := max(w, h); longer > side {
		w, h = max(1, w*side/longer), max(1, h*side/longer)
	}
	t := dataloader.Transform{
		Size: h, Width: w, Pictures: dataloader.Pictures{Draft: true},
		Geometry: dataloader.Geometry{Resize: dataloader.ResizeExact, Height: h, Width: w, Filter: "lanczos"},
	}
	return dataloader.DecodeSquare(data, dataloader.DefaultLimits, t)
}
