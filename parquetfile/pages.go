package parquetfile

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	codec "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Bounds of a page.
const (
	maxPageHeader = 16 << 20 // some writers put the least and the greatest value into it, pictures too
	maxPage       = 1 << 30
)

// page is where a page lies, and what its header says.
type page struct {
	format.PageHeader
	at     int64 // of the header
	body   int64
	values int64
}

// walk calls use with every page of a column chunk, after it has checked that they lie in the file one behind the
// other, that they may be of the sizes in their headers, and that they have as many values as the footer says. Bodies
// are not read. The offset index of a file, where it has one, says nothing more and is not asked.
func (c *Column) walk(meta *format.ColumnMetaData, use func(p *page) error) error {
	at, end, err := c.bounds(meta)
	if err != nil {
		return err
	}
	var values int64
	for at < end {
		p, err := c.header(at, end)
		if err != nil {
			return fmt.Errorf("page at %d: %w", at, err)
		}
		if p.Type != format.DictionaryPage {
			values += p.values
		}
		if err := use(p); err != nil {
			return fmt.Errorf("page at %d: %w", at, err)
		}
		at = p.body + int64(p.CompressedPageSize)
	}
	if values != meta.NumValues {
		return fmt.Errorf("pages of %d values, and %d in the footer", values, meta.NumValues)
	}
	return nil
}

// bounds is where the pages of a column chunk begin and end.
func (c *Column) bounds(meta *format.ColumnMetaData) (at, end int64, err error) {
	at = meta.DataPageOffset
	if d := meta.DictionaryPageOffset; d > 0 {
		at = min(at, d)
	}
	if at < 4 || meta.TotalCompressedSize < 0 || at > c.file.end || meta.TotalCompressedSize > c.file.end-at {
		return 0, 0, fmt.Errorf("%d bytes at %d, where the pages end at %d", meta.TotalCompressedSize, at, c.file.end)
	}
	return at, at + meta.TotalCompressedSize, nil
}

// header reads the header of the page at a place in a column that ends at end.
func (c *Column) header(at, end int64) (*page, error) {
	p := &page{at: at}
	var head []byte
	var walk *thrift
	for n := int64(512); ; n = min(n<<5, maxPageHeader) { // few are longer
		head = make([]byte, min(n, end-at))
		if _, err := c.file.r.ReadAt(head, at); err != nil {
			return nil, short(err)
		}
		walk = &thrift{b: head}
		err := walk.structure(0)
		if err == nil {
			break
		}
		if n == maxPageHeader || n >= end-at {
			return nil, err
		}
	}
	if err := codec.Unmarshal(&codec.CompactProtocol{}, head[:walk.at], &p.PageHeader); err != nil {
		return nil, err
	}
	p.DataPageHeader.V.Statistics, p.DataPageHeaderV2.V.Statistics = format.Statistics{}, format.Statistics{} // may be large
	p.body = at + int64(walk.at)
	packed, unpacked := int64(p.CompressedPageSize), int64(p.UncompressedPageSize)
	p.values = int64(p.DataPageHeader.V.NumValues) + int64(p.DataPageHeaderV2.V.NumValues) + int64(p.DictionaryPageHeader.V.NumValues)
	if packed < 0 || packed > end-p.body || unpacked < 0 || unpacked > maxPage || p.values < 0 {
		return nil, fmt.Errorf("%d bytes that unpack to %d, of %d values, and %d bytes to the end of the column",
			packed, unpacked, p.values, end-p.body)
	}
	for _, e := range []format.Encoding{p.DataPageHeader.V.Encoding, p.DataPageHeaderV2.V.Encoding, p.DictionaryPageHeader.V.Encoding} {
		// The library makes the room that a delta encoding says it takes. 0, of a header that is not there, is PLAIN.
		//lint:ignore SA1019 files of old have dictionaries by this name
		if !slices.Contains([]format.Encoding{format.Plain, format.PlainDictionary, format.RLEDictionary}, e) {
			return nil, fmt.Errorf("encoding %v: want plain or dictionary pages, such as those of pyarrow and pandas", e)
		}
	}
	return p, nil
}

// check checks the pages of a column chunk, bodies too, before the library decodes them.
func (c *Column) check(meta *format.ColumnMetaData, g int) error {
	return c.walk(meta, func(p *page) error {
		if err := c.file.Take(int64(p.UncompressedPageSize) + 4*p.values); err != nil {
			return err
		}
		data, err := c.body(p)
		if err != nil {
			return err
		}
		_, packed, k, err := split(meta.Codec, p, data)
		if err != nil {
			return err
		}
		return unpacks(k, packed.data, packed.size)
	})
}

// body reads the bytes of a page behind its header.
func (c *Column) body(p *page) ([]byte, error) {
	data := make([]byte, p.CompressedPageSize)
	if _, err := c.file.r.ReadAt(data, p.body); err != nil {
		return nil, short(err)
	}
	return data, nil
}

// packed is the part of a page that is compressed, and the size it unpacks to.
type packed struct {
	data []byte
	size int64
}

// split takes the levels, which are not compressed in pages of version 2, off the body of a page, and says by what the
// rest is compressed.
func split(k format.CompressionCodec, p *page, data []byte) (levels []byte, rest packed, by format.CompressionCodec, err error) {
	rest = packed{data, int64(p.UncompressedPageSize)}
	if v2 := p.DataPageHeaderV2; v2.Valid {
		n := int64(v2.V.RepetitionLevelsByteLength) + int64(v2.V.DefinitionLevelsByteLength)
		if v2.V.RepetitionLevelsByteLength < 0 || v2.V.DefinitionLevelsByteLength < 0 || n > int64(len(data)) || n > rest.size {
			return nil, rest, k, fmt.Errorf("levels of %d bytes in %d", n, len(data))
		}
		levels, rest = data[:n], packed{data[n:], rest.size - n}
		if compressed := v2.V.IsCompressed; compressed.Valid && !compressed.V {
			k = format.Uncompressed
		}
	}
	return levels, rest, k, nil
}

// unpacks returns an error if data does not unpack to the size in its header: the library makes room as it unpacks,
// however much comes.
func unpacks(k format.CompressionCodec, data []byte, want int64) error {
	got := int64(0)
	switch k {
	case format.Uncompressed:
		got = int64(len(data))
	case format.Snappy:
		if len(data) > 0 {
			n, err := snappy.DecodedLen(data)
			if err != nil {
				return err
			}
			got = int64(n)
		}
	default:
		body, err := unpacker(k, data)
		if err != nil {
			return err
		}
		defer body.Close()
		if got, err = io.Copy(io.Discard, io.LimitReader(body, want+1)); err != nil {
			return err
		}
	}
	return sized(got, want)
}

// unpack returns what data unpacks to, in memory of the size in its header.
func unpack(k format.CompressionCodec, data []byte, want int64) ([]byte, error) {
	switch k {
	case format.Uncompressed:
		return data, sized(int64(len(data)), want)
	case format.Snappy:
		if err := unpacks(k, data, want); err != nil || want == 0 {
			return nil, err
		}
		return snappy.Decode(make([]byte, want), data)
	}
	body, err := unpacker(k, data)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	got := bytes.NewBuffer(make([]byte, 0, min(want, 4*int64(len(data)))+bytes.MinRead))
	n, err := io.Copy(got, io.LimitReader(body, want+1))
	if err != nil {
		return nil, err
	}
	return got.Bytes(), sized(n, want)
}

func sized(got, want int64) error {
	if got != want {
		return fmt.Errorf("it unpacks to %d bytes, and its header says %d", got, want)
	}
	return nil
}

// unpacker unpacks gzip or zstd.
func unpacker(k format.CompressionCodec, data []byte) (io.ReadCloser, error) {
	switch {
	case k != format.Gzip && k != format.Zstd:
		return nil, fmt.Errorf("compressed by %v: want snappy, gzip, zstd or none", k)
	case len(data) == 0:
		return io.NopCloser(bytes.NewReader(nil)), nil
	case k == format.Gzip:
		return gzip.NewReader(bytes.NewReader(data))
	}
	z, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}
