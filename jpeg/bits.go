package jpeg

import (
	"bytes"
	"encoding/binary"
)

// padding is what lies behind the coded data: more than one block can take, so
// that only the end of a block is checked.
const padding = 64*4 + 16

// bits reads the coded data between two markers, bytes of stuffing taken out.
type bits struct {
	buf []byte // the data, and zeros
	end int    // of the data
	pos int    // of the next byte of buf
	acc uint64 // bits that come next, from the highest down
	n   uint   // how many of them
}

// load takes the coded data at data[at:], up to a marker, and returns where the
// marker is.
func (r *bits) load(data []byte, at int) (int, error) {
	r.buf = r.buf[:0]
	for {
		i := bytes.IndexByte(data[at:], 0xff)
		if i < 0 || at+i+1 >= len(data) {
			return 0, truncated("in coded data")
		}
		if data[at+i+1] != 0 {
			r.buf = append(r.buf, data[at:at+i]...)
			at += i
			break
		}
		r.buf = append(r.buf, data[at:at+i+1]...)
		at += i + 2
	}
	r.end = len(r.buf)
	r.buf = append(r.buf, make([]byte, padding)...)
	r.pos, r.acc, r.n = 0, 0, 0
	return at, nil
}

// fill makes at least 56 bits ready.
func (r *bits) fill() {
	r.acc |= binary.BigEndian.Uint64(r.buf[r.pos:]) >> r.n
	r.pos += int((63 - r.n) >> 3)
	r.n |= 56
}

// passed says that more bits were taken than there are.
func (r *bits) passed() bool { return r.pos*8-int(r.n) > r.end*8 }

// symbol reads a code. 32 bits must be ready; -1 means that there is no such code.
func (r *bits) symbol(h *huffman) int {
	if e := h.look[r.acc>>(64-lookBits)]; e&direct == 0 && e != 0 {
		r.skip(uint(e & 31))
		return int(e >> 8)
	}
	return r.long(h)
}

// long is symbol without the help of a look-up.
func (r *bits) long(h *huffman) int {
	top := uint32(r.acc >> 48)
	for length := 1; length <= 16; length++ {
		if top < h.limit[length] {
			r.skip(uint(length))
			return int(h.symbols[uint8(int32(top>>(16-length))+h.offset[length])])
		}
	}
	return -1
}

func (r *bits) skip(n uint) {
	r.acc <<= n & 63
	r.n -= n
}

// take reads n bits, 1 to 16.
func (r *bits) take(n uint) int32 {
	v := int32(r.acc >> (64 - n))
	r.skip(n)
	return v
}
