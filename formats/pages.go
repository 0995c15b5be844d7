package formats

import (
	"container/list"
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"relsim/parquetfile"
)

// Bounds of the memory for pictures of Parquet files: of pages that are kept, and of those being read.
const (
	keptPages  = 256 << 20
	readPages  = 512 << 20
	emptyPages = 1 << 10 // of a page without values
)

// pageKey names a page of pictures: its file, row group and number.
type pageKey struct{ file, group, page int }

// pageCache keeps the pages read last. Its methods may be called from several goroutines; a page that several ask for is
// read once.
type pageCache struct {
	mu      sync.Mutex
	pages   map[pageKey]*cachedPage
	last    list.List // of *cachedPage that are there, the one asked for last in front
	used    int64
	limit   int64
	reading *semaphore.Weighted // bytes of pages being read
	most    int64               // of reading
}

type cachedPage struct {
	key   pageKey
	done  chan struct{} // closed when page or err is there
	page  *parquetfile.ByteArrays
	err   error
	place *list.Element
}

func newPageCache(limit, reading int64) *pageCache {
	return &pageCache{pages: make(map[pageKey]*cachedPage), limit: limit, reading: semaphore.NewWeighted(reading), most: reading}
}

// get returns a page, which it may read by read, of need bytes of memory. The page must not be changed.
func (c *pageCache) get(ctx context.Context, key pageKey, need int64, read func() (*parquetfile.ByteArrays, error)) (*parquetfile.ByteArrays, error) {
	c.mu.Lock()
	p := c.pages[key]
	if p != nil {
		if p.place != nil {
			c.last.MoveToFront(p.place)
		}
		c.mu.Unlock()
		select {
		case <-p.done:
			return p.page, p.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	p = &cachedPage{key: key, done: make(chan struct{})}
	c.pages[key] = p
	c.mu.Unlock()

	need = min(need, c.most)
	// Others wait for this page, so that it is read even if ctx ends meanwhile; the wait for memory is short.
	if err := c.reading.Acquire(context.WithoutCancel(ctx), need); err != nil {
		p.err = err
	} else {
		p.page, p.err = read()
		c.reading.Release(need)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	close(p.done)
	if p.err != nil { // the next one tries again
		delete(c.pages, key)
		return nil, p.err
	}
	p.place = c.last.PushFront(p)
	for c.used += p.size(); c.used > c.limit && c.last.Len() > 1; {
		old := c.last.Remove(c.last.Back()).(*cachedPage)
		delete(c.pages, old.key)
		c.used -= old.size()
	}
	return p.page, nil
}

func (p *cachedPage) size() int64 { return p.page.Size + emptyPages }
