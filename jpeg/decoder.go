package jpeg

import "relsim/kernel"

// Go returns a decoder in Go. It keeps its memory for the next picture; it is for
// one goroutine.
func Go() Decoder { return new(goDecoder) }

type goDecoder struct {
	parser
	bits   bits
	own    tables
	out    kernel.YCbCr
	planes [3][]byte
	stride [3]int
	side   int            // samples of a block along each axis: 8, fewer of a draft
	want   [3]Rect        // blocks that are asked for
	blocks [3][][64]int16 // coefficients of a progressive picture
	seen   [3]bool        // components that a scan has brought
}

// MaxScans bounds the scans of a picture: a few bytes of scan can ask for a pass over
// every block.
const MaxScans = 256

func (d *goDecoder) Decode(data []byte, part Rect, shrink int) (*kernel.YCbCr, error) {
	d.parser = parser{data: data, tables: &d.own}
	d.seen = [3]bool{}
	defer func() { d.data = nil }()
	if err := d.header(); err != nil {
		return nil, err
	}
	if err := d.prepare(part, shrink); err != nil {
		return nil, err
	}
	for scans := 1; ; scans++ {
		if scans > MaxScans {
			return nil, broken("more than %d scans", MaxScans)
		}
		if err := d.readScan(); err != nil {
			return nil, err
		}
		mark, err := d.segments()
		if err != nil {
			return nil, err
		}
		if mark == markEOI {
			break
		}
	}
	for i := range d.Components {
		if !d.seen[i] {
			return nil, broken("no scan of component %d", d.parts[i].id)
		}
	}
	if d.Progressive {
		if err := d.transform(); err != nil {
			return nil, err
		}
	}
	return &d.out, nil
}

// bounds holds the header against the part that is asked for and the length of the
// file.
func (p *parser) bounds(part Rect) error {
	if part.X0 < 0 || part.Y0 < 0 || part.X1 > p.Width || part.Y1 > p.Height || part.X0 >= part.X1 || part.Y0 >= part.Y1 {
		return broken("part %v of %d×%d pixels", part, p.Width, p.Height)
	}
	blocks := 0
	for _, c := range p.parts[:p.Components] {
		blocks += c.width * c.height
	}
	// The first coefficient of a block takes a bit at least; in sequential coding,
	// so does its end.
	need := blocks
	if !p.Progressive {
		need *= 2
	}
	if need/8 > len(p.data) {
		return truncated("too short for its size")
	}
	return nil
}

// prepare takes the memory for the picture.
func (d *goDecoder) prepare(part Rect, shrink int) error {
	if err := d.bounds(part); err != nil {
		return err
	}
	switch shrink {
	case 1, 4, 8:
		d.side = 8 / shrink
	default:
		return broken("1/%d of the size, want 1, 1/4 or 1/8", shrink)
	}
	d.out = kernel.YCbCr{
		Width: (d.Width + shrink - 1) / shrink, Height: (d.Height + shrink - 1) / shrink, SubX: d.SubX, SubY: d.SubY,
	}
	for i, c := range d.parts[:d.Components] {
		d.stride[i] = d.side * c.across
		// Vectors may read some samples past the last one.
		d.planes[i] = grow(d.planes[i], d.side*c.down*d.stride[i]+32)
		subX, subY, around := 1, 1, 0
		if i > 0 {
			subX, subY, around = d.SubX, d.SubY, shrink
		}
		d.want[i] = Rect{
			max(part.X0/subX-around, 0) / 8, max(part.Y0/subY-around, 0) / 8,
			((part.X1-1)/subX+around)/8 + 1, ((part.Y1-1)/subY+around)/8 + 1,
		}
		if d.Progressive {
			d.blocks[i] = grow(d.blocks[i], c.across*c.down)
			clear(d.blocks[i])
		}
	}
	d.out.Y, d.out.YStride = d.planes[0], d.stride[0]
	if d.Components == 3 {
		d.out.Cb, d.out.Cr, d.out.CStride = d.planes[1], d.planes[2], d.stride[1]
	}
	return nil
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// complete says which tables of the scan are missing.
func (p *parser) complete() error {
	s := &p.scan
	for i := range s.n {
		c := &p.parts[s.part[i]]
		if !p.haveSteps[c.quant] && !p.Progressive {
			return broken("component %d without quantisation", c.id)
		}
		if s.start == 0 && s.high == 0 && !p.haveCodes[0][s.dc[i]] || s.end > 0 && !p.haveCodes[1][s.ac[i]] {
			return broken("scan of component %d without its Huffman tables", c.id)
		}
	}
	return nil
}

// readScan decodes the scan whose header was read.
func (d *goDecoder) readScan() error {
	if err := d.complete(); err != nil {
		return err
	}
	s := &d.scan
	for i := range s.n {
		c := &d.parts[s.part[i]]
		if s.start == 0 && s.high == 0 {
			if d.seen[s.part[i]] {
				return broken("two scans of component %d", c.id)
			}
			d.seen[s.part[i]] = true
		} else if !d.seen[s.part[i]] {
			return broken("scan of component %d without one before", c.id)
		}
	}
	if d.Progressive {
		return d.progressive()
	}
	return d.sequential()
}

// units calls f for each block of the scan in the order of coding: with the number
// of the component in the scan, that in the frame, and the place of the block. Where
// coding starts again it calls again.
func (d *goDecoder) units(f func(i, part, x, y int) error, again func()) error {
	s := &d.scan
	var err error
	if d.at, err = d.bits.load(d.data, d.at); err != nil {
		return err
	}
	across, down := d.unitsX, d.unitsY
	if s.n == 1 { // blocks of one component follow each other without units
		across, down = d.parts[s.part[0]].width, d.parts[s.part[0]].height
	}
	left, next := d.restart, byte(markRST0)
	for uy := range down {
		for ux := range across {
			if d.restart > 0 {
				if left == 0 {
					if mark, err := d.marker(); err != nil {
						return err
					} else if mark != next {
						return broken("marker %02x, want restart %02x", mark, next)
					}
					if d.at, err = d.bits.load(d.data, d.at); err != nil {
						return err
					}
					left, next = d.restart, markRST0+(next+1)&7
					again()
				}
				left--
			}
			for i := range s.n {
				part := s.part[i]
				w, h := d.parts[part].h, d.parts[part].v
				if s.n == 1 {
					w, h = 1, 1
				}
				for y := range h {
					for x := range w {
						if err := f(i, part, ux*w+x, uy*h+y); err != nil {
							return err
						}
						if d.bits.passed() {
							return truncated("in coded data")
						}
					}
				}
			}
		}
	}
	return nil
}

// samples makes the samples of block (x, y) of a component.
func (d *goDecoder) samples(i, x, y int, b *[64]int16) {
	steps, stride := &d.steps[d.parts[i].quant], d.stride[i]
	dst := d.planes[i][d.side*(y*stride+x):]
	if d.side == 8 {
		kernel.IDCT(dst, stride, b, steps)
	} else {
		draft(dst, stride, d.side, b, steps)
	}
}

// transform makes samples of the coefficients of a progressive picture.
func (d *goDecoder) transform() error {
	for i, c := range d.parts[:d.Components] {
		if !d.haveSteps[c.quant] {
			return broken("component %d without quantisation", c.id)
		}
		w := d.want[i]
		for y := w.Y0; y < min(w.Y1, c.down); y++ {
			for x := w.X0; x < min(w.X1, c.across); x++ {
				d.samples(i, x, y, &d.blocks[i][y*c.across+x])
			}
		}
	}
	return nil
}
