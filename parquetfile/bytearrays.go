package parquetfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"sort"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// Chunk is a column of byte arrays in one row group, to be read page by page in any order, by several goroutines.
type Chunk struct {
	c      *Column
	codec  format.CompressionCodec
	dict   *page   // nil: none
	pages  []*page // of data
	starts []int64 // the row of the group with which each begins; one more, the number of rows
}

// Chunk finds the pages of the column in row group g by their headers. Their values are not read. The column must be
// of byte arrays, one (or none) in each row.
func (c *Column) Chunk(g int) (*Chunk, error) {
	if c.Type().Kind() != parquet.ByteArray || c.IsList() {
		return nil, fmt.Errorf("a column of %v, lists or not: want one byte array in each row", c.Type())
	}
	meta, err := c.chunk(g)
	if err != nil {
		return nil, err
	}
	k := &Chunk{c: c, codec: meta.Codec, starts: []int64{0}}
	err = c.walk(meta, func(p *page) error {
		switch {
		case p.Type == format.DictionaryPage && p.DictionaryPageHeader.Valid:
			if k.dict != nil || len(k.pages) > 0 {
				return errors.New("a dictionary behind another page")
			}
			k.dict = p
		case p.Type == format.DataPage && p.DataPageHeader.Valid, p.Type == format.DataPageV2 && p.DataPageHeaderV2.Valid:
			k.pages = append(k.pages, p)
			k.starts = append(k.starts, k.starts[len(k.starts)-1]+p.values)
		default:
			return fmt.Errorf("a page of type %v, or without its header", p.Type)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("row group %d: %w", g, err)
	}
	return k, nil
}

// Page is the number of the page that has a row, and the number of the row in it.
//
// Page panics if the row group has no such row.
func (k *Chunk) Page(row int64) (page, at int) {
	if row < 0 || row >= k.starts[len(k.pages)] {
		panic(fmt.Sprintf("parquetfile: row %d of %d", row, k.starts[len(k.pages)]))
	}
	page = sort.Search(len(k.pages), func(i int) bool { return k.starts[i+1] > row })
	return page, int(row - k.starts[page])
}

// Memory is what reading page i takes at most, in bytes, from what the headers say.
func (k *Chunk) Memory(i int) int64 {
	p := k.pages[i]
	n := int64(p.CompressedPageSize) + int64(p.UncompressedPageSize) + 48*p.values
	if d := k.dict; d != nil {
		n += int64(d.CompressedPageSize) + int64(d.UncompressedPageSize) + 24*d.values
	}
	return n
}

// ByteArrays are the values of a page.
type ByteArrays struct {
	Values [][]byte // of each row; nil: it has none
	Size   int64    // bytes of memory
}

// Read reads a page. It takes memory for the page as it is stored and as it is unpacked.
func (k *Chunk) Read(i int) (b *ByteArrays, err error) {
	p := k.pages[i]
	defer func() {
		if err != nil {
			err = fmt.Errorf("page at %d: %w", p.at, err)
		}
	}()
	levels, data, err := k.unpack(p)
	if err != nil {
		return nil, err
	}
	if need := 24*p.values + int64(len(data)); need > maxPage {
		return nil, fmt.Errorf("%d values in %d bytes: want at most %d in memory", p.values, len(data), maxPage)
	}
	b = &ByteArrays{Size: 24*p.values + int64(len(data))}
	present, data, err := k.present(p, levels, data)
	if err != nil {
		return nil, err
	}
	encoding := p.DataPageHeader.V.Encoding
	if p.DataPageHeaderV2.Valid {
		encoding = p.DataPageHeaderV2.V.Encoding
	}
	n := 0
	for _, is := range present {
		if is {
			n++
		}
	}
	var values [][]byte
	if encoding == format.Plain {
		values, err = plain(data, n)
	} else {
		var size int64
		values, size, err = k.looked(data, n)
		b.Size += size
	}
	if err != nil {
		return nil, err
	}
	if n == len(present) {
		b.Values = values
		return b, nil
	}
	b.Values = make([][]byte, len(present))
	for at, is := range present {
		if is {
			b.Values[at], values = values[0], values[1:]
		}
	}
	return b, nil
}

// unpack reads a page, and returns its levels where they are apart from the values.
func (k *Chunk) unpack(p *page) (levels, data []byte, err error) {
	body, err := k.c.body(p)
	if err != nil {
		return nil, nil, err
	}
	levels, rest, by, err := split(k.codec, p, body)
	if err != nil {
		return nil, nil, err
	}
	data, err = unpack(by, rest.data, rest.size)
	return levels, data, err
}

// present says which rows of a page have a value, and returns the bytes of the values.
func (k *Chunk) present(p *page, levels, data []byte) (present []bool, values []byte, err error) {
	n, deepest := int(p.values), k.c.MaxDefinitionLevel()
	if p.DataPageHeaderV2.Valid {
		levels = levels[p.DataPageHeaderV2.V.RepetitionLevelsByteLength:] // a file of no lists may have some all the same
	} else if deepest > 0 {
		if p.DataPageHeader.V.DefinitionLevelEncoding != format.RLE {
			return nil, nil, fmt.Errorf("levels encoded by %v: want RLE", p.DataPageHeader.V.DefinitionLevelEncoding)
		}
		if len(data) < 4 || int64(binary.LittleEndian.Uint32(data)) > int64(len(data)-4) {
			return nil, nil, fmt.Errorf("levels beyond the %d bytes of the page", len(data))
		}
		end := 4 + int(binary.LittleEndian.Uint32(data))
		levels, data = data[4:end], data[end:]
	}
	present = make([]bool, n)
	if deepest == 0 {
		for i := range present {
			present[i] = true
		}
		return present, data, nil
	}
	at := 0
	err = hybrid(levels, bits.Len(uint(deepest)), n, func(level uint32) error {
		present[at] = level == uint32(deepest)
		at++
		return nil
	})
	return present, data, err
}

// plain reads n values that lie one behind the other, each behind its length.
func plain(data []byte, n int) ([][]byte, error) {
	if n > len(data)/4 {
		return nil, fmt.Errorf("%d values in %d bytes", n, len(data))
	}
	values := make([][]byte, n)
	for i := range values {
		if len(data) < 4 || int64(binary.LittleEndian.Uint32(data)) > int64(len(data)-4) {
			return nil, fmt.Errorf("value %d of %d leads beyond the page", i, n)
		}
		end := 4 + int(binary.LittleEndian.Uint32(data))
		values[i], data = data[4:end:end], data[end:]
	}
	return values, nil
}

// looked reads n values that are numbers of entries of the dictionary, and returns the size of that too.
func (k *Chunk) looked(data []byte, n int) (values [][]byte, size int64, err error) {
	if n == 0 {
		return nil, 0, nil
	}
	if k.dict == nil {
		return nil, 0, errors.New("entries of a dictionary, and there is none")
	}
	if len(data) == 0 || data[0] > 32 {
		return nil, 0, fmt.Errorf("entries of a dictionary: %.1q for the width of their numbers", data)
	}
	_, entries, err := k.unpack(k.dict)
	if err != nil {
		return nil, 0, fmt.Errorf("dictionary: %w", err)
	}
	dict, err := plain(entries, int(k.dict.values))
	if err != nil {
		return nil, 0, fmt.Errorf("dictionary: %w", err)
	}
	values = make([][]byte, 0, n)
	err = hybrid(data[1:], int(data[0]), n, func(entry uint32) error {
		if int64(entry) >= int64(len(dict)) {
			return fmt.Errorf("entry %d of a dictionary of %d", entry, len(dict))
		}
		values = append(values, dict[entry])
		return nil
	})
	return values, int64(len(entries)) + 24*int64(len(dict)), err
}

// hybrid calls use with n numbers of width bits: runs of one number, or numbers in groups of eight, packed.
//
// Source: https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE.
func hybrid(data []byte, width, n int, use func(v uint32) error) error {
	for n > 0 {
		head, size := binary.Uvarint(data)
		if size <= 0 {
			return fmt.Errorf("numbers end %d before their count", n)
		}
		data = data[size:]
		if head&1 == 0 { // a run
			bytes := (width + 7) / 8
			if len(data) < bytes || head>>1 == 0 {
				return errors.New("a run of numbers beyond the page, or of none")
			}
			var v uint64
			for i := range bytes {
				v |= uint64(data[i]) << (8 * i)
			}
			data = data[bytes:]
			for range min(head>>1, uint64(n)) {
				if err := use(uint32(v)); err != nil {
					return err
				}
				n--
			}
			continue
		}
		groups := head >> 1 // DuckDB says more of them than there are numbers
		if groups == 0 {
			return errors.New("a run of no numbers")
		}
		count, end := n, len(data) // the last group may be cut short
		if groups < uint64(n+7)/8 {
			count = int(groups) * 8
		}
		if groups <= uint64(len(data)) {
			end = min(int(groups)*width, len(data))
		}
		if end*8 < count*width {
			return errors.New("packed numbers beyond the page")
		}
		var word uint64
		have, at := 0, 0
		for range count {
			for have < width {
				word |= uint64(data[at]) << have
				at, have = at+1, have+8
			}
			if err := use(uint32(word & (1<<width - 1))); err != nil {
				return err
			}
			word >>= width
			have -= width
		}
		data, n = data[end:], n-count
	}
	return nil
}
