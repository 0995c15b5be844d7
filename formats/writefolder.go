package formats

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"relsim/dataloader"
)

// folderSink writes pictures into a folder; beside each, its captions, one a line, as .txt, and the row as .json where it
// says more, or where a caption has several lines. Rows of one picture become one, with all their captions.
type folderSink struct {
	w     *Written
	l     *layout
	dir   string
	names []string // of the pictures, in order
	items map[string]dataloader.Item
}

func (l *layout) openFolder(part Part, w *Written) (sink, error) {
	dir, final, err := l.partFolder(part)
	if err != nil {
		return nil, err
	}
	l.store = newImageStore(dir, true)
	w.Path = final
	return &folderSink{w: w, l: l, dir: dir, items: map[string]dataloader.Item{}}, nil
}

func (s *folderSink) add(it dataloader.Item, p loaded) error {
	var room bytes.Buffer
	if err := appendRow(&room, &it); err != nil {
		return unfit{err}
	}
	name, err := s.l.keep(&it, p, s.w)
	if err != nil {
		return err
	}
	first, again := s.items[name]
	if !again {
		s.names = append(s.names, name)
		s.items[name] = it
		return nil
	}
	setCaptions(&first, append(protectedCaptions(&first), protectedCaptions(&it)...))
	if room.Reset(); appendRow(&room, &first) != nil {
		return unfit{errors.New("its picture has more captions than a row may hold")}
	}
	countLost(s.w.Lost, &it, func(field string, it *dataloader.Item) bool {
		return field == "caption" || field == "captions" || sameField(field, it, &first)
	})
	s.items[name] = first
	return nil
}

// protectedCaptions are the captions of an item as [setCaptions] takes them.
func protectedCaptions(it *dataloader.Item) []string {
	list := it.Captions
	if len(list) == 0 {
		list = []string{it.Caption}
	}
	out := make([]string, len(list))
	for i, c := range list {
		out[i] = protected(c)
	}
	return out
}

// sameField reports whether two items say the same.
func sameField(name string, a, b *dataloader.Item) bool {
	for _, f := range rowFields {
		if f.name == name {
			return f.has(a) == f.has(b) && (!f.has(a) || f.get(a) == f.get(b))
		}
	}
	return false
}

func (s *folderSink) close() error {
	var row bytes.Buffer
	for _, name := range s.names {
		it := s.items[name]
		beside := filepath.Join(s.dir, filepath.FromSlash(stem(name)))
		list := protectedCaptions(&it)
		if lines := !slices.ContainsFunc(list, func(c string) bool { return strings.ContainsAny(c, "\r\n") }); !lines || saysMore(&it) {
			row.Reset()
			if err := appendRow(&row, &it); err != nil {
				return err
			}
			row.WriteByte('\n')
			if err := writePicture(beside+".json", row.Bytes()); err != nil {
				return err
			}
			if !lines {
				continue // captions in lines would win
			}
		}
		if it.Caption == "" {
			continue
		}
		if err := writePicture(beside+".txt", []byte(strings.Join(list, "\n")+"\n")); err != nil {
			return err
		}
	}
	return nil
}

// saysMore reports whether an item has more than an ID and captions.
func saysMore(it *dataloader.Item) bool {
	return slices.ContainsFunc(rowFields, func(f rowField) bool {
		return f.has(it) && f.name != "image_hash" && f.name != "caption" && f.name != "captions"
	})
}
