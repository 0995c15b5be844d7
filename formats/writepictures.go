package formats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"relsim/dataloader"
)

// extensionOf returns the ending of a picture's file by its first bytes, "" where it is none that is read.
func extensionOf(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return ".png"
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return ".jpg"
	case len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return ".webp"
	}
	return ""
}

// loaded is the file of a picture.
type loaded struct {
	data []byte
	ext  string
	err  error // it is broken
}

// maxLoaded bounds the bytes of the pictures that wait to be written.
const maxLoaded = 64 << 20

// eachPicture reads the pictures of ds on several goroutines, and calls use with each in order.
func eachPicture(ctx context.Context, ds dataloader.Dataset, o *WriteOptions, use func(i int, p loaded) error) error {
	outer := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := o.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var (
		mu      sync.Mutex
		room    = sync.NewCond(&mu)
		waiting int64 // bytes that are loaded and not yet used
		running int   // pictures that are loaded or waiting to be
	)
	stop := context.AfterFunc(ctx, func() { mu.Lock(); room.Broadcast(); mu.Unlock() })
	defer stop()
	type job struct {
		i    int
		done chan loaded
	}
	jobs := make(chan job)
	order := make(chan job, 4*workers)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel() // before the wait
	group.Go(func() {
		defer close(jobs)
		defer close(order)
		for i := range ds.Len() {
			mu.Lock()
			for waiting > maxLoaded && running > 0 && ctx.Err() == nil {
				room.Wait()
			}
			running++
			mu.Unlock()
			j := job{i, make(chan loaded, 1)}
			select {
			case order <- j:
			case <-ctx.Done():
				return
			}
			select {
			case jobs <- j:
			case <-ctx.Done():
				return
			}
		}
	})
	for range workers {
		group.Go(func() {
			for j := range jobs {
				p := load(ctx, ds, j.i, o)
				mu.Lock()
				waiting += int64(len(p.data))
				mu.Unlock()
				j.done <- p
			}
		})
	}
	for j := range order {
		var p loaded
		select {
		case p = <-j.done:
		case <-ctx.Done():
		}
		if outer.Err() != nil {
			return context.Cause(outer)
		}
		if err := use(j.i, p); err != nil {
			return err
		}
		mu.Lock()
		waiting -= int64(len(p.data))
		running--
		room.Broadcast()
		mu.Unlock()
	}
	if outer.Err() != nil {
		return context.Cause(outer)
	}
	return nil
}

// load reads a picture, and looks whether it is one.
func load(ctx context.Context, ds dataloader.Dataset, i int, o *WriteOptions) loaded {
	data, err := dataloader.Bytes(ctx, ds, i)
	if err != nil {
		return loaded{err: err}
	}
	where := func(err error) error {
		if at := ds.Item(i).Picture(); at != "" {
			return fmt.Errorf("%s: %w", at, err)
		}
		return err
	}
	if len(data) == 0 {
		return loaded{err: where(errors.New("the file is empty"))}
	}
	if extensionOf(data) == "" {
		return loaded{err: where(errors.New("not a PNG, JPEG or WebP picture"))}
	}
	switch {
	case o.Encode != nil:
		if data, err = o.Encode(data); err == nil && extensionOf(data) == "" {
			err = errors.New("the encoder made no PNG, JPEG or WebP picture")
		}
	case !o.Trust:
		_, err = dataloader.Decode(data, dataloader.DefaultLimits)
	}
	if err != nil {
		return loaded{err: where(err)}
	}
	return loaded{data: data, ext: extensionOf(data)}
}
