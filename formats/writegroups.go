package formats

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"relsim/dataloader"
)

// groupsSink writes groups of pictures: seed_group.json, a list of captions with the addresses of their pictures, and the
// pictures as images/group_N/<MD5 of the address>, N from 0. Rows belong to one group when they say so, else when they
// have the same caption.
type groupsSink struct {
	l      *layout
	w      *Written
	file   string
	images string // "": addresses alone
	number map[string]int
	groups []seedGroup
	stored map[string]storeKey // by the path in images
}

type seedGroup struct {
	caption string
	urls    []string
}

func (l *layout) openGroups(part Part, o WriteOptions, w *Written) (sink, error) {
	s := &groupsSink{l: l, w: w, number: map[string]int{}, stored: map[string]storeKey{}}
	var err error
	switch {
	case l.file != "":
		s.file, s.images = l.stagedFile, l.stagedImages
		w.Path, w.Images = l.file, l.images
	case o.NoImages && part.Name != "": // one folder for all parts
		s.file, w.Path = l.rowsFile(part)
		w.Images = l.images
	default:
		var dir, final string
		if dir, final, err = l.partFolder(part); err != nil {
			return nil, err
		}
		s.file, w.Path = filepath.Join(dir, defaultFile[Groups]), filepath.Join(final, defaultFile[Groups])
		if w.Images = l.images; !o.NoImages {
			s.images, w.Images = filepath.Join(dir, imagesName), filepath.Join(final, imagesName)
			err = os.Mkdir(s.images, 0o755)
		}
	}
	return s, err
}

func (s *groupsSink) add(it dataloader.Item, p loaded) error {
	key := "caption " + it.Caption
	switch {
	case it.Group != "":
		key = "group " + it.Group
	case it.Caption == "":
		return unfit{errors.New("neither a group nor a caption says which group it belongs to")}
	}
	n, ok := s.number[key]
	if !ok {
		n = len(s.groups)
	}
	if s.l.refer != "" {
		var err error
		if n, err = s.referred(&it); err != nil {
			return err
		}
	}
	url := it.URL
	if url == "" {
		if s.images == "" {
			return unfit{errors.New("it has no address, and a list of groups has nothing else")}
		}
		url = fmt.Sprintf("%s/group_%d/%s%s", imagesName, n, fileID(it.ID), p.ext)
	}
	sum := md5.Sum([]byte(url))
	hash := hex.EncodeToString(sum[:])
	if s.images != "" {
		path := filepath.Join("group_"+strconv.Itoa(n), hash)
		is := storeKey{sum: md5.Sum(p.data)}
		switch was, there := s.stored[path]; {
		case there && was != is:
			return unfit{fmt.Errorf("its group has another picture of the address %s", url)}
		case !there:
			if !ok {
				if err := os.Mkdir(filepath.Join(s.images, filepath.Dir(path)), 0o755); err != nil {
					return err
				}
			}
			if err := writePicture(filepath.Join(s.images, path+p.ext), p.data); err != nil {
				return err
			}
			s.stored[path] = is
			s.w.Pictures++
			s.w.Bytes += int64(len(p.data))
		}
	}
	if !ok {
		s.number[key] = n
		for len(s.groups) <= n {
			s.groups = append(s.groups, seedGroup{})
		}
		s.groups[n].caption = it.Caption
		s.w.Groups++
	}
	g := &s.groups[n]
	g.urls = append(g.urls, url)
	countLost(s.w.Lost, &it, func(field string, it *dataloader.Item) bool {
		switch field {
		case "image_hash":
			return hash == it.ID
		case "caption":
			return it.Caption == g.caption
		case "group":
			return it.Group == strconv.Itoa(n)
		}
		return field == "url_link"
	})
	return nil
}

// mostGroups bounds the numbers of groups that keep them.
const mostGroups = 1 << 24

// referred returns the number of an item's group, which it has to keep: the folder of its picture is called so. Groups
// that have no pictures here stay, empty.
func (s *groupsSink) referred(it *dataloader.Item) (int, error) {
	n, err := strconv.Atoi(it.Group)
	if err != nil || n < 0 || n > mostGroups || strconv.Itoa(n) != it.Group {
		return 0, unfit{fmt.Errorf("its group %.40q is not a number", it.Group)}
	}
	path, err := s.l.referTo(it)
	if err == nil && filepath.Dir(path) != "group_"+it.Group {
		err = unfit{fmt.Errorf("its picture %s is not in the folder of group %d in %s", it.Path, n, s.l.refer)}
	}
	return n, err
}

func (s *groupsSink) close() error {
	f, err := createRows(s.file, "")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteByte('[')
	for i, g := range s.groups {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n{\"anonymous_caption\":")
		if err := errors.Join(appendJSON(&b, protected(g.caption)), writeURLs(&b, g.urls)); err != nil {
			return errors.Join(err, f.close())
		}
	}
	b.WriteString("\n]\n")
	_, err = f.Write(b.Bytes())
	return errors.Join(err, f.close())
}

func writeURLs(b *bytes.Buffer, urls []string) error {
	b.WriteString(`,"image_urls":`)
	if urls == nil {
		urls = []string{}
	}
	err := appendJSON(b, urls)
	b.WriteByte('}')
	return err
}
