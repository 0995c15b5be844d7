package formats

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"relsim/dataloader"
)

// maxName bounds the name of a picture's file without its ending, in bytes: systems take 255 with it.
const maxName = 240

// fileID makes an ID one that names a file: what cannot stand in a name becomes %XX, and a long one is cut.
func fileID(id string) string {
	if id == "" {
		return "%"
	}
	if checkHash(id) == nil && utf8.ValidString(id) && len(id) <= maxName && id != manifestFile {
		return id
	}
	var b strings.Builder
	for i := 0; i < len(id); {
		r, n := utf8.DecodeRuneInString(id[i:])
		switch {
		case r == utf8.RuneError && n == 1, r < ' ', r == 0x7f, strings.ContainsRune(`/\:%`, r), r == '.' && (i == 0 || id[i-1] == '.'):
			for _, c := range []byte(id[i : i+n]) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		default:
			b.WriteString(id[i : i+n])
		}
		i += n
	}
	s := b.String()
	if len(s) <= maxName {
		return s
	}
	cut := maxName - 17
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "-" + hashHex(id)
}

// pathID is [fileID] for a folder of pictures, whose IDs may be paths in it. No part begins with a dot: it would be hidden.
func pathID(id string) string {
	parts := strings.Split(id, "/")
	if len(id) > 4*maxName || len(parts) > 16 {
		parts = []string{id}
	}
	for i, part := range parts {
		if part == "" {
			return strings.ReplaceAll(fileID(id), ".", "%2E") // no path
		}
		if part = fileID(part); part[0] == '.' {
			part = "%2E" + part[1:]
		}
		parts[i] = part
	}
	return strings.Join(parts, "/")
}

// hashHex is a short name of a text: 64 bits of its SHA-256.
func hashHex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// imageStore writes pictures into a folder, each once, under names by which they are found: by [findPictures], or where
// the folder stands alone by [openFolder].
type imageStore struct {
	dir     string
	alone   bool
	stored  map[storeKey]storedPicture
	taken   map[string]bool // what names begin with, without their endings
	next    map[string]int  // for an ID with several pictures, the number that the next one gets
	renamed map[string]bool // IDs that could not stay
	files   int
	bytes   int64
}

type storeKey struct {
	id  string
	sum [16]byte
}

type storedPicture struct{ id, name string }

func newImageStore(dir string, alone bool) *imageStore {
	return &imageStore{dir: dir, alone: alone, stored: map[storeKey]storedPicture{}, taken: map[string]bool{}, next: map[string]int{}, renamed: map[string]bool{}}
}

// put writes the picture of an ID, and returns the ID and the name of the file that it has here. An ID that is not the name
// of a file gets another; so does one with a second picture, or with the name of another's file.
func (s *imageStore) put(id string, p loaded) (storedPicture, error) {
	sum := sha256.Sum256(p.data)
	key := storeKey{id, [16]byte(sum[:])}
	if at, ok := s.stored[key]; ok {
		return at, nil
	}
	base := fileID(id)
	stem := stem
	if s.alone {
		base, stem = pathID(id), func(id string) string { return id }
	}
	at := storedPicture{id: base}
	for s.taken[stem(at.id)] {
		n := max(s.next[base], 2)
		s.next[base] = n + 1
		at.id = fmt.Sprintf("%s-%d", base, n)
	}
	s.taken[stem(at.id)] = true
	if at.id != id {
		s.renamed[id] = true
	}
	at.name = at.id
	if s.alone || !dataloader.IsPictureName(at.name) {
		at.name += p.ext
	}
	path := filepath.Join(s.dir, filepath.FromSlash(at.name))
	if strings.Contains(at.name, "/") {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return at, err
		}
	}
	if err := writePicture(path, p.data); err != nil {
		return at, err
	}
	s.stored[key] = at
	s.files++
	s.bytes += int64(len(p.data))
	return at, nil
}

// stem is an ID without the ending of a picture: two IDs of one stem would look for each other's files.
func stem(id string) string {
	if dataloader.IsPictureName(id) {
		return strings.TrimSuffix(id, filepath.Ext(id))
	}
	return id
}

// writePicture writes a file that is not there yet.
func writePicture(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: there are two pictures of this name; does the file system tell capital letters?", filepath.Base(path))
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && !syncsTrees {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
