package viewer

import (
	"context"
	"encoding/base64"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"relsim/dataloader"
)

// Ways to put pictures into an exported file.
const (
	EmbedThumbs = "thumbs" // small copies in the file
	EmbedLinks  = "links"  // relative links to the pictures' files
	EmbedNone   = "none"
)

// Export says what an exported file holds.
type Export struct {
	Dir   string // folder that the file will lie in; links are relative to it
	Embed string // EmbedThumbs, EmbedLinks or EmbedNone
	Side  int    // longest side of small copies in pixels, one of [Sides]
	Limit int64  // bytes of small copies; the pictures that do not fit become links
	Check Check  // of the pictures that are not copied
}

// Exported says what a file has got.
type Exported struct {
	Rows, Thumbs, Links int
	Bytes               int64 // of small copies
}

// Export writes the page into one file that needs no server, with what is found out about its pictures.
func (p *DataPage) Export(ctx context.Context, w io.Writer, e Export) (Exported, error) {
	if err := p.states.run(ctx, p.ds, Check{}); err != nil { // which files are there
		return Exported{}, err
	}
	done := Exported{Rows: p.ds.Len()}
	places := make(map[string]string)
	if e.Embed == EmbedThumbs {
		if err := p.embed(ctx, e, &done, places); err != nil {
			return done, err
		}
	}
	if err := p.states.run(ctx, p.ds, e.Check); err != nil {
		return done, err
	}
	states := p.states.all()
	for i := range p.ds.Len() {
		row := strconv.Itoa(i)
		if s := p.states.of[i]; e.Embed == EmbedNone || places[row] != "" || s == Missing || s == Broken {
			continue
		}
		if link := relative(e.Dir, p.ds.Item(i)); link != "" {
			done.Links++
			places[row] = link
		}
	}
	page := *p.page
	page.Blocks = append([]Block(nil), page.Blocks...)
	for _, block := range []struct {
		name string
		v    any
	}{{"states", states}, {"pictures", places}} {
		data, err := encode(block.v)
		if err != nil {
			return done, err
		}
		page.Blocks = append(page.Blocks, Block{block.name, data})
	}
	return done, page.Export(w)
}

// embed puts small copies of pictures into places, from the first row on, until the limit is reached.
func (p *DataPage) embed(ctx context.Context, e Export, done *Exported, places map[string]string) error {
	const batch = 256
	for first := 0; first < p.ds.Len(); first += batch {
		thumbs := make([]Thumb, min(batch, p.ds.Len()-first))
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(runtime.GOMAXPROCS(0))
		for k := range thumbs {
			row := first + k
			if s := p.states.of[row]; s == Missing || s == Broken {
				continue
			}
			group.Go(func() error {
				thumb, err := makeThumb(ctx, p.ds, row, e.Side)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				text := ""
				if StateOf(err) == Broken {
					text = reason(p.ds.Item(row), err)
				}
				p.states.set(row, StateOf(err), text)
				thumbs[k] = thumb
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for k, thumb := range thumbs {
			if len(thumb.Data) == 0 {
				continue
			}
			if done.Bytes+int64(len(thumb.Data)) > e.Limit {
				return nil
			}
			done.Bytes += int64(len(thumb.Data))
			done.Thumbs++
			places[strconv.Itoa(first+k)] = "data:" + thumb.Type + ";base64," + base64.StdEncoding.EncodeToString(thumb.Data)
		}
		if e.Check.Progress != nil {
			e.Check.Progress(first + len(thumbs))
		}
	}
	return nil
}

// all returns everything that is known, and says that there will be no more.
func (s *states) all() changes {
	all := s.since(0)
	for !all.Done {
		next := s.since(all.Version)
		all.Rows, all.States = append(all.Rows, next.Rows...), append(all.States, next.States...)
		if all.Reasons == nil {
			all.Reasons = make(map[string]string)
		}
		maps.Copy(all.Reasons, next.Reasons)
		all.Version, all.Checked, all.Done = next.Version, next.Checked, next.Done
	}
	return all
}

// relative returns the address of a picture's file from a folder; "": it has none, or lies on another drive.
func relative(dir string, it dataloader.Item) string {
	if it.Path == "" || it.Member != "" {
		return ""
	}
	from, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	to, err := filepath.Abs(it.Path)
	if err != nil {
		return ""
	}
	path, err := filepath.Rel(from, to)
	if err != nil {
		return ""
	}
	if _, err := os.Stat(to); err != nil {
		return ""
	}
	link := (&url.URL{Path: filepath.ToSlash(path)}).String() // "./a:b" where a colon would end a scheme
	if strings.HasPrefix(link, "//") {
		return ""
	}
	return link
}
