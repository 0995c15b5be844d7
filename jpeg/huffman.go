package jpeg

import "bytes"

// lookBits is the length of the bits that are looked up at once.
const lookBits = 11

// huffman is one table of codes, made ready for decoding.
//
// An entry of look, for the bits that come next, is one of
//
//	value<<16 | run<<8 | direct | length   a whole coefficient: its code and value bits have this length
//	symbol<<8 | length                     a code of this length, whose value bits follow
//	0                                      a longer code, or none
//
// Only entries of AC tables are direct.
type huffman struct {
	spec    []byte // counts and symbols, to recognise a table that comes again
	look    [1 << lookBits]uint32
	limit   [18]uint32 // first code, in 16 bits, that is longer than the index
	offset  [17]int32  // of a symbol: symbols[code + offset[length]]
	symbols [256]byte
}

const direct = 0x80

// tables are those that a file has defined so far.
type tables struct{ dc, ac [4]huffman }

func (p *parser) huffmanTables(b []byte) error {
	for len(b) > 0 {
		if len(b) < 17 {
			return broken("Huffman table of %d bytes", len(b))
		}
		class, id := b[0]>>4, b[0]&15
		if class > 1 || id > 3 {
			return broken("Huffman table %02x", b[0])
		}
		n := 0
		for _, count := range b[1:17] {
			n += int(count)
		}
		if n > 256 || len(b) < 17+n {
			return broken("Huffman table of %d codes in %d bytes", n, len(b)-17)
		}
		if p.tables != nil {
			h := &p.tables.dc[id]
			if class == 1 {
				h = &p.tables.ac[id]
			}
			if err := h.build(b[1:17+n], class == 1); err != nil {
				return err
			}
		}
		p.haveCodes[class][id] = true
		b = b[17+n:]
	}
	return nil
}

// build makes the table of spec: 16 counts of codes by length, and their symbols.
func (h *huffman) build(spec []byte, ac bool) error {
	if bytes.Equal(h.spec, spec) { // most files have the same ones
		return nil
	}
	h.spec = h.spec[:0]
	clear(h.look[:])
	copy(h.symbols[:], spec[16:])
	code, at := uint32(0), 0
	for length := 1; length <= 16; length++ {
		h.offset[length] = int32(at) - int32(code)
		for range spec[length-1] {
			if code >= 1<<length {
				return broken("Huffman table with more codes of %d bits than there are", length)
			}
			symbol := spec[16+at]
			if !ac && symbol > 15 {
				return broken("Huffman table with a difference of %d bits", symbol)
			}
			if length <= lookBits {
				h.fill(code, length, symbol, ac)
			}
			code++
			at++
		}
		h.limit[length] = code << (16 - length)
		code <<= 1
	}
	h.limit[17] = 1 << 16
	h.spec = append(h.spec, spec...)
	return nil
}

// fill enters a code with every continuation.
func (h *huffman) fill(code uint32, length int, symbol byte, ac bool) {
	size := int(symbol & 15)
	free := lookBits - length
	for rest := range uint32(1) << free {
		entry := uint32(symbol)<<8 | uint32(length)
		if ac && size > 0 && size <= free {
			value := extend(int32(rest>>(free-size)), size)
			entry = uint32(value)<<16 | uint32(symbol>>4)<<8 | direct | uint32(length+size)
		}
		h.look[code<<free|rest] = entry
	}
}

// extend gives size bits their sign, ITU-T T.81, F.2.2.1.
func extend(bits int32, size int) int32 {
	if bits < 1<<(size-1) {
		return bits - 1<<size + 1
	}
	return bits
}
