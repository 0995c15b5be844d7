package formats

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	stdpath "path"
	"path/filepath"
	"strconv"
	"unicode/utf8"

	"relsim/dataloader"
)

// maxGroup bounds a seed group, in bytes of JSON.
const maxGroup = 4 << 20

func isGroups(_ string, head []byte) bool {
	head = bytes.TrimLeft(head, " \t\r\n")
	return len(head) > 0 && head[0] == '['
}

// openGroups opens seed groups, as they are published for relsim:
//
//	[{"anonymous_caption": "\"…\"", "image_urls": ["https://…/0.png", "https://…/1.png"]}]
//
// Each picture has the caption of its group, without the quotes around it, and the number of the group, from 0. Its ID
// is the MD5 of its address in hexadecimal digits. The picture of group N is IMAGES/group_N/<ID>, as relsim's downloader
// calls it with --use_hash, or has the name in its address, as without; endings are those of [findPictures]. IMAGES is
// the folder images beside the file, or the file's own where that holds group_0.
func openGroups(ctx context.Context, paths []string, o Options) (dataloader.Dataset, error) {
	f, err := openFile(paths[0])
	if err != nil {
		return nil, fmt.Errorf("formats: open %s: %w", paths[0], err)
	}
	defer f.Close()
	images := o.Images
	if images == "" {
		beside := filepath.Dir(paths[0])
		if info, err := os.Stat(filepath.Join(beside, groupFolder(0))); err == nil && info.IsDir() {
			images = beside
		}
	}
	if images, err = imageFolder(paths[0], images, o.Bare); err != nil {
		return nil, err
	}
	name, hash := filepath.Base(paths[0]), sha256.New()
	items, err := readGroups(ctx, io.TeeReader(f, hash), name)
	if err != nil {
		return nil, err
	}
	if err := findGrouped(items, images); err != nil {
		return nil, err
	}
	return dataloader.NewRows(name, hex.EncodeToString(hash.Sum(nil)[:16]), items, nil), nil
}

func groupFolder(n int) string { return "group_" + strconv.Itoa(n) }

// readGroups reads seed groups; name stands for the file in errors. One group at a time is in memory as JSON.
func readGroups(ctx context.Context, r io.Reader, name string) ([]dataloader.Item, error) {
	text := bufio.NewReader(r)
	if mark, _ := text.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		text.Discard(len(mark))
	}
	p := &groupParser{source: &lines{r: text, line: 1, left: maxGroup}}
	p.decoder = json.NewDecoder(p.source)
	fail := func(where string, err error) ([]dataloader.Item, error) {
		if cause := p.source.err; cause != nil {
			err = cause
		} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the file ends before its groups do")
		}
		return nil, fmt.Errorf("formats: %s:%d: %s%w", name, p.line(), where, err)
	}
	if err := p.delim('['); err != nil {
		return fail("", err)
	}
	var items []dataloader.Item
	n := 0
	for ; p.decoder.More(); n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p.source.left = maxGroup
		group, err := p.group()
		if err != nil {
			return fail(fmt.Sprintf("group %d: ", n), err)
		}
		for i := range group {
			group[i].Group, group[i].File = strconv.Itoa(n), name
		}
		items = append(items, group...)
	}
	if err := p.delim(']'); err != nil {
		return fail("", err)
	}
	p.source.left = maxGroup
	if _, err := p.decoder.Token(); err != io.EOF {
		if err == nil {
			err = errors.New("text after the groups")
		}
		return fail("", err)
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("formats: %s: %d groups without pictures", name, n)
	}
	return items, nil
}

// groupParser reads groups token by token, so that an error has a line.
type groupParser struct {
	source  *lines
	decoder *json.Decoder
}

// line is that of the last token.
func (p *groupParser) line() int { return p.source.lineAt(p.decoder.InputOffset()) }

// delim reads a token that has to be d.
func (p *groupParser) delim(d json.Delim) error {
	t, err := p.decoder.Token()
	if err != nil {
		return err
	}
	if t != d {
		return fmt.Errorf("%s, want %q", tokenKind(t), d.String())
	}
	return nil
}

// group reads {"anonymous_caption": …, "image_urls": […]}. Other keys are passed by.
func (p *groupParser) group() ([]dataloader.Item, error) {
	if err := p.delim('{'); err != nil {
		return nil, err
	}
	var text captions
	var items []dataloader.Item
	seen := make(map[string]bool)
	for p.decoder.More() {
		t, err := p.decoder.Token()
		if err != nil {
			return nil, err
		}
		key, _ := t.(string) // the decoder lets nothing else pass
		if key != captionKey && key != urlsKey {
			var skip json.RawMessage
			if err := p.decoder.Decode(&skip); err != nil {
				return nil, err
			}
			continue
		}
		if seen[key] {
			return nil, fmt.Errorf("%q is there twice", key)
		}
		seen[key] = true
		if key == captionKey {
			if err := p.decoder.Decode(&text); err != nil {
				return nil, err
			}
			if text.err != nil {
				return nil, fmt.Errorf("%q %w", captionKey, text.err)
			}
			continue
		}
		if items, err = p.urls(); err != nil {
			return nil, err
		}
	}
	if err := p.delim('}'); err != nil {
		return nil, err
	}
	if !seen[urlsKey] {
		return nil, fmt.Errorf("missing %q", urlsKey)
	}
	for i := range items {
		setCaptions(&items[i], text.list)
	}
	return items, nil
}

const (
	captionKey = "anonymous_caption"
	urlsKey    = "image_urls"
)

// urls reads the addresses of a group.
func (p *groupParser) urls() ([]dataloader.Item, error) {
	if err := p.delim('['); err != nil {
		return nil, fmt.Errorf("%q: %w", urlsKey, err)
	}
	var items []dataloader.Item
	for p.decoder.More() {
		t, err := p.decoder.Token()
		if err != nil {
			return nil, err
		}
		address, ok := t.(string)
		if !ok || address == "" {
			return nil, fmt.Errorf("%q: address %d is %s, want a string", urlsKey, len(items), tokenKind(t))
		}
		sum := md5.Sum([]byte(address))
		items = append(items, dataloader.Item{
			ID: hex.EncodeToString(sum[:]), URL: address, Family: -1, Profile: -1, Line: p.line(),
		})
	}
	return items, p.delim(']')
}

// tokenKind says what a token is.
func tokenKind(t json.Token) string {
	switch t := t.(type) {
	case json.Delim:
		return strconv.Quote(t.String())
	case string:
		if t == "" {
			return "an empty string"
		}
		return "a string"
	case bool:
		return "a bool"
	case nil:
		return "null"
	}
	return "a number"
}

// lines passes on a text of UTF-8 and knows the lines of what was read of it. It fails when more than left bytes are
// asked for: a decoder takes all memory for a value without end.
type lines struct {
	r     io.Reader
	left  int
	total int64   // bytes passed on
	line  int     // that of the offset asked for last, from 1
	ends  []int64 // offsets of the ends of lines behind it
	rest  []byte  // of a character that the last piece has cut
	err   error
}

func (l *lines) Read(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	const piece = 32 << 10 // a decoder with much room would read beyond the group
	n, err := l.r.Read(p[:min(len(p), piece)])
	if err != nil && err != io.EOF {
		l.err = err
	}
	for i, c := range p[:n] {
		if c == '\n' {
			l.ends = append(l.ends, l.total+int64(i))
		}
	}
	l.total += int64(n)
	if l.left -= n; l.left < 0 {
		l.err = fmt.Errorf("a group longer than %d bytes", maxGroup)
	}
	if !l.valid(p[:n], err != nil) {
		l.err = errors.New("not UTF-8")
	}
	if l.err != nil {
		return 0, l.err
	}
	return n, err
}

// valid reports whether the next piece goes on with UTF-8.
func (l *lines) valid(piece []byte, last bool) bool {
	text := append(l.rest, piece...)
	cut := len(text)
	for back := 1; !last && back < utf8.UTFMax && back <= len(text); back++ {
		if c := text[len(text)-back]; utf8.RuneStart(c) {
			if !utf8.FullRune(text[len(text)-back:]) {
				cut = len(text) - back
			}
			break
		}
	}
	ok := utf8.Valid(text[:cut])
	l.rest = append(l.rest[:0:0], text[cut:]...)
	return ok
}

// lineAt returns the line of an offset that is not before the last one asked for.
func (l *lines) lineAt(offset int64) int {
	k := 0
	for k < len(l.ends) && l.ends[k] < offset {
		k++
	}
	l.line += k
	l.ends = l.ends[k:]
	return l.line
}

// findGrouped sets the Path of every item of seed groups, by a listing of each group's folder. One whose picture is not
// there gets the first name that was looked for.
func findGrouped(items []dataloader.Item, dir string) error {
	for at := 0; at < len(items); {
		end := at + 1
		for end < len(items) && items[end].Group == items[at].Group {
			end++
		}
		group, folder := items[at:end], filepath.Join(dir, "group_"+items[at].Group)
		at = end
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			for i := range group {
				group[i].Path = filepath.Join(folder, group[i].ID+extensions[0])
			}
			continue
		}
		if err := findPictures(group, folder); err != nil {
			return err
		}
		var named []dataloader.Item // by the names in their addresses
		var indices []int
		for i, it := range group {
			if info, err := os.Stat(it.Path); err == nil && info.Mode().IsRegular() {
				continue
			}
			if name := nameIn(it.URL); name != "" {
				named, indices = append(named, dataloader.Item{ID: name}), append(indices, i)
			}
		}
		if err := findPictures(named, folder); err != nil {
			return err
		}
		for k, i := range indices {
			if info, err := os.Stat(named[k].Path); err == nil && info.Mode().IsRegular() {
				group[i].Path = named[k].Path
			}
		}
	}
	return nil
}

// nameIn returns the name of the picture in an address without its ending; "" where it is none that a file can have.
func nameIn(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	name := withoutEnding(stdpath.Base(u.Path))
	if checkHash(name) != nil {
		return ""
	}
	return name
}
