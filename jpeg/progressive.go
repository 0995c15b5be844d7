package jpeg

// progressive decodes the scan at hand to coefficients, ITU-T T.81, G.1.2.
func (d *goDecoder) progressive() error {
	s, r := &d.scan, &d.bits
	var last [3]int32
	run := int32(0) // blocks that have no more coefficients in this scan
	bad := broken("a code that does not exist")
	return d.units(func(i, part, x, y int) error {
		b := &d.blocks[part][y*d.parts[part].across+x]
		switch {
		case s.start == 0 && s.high == 0:
			if r.n < 32 {
				r.fill()
			}
			size := r.symbol(&d.tables.dc[s.dc[i]])
			if size < 0 {
				return bad
			}
			if size > 0 {
				last[i] += extend(r.take(uint(size)), size)
			}
			b[0] = int16(last[i] << s.low)
		case s.start == 0:
			if r.n < 32 {
				r.fill()
			}
			b[0] |= int16(r.take(1) << s.low)
		case s.high == 0:
			if run > 0 {
				run--
				return nil
			}
			n, ok := r.first(b, s, &d.tables.ac[s.ac[i]])
			if !ok {
				return bad
			}
			run = n
		default:
			n, ok := r.refine(b, s, &d.tables.ac[s.ac[i]], run)
			if !ok {
				return bad
			}
			run = n
		}
		return nil
	}, func() { last, run = [3]int32{}, 0 })
}

// acSymbol reads a code of an AC table, whose look-up also knows whole
// coefficients.
func (r *bits) acSymbol(h *huffman) int {
	if r.n < 32 {
		r.fill()
	}
	if e := h.look[r.acc>>(64-lookBits)]; e != 0 && e&direct == 0 {
		r.skip(uint(e & 31))
		return int(e >> 8)
	}
	return r.long(h)
}

// first reads the first bits of coefficients. It returns the number of blocks after
// this one that have none.
func (r *bits) first(b *[64]int16, s *scanHeader, h *huffman) (run int32, ok bool) {
	for k := s.start; k <= s.end; k++ {
		symbol := r.acSymbol(h)
		if symbol < 0 {
			return 0, false
		}
		zeros, size := symbol>>4, symbol&15
		switch {
		case size > 0:
			k += zeros
			b[order[k&127]&63] = int16(extend(r.take(uint(size)), size) << s.low)
		case zeros == 15:
			k += 15
		default:
			run = 1 << zeros
			if zeros > 0 {
				run += r.take(uint(zeros))
			}
			return run - 1, true
		}
	}
	return 0, true
}

// refine reads one more bit of the coefficients that are not 0, and new ones of one
// bit. run and its result count the blocks from this one, and after it, without new
// ones.
func (r *bits) refine(b *[64]int16, s *scanHeader, h *huffman, run int32) (int32, bool) {
	one := int16(1) << s.low
	k := s.start
	if run == 0 {
		for k <= s.end {
			symbol := r.acSymbol(h)
			if symbol < 0 {
				return 0, false
			}
			zeros, size := symbol>>4, symbol&15
			var value int16
			if size > 0 { // libjpeg, too, takes any size for 1
				value = -one
				if r.take(1) == 1 {
					value = one
				}
			} else if zeros < 15 {
				run = 1 << zeros
				if zeros > 0 {
					run += r.take(uint(zeros))
				}
				break
			}
			// Pass zeros of the coefficients that are 0, and refine the others on
			// the way.
			for ; k <= s.end; k++ {
				c := &b[order[k&127]&63]
				if *c != 0 {
					r.correct(c, one)
					continue
				}
				if zeros == 0 {
					break
				}
				zeros--
			}
			if value != 0 {
				b[order[k&127]&63] = value
			}
			k++
		}
	}
	if run == 0 {
		return 0, true
	}
	for ; k <= s.end; k++ {
		if c := &b[order[k&127]&63]; *c != 0 {
			r.correct(c, one)
		}
	}
	return run - 1, true
}

// correct reads the next bit of a coefficient.
func (r *bits) correct(c *int16, one int16) {
	if r.n < 1 {
		r.fill()
	}
	if r.take(1) == 0 || *c&one != 0 { // a bit that is there is not added twice
		return
	}
	if *c > 0 {
		*c += one
	} else {
		*c -= one
	}
}
