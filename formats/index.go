package formats

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	stdpath "path"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"relsim/regular"
)

// member is a file in a shard.
type member struct {
	name string
	at   int64  // of its bytes
	size int64  // as its header says
	text []byte // of captions and rows, which are read with the index
	cut  bool   // the shard ends before its bytes do
}

// shardIndex are the members of a shard that may belong to samples, in their order.
type shardIndex struct {
	members []member
	passed  [passes]int64 // members that were passed by, by reason
}

// Reasons to pass a member by.
const (
	passLink   = iota // symbolic and hard ones
	passDevice        // or a pipe
	passSparse
	passOutside // its name leads out of the shard, were it unpacked
	passName    // is no text
	passes
)

var passNames = [passes]string{"links", "devices and pipes", "sparse files", "names that lead out of the shard", "names that are not UTF-8"}

// keyAndEnding splits the name of a member as WebDataset does it: the key goes up to the first dot of the last element of
// the path, and the ending begins behind it. ok is false for names that belong to no sample: without a key or an ending, and
// hidden or meta files.
func keyAndEnding(name string) (key, ending string, ok bool) {
	dir, base := stdpath.Split(name)
	key, ending, ok = strings.Cut(base, ".")
	if !ok || key == "" || strings.HasPrefix(base, "__") && strings.Contains(base[2:], "__") {
		return "", "", false
	}
	return dir + key, strings.ToLower(ending), true
}

// isText reports whether a member is read with the index.
func isText(ending string) bool { return ending == "txt" || ending == "json" }

// readIndex reads the headers of a shard of size bytes, and its texts.
func readIndex(ctx context.Context, r io.ReaderAt, size int64) (*shardIndex, error) {
	var head [6]byte
	if n, _ := r.ReadAt(head[:], 0); n > 2 {
		for _, packed := range []struct{ magic, by, with string }{
			{"\x1f\x8b", "gzip", "gunzip"}, {"BZh", "bzip2", "bunzip2"}, {"\x28\xb5\x2f\xfd", "zstd", "unzstd"}, {"\xfd7zXZ", "xz", "unxz"},
		} {
			if bytes.HasPrefix(head[:n], []byte(packed.magic)) {
				return nil, fmt.Errorf("it is compressed by %s: unpack it first (%s), as pictures are read at random places of a shard", packed.by, packed.with)
			}
		}
	}
	in := io.NewSectionReader(r, 0, size)
	t := tar.NewReader(in)
	x := &shardIndex{}
	at := int64(0)
	for n := 0; ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		h, err := t.Next()
		if err == io.EOF {
			return x, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w behind byte %d", headerError(err), at)
		}
		at, err = in.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		m := member{name: strings.TrimPrefix(h.Name, "./"), at: at, size: h.Size}
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		case tar.TypeLink, tar.TypeSymlink:
			x.passed[passLink]++
			continue
		case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
			x.passed[passDevice]++
			continue
		default: // folders, and what is for other programs
			continue
		}
		_, ending, ok := keyAndEnding(m.name)
		switch {
		case isSparse(h):
			x.passed[passSparse]++
			continue
		case !utf8.ValidString(m.name):
			x.passed[passName]++
			continue
		case !filepath.IsLocal(filepath.FromSlash(m.name)) || strings.ContainsAny(m.name, "\\\x00"):
			x.passed[passOutside]++
			continue
		}
		m.cut = m.size > size-m.at
		if ok && isText(ending) {
			switch {
			case m.cut:
				return nil, memberError{m.name, fmt.Errorf("the shard ends inside of it: %d bytes of %d are there", size-m.at, m.size)}
			case m.size > maxLine:
				return nil, memberError{m.name, fmt.Errorf("%d bytes: want at most %d", m.size, maxLine)}
			}
			m.text = make([]byte, m.size)
			if _, err := r.ReadAt(m.text, m.at); err != nil && err != io.EOF {
				return nil, memberError{m.name, err}
			}
		}
		if ok {
			x.members = append(x.members, m)
		}
		if m.cut { // nothing follows
			return x, nil
		}
	}
}

// memberError is an error that a member is to be named with.
type memberError struct {
	name string
	err  error
}

func (e memberError) Error() string { return e.name + ": " + e.err.Error() }

func headerError(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the shard ends inside of a member or header")
	case errors.Is(err, tar.ErrHeader):
		return errors.New("not a tar file, or a damaged header")
	}
	return err
}

// isSparse reports whether the bytes of a file do not lie one behind the other.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// Indices of shards with many members are kept, since reading one takes a look at every member.
const (
	keepMembers = 1000
	indexMagic  = "relsim index of a shard 1\n"
	maxIndex    = 1 << 30
)

// indexFolder is the folder of the kept indices: "" for none.
var indexFolder = func() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "relsim", "shards")
}

// indexPath is the file of the kept index of a shard: another one for each path, size and time of change.
func indexPath(path string, info fs.FileInfo) string {
	dir := indexFolder()
	absolute, err := filepath.Abs(path)
	if dir == "" || err != nil {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %d", absolute, info.Size(), info.ModTime().UnixNano()))
	return filepath.Join(dir, hex.EncodeToString(sum[:16])+".index")
}

// keptIndex reads a kept index, nil where there is none that is whole.
func keptIndex(path string, size int64) *shardIndex {
	if path == "" {
		return nil
	}
	data, err := regular.Read(path, maxIndex)
	if err != nil {
		return nil
	}
	return parseIndex(data, size)
}

// keep writes an index beside its place and moves it there. That it cannot be kept is no error.
func (x *shardIndex) keep(path string) {
	if path == "" || len(x.members) < keepMembers {
		return
	}
	dir := filepath.Dir(path)
	if os.MkdirAll(dir, 0o777) != nil {
		return
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return
	}
	_, err = f.Write(x.bytes())
	if errors.Join(err, f.Close()) == nil && os.Rename(f.Name(), path) == nil {
		return
	}
	os.Remove(f.Name())
}

// bytes are an index as it is kept: numbers and texts behind their lengths, and a hash of it all.
func (x *shardIndex) bytes() []byte {
	b := []byte(indexMagic)
	text := func(s []byte) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	for _, n := range x.passed {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = binary.AppendUvarint(b, uint64(len(x.members)))
	for _, m := range x.members {
		text([]byte(m.name))
		b = binary.AppendUvarint(b, uint64(m.at))
		b = binary.AppendUvarint(b, uint64(m.size))
		if _, ending, _ := keyAndEnding(m.name); isText(ending) {
			b = append(b, m.text...)
		}
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// parseIndex reads an index as it is kept, of a shard of size bytes; nil if it is damaged.
func parseIndex(data []byte, size int64) *shardIndex {
	n := len(data) - sha256.Size
	if n < len(indexMagic) || string(data[:len(indexMagic)]) != indexMagic {
		return nil
	}
	if sum := sha256.Sum256(data[:n]); !bytes.Equal(sum[:], data[n:]) {
		return nil
	}
	data = data[len(indexMagic):n]
	failed := false
	number := func(most int64) int64 {
		v, n := binary.Uvarint(data)
		if n <= 0 || v > uint64(max(most, 0)) {
			failed = true
			return 0
		}
		data = data[n:]
		return int64(v)
	}
	take := func(n int64) []byte {
		if n > int64(len(data)) {
			failed = true
			return nil
		}
		b := data[:n:n]
		data = data[n:]
		return b
	}
	x := &shardIndex{}
	for i := range x.passed {
		x.passed[i] = number(size)
	}
	count := number(int64(len(data)) / 3) // each takes three bytes at least
	for range count {
		m := member{name: string(take(number(int64(len(data)))))}
		m.at = number(size)
		m.size = number(1<<63 - 1)
		m.cut = m.size > size-m.at
		_, ending, ok := keyAndEnding(m.name)
		if isText(ending) {
			failed = failed || m.cut || m.size > maxLine
			m.text = take(m.size)
		}
		if failed || !ok {
			return nil
		}
		x.members = append(x.members, m)
	}
	if failed || len(data) > 0 {
		return nil
	}
	return x
}
