package inspection

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"relsim/dataloader"
	"relsim/phash"
)

// Pictures are statistics of the pictures of the set. A file that several rows name counts once.
type Pictures struct {
	Files    int          `json:"files"` // distinct ones that rows name
	Good     int          `json:"good"`
	Broken   int          `json:"broken"` // missing ones too
	Reasons  []Count      `json:"reasons"`
	Examples []Noted      `json:"examples"` // of broken ones
	Rows     int          `json:"broken_rows"`
	Formats  []Count      `json:"formats"` // of good ones
	Bytes    Distribution `json:"bytes"`
	Total    int64        `json:"total_bytes"`
	Width    Distribution `json:"width"` // pixels, as the picture is meant to be seen
	Height   Distribution `json:"height"`
	Side     Distribution `json:"shorter_side"`
	Flat     int          `json:"one_colour"` // every pixel is the same
	FlatRows []Row        `json:"one_colour_examples"`
	Animated int          `json:"animated"` // PNG files with more pictures than the first, which is read
}

// Why a picture cannot be used.
const (
	Missing    = "missing"
	Unreadable = "unreadable"
	Empty      = "empty file"
	HTML       = "HTML in place of a picture"
	Foreign    = "another format"
	Truncated  = "truncated"
	TooLarge   = "too large"
	AnimatedBy = "animated WebP"
	Damaged    = "damaged"
)

// picture is what is kept of a file.
type picture struct {
	row           int32  // the first one that names it
	rows          int32  // how many rows do
	reason        string // why it is broken; "": it is not
	detail        string // the error; of the first broken ones only
	format        string
	bytes         int64
	width, height int32
	flat          bool
	animated      bool
	sum           [sha256.Size]byte
	hash          phash.Hash
	list          []int32 // rows, where there are several
}

// readPictures reads each file once.
func (in *inspector) readPictures(ctx context.Context) ([]picture, error) {
	type place struct {
		set  int
		name string
	}
	known := make(map[place]int)
	var files []picture
	for row := range in.rows {
		it := in.item(row)
		if name := it.Picture(); name != "" {
			p := place{in.rows[row].set, name}
			if k, ok := known[p]; ok {
				files[k].rows++
				if files[k].list == nil {
					files[k].list = []int32{files[k].row}
				}
				files[k].list = append(files[k].list, int32(row))
				continue
			}
			known[p] = len(files)
		}
		files = append(files, picture{row: int32(row), rows: 1})
	}
	group, ctx := errgroup.WithContext(ctx)
	var next, done atomic.Int64
	for range cmp.Or(in.Workers, runtime.GOMAXPROCS(0)) {
		group.Go(func() error {
			for {
				k := int(next.Add(1)) - 1
				if k >= len(files) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				r := in.rows[files[k].row]
				if err := files[k].read(ctx, in.sets[r.set], r.index); err != nil {
					return err
				}
				if n := done.Add(1); in.Progress != nil && (n%64 == 0 || int(n) == len(files)) {
					in.Progress(int(n), len(files))
				}
			}
		})
	}
	return files, group.Wait()
}

// read looks at the picture of item i. The error is one of ctx alone.
func (p *picture) read(ctx context.Context, ds dataloader.Dataset, i int) error {
	data, err := dataloader.Bytes(ctx, ds, i)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		p.reason, p.detail = unread(err), strings.TrimPrefix(err.Error(), "dataloader: decode: ")
		return nil
	}
	p.bytes, p.sum, p.format = int64(len(data)), sha256.Sum256(data), formatOf(data)
	im, err := dataloader.Decode(data, dataloader.DefaultLimits)
	if err != nil {
		p.reason, p.detail = undecoded(data, p.format, err), strings.TrimPrefix(err.Error(), "dataloader: decode: ")
		return nil
	}
	p.width, p.height = int32(im.Width), int32(im.Height)
	p.animated = p.format == "PNG" && animatedPNG(data)
	p.flat = flat(im)
	p.hash = phash.Of(im)
	return nil
}

// unread says why a file could not be read.
func unread(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Missing
	case strings.Contains(err.Error(), "more than the limit"):
		return TooLarge
	case strings.Contains(err.Error(), "truncated"):
		return Truncated
	}
	return Unreadable
}

// undecoded says why a file that was read is no picture.
func undecoded(data []byte, format string, err error) string {
	switch {
	case len(data) == 0:
		return Empty
	case format == "HTML":
		return HTML
	case format == "":
		return Damaged
	case format == "WebP" && len(data) > 20 && string(data[12:16]) == "VP8X" && data[20]&2 != 0:
		return AnimatedBy
	case format != "PNG" && format != "JPEG" && format != "WebP":
		return Foreign + " (" + format + ")"
	case strings.Contains(err.Error(), "more than the limit"):
		return TooLarge
	case strings.Contains(err.Error(), "truncated") || endless(data, format):
		return Truncated
	}
	return Damaged
}

// endless says that a file, which could not be decoded, has not the end that its format asks for.
func endless(data []byte, format string) bool {
	tail := data[max(0, len(data)-64):]
	switch format {
	case "PNG":
		return !bytes.Contains(tail, []byte("IEND"))
	case "JPEG":
		return !bytes.Contains(tail, []byte("\xff\xd9"))
	case "WebP":
		return len(data) >= 8 && int64(binary.LittleEndian.Uint32(data[4:]))+8 > int64(len(data))
	}
	return false
}

// formatOf names the format of a file by its first bytes; "": none that is known.
func formatOf(data []byte) string {
	for _, f := range []struct {
		name  string
		at    int
		magic string
	}{
		{"PNG", 0, "\x89PNG\r\n\x1a\n"}, {"JPEG", 0, "\xff\xd8\xff"}, {"WebP", 8, "WEBP"}, {"GIF", 0, "GIF8"}, {"BMP", 0, "BM"},
		{"TIFF", 0, "II*\x00"}, {"TIFF", 0, "MM\x00*"}, {"AVIF", 4, "ftypavif"}, {"AVIF", 4, "ftypavis"}, {"HEIC", 4, "ftyphei"},
		{"HEIC", 4, "ftypmif1"}, {"JPEG XL", 0, "\xff\x0a"}, {"JPEG XL", 4, "JXL "}, {"JPEG 2000", 4, "jP  "}, {"ICO", 0, "\x00\x00\x01\x00"},
		{"PDF", 0, "%PDF"}, {"gzip", 0, "\x1f\x8b"},
	} {
		if len(data) >= f.at && bytes.HasPrefix(data[f.at:], []byte(f.magic)) {
			return f.name
		}
	}
	head := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(data[:min(len(data), 1024)], []byte("\xef\xbb\xbf")), " \t\r\n"))
	switch {
	case bytes.HasPrefix(head, []byte("<!doctype html")), bytes.HasPrefix(head, []byte("<html")), bytes.HasPrefix(head, []byte("<head")):
		return "HTML"
	case bytes.Contains(head, []byte("<svg")) && bytes.HasPrefix(head, []byte("<")):
		return "SVG"
	case bytes.HasPrefix(head, []byte("<?xml")):
		return "XML"
	case bytes.HasPrefix(head, []byte("{")):
		return "JSON"
	}
	return ""
}

// animatedPNG says that a PNG file has the chunk acTL, which stands before the pixels.
func animatedPNG(data []byte) bool {
	pixels := bytes.Index(data, []byte("IDAT"))
	return pixels > 0 && bytes.Contains(data[:pixels], []byte("acTL"))
}

func flat(im *dataloader.Image) bool {
	first := im.Pix[:3]
	for i := 3; i < len(im.Pix); i += 3 {
		if !bytes.Equal(im.Pix[i:i+3], first) {
			return false
		}
	}
	return true
}

// pictureStatistics are those of the files of the set itself.
func (in *inspector) pictureStatistics(files []picture) *Pictures {
	p := &Pictures{}
	reasons, formats := map[string]int{}, map[string]int{}
	var size, width, height, side []int
	for k := range files {
		f := &files[k]
		if int(f.row) >= in.own() {
			continue
		}
		p.Files++
		if f.reason != "" {
			p.Broken++
			p.Rows += int(f.rows)
			reasons[f.reason]++
			if len(p.Examples) < in.Top {
				p.Examples = append(p.Examples, Noted{in.example(int(f.row)), []string{f.reason, f.detail}})
			}
			continue
		}
		p.Good++
		formats[f.format]++
		p.Total += f.bytes
		size, width, height = append(size, int(f.bytes)), append(width, int(f.width)), append(height, int(f.height))
		side = append(side, int(min(f.width, f.height)))
		if f.animated {
			p.Animated++
		}
		if f.flat {
			p.Flat++
			if len(p.FlatRows) < in.Top {
				p.FlatRows = append(p.FlatRows, in.example(int(f.row)))
			}
		}
	}
	p.Reasons, p.Formats = in.top(reasons, 0), in.top(formats, 0)
	p.Bytes, p.Width, p.Height, p.Side = octaves(size), octaves(width), octaves(height), octaves(side)
	return p
}

// content is what some files hold: pictures of the same bytes.
type content struct {
	hash  phash.Hash
	flat  bool
	files int
	rows  []int32 // ascending
}

// contents groups the good files of both sets by their bytes, by their first rows.
func (in *inspector) contents(files []picture) []content {
	known := make(map[[sha256.Size]byte]int)
	var list []content
	for k := range files {
		f := &files[k]
		if f.reason != "" {
			continue
		}
		n, ok := known[f.sum]
		if !ok {
			n = len(list)
			known[f.sum] = n
			list = append(list, content{hash: f.hash, flat: f.flat})
		}
		c := &list[n]
		c.files++
		if f.list == nil {
			c.rows = append(c.rows, f.row)
		} else {
			c.rows = append(c.rows, f.list...)
		}
	}
	for i := range list {
		slices.Sort(list[i].rows)
	}
	return list
}
