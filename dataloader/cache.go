package dataloader

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Cache keeps decoded and resized pictures in a folder, so that a second epoch, or
// another run with the same settings, does not decode.
//
// A picture is found by a hash of its file's bytes, of the size and settings of the
// square, and of the version of the code that makes it: a changed file or setting is
// another entry. An entry with a wrong checksum is made again. Several processes may
// share a folder: entries are written beside and renamed, and their content depends on
// their name alone. They are not synced: after a loss of power the checksum tells.
//
// A full folder keeps what it has, and pictures beyond it are decoded every time: to
// drop the oldest would, in epochs in random order, lose each entry before its use.
//
// Nothing that happens to the folder is an error of a run. It is warned of once, and
// pictures are decoded as if there were none.
type Cache struct {
	dir   string
	limit int64
	warn  func(string)

	mu      sync.Mutex
	used    int64           // bytes of entries, as far as this process knows
	added   int64           // bytes that this process has written since it last looked
	off     bool            // there is no such folder: nothing is read either
	stopped bool            // nothing more is written
	warned  map[string]bool // kinds of warnings that were given
	stats   CacheStats
}

// CacheStats counts what a [Cache] has done.
type CacheStats struct {
	Hits, Misses int   // pictures found, and not
	Written      int   // entries
	Damaged      int   // entries whose checksum was wrong
	Bytes        int64 // of all entries
}

// DefaultCacheBytes bounds a cache if nothing else is said.
const DefaultCacheBytes = 20 << 30

// The versions change when the pixels of the same file and settings do: of the largest
// square, converted by ourselves, and of all others.
const (
	cacheVersion         = "relsim square 1"
	cacheVersionSettings = "relsim settings 1"
)

// An entry is the magic, the size and the checksum, four bytes each, and the pixels.
// The size is the side of a square; else the width, and the height in the upper half.
// The checksum is that of name and pixels.
const (
	cacheMagic  = "RSQ1"
	cacheHeader = 12
	cacheEnding = ".square"
	cachePrefix = "tmp-" // of files on the way
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// OpenCache opens a cache in a folder, which is made if it is not there. limit bounds
// the bytes of its entries; each of several processes that share the folder may go
// beyond it by 1/64, or 1 MiB if that is more. If the folder holds more, the entries
// written longest ago are removed.
//
// warn gets each kind of trouble once, in words; nil: nobody does.
//
// OpenCache panics if limit is not positive.
func OpenCache(dir string, limit int64, warn func(string)) *Cache {
	if limit <= 0 {
		panic(fmt.Sprintf("dataloader: OpenCache: limit of %d bytes", limit))
	}
	c := &Cache{dir: dir, limit: limit, warn: warn, warned: make(map[string]bool)}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		c.off, c.stopped = true, true
		c.warnOnce("off", "%v: pictures are decoded every time", err)
		return c
	}
	c.look(true)
	return c
}

// Stats returns the counts so far.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Bytes = c.used
	return s
}

// warnOnce passes a warning on, the first of its kind. c.mu is held.
func (c *Cache) warnOnce(kind, format string, args ...any) {
	if c.warn != nil && !c.warned[kind] {
		c.warned[kind] = true
		c.warn(fmt.Sprintf("cache %s: ", c.dir) + fmt.Sprintf(format, args...))
	}
}

// stop ends writing. c.mu is held.
func (c *Cache) stop(err error) {
	c.stopped = true
	c.warnOnce("write", "%v: what is there is used, other pictures are decoded every time", err)
}

type cacheEntry struct {
	path  string
	bytes int64
	time  time.Time
}

// look adds up the entries of the folder. At the start it also removes what was left
// on the way by a process that was killed, and what is beyond the limit.
func (c *Cache) look(start bool) {
	var entries []cacheEntry
	var used int64
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) && path != c.dir { // another process removed it
				return nil
			}
			return err
		}
		if !d.Type().IsRegular() {
			return nil
		}
		left, entry := strings.HasPrefix(d.Name(), cachePrefix), strings.HasSuffix(d.Name(), cacheEnding)
		if !left && !entry {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		if left {
			if start && time.Since(info.ModTime()) > time.Hour {
				os.Remove(path)
			}
			return nil
		}
		used += info.Size()
		if start {
			entries = append(entries, cacheEntry{path, info.Size(), info.ModTime()})
		}
		return nil
	})
	if start && used > c.limit {
		slices.SortFunc(entries, func(a, b cacheEntry) int { return a.time.Compare(b.time) })
		for _, e := range entries {
			if used <= c.limit {
				break
			}
			if os.Remove(e.path) == nil {
				used -= e.bytes
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used, c.added = used, 0
	if err != nil {
		c.stop(err)
	}
}

// cacheKey names the square that t makes of a file's bytes.
type cacheKey [sha256.Size]byte

func keyOf(data []byte, t Transform) (k cacheKey) {
	h := sha256.New()
	if t.Geometry.Resize == CropSquare && t.Pictures.Convert == "" {
		fmt.Fprintf(h, "%s\n%d %q %t\n%d\n", cacheVersion, t.Size, t.Pictures.JPEG, t.Pictures.Draft, len(data))
	} else {
		width, height := t.bounds()
		fmt.Fprintf(h, "%s\n%d×%d %+v %+v\n%d\n", cacheVersionSettings, width, height, t.Geometry, t.Pictures, len(data))
	}
	h.Write(data)
	h.Sum(k[:0])
	return k
}

func (c *Cache) path(k cacheKey) string {
	name := hex.EncodeToString(k[:])
	return filepath.Join(c.dir, name[:2], name[2:]+cacheEnding)
}

func cacheSize(width, height int) uint32 {
	if width == height {
		return uint32(width)
	}
	return uint32(height)<<16 | uint32(width)
}

func checksum(k cacheKey, pix []byte) uint32 {
	return crc32.Update(crc32.Checksum(k[:], castagnoli), castagnoli, pix)
}

// get returns the picture of the name, or nil. Its pixels lie in w.
func (c *Cache) get(k cacheKey, width, height int, w *workspace) *Image {
	if c.off {
		return nil
	}
	path := c.path(k)
	n := cacheHeader + 3*width*height
	if cap(w.entry) < n {
		w.entry = make([]byte, n)
	}
	b := w.entry[:n]
	err := readEntry(path, b)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil && string(b[:4]) == cacheMagic && binary.LittleEndian.Uint32(b[4:]) == cacheSize(width, height) &&
		binary.LittleEndian.Uint32(b[8:]) == checksum(k, b[cacheHeader:]):
		c.stats.Hits++
		return &Image{Width: width, Height: height, Pix: b[cacheHeader:]}
	case err == nil || errors.Is(err, errEntrySize):
		c.stats.Damaged++
		c.used -= int64(n)
		c.warnOnce("damaged", "%s is damaged: it is made again", path)
		os.Remove(path)
	case !errors.Is(err, fs.ErrNotExist):
		c.warnOnce("read", "%v: such pictures are decoded every time", err)
	}
	c.stats.Misses++
	return nil
}

var errEntrySize = errors.New("not of the size of an entry")

// readEntry reads a file of the length of b.
func readEntry(path string, b []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != int64(len(b)) || !info.Mode().IsRegular() {
		return errEntrySize
	}
	_, err = f.ReadAt(b, 0)
	return err
}

// put keeps a square.
func (c *Cache) put(k cacheKey, im *Image) {
	n := int64(cacheHeader + len(im.Pix))
	if c.off || !c.room(n) {
		return
	}
	b := make([]byte, cacheHeader, n)
	copy(b, cacheMagic)
	binary.LittleEndian.PutUint32(b[4:], cacheSize(im.Width, im.Height))
	binary.LittleEndian.PutUint32(b[8:], checksum(k, im.Pix))
	err := writeEntry(c.path(k), append(b, im.Pix...))
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.used -= n
		c.stop(err)
		return
	}
	c.stats.Written++
}

// room takes n bytes of what is left. Every now and then it looks what other
// processes have added.
func (c *Cache) room(n int64) bool {
	for {
		c.mu.Lock()
		switch {
		case c.stopped:
			c.mu.Unlock()
			return false
		case c.added > 0 && c.added+n > c.limit/64 && c.added > 1<<20:
			c.added = 0 // one goroutine looks
			c.mu.Unlock()
			c.look(false)
			continue
		case c.used+n > c.limit:
			c.stopped = true
			c.warnOnce("full", "it is full, with %d of %d bytes: other pictures are decoded every time; give it more, or remove the folder", c.used, c.limit)
			c.mu.Unlock()
			return false
		}
		c.used += n
		c.added += n
		c.mu.Unlock()
		return true
	}
}

// writeEntry writes a file beside and renames it.
func writeEntry(path string, b []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, cachePrefix)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		f, err = os.CreateTemp(dir, cachePrefix)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if failed := f.Close(); err == nil {
		err = failed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
		if err != nil && sameSize(path, len(b)) { // where a file that is open elsewhere cannot be replaced
			os.Remove(f.Name())
			return nil
		}
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func sameSize(path string, n int) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() == int64(n)
}

// WithCache returns a view of ds that keeps the squares of its files in c (nil:
// nowhere). Sets in memory need none and are returned as they are.
func WithCache(ds Dataset, c *Cache) Dataset {
	switch d := ds.(type) {
	case *rows:
		view := *d
		view.cache = c
		return &view
	case *subset:
		view := *d
		view.ds = WithCache(d.ds, c)
		return &view
	case *squared:
		return &squared{WithCache(d.Dataset, c), d.t}
	case *mixed:
		view := *d
		view.sets = make([]Dataset, len(d.sets))
		for k, set := range d.sets {
			view.sets[k] = WithCache(set, c)
		}
		return &view
	}
	return ds
}

func (d *rows) SquareImage(ctx context.Context, i int, t Transform) (*Image, error) {
	return d.square(ctx, i, t, new(workspace))
}

func (d *rows) square(ctx context.Context, i int, t Transform, w *workspace) (*Image, error) {
	data, err := d.data(ctx, i, w)
	if err != nil {
		return nil, err
	}
	var k cacheKey
	if d.cache != nil {
		k = keyOf(data, t)
		width, height := t.bounds()
		if im := d.cache.get(k, width, height, w); im != nil {
			im.made = t.shape()
			return im, nil
		}
	}
	im, err := decodeSquare(data, DefaultLimits, t, w)
	if err != nil {
		return nil, fmt.Errorf("dataloader: decode %s: %w", d.items[i].Picture(), err)
	}
	if d.cache != nil {
		d.cache.put(k, im)
	}
	return im, nil
}
