package jpeg

import (
	"bytes"
	"encoding/binary"

	"relsim/kernel"
)

// Markers, ITU-T T.81, table B.1.
const (
	markSOF0 = 0xc0
	markSOF1 = 0xc1
	markSOF2 = 0xc2
	markDHT  = 0xc4
	markRST0 = 0xd0
	markSOI  = 0xd8
	markEOI  = 0xd9
	markSOS  = 0xda
	markDQT  = 0xdb
	markDRI  = 0xdd
	markAPP0 = 0xe0
	markAPPE = 0xee
)

// component is a plane as the frame describes it.
type component struct {
	id, quant     byte
	h, v          int // blocks of a unit along each axis
	width, height int // blocks that have samples of the picture
	across, down  int // blocks with those that fill up the last units
}

// parser reads the segments of a file.
type parser struct {
	Header
	data []byte
	at   int // of the next segment

	frame        bool
	parts        [3]component
	unitsX       int // units of all components, each of them h×v blocks
	unitsY       int
	jfif         bool
	adobe        bool
	adobeColours byte
	restart      int // units between restart markers; 0: none
	steps        [4][64]int16
	haveSteps    [4]bool
	haveCodes    [2][4]bool // DC and AC tables of codes
	tables       *tables    // nil: segments of codes are checked for their length only
	scan         scanHeader
}

// scanHeader is a start of scan.
type scanHeader struct {
	n          int
	part       [3]int // index of the component
	dc, ac     [3]byte
	start, end int // of the spectral selection
	high, low  int // of the successive approximation
}

// header parses up to the first start of scan.
func (p *parser) header() error {
	if len(p.data) < 2 || p.data[0] != 0xff || p.data[1] != markSOI {
		return broken("not a JPEG picture")
	}
	p.at = 2
	mark, err := p.segments()
	if err != nil {
		return err
	}
	if mark != markSOS {
		return broken("no scan before the end")
	}
	p.OneScan = p.scan.n == p.Components
	if !p.jfif && p.Components == 3 {
		ids := [3]byte{p.parts[0].id, p.parts[1].id, p.parts[2].id}
		if p.adobe && p.adobeColours == 0 || !p.adobe && ids == [3]byte{'R', 'G', 'B'} {
			return unsupported("RGB")
		}
	}
	return nil
}

// segments parses up to and with the next start of scan, or up to the end of the
// image, and returns the marker.
func (p *parser) segments() (byte, error) {
	for {
		mark, err := p.marker()
		if err != nil {
			return 0, err
		}
		if mark == markEOI {
			return mark, nil
		}
		if p.at+2 > len(p.data) {
			return 0, truncated("in a segment")
		}
		n := int(binary.BigEndian.Uint16(p.data[p.at:]))
		if n < 2 {
			return 0, broken("segment %02x of %d bytes", mark, n)
		}
		if p.at+n > len(p.data) {
			return 0, truncated("in a segment")
		}
		b := p.data[p.at+2 : p.at+n]
		p.at += n
		switch mark {
		case markSOF0, markSOF1, markSOF2:
			err = p.startOfFrame(mark, b)
		case 0xc3, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf:
			err = unsupported("coding process of marker %02x", mark)
		case markDHT:
			err = p.huffmanTables(b)
		case markDQT:
			err = p.quantisation(b)
		case markDRI:
			if len(b) != 2 {
				return 0, broken("restart interval of %d bytes", len(b))
			}
			p.restart = int(binary.BigEndian.Uint16(b))
		case markAPP0:
			p.jfif = p.jfif || bytes.HasPrefix(b, []byte("JFIF\x00"))
		case markAPPE:
			if len(b) >= 12 && bytes.HasPrefix(b, []byte("Adobe")) {
				p.adobe, p.adobeColours = true, b[11]
			}
		case markSOS:
			return mark, p.startOfScan(b)
		case 0xdc, 0xde, 0xdf:
			err = unsupported("marker %02x", mark)
		default:
			if mark < markAPP0 && mark != 0xfe {
				err = broken("unexpected marker %02x", mark)
			}
		}
		if err != nil {
			return 0, err
		}
	}
}

// marker reads a marker, with bytes of fill before it.
func (p *parser) marker() (byte, error) {
	if p.at >= len(p.data) {
		return 0, truncated("no end marker")
	}
	if p.data[p.at] != 0xff {
		return 0, broken("%02x where a marker should be", p.data[p.at])
	}
	for p.at < len(p.data) && p.data[p.at] == 0xff {
		p.at++
	}
	if p.at == len(p.data) {
		return 0, truncated("no end marker")
	}
	p.at++
	return p.data[p.at-1], nil
}

func (p *parser) startOfFrame(mark byte, b []byte) error {
	if p.frame {
		return broken("two frames")
	}
	if len(b) < 6 {
		return broken("frame of %d bytes", len(b))
	}
	p.frame = true
	p.Progressive = mark == markSOF2
	p.Height, p.Width = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	p.Components = int(b[5])
	switch {
	case b[0] != 8:
		return unsupported("%d bits", b[0])
	case p.Height == 0:
		return unsupported("height after the first scan")
	case p.Width == 0:
		return broken("%d×%d pixels", p.Width, p.Height)
	case p.Components != 1 && p.Components != 3:
		return unsupported("%d components", p.Components)
	case len(b) != 6+3*p.Components:
		return broken("frame of %d components in %d bytes", p.Components, len(b))
	}
	for i := range p.Components {
		c := &p.parts[i]
		c.id, c.quant = b[6+3*i], b[8+3*i]
		c.h, c.v = int(b[7+3*i]>>4), int(b[7+3*i]&15)
		for _, other := range p.parts[:i] {
			if other.id == c.id {
				return broken("two components %d", c.id)
			}
		}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.quant > 3 {
			return broken("component %d: sampling %d×%d, quantisation %d", c.id, c.h, c.v, c.quant)
		}
	}
	y := &p.parts[0]
	if p.Components == 1 {
		y.h, y.v = 1, 1 // one component has no units
	}
	for _, c := range p.parts[1:p.Components] {
		if c.h != 1 || c.v != 1 || y.h > 2 || y.v > 2 {
			return unsupported("sampling %d×%d to %d×%d", y.h, y.v, c.h, c.v)
		}
	}
	p.SubX, p.SubY = y.h, y.v
	p.unitsX, p.unitsY = (p.Width+8*y.h-1)/(8*y.h), (p.Height+8*y.v-1)/(8*y.v)
	for i := range p.Components {
		c := &p.parts[i]
		c.across, c.down = p.unitsX*c.h, p.unitsY*c.v
		c.width = ((p.Width*c.h+y.h-1)/y.h + 7) / 8
		c.height = ((p.Height*c.v+y.v-1)/y.v + 7) / 8
	}
	return nil
}

func (p *parser) quantisation(b []byte) error {
	for len(b) > 0 {
		wide, id := b[0]>>4, b[0]&15
		if wide > 1 || id > 3 {
			return broken("quantisation table %02x", b[0])
		}
		n := 64 * (1 + int(wide))
		if len(b) < 1+n {
			return broken("quantisation table of %d bytes", len(b)-1)
		}
		for k := range 64 {
			step := uint16(b[1+k])
			if wide == 1 {
				step = binary.BigEndian.Uint16(b[1+2*k:])
			}
			p.steps[id][order[k]] = int16(step)
		}
		p.haveSteps[id] = true
		b = b[1+n:]
	}
	return nil
}

func (p *parser) startOfScan(b []byte) error {
	if !p.frame {
		return broken("a scan before the frame")
	}
	s := scanHeader{}
	if len(b) < 1 {
		return broken("scan of 0 bytes")
	}
	s.n = int(b[0])
	if s.n < 1 || s.n > p.Components || len(b) != 4+2*s.n {
		return broken("scan of %d components in %d bytes", s.n, len(b))
	}
	for i := range s.n {
		s.part[i] = -1
		for k, c := range p.parts[:p.Components] {
			if c.id == b[1+2*i] {
				s.part[i] = k
			}
		}
		if s.part[i] < 0 || i > 0 && s.part[i] <= s.part[i-1] {
			return broken("scan of component %d", b[1+2*i])
		}
		s.dc[i], s.ac[i] = b[2+2*i]>>4, b[2+2*i]&15
		if s.dc[i] > 3 || s.ac[i] > 3 {
			return broken("scan with Huffman tables %d and %d", s.dc[i], s.ac[i])
		}
	}
	b = b[1+2*s.n:]
	s.start, s.end, s.high, s.low = int(b[0]), int(b[1]), int(b[2]>>4), int(b[2]&15)
	switch {
	case !p.Progressive:
		// libjpeg warns of other numbers and reads the scan all the same.
		if s.start != 0 || s.end != 63 || s.high != 0 || s.low != 0 {
			return broken("sequential scan of coefficients %d to %d, bits %d to %d", s.start, s.end, s.high, s.low)
		}
	case s.start > s.end || s.end > 63 || s.start == 0 && s.end != 0 || s.start > 0 && s.n != 1 || s.low > 13 || s.high != 0 && s.high != s.low+1:
		return broken("progressive scan of %d components, coefficients %d to %d, bits %d to %d", s.n, s.start, s.end, s.high, s.low)
	}
	p.scan = s
	return nil
}

// order maps the number of a coefficient along the zigzag to its place in a block
// for [kernel.IDCT]. A run of zeros may lead past the end of a block; what
// follows it lands on the last coefficient, as in libjpeg.
var order = func() (o [128]uint8) {
	i := 0
	for d := range 15 { // diagonals, in turns up and down
		for k := range d + 1 {
			v, u := k, d-k
			if d%2 == 0 {
				v, u = d-k, k
			}
			if v < 8 && u < 8 {
				o[i] = kernel.IDCTOrder[8*v+u]
				i++
			}
		}
	}
	for ; i < len(o); i++ {
		o[i] = o[63]
	}
	return o
}()
