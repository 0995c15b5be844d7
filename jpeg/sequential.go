package jpeg

import "encoding/binary"

// block reads one block of sequential coding into b, which is 0, and returns the
// difference of its first coefficient and whether others may not be 0. ok is false
// if there is no such code.
func (r *bits) block(b *[64]int16, dc, ac *huffman) (difference int32, more, ok bool) {
	if r.n < 32 {
		r.fill()
	}
	size := r.symbol(dc)
	if size < 0 {
		return 0, false, false
	}
	if size > 0 {
		difference = extend(r.take(uint(size)), size)
	}
	// The state lives in registers for the length of the block.
	acc, n, pos, buf := r.acc, r.n, r.pos, r.buf
	for k := 1; k < 64; k++ {
		if n < 32 {
			acc |= binary.BigEndian.Uint64(buf[pos:]) >> (n & 63)
			pos += int((63 - n) >> 3)
			n |= 56
		}
		e := ac.look[acc>>(64-lookBits)]
		if e&direct != 0 {
			acc <<= e & 31
			n -= uint(e & 31)
			k += int(e >> 8 & 15)
			b[order[k&127]&63] = int16(e >> 16)
			more = true
			continue
		}
		symbol := e >> 8
		if e != 0 {
			acc <<= e & 31
			n -= uint(e & 31)
		} else {
			long := bits{acc: acc, n: n}
			s := long.long(ac)
			if s < 0 {
				return 0, false, false
			}
			acc, n, symbol = long.acc, long.n, uint32(s)
		}
		size := uint(symbol & 15)
		if size == 0 {
			if symbol != 0xf0 { // end of block
				break
			}
			k += 15
			continue
		}
		k += int(symbol >> 4)
		b[order[k&127]&63] = int16(extend(int32(acc>>(64-size)), int(size)))
		acc <<= size
		n -= size
		more = true
	}
	r.acc, r.n, r.pos = acc, n, pos
	return difference, more, true
}

// sequential decodes the scan at hand to samples.
func (d *goDecoder) sequential() error {
	s := &d.scan
	var last [3]int32
	var b [64]int16
	return d.units(func(i, part, x, y int) error {
		c := &d.parts[part]
		difference, more, ok := d.bits.block(&b, &d.tables.dc[s.dc[i]], &d.tables.ac[s.ac[i]])
		if !ok {
			return broken("a code that does not exist")
		}
		last[i] += difference
		w := &d.want[part]
		if x < w.X0 || x >= w.X1 || y < w.Y0 || y >= w.Y1 {
			b = [64]int16{}
			return nil
		}
		if !more && d.side == 8 {
			stride := d.stride[part]
			flat(d.planes[part][8*(y*stride+x):], stride, int16(last[i])*d.steps[c.quant][0])
			return nil
		}
		b[0] = int16(last[i])
		d.samples(part, x, y, &b)
		return nil
	}, func() { last = [3]int32{} })
}

// flat is [kernel.IDCT] of a block of which only the first coefficient is not 0.
func flat(dst []byte, stride int, dc int16) {
	v := min(max((int32(dc)+4)>>3+128, 0), 255)
	row := uint64(v) * 0x0101010101010101
	for y := range 8 {
		binary.LittleEndian.PutUint64(dst[y*stride:], row)
	}
}
