package formats

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	stdpath "path"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"relsim/dataloader"
	"relsim/parquetfile"
)

func isParquet(name string, head []byte) bool {
	return strings.HasSuffix(name, ".parquet") || bytes.HasPrefix(head, []byte("PAR1"))
}

// Columns of Parquet files besides those of [openTable].
var (
	pictureKeys = []string{"image", "jpg", "png", "jpeg", "webp", "image_bytes", "img"} // with the pictures in them
	nameKeys    = []string{"key", "__key__"}                                            // that name a picture without image_hash
	listKeys    = []string{"captions", "texts", "sentences"}                            // of several captions
)

// openParquet opens Parquet files, one behind the other, with the columns of JSON lines, as [openTable] knows them, or as
// Hugging Face exports them: image is a group of bytes and path. The pictures are in that, or in a column of bytes (jpg,
// png, or [Options].ImageKey); else they lie in the image folder, and are found as those of a table are. A caption is in the
// column caption (or title, or text, or [Options].CaptionKey), several are a list there or in captions. The ID of a
// picture is image_hash, or key, or the name in image.path, behind the file's name where that is not unique; else the name
// of the file and the number of the row.
//
// Rows are read when the set is opened, but not the pictures: these are read page by page, as they are asked for, and the
// pages read last are kept, in at most 256 MiB. A page may hold many pictures, and where it is compressed it is unpacked
// whole: the order of [dataloader.Config].Shuffle reads each a few times an epoch, a random one once for each picture.
//
// The fingerprint is a hash of the footers and of what the rows say; of pictures, the footers know the sizes.
func openParquet(ctx context.Context, paths []string, o Options) (dataloader.Dataset, error) {
	return openParquetWith(ctx, paths, o, newPageCache(keptPages, readPages))
}

func openParquetWith(ctx context.Context, paths []string, o Options, cache *pageCache) (dataloader.Dataset, error) {
	t := &parquetSet{o: o, files: &openFiles{}, cache: cache}
	hash := sha256.New()
	for _, path := range paths {
		part, err := t.open(ctx, path)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("formats: %s%w", filepath.Base(path), atRow(err))
		}
		fmt.Fprintf(hash, "%q %x\n", filepath.Base(path), part.file.FooterSum)
	}
	if len(t.items) == 0 {
		return nil, fmt.Errorf("formats: %s: no rows", paths[0])
	}
	if err := t.find(paths); err != nil {
		return nil, err
	}
	distinctIDs(t.items, t.said, func(i int) string { return stemOf(t.part(i).path) })
	for _, it := range t.items {
		hashItem(hash, it)
	}
	return dataloader.NewShards(setName(paths), hex.EncodeToString(hash.Sum(nil)[:16]), t.items, t.groups(), nil, t.read), nil
}

// rowError is an error of a row, from 1.
type rowError struct {
	row int64
	err error
}

func (e rowError) Error() string { return fmt.Sprintf(":%d: %v", e.row, e.err) }

// atRow is an error to stand behind the name of a file.
func atRow(err error) error {
	var row rowError
	if errors.As(err, &row) {
		return row
	}
	return fmt.Errorf(": %w", err)
}

// parquetSet are the rows of Parquet files.
type parquetSet struct {
	o     Options
	files *openFiles
	cache *pageCache
	parts []*parquetPart
	items []dataloader.Item
	said  []bool   // of each item: image_hash says its ID
	paths []string // of pictures in the image folder, "" for those that image_hash names; none for those that are embedded
}

// parquetPart is a file of the set.
type parquetPart struct {
	path     string
	k        int // of the file
	first    int // its first item
	file     *parquetfile.File
	pictures *parquetfile.Column // nil: the pictures are not in the file
	ends     []int64             // of row groups, in rows

	mu     sync.Mutex
	chunks []*parquetfile.Chunk // of the pictures, those that were asked for
}

// open reads the rows of a file.
func (t *parquetSet) open(ctx context.Context, path string) (*parquetPart, error) {
	k, info, err := t.files.add(path)
	if err != nil {
		return nil, err
	}
	const rowBytes = 4 << 30 // of memory for what rows say, at most
	memory := min(max(freeBytes, 64*info.Size()), rowBytes)
	f, err := parquetfile.Open(fileReader{t.files, k}, info.Size(), memory)
	if err != nil {
		return nil, err
	}
	p := &parquetPart{path: path, k: k, first: len(t.items), file: f, chunks: make([]*parquetfile.Chunk, len(f.RowGroups()))}
	end := int64(0)
	for _, group := range f.RowGroups() {
		end += group.NumRows()
		p.ends = append(p.ends, end)
	}
	t.parts = append(t.parts, p)
	r := &parquetRows{ctx: ctx, set: t, part: p}
	return p, r.read()
}

// part is the file that item i is of.
func (t *parquetSet) part(i int) *parquetPart {
	return t.parts[sort.Search(len(t.parts)-1, func(k int) bool { return t.parts[k+1].first > i })]
}

// groups are the row groups that have pictures in them; a file of others is one group.
func (t *parquetSet) groups() []int32 {
	groups := make([]int32, len(t.items))
	next := int32(-1)
	for k, p := range t.parts {
		end := len(t.items)
		if k+1 < len(t.parts) {
			end = t.parts[k+1].first
		}
		next++
		g := 0
		for i := p.first; i < end; i++ {
			for p.pictures != nil && g < len(p.ends)-1 && int64(i-p.first) >= p.ends[g] {
				g++
				next++
			}
			groups[i] = next
		}
	}
	return groups
}

// find finds the pictures that are not embedded.
func (t *parquetSet) find(paths []string) error {
	rows := table{items: make([]dataloader.Item, 0, len(t.items))}
	var outside []int
	named := false
	for i := range t.items {
		if t.part(i).pictures == nil {
			outside = append(outside, i)
			rows.items = append(rows.items, t.items[i])
			rows.files = append(rows.files, cmp.Or(t.paths[i], t.items[i].ID))
			named = named || t.paths[i] != ""
		}
	}
	if outside == nil {
		return nil
	}
	if !named {
		rows.files = nil
	}
	if err := rows.find(paths[0], t.o.Images, t.o.Bare); err != nil {
		return err
	}
	for k, i := range outside {
		t.items[i] = rows.items[k]
	}
	return nil
}

// read reads the picture of item i.
func (t *parquetSet) read(ctx context.Context, i int, buf []byte) ([]byte, error) {
	p := t.part(i)
	if p.pictures == nil {
		return dataloader.ReadFile(t.items[i].Path, buf)
	}
	fail := func(err error) ([]byte, error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("formats: read %s: %w", t.items[i].Picture(), err)
	}
	row := int64(i - p.first)
	g := sort.Search(len(p.ends), func(g int) bool { return p.ends[g] > row })
	if g > 0 {
		row -= p.ends[g-1]
	}
	chunk, err := p.chunk(g)
	if err != nil {
		return fail(err)
	}
	n, at := chunk.Page(row)
	page, err := t.cache.get(ctx, pageKey{p.k, g, n}, chunk.Memory(n), func() (*parquetfile.ByteArrays, error) { return chunk.Read(n) })
	if err != nil {
		return fail(err)
	}
	switch data := page.Values[at]; {
	case data == nil:
		return fail(errors.New("the row has none"))
	case int64(len(data)) > dataloader.DefaultLimits.Bytes:
		return fail(fmt.Errorf("%d bytes: want at most %d", len(data), dataloader.DefaultLimits.Bytes))
	default:
		return append(buf[:0], data...), nil // the page stays, and others read it
	}
}

// chunk returns the pages of the pictures in row group g.
func (p *parquetPart) chunk(g int) (*parquetfile.Chunk, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.chunks[g] == nil {
		chunk, err := p.pictures.Chunk(g)
		if err != nil {
			return nil, err
		}
		p.chunks[g] = chunk
	}
	return p.chunks[g], nil
}

// parquetRows reads the rows of a file, column by column.
type parquetRows struct {
	ctx   context.Context
	set   *parquetSet
	part  *parquetPart
	names []string // of the columns
	items []dataloader.Item
	one   [][]string // captions of each item, of the column of single ones
	many  [][]string // of the column of lists
	files []string   // paths of pictures
	ids   []string
}

func (r *parquetRows) read() error {
	f := r.part.file
	r.names = f.Names()
	if err := r.findPictures(); err != nil {
		return err
	}
	r.items = make([]dataloader.Item, 0, min(f.NumRows(), 1<<16))
	if err := r.texts(); err != nil {
		return err
	}
	for len(r.items) < int(f.NumRows()) { // no column says anything of them
		if err := r.grow(int64(len(r.items))); err != nil {
			return err
		}
	}
	name := filepath.Base(r.part.path)
	embedded := r.part.pictures != nil
	for i := range r.items {
		it := &r.items[i]
		row := int64(i) + 1
		it.File, it.Line = name, int(row)
		var list []string
		for _, captions := range [][][]string{r.one, r.many} {
			if i < len(captions) {
				list = append(list, captions[i]...)
			}
		}
		setCaptions(it, list)
		said := it.ID != ""
		if said {
			if err := checkHash(it.ID); err != nil {
				return rowError{row, err}
			}
		}
		file := ""
		if i < len(r.files) && r.files[i] != "" {
			var err error
			if file, err = checkPath(r.files[i]); err != nil && !embedded {
				return rowError{row, err}
			} else if err != nil || embedded && filepath.IsAbs(filepath.FromSlash(file)) {
				if file = stdpath.Base(strings.ReplaceAll(r.files[i], `\`, "/")); checkHash(file) != nil {
					file = ""
				}
			}
		}
		if !said && i < len(r.ids) && checkHash(r.ids[i]) == nil {
			it.ID = r.ids[i]
		}
		if it.ID == "" {
			it.ID = withoutEnding(file)
		}
		if embedded {
			if it.ID == "" {
				it.ID = fmt.Sprintf("%s-%d", stemOf(name), row)
			}
			it.Path, it.Member = r.part.path, strconv.FormatInt(row, 10)
		} else if it.ID == "" {
			return rowError{row, fmt.Errorf("no picture: want one of the columns %s, with bytes, or %s, that name it",
				strings.Join(pictureKeys, ", "), strings.Join(imageKeys, ", "))}
		}
		r.set.said = append(r.set.said, said)
		r.set.paths = append(r.set.paths, file)
	}
	r.set.items = append(r.set.items, r.items...)
	return nil
}

// grow makes room for row n, from 0.
func (r *parquetRows) grow(n int64) error {
	const itemBytes = 512
	for int64(len(r.items)) <= n {
		if len(r.items)%1024 == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		if err := r.part.file.Take(itemBytes); err != nil {
			return err
		}
		r.items = append(r.items, dataloader.Item{Family: -1, Profile: -1})
	}
	return nil
}

// findPictures finds the column with the pictures in it.
func (r *parquetRows) findPictures() error {
	f, keys := r.part.file, pictureKeys
	if r.set.o.ImageKey != "" {
		keys = []string{r.set.o.ImageKey}
		if !slices.Contains(r.names, keys[0]) {
			return fmt.Errorf("no column %q among %.200q", keys[0], r.names)
		}
	}
	for _, key := range keys {
		column := f.Member(key, "bytes")
		if column == nil {
			if c, err := f.Find(key); err == nil && c != nil && !c.IsList() && !isString(c) {
				column = c
			}
		}
		if column == nil {
			continue
		}
		if column.Type().Kind() != parquet.ByteArray || column.IsList() {
			return fmt.Errorf("column %s: a column of %v: want the bytes of a picture in each row", key, column.Type())
		}
		if err := column.Check(); err != nil {
			return fmt.Errorf("column %s: %w", key, err)
		}
		r.part.pictures = column
		if path := f.Member(key, "path"); path != nil {
			return r.each(key+".path", path, func(n int64, v parquet.Value) error { return r.text(&r.files, n, v) })
		}
		return nil
	}
	return nil
}

// isString reports whether the values of a column are text.
func isString(c *parquetfile.Column) bool {
	if c.Type().Kind() != parquet.ByteArray {
		return false
	}
	t := c.Type().LogicalType()
	if t != nil {
		switch t.Value.(type) {
		case *format.StringType, *format.EnumType, *format.JsonType:
			return true
		}
	}
	return false
}

// textColumn is a column that says something of the pictures.
type textColumn struct {
	keys []string // the first that is there
	use  func(n int64, v parquet.Value) error
	list bool // several values in a row are welcome
}

// texts reads the columns that say something of the pictures.
func (r *parquetRows) texts() error {
	o := r.set.o
	columns := []textColumn{
		{[]string{hashKey}, r.string(func(it *dataloader.Item) *string { return &it.ID }), false},
		{nameKeys, func(n int64, v parquet.Value) error { return r.text(&r.ids, n, v) }, false},
		{captionKeys, func(n int64, v parquet.Value) error { return r.caption(&r.one, n, v) }, true},
		{listKeys, func(n int64, v parquet.Value) error { return r.caption(&r.many, n, v) }, true},
		{urlKeys, r.string(func(it *dataloader.Item) *string { return &it.URL }), false},
		{[]string{"literal_caption"}, r.string(func(it *dataloader.Item) *string { return &it.Literal }), false},
		{[]string{"relation"}, r.string(func(it *dataloader.Item) *string { return &it.Relation }), false},
		{[]string{"split"}, r.string(func(it *dataloader.Item) *string { return &it.Split }), false},
		{[]string{"pair"}, r.string(func(it *dataloader.Item) *string { return &it.Pair }), false},
		{[]string{"group"}, r.string(func(it *dataloader.Item) *string { return &it.Group }), false},
		{[]string{"family"}, r.number(func(it *dataloader.Item) *int { return &it.Family }), false},
		{[]string{"profile"}, r.number(func(it *dataloader.Item) *int { return &it.Profile }), false},
		{[]string{"count"}, r.number(func(it *dataloader.Item) *int { return &it.Count }), false},
		{[]string{"ink"}, r.real(func(it *dataloader.Item) *float64 { return &it.Ink }), false},
		{[]string{"held_out"}, r.truth(func(it *dataloader.Item) *bool { return &it.HeldOut }), false},
		{[]string{"gravity"}, r.truth(func(it *dataloader.Item) *bool { return &it.Gravity }), false},
	}
	if o.CaptionKey != "" {
		if !slices.Contains(r.names, o.CaptionKey) {
			return fmt.Errorf("no column %q among %.200q", o.CaptionKey, r.names)
		}
		columns[2].keys, columns[3].keys = []string{o.CaptionKey}, nil
	}
	if r.part.pictures == nil {
		keys := pathKeys
		if o.ImageKey != "" {
			keys = []string{o.ImageKey}
		}
		columns = append(columns, textColumn{keys, func(n int64, v parquet.Value) error { return r.text(&r.files, n, v) }, false})
	}
	for _, c := range columns {
		at := columnOf(r.names, c.keys)
		if at < 0 {
			continue
		}
		name := r.names[at]
		column, err := r.part.file.Find(name)
		if err != nil {
			return fmt.Errorf("column %s: %w", name, err)
		}
		if column.IsList() && !c.list || column.MaxRepetitionLevel() > 1 {
			return fmt.Errorf("column %s: a column of lists: want one value in each row", name)
		}
		if err := r.each(name, column, c.use); err != nil {
			return err
		}
	}
	return nil
}

// each calls use with the values of a column, and the number of their row from 0. Errors name both.
func (r *parquetRows) each(name string, column *parquetfile.Column, use func(n int64, v parquet.Value) error) error {
	n := int64(-1)
	err := column.Each(func(v parquet.Value) error {
		if v.RepetitionLevel() == 0 {
			n++
			if err := r.grow(n); err != nil {
				return err
			}
		}
		if n < 0 {
			return errors.New("it begins inside a row")
		}
		if v.IsNull() {
			return nil
		}
		if err := use(n, v); err != nil {
			return rowError{n + 1, fmt.Errorf("column %s: %w", name, err)}
		}
		return nil
	})
	var row rowError
	if err != nil && !errors.As(err, &row) && r.ctx.Err() == nil {
		return fmt.Errorf("column %s: %w", name, err)
	}
	return err
}

// textOf is a value as text.
func (r *parquetRows) textOf(v parquet.Value) (string, error) {
	switch v.Kind() {
	case parquet.ByteArray, parquet.FixedLenByteArray:
		b := v.ByteArray()
		if len(b) > maxLine {
			return "", fmt.Errorf("%d bytes of text: want at most %d", len(b), maxLine)
		}
		if !utf8.Valid(b) {
			return "", errors.New("not UTF-8")
		}
		return string(b), r.part.file.Take(int64(len(b)) + 16) // one entry of a dictionary may stand in many rows
	case parquet.Int32:
		return strconv.Itoa(int(v.Int32())), nil
	case parquet.Int64:
		return strconv.FormatInt(v.Int64(), 10), nil
	}
	return "", fmt.Errorf("a value of %v: want text", v.Kind())
}

// text sets the text of row n in a list.
func (r *parquetRows) text(list *[]string, n int64, v parquet.Value) error {
	s, err := r.textOf(v)
	for int64(len(*list)) <= n {
		*list = append(*list, "")
	}
	(*list)[n] = s
	return err
}

// caption adds a caption to those of row n.
func (r *parquetRows) caption(list *[][]string, n int64, v parquet.Value) error {
	s, err := r.textOf(v)
	for int64(len(*list)) <= n {
		*list = append(*list, nil)
	}
	(*list)[n] = append((*list)[n], s)
	return err
}

// string sets a field of an item.
func (r *parquetRows) string(field func(it *dataloader.Item) *string) func(n int64, v parquet.Value) error {
	return func(n int64, v parquet.Value) error {
		s, err := r.textOf(v)
		*field(&r.items[n]) = s
		return err
	}
}

// number sets a field of an item. Whole numbers may stand in a column of reals, as pandas makes of one with gaps.
func (r *parquetRows) number(field func(it *dataloader.Item) *int) func(n int64, v parquet.Value) error {
	return func(n int64, v parquet.Value) error {
		x, err := realOf(v)
		if err != nil || x != math.Trunc(x) || math.Abs(x) > 1<<53 {
			return errors.Join(err, fmt.Errorf("%v: want a whole number", v))
		}
		*field(&r.items[n]) = int(x)
		return nil
	}
}

func (r *parquetRows) real(field func(it *dataloader.Item) *float64) func(n int64, v parquet.Value) error {
	return func(n int64, v parquet.Value) (err error) {
		*field(&r.items[n]), err = realOf(v)
		return err
	}
}

func (r *parquetRows) truth(field func(it *dataloader.Item) *bool) func(n int64, v parquet.Value) error {
	return func(n int64, v parquet.Value) error {
		if v.Kind() != parquet.Boolean {
			return fmt.Errorf("a value of %v: want true or false", v.Kind())
		}
		*field(&r.items[n]) = v.Boolean()
		return nil
	}
}

func realOf(v parquet.Value) (float64, error) {
	switch v.Kind() {
	case parquet.Int32:
		return float64(v.Int32()), nil
	case parquet.Int64:
		return float64(v.Int64()), nil
	case parquet.Float:
		return float64(v.Float()), nil
	case parquet.Double:
		return v.Double(), nil
	}
	return 0, fmt.Errorf("a value of %v: want a number", v.Kind())
}
