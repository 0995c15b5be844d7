package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"relsim/checkpoints"
	"relsim/regular"
)

// download brings the files of a list into the cache, then writes down what they are.
func (r *resolver) download(ctx context.Context, l *list) error {
	d := &download{resolver: r, list: l}
	var index []byte
	if l.indexed() {
		if err := d.all(ctx, []string{indexFile}); err != nil {
			return err
		}
		var err error
		if index, err = regular.Read(filepath.Join(r.snapshot(l.commit), indexFile), maxIndex); err != nil {
			return err
		}
	}
	paths, err := l.plan(r.name, index)
	if err != nil {
		return err
	}
	if err := d.all(ctx, paths); err != nil {
		return err
	}
	if text := l.tree(); text != nil {
		if err := write(r.treePath(l.commit), text); err != nil {
			return err
		}
	}
	if r.name.Revision == l.commit {
		return nil
	}
	return write(r.refPath(), []byte(l.commit))
}

// download is one that is on its way.
type download struct {
	*resolver
	list        *list
	done, total int64
}

// all brings files, with regard to what there is room for.
func (d *download) all(ctx context.Context, paths []string) error {
	var size, partial int64
	var missing []string
	for _, path := range paths {
		f := d.list.files[path]
		if f.hash == "" {
			var err error
			if f, err = d.client.head(ctx, d.list.commit, path); err != nil {
				return err
			}
			d.list.files[path] = f
		}
		if size > d.limit()-f.size {
			return fmt.Errorf("the model has %s and more, the limit is %s", Bytes(size+f.size), Bytes(d.limit()))
		}
		size += f.size
		if d.there(d.list.commit, path, f.size) {
			continue
		}
		missing = append(missing, path)
		d.total += f.size
		if d.has(f) {
			partial += f.size
		} else if info, err := os.Stat(d.blob(f) + incomplete); err == nil && info.Size() <= f.size {
			partial += info.Size()
		}
	}
	if missing == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(d.repo, "blobs"), 0o755); err != nil {
		return err
	}
	need := d.total - d.done - partial
	free, ok := freeBytes(d.repo)
	if d.Options.free != nil {
		free, ok = d.Options.free(d.repo)
	}
	if ok && free < need {
		return fmt.Errorf("%s are missing, and %s has room for %s; make room, or set HF_HUB_CACHE to a folder on another disk", Bytes(need), d.settings.cache, Bytes(free))
	}
	if len(paths) > 1 {
		d.notice("%s: downloading %s into %s", d.name, Bytes(need), d.settings.cache)
	}
	for _, path := range missing {
		if err := d.file(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

func (d *download) limit() int64 {
	if d.MaxBytes > 0 {
		return d.MaxBytes
	}
	return DefaultMaxBytes
}

func (d *download) blob(f file) string { return filepath.Join(d.repo, "blobs", f.hash) }

// has tells whether a file's content is there, under whatever names.
func (d *download) has(f file) bool {
	info, err := os.Stat(d.blob(f))
	return err == nil && info.Mode().IsRegular() && info.Size() == f.size
}

// incomplete ends the names of files that are on their way, as those of huggingface_hub.
const incomplete = ".incomplete"

// file brings one file, and links the snapshot to it.
func (d *download) file(ctx context.Context, path string) error {
	f := d.list.files[path]
	unlock, err := d.lock(ctx, path, f)
	if err != nil {
		return err
	}
	defer unlock()
	before := d.done
	if !d.has(f) {
		if err := d.fetch(ctx, path, f); err != nil {
			return err
		}
	}
	d.report(path, before+f.size)
	return link(d.blob(f), filepath.Join(d.snapshot(d.list.commit), filepath.FromSlash(path)))
}

func (d *download) report(path string, done int64) {
	d.done = done
	if d.Progress != nil {
		d.Progress(Progress{d.name.String(), path, d.done, d.total})
	}
}

// lock waits until no other process brings the file. The lock is huggingface_hub's.
func (d *download) lock(ctx context.Context, path string, f file) (unlock func(), err error) {
	name := filepath.Join(d.settings.cache, ".locks", d.name.folder(), f.hash+".lock")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		l := flock.New(name, flock.SetPermissions(0o644))
		ok, err := l.TryLock()
		if err != nil {
			return nil, fmt.Errorf("%s: lock %s: %w; where files cannot be locked, set HF_HUB_CACHE to a folder on another disk", path, name, err)
		}
		if ok {
			// Whoever had it may have removed the file: then others lock a new one.
			held, err1 := l.Stat()
			named, err2 := os.Stat(name)
			if err1 == nil && err2 == nil && os.SameFile(held, named) {
				return func() { l.Close() }, nil
			}
			l.Close()
		}
		if first && !ok {
			d.notice("%s: waits for another process that downloads %s", d.name, path)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
}

// fetch brings the content of a file, from where an earlier download ended. The blob gets its
// name when it is whole, checked and on the disk.
func (d *download) fetch(ctx context.Context, path string, f file) (err error) {
	part := d.blob(f) + incomplete
	w, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	p := &partial{download: d, path: path, file: f, w: w, before: d.done}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	if err := p.resume(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for wrong := 0; ; wrong++ {
		if p.size < f.size || f.size == 0 && !p.whole() {
			err := d.client.retry(ctx, path, func() (int64, error) {
				before := p.size
				err := p.receive(ctx)
				return p.size - before, err
			})
			if err != nil {
				return err
			}
		}
		if p.whole() {
			break
		}
		// What was there before may have been damaged; what has come may be, once.
		if err := p.restart(); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if wrong == 1 {
			return fmt.Errorf("%s: what the server sends is not the file: its hash is not %s; nothing of it is kept", path, f.hash)
		}
		d.notice("%s: %s is damaged; it is downloaded again", d.name, path)
	}
	if err := w.Sync(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(part, d.blob(f))
}

// partial is a file that is on its way.
type partial struct {
	*download
	path   string
	file   file
	w      *os.File
	size   int64     // bytes that are there
	sum    hash.Hash // of these
	before int64     // bytes of files before this one
	etag   string    // of the storage, to go on with what was begun
}

// reset begins anew with the hash: a small file's is git's, of its size and content.
func (p *partial) reset() {
	p.size = 0
	if len(p.file.hash) == 64 {
		p.sum = sha256.New()
		return
	}
	p.sum = sha1.New()
	fmt.Fprintf(p.sum, "blob %d\x00", p.file.size)
}

func (p *partial) whole() bool {
	return p.size == p.file.size && hex.EncodeToString(p.sum.Sum(nil)) == p.file.hash
}

// resume takes in what an earlier download has left.
func (p *partial) resume() error {
	p.reset()
	info, err := p.w.Stat()
	if err != nil {
		return err
	}
	if info.Size() > p.file.size {
		return p.restart()
	}
	if info.Size() == 0 {
		return nil
	}
	n, err := io.CopyBuffer(p.sum, struct{ io.Reader }{p.w}, make([]byte, 1<<20))
	p.size = n
	return err
}

// restart throws away what is there.
func (p *partial) restart() error {
	if p.etag = ""; p.size > 0 || fileSize(p.w) > 0 {
		if err := p.w.Truncate(0); err != nil {
			return err
		}
	}
	if _, err := p.w.Seek(0, io.SeekStart); err != nil {
		return err
	}
	p.reset()
	return nil
}

func fileSize(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// receive asks for what is missing and writes it.
func (p *partial) receive(ctx context.Context) error {
	a, err := p.client.send(ctx, http.MethodGet, p.client.filePath(p.list.commit, p.path), p.size, p.etag)
	if errors.Is(err, errRange) && p.size > 0 {
		if err := p.restart(); err != nil {
			return err
		}
		return transient{error: err}
	}
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.check(p.list.commit, p.file); err != nil {
		return err
	}
	if coding := a.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return fmt.Errorf("%s sends it compressed (%.20q), which was not asked for", a.Request.URL.Host, coding)
	}
	switch a.StatusCode {
	case http.StatusOK:
		if p.size > 0 {
			if err := p.restart(); err != nil {
				return err
			}
		}
	case http.StatusPartialContent:
		start, total, ok := contentRange(a.Header.Get("Content-Range"))
		if !ok || start != p.size || total >= 0 && total != p.file.size {
			return fmt.Errorf("%s sends %.80q, bytes from %d of %d were asked for", a.Request.URL.Host, a.Header.Get("Content-Range"), p.size, p.file.size)
		}
	default:
		return fmt.Errorf("%s answers %d", a.Request.URL.Host, a.StatusCode)
	}
	if a.ContentLength >= 0 && a.ContentLength != p.file.size-p.size {
		return fmt.Errorf("%s sends %d bytes, the list of files says %d", a.Request.URL.Host, a.ContentLength, p.file.size-p.size)
	}
	if etag := a.Header.Get("ETag"); strings.HasPrefix(etag, `"`) { // a strong one
		p.etag = etag
	}
	return p.copy(ctx, a)
}

// copy writes what comes.
func (p *partial) copy(ctx context.Context, a *answer) error {
	buffer := make([]byte, 256<<10)
	for {
		n, err := a.Read(buffer)
		if int64(n) > p.file.size-p.size {
			if err := p.restart(); err != nil {
				return err
			}
			return fmt.Errorf("%s sends more than the %d bytes of the list of files; nothing of it is kept", a.Request.URL.Host, p.file.size)
		}
		if n > 0 {
			if _, err := p.w.Write(buffer[:n]); err != nil {
				return err
			}
			p.sum.Write(buffer[:n])
			p.size += int64(n)
			p.report(p.path, p.before+p.size)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == io.EOF && p.size < p.file.size:
			return transient{error: fmt.Errorf("%s ends after %d of %d bytes", a.Request.URL.Host, p.size, p.file.size)}
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%s, after %d of %d bytes: %w", a.Request.URL.Host, p.size, p.file.size, err)
		}
	}
}

var rangeForm = regexp.MustCompile(`^bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)$`)

// contentRange reads the first byte and the size of "bytes 5-9/10"; a size of -1 is not known.
func contentRange(s string) (start, total int64, ok bool) {
	m := rangeForm.FindStringSubmatch(s)
	if m == nil {
		return 0, 0, false
	}
	start, _ = strconv.ParseInt(m[1], 10, 64)
	end, _ := strconv.ParseInt(m[2], 10, 64)
	if m[3] == "*" {
		return start, -1, start <= end
	}
	total, _ = strconv.ParseInt(m[3], 10, 64)
	return start, total, start <= end && end < total
}

// links numbers those that this process makes beside their places.
var links atomic.Int64

// link makes path stand for a blob: a relative link, or, where there are none, the same file
// under a second name, or a copy.
func link(blob, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	target, err := filepath.Rel(filepath.Dir(path), blob)
	if err != nil {
		return err
	}
	beside := fmt.Sprintf("%s.%d-%d.tmp", path, os.Getpid(), links.Add(1))
	if os.Symlink(target, beside) != nil && os.Link(blob, beside) != nil {
		return copyFile(blob, path)
	}
	if err := os.Rename(beside, path); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	return nil
}

func copyFile(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	return checkpoints.WriteFile(to, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// write makes the file at path hold text, unless it does.
func write(path string, text []byte) error {
	if old, err := regular.Read(path, maxList); err == nil && string(old) == string(text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return checkpoints.WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// Bytes writes a number of bytes for people: "1.7 GB".
func Bytes(n int64) string {
	const units = "kMGTPE"
	value, unit := float64(n), -1
	for value >= 999.5 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	if unit < 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	if value < 99.95 {
		return fmt.Sprintf("%.1f %cB", value, units[unit])
	}
	return fmt.Sprintf("%.0f %cB", value, units[unit])
}
