package formats

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"relsim/dataloader"
)

func isShard(name string, head []byte) bool {
	const magic = 257
	return strings.HasSuffix(name, ".tar") || len(head) > magic+5 && string(head[magic:magic+5]) == "ustar"
}

// shardEndings are those of pictures, the one that is taken first where a sample has several, as open_clip has it.
var shardEndings = []string{"jpg", "png", "jpeg", "webp"}

// openShards opens shards of WebDataset, one behind the other: tar files whose members with one path up to the first dot
// of its last element are a sample. It has a picture (.jpg, .png, .jpeg, .webp), captions one a line (.txt), and an object
// with the keys of JSON lines, or of img2dataset (.json); other members, such as .cls, are passed by. Captions of .txt
// win, but where they are the first of .json, these are taken. The ID of a sample is its image_hash, or its path up to
// the dot, behind the shard's name where another shard has the same.
//
// A shard is read once, for an index; see [shardIndex.keep]. Then pictures are read at their places.
//
// Links, devices, sparse files and members whose names lead elsewhere are passed by and counted, and so are samples
// without a picture: see [dataloader.Notes]. A damaged header, two members with one name, and a text that is not whole
// are errors. Of a shard that breaks off inside of a picture, this one cannot be read.
//
// The fingerprint is a hash of what the index says: names, sizes, texts.
func openShards(ctx context.Context, paths []string, _ Options) (dataloader.Dataset, error) {
	files := &openFiles{}
	indices := make([]*shardIndex, len(paths))
	for _, path := range paths {
		if _, _, err := files.add(path); err != nil {
			return nil, fmt.Errorf("formats: open shard: %w", err)
		}
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(min(8, 2*runtime.GOMAXPROCS(0))) // reading waits for the disk more than for the processor
	for k, path := range paths {
		group.Go(func() (err error) {
			if indices[k], err = indexOf(inner, files, k); err != nil {
				return shardError(ctx, path, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	s := &shardSet{hash: sha256.New()}
	for k, path := range paths {
		fmt.Fprintf(s.hash, "%q\n", filepath.Base(path))
		if err := s.add(ctx, path, int32(k), indices[k]); err != nil {
			return nil, shardError(ctx, path, err)
		}
		indices[k] = nil
	}
	if len(s.items) == 0 {
		return nil, fmt.Errorf("formats: %s: no samples with a picture: want members such as 000.jpg with 000.txt%s",
			paths[0], strings.Join(append([]string{""}, s.notes()...), "; "))
	}
	s.distinct(paths)
	for _, it := range s.items {
		hashItem(s.hash, it)
	}
	read := func(ctx context.Context, i int, buf []byte) ([]byte, error) { return s.read(ctx, files, i, buf) }
	return dataloader.NewShards(setName(paths), hex.EncodeToString(s.hash.Sum(nil)[:16]), s.items, s.shard, s.notes(), read), nil
}

func shardError(ctx context.Context, path string, err error) error {
	var of memberError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &of):
		return fmt.Errorf("formats: %s:%w", filepath.Base(path), err)
	}
	return fmt.Errorf("formats: %s: %w", filepath.Base(path), err)
}

// setName is the name of a data set of files.
func setName(paths []string) string {
	name := filepath.Base(paths[0])
	if n := len(paths) - 1; n > 0 {
		name = fmt.Sprintf("%s and %d more", name, n)
	}
	return name
}

// indexOf returns the index of shard k: the kept one, or a new one.
func indexOf(ctx context.Context, files *openFiles, k int) (*shardIndex, error) {
	file, err := files.acquire(k)
	if err != nil {
		return nil, err
	}
	defer files.release(k)
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	path := indexPath(files.files[k].path, info)
	if x := keptIndex(path, info.Size()); x != nil {
		return x, nil
	}
	x, err := readIndex(ctx, file, info.Size())
	if err == nil {
		x.keep(path)
	}
	return x, err
}

// shardSet are the samples of shards.
type shardSet struct {
	items   []dataloader.Item
	said    []bool  // of each item: image_hash says its ID
	shard   []int32 // of each
	at      []place // of its picture
	passed  [passes]int64
	without int64  // samples without a picture
	first   string // where the first of them is
	hash    interface {
		io.Writer
		Sum([]byte) []byte
	}
}

// place is where a picture is in its shard.
type place struct {
	at, size int64
	cut      bool
}

// add adds the samples of a shard, in the order of their first members.
func (s *shardSet) add(ctx context.Context, path string, k int32, x *shardIndex) error {
	type sample struct {
		picture, text, object *member
		rank                  int // of the picture's ending
		first                 string
	}
	var order []*sample
	byKey := make(map[string]*sample)
	names := make(map[string]bool, len(x.members))
	for i := range x.members {
		m := &x.members[i]
		key, ending, _ := keyAndEnding(m.name)
		rank := slices.Index(shardEndings, ending)
		if rank < 0 && !isText(ending) {
			continue
		}
		fmt.Fprintf(s.hash, "%q %d\n", m.name, m.size)
		if names[m.name] {
			return memberError{m.name, fmt.Errorf("a second member of this name, at byte %d", m.at)}
		}
		names[m.name] = true
		of := byKey[key]
		if of == nil {
			of = &sample{first: m.name}
			byKey[key] = of
			order = append(order, of)
		}
		slot := &of.picture
		switch ending {
		case "txt":
			slot = &of.text
		case "json":
			slot = &of.object
		default:
			if *slot != nil && rank > of.rank {
				continue
			}
			if *slot == nil || rank < of.rank {
				of.rank, *slot = rank, nil
			}
		}
		if *slot != nil { // endings in letters of another size
			return memberError{m.name, fmt.Errorf("a second member of this sample with the ending .%s", ending)}
		}
		*slot = m
	}
	for n, of := range order {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if of.picture == nil {
			if s.without++; s.first == "" {
				s.first = filepath.Base(path) + ":" + of.first
			}
			continue
		}
		it, said, err := itemOf(of.object, of.text)
		if err != nil {
			return err
		}
		if !said {
			it.ID, _, _ = keyAndEnding(of.picture.name)
		}
		it.File, it.Path, it.Member = filepath.Base(path), path, of.picture.name
		s.items, s.said, s.shard = append(s.items, it), append(s.said, said), append(s.shard, k)
		s.at = append(s.at, place{of.picture.at, of.picture.size, of.picture.cut})
	}
	for i, n := range x.passed {
		s.passed[i] += n
	}
	return nil
}

// itemOf is what the texts of a sample say of its picture; said: its ID, too.
func itemOf(object, text *member) (it dataloader.Item, said bool, err error) {
	it = dataloader.Item{Family: -1, Profile: -1}
	if object != nil {
		if it, err = parseSampleObject(object.text); err != nil {
			return it, false, memberError{object.name, err}
		}
	}
	if text != nil {
		list, err := parseCaptions(text.text)
		if err != nil {
			line, why, _ := strings.Cut(err.Error(), ": ")
			return it, false, memberError{text.name + ":" + line, errors.New(why)}
		}
		whole := strings.TrimSpace(string(bytes.TrimPrefix(text.text, []byte(byteOrderMark))))
		if len(list) > 0 && unquote(whole) != it.Caption {
			setCaptions(&it, list)
		}
	}
	return it, it.ID != "", nil
}

// parseSampleObject reads the keys of JSON lines, and img2dataset's url.
func parseSampleObject(text []byte) (dataloader.Item, error) {
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte(byteOrderMark)))
	it, err := parseObject(text)
	if err != nil {
		return it, err
	}
	if it.ID != "" {
		if err := checkHash(it.ID); err != nil {
			return it, err
		}
	}
	if it.URL == "" {
		var other struct {
			URL any `json:"url"`
		}
		if err := json.Unmarshal(text, &other); err != nil {
			return it, fmt.Errorf("not a JSON object: %w", err)
		}
		it.URL, _ = other.URL.(string)
	}
	return it, nil
}

// distinct gives samples of their own names to those whose paths several shards have.
func (s *shardSet) distinct(paths []string) {
	distinctIDs(s.items, s.said, func(i int) string { return stemOf(paths[s.shard[i]]) })
}

// stemOf is the name of a file without its ending.
func stemOf(path string) string {
	name := filepath.Base(path)
	return name[:len(name)-len(filepath.Ext(name))]
}

// distinctIDs puts the name of its place before every ID that several items have, none of them by what its row says,
// and a number behind it where that does not help.
func distinctIDs(items []dataloader.Item, said []bool, place func(i int) string) {
	count := make(map[string]int, len(items))
	for i := range items {
		count[items[i].ID]++
	}
	for i := range items {
		if it := &items[i]; !said[i] && count[it.ID] > 1 {
			it.ID = place(i) + "/" + it.ID
			if count[it.ID]++; count[it.ID] > 1 {
				it.ID = fmt.Sprintf("%s-%d", it.ID, count[it.ID])
			}
		}
	}
}

// hashItem writes what an item says, but for where it stands, to a hash.
func hashItem(w io.Writer, it dataloader.Item) {
	fmt.Fprintf(w, "%q %q %q %q %q %q %q %q %q %d %d %d %v %t %t\n", it.ID, it.Caption, it.Captions, it.Literal, it.Relation,
		it.Split, it.Pair, it.URL, it.Group, it.Family, it.Profile, it.Count, it.Ink, it.HeldOut, it.Gravity)
}

// notes say what was passed by.
func (s *shardSet) notes() []string {
	var list []string
	for i, n := range s.passed {
		if n > 0 {
			list = append(list, fmt.Sprintf("%d members passed by: %s", n, passNames[i]))
		}
	}
	if s.without > 0 {
		list = append(list, fmt.Sprintf("%d samples without a picture passed by, the first %s", s.without, s.first))
	}
	return list
}

// read reads the picture of item i.
func (s *shardSet) read(ctx context.Context, files *openFiles, i int, buf []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := s.at[i]
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("formats: read %s: %w", s.items[i].Picture(), err)
	}
	if most := dataloader.DefaultLimits.Bytes; p.size > most {
		return fail(fmt.Errorf("%d bytes: want at most %d", p.size, most))
	}
	if p.cut {
		return fail(fmt.Errorf("the shard ends inside of it: %d bytes of %d are there", files.files[s.shard[i]].size-p.at, p.size))
	}
	buf = slices.Grow(buf[:0], int(p.size))[:p.size]
	if err := files.readAt(int(s.shard[i]), buf, p.at); err != nil {
		return fail(err)
	}
	return buf, nil
}
