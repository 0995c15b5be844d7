package embeddings

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"

	"relsim/checkpoints"
)

// Bounds of an array's header: NumPy itself writes some 100 bytes and has at most 32 dimensions.
const (
	maxHeader = 1 << 16
	maxSides  = 32
	maxWidth  = 1 << 20 // characters of a fixed-width string
)

// array is the header of an array: what its values are.
type array struct {
	kind    byte // f float, i and u integers, U characters of 32 bits, S bytes
	size    int  // bytes of a value; of U and S, of a whole string
	big     bool // the most significant byte comes first
	fortran bool // the first index moves fastest
	shape   []int
	header  int64 // bytes before the values
}

// values is the number of values, or an error where it or their bytes do not fit in an int64.
func (a *array) values() (int64, error) {
	n := uint64(1)
	for _, side := range a.shape {
		if side == 0 {
			return 0, nil
		}
	}
	for _, side := range a.shape {
		hi, lo := bits.Mul64(n, uint64(side))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, fmt.Errorf("shape %v: too many values", a.shape)
		}
		n = lo
	}
	if hi, lo := bits.Mul64(n, uint64(a.size)); hi != 0 || lo > math.MaxInt64/2 {
		return 0, fmt.Errorf("shape %v: too many bytes", a.shape)
	}
	return int64(n), nil
}

// readArray reads the header of an array of size bytes, and checks that its values fill them.
func readArray(r io.Reader, size int64) (*array, error) {
	var start [12]byte
	if _, err := io.ReadFull(r, start[:10]); err != nil {
		return nil, fmt.Errorf("not a NumPy array: %w", short(err))
	}
	if string(start[:6]) != "\x93NUMPY" {
		return nil, fmt.Errorf("not a NumPy array: it begins with %q, not \"\\x93NUMPY\"", start[:6])
	}
	at, n := int64(10), int64(binary.LittleEndian.Uint16(start[8:]))
	switch start[6] {
	case 1:
	case 2, 3: // 3 has its header in UTF-8, which matters to names of fields only
		if _, err := io.ReadFull(r, start[10:]); err != nil {
			return nil, fmt.Errorf("header: %w", short(err))
		}
		at, n = 12, int64(binary.LittleEndian.Uint32(start[8:]))
	default:
		return nil, fmt.Errorf("version %d.%d of the array format: want 1, 2 or 3", start[6], start[7])
	}
	if n > maxHeader || n > size-at {
		return nil, fmt.Errorf("a header of %d bytes in %d: want at most %d", n, size, maxHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, fmt.Errorf("header: %w", short(err))
	}
	a, err := parseHeader(string(text))
	if err != nil {
		return nil, fmt.Errorf("header %.120q: %w", bytes.TrimSpace(text), err)
	}
	a.header = at + n
	values, err := a.values()
	if err != nil {
		return nil, err
	}
	if want := a.header + values*int64(a.size); want != size {
		return nil, fmt.Errorf("shape %v of %d bytes each asks for %d bytes, and there are %d", a.shape, a.size, want, size)
	}
	return a, nil
}

// short names the end of a file that comes too early.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseHeader reads the header of an array, a dictionary as Python writes it, such as
// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }.
func parseHeader(text string) (*array, error) {
	p := &literal{text}
	a := &array{}
	var descr string
	seen := make(map[string]bool)
	if err := p.want("{"); err != nil {
		return nil, err
	}
	for !p.take("}") {
		key, err := p.quoted()
		if err != nil {
			return nil, err
		}
		if err := p.want(":"); err != nil {
			return nil, err
		}
		if seen[key] {
			return nil, fmt.Errorf("%q is there twice", key)
		}
		seen[key] = true
		switch key {
		case "descr":
			if p.take("[") {
				return nil, errors.New("an array of records: want one array for each column")
			}
			descr, err = p.quoted()
		case "fortran_order":
			switch {
			case p.take("True"):
				a.fortran = true
			case p.take("False"):
			default:
				err = errors.New("fortran_order is neither True nor False")
			}
		case "shape":
			a.shape, err = p.tuple()
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return nil, err
		}
		if !p.take(",") {
			if err := p.want("}"); err != nil {
				return nil, err
			}
			break
		}
	}
	if p.skip(); p.rest != "" {
		return nil, fmt.Errorf("%.20q after the end", p.rest)
	}
	for _, key := range []string{"descr", "fortran_order", "shape"} {
		if !seen[key] {
			return nil, fmt.Errorf("no %q", key)
		}
	}
	return a, a.setType(descr)
}

// setType reads a type such as <f4: order of bytes, kind, bytes (characters of U).
func (a *array) setType(descr string) error {
	order, rest := byte('='), descr
	if rest != "" && strings.IndexByte("<>|=", rest[0]) >= 0 {
		order, rest = rest[0], rest[1:]
	}
	if rest == "" {
		return fmt.Errorf("descr %q: no type", descr)
	}
	if rest[0] == 'O' {
		return errors.New("an array of Python objects is a pickle, which can run any code, and is not read. Save strings as" +
			" np.array(list_of_str), whose type is <U…, and vectors as np.stack(list).astype(np.float32)")
	}
	n, err := strconv.ParseUint(rest[1:], 10, 31)
	known := map[byte][]uint64{'f': {2, 4, 8}, 'i': {1, 2, 4, 8}, 'u': {1, 2, 4, 8}}
	switch a.kind = rest[0]; {
	case err != nil:
	case a.kind == 'U' && n <= maxWidth:
		n *= 4
	case a.kind == 'S' && n <= maxWidth:
	case a.kind == 'U' || a.kind == 'S':
		return fmt.Errorf("descr %q: strings of more than %d characters", descr, maxWidth)
	default:
		err = errors.New("unknown")
		for _, size := range known[a.kind] {
			if n == size {
				err = nil
			}
		}
	}
	if err != nil {
		return fmt.Errorf("descr %q: want float16, 32 or 64, integers, or strings (<f4, <i8, <U12 …)", descr)
	}
	a.size = int(n)
	a.big = order == '>'
	return nil
}

// literal is what is left of a Python literal.
type literal struct{ rest string }

func (p *literal) skip() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// take passes a word, if it comes next.
func (p *literal) take(word string) bool {
	p.skip()
	rest, ok := strings.CutPrefix(p.rest, word)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *literal) want(word string) error {
	if !p.take(word) {
		return fmt.Errorf("%.20q where %q was expected", p.rest, word)
	}
	return nil
}

// quoted reads a string without escapes.
func (p *literal) quoted() (string, error) {
	p.skip()
	if p.rest == "" || p.rest[0] != '\'' && p.rest[0] != '"' {
		return "", fmt.Errorf("%.20q where a string was expected", p.rest)
	}
	s, rest, ok := strings.Cut(p.rest[1:], p.rest[:1])
	if !ok || strings.Contains(s, `\`) {
		return "", fmt.Errorf("%.20q is no plain string", p.rest)
	}
	p.rest = rest
	return s, nil
}

// tuple reads integers in brackets: (), (3,), (3, 2); a Python of old wrote (3L, 2L).
func (p *literal) tuple() ([]int, error) {
	if err := p.want("("); err != nil {
		return nil, err
	}
	shape := []int{}
	for !p.take(")") {
		p.skip()
		digits := p.rest[:len(p.rest)-len(strings.TrimLeft(p.rest, "0123456789"))]
		n, err := strconv.ParseInt(digits, 10, strconv.IntSize)
		if err != nil {
			return nil, fmt.Errorf("shape: %.24q where a side below 2⁶³ was expected", p.rest)
		}
		if len(shape) == maxSides {
			return nil, fmt.Errorf("shape: more than %d dimensions", maxSides)
		}
		shape, p.rest = append(shape, int(n)), p.rest[len(digits):]
		p.take("L")
		if !p.take(",") {
			if err := p.want(")"); err != nil {
				return nil, err
			}
			break
		}
	}
	return shape, nil
}

// readVectors reads an array of size bytes that holds one vector in each row; stored is what it takes on disk.
func readVectors(r io.Reader, size, stored int64) (*Table, error) {
	a, err := readArray(r, size)
	if err != nil {
		return nil, err
	}
	dtype := map[int]checkpoints.DType{2: checkpoints.F16, 4: checkpoints.F32, 8: checkpoints.F64}[a.size]
	if a.kind != 'f' {
		return nil, fmt.Errorf("values of kind %q: want float16, 32 or 64", a.kind)
	}
	if len(a.shape) != 2 || a.shape[0] == 0 || a.shape[1] == 0 {
		return nil, fmt.Errorf("shape %v: want (pictures, width), both 1 or more", a.shape)
	}
	n, dim := a.shape[0], a.shape[1]
	values, _ := a.values() // checked by readArray
	if limit := allowed(stored); values > limit/4 {
		return nil, fmt.Errorf("shape %v takes %d bytes in memory, and %d on disk: more than %d times that", a.shape, 4*values, stored, maxRatio)
	}
	t := &Table{Dim: dim, Vectors: make([]float32, values)}
	buffer := make([]byte, 1<<16)
	for at := 0; at < len(t.Vectors); {
		part := buffer[:min(len(buffer), (len(t.Vectors)-at)*a.size)]
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, fmt.Errorf("value %d of %d: %w", at, values, short(err))
		}
		if a.big {
			swap(part, a.size)
		}
		numbers, err := checkpoints.Float32s(checkpoints.Tensor{Name: "embeddings", DType: dtype, Shape: []int{len(part) / a.size}, Data: part})
		if err != nil {
			return nil, err
		}
		at += copy(t.Vectors[at:], numbers)
	}
	if a.fortran && n > 1 && dim > 1 {
		rows := make([]float32, len(t.Vectors))
		for i, v := range t.Vectors {
			rows[i%n*dim+i/n] = v
		}
		t.Vectors = rows
	}
	return t, nil
}

// swap turns each value of some bytes around.
func swap(b []byte, size int) {
	for ; len(b) >= size; b = b[size:] {
		for i, j := 0, size-1; i < j; i, j = i+1, j-1 {
			b[i], b[j] = b[j], b[i]
		}
	}
}

// readStrings reads an array of size bytes of n strings, or of integers, which ids may be. It is nil where the array
// has no values though n is not 0: what NumPy makes of a list that was never filled.
func readStrings(r io.Reader, size, stored int64, n int) ([]string, error) {
	a, err := readArray(r, size)
	if err != nil {
		return nil, err
	}
	if len(a.shape) == 1 && a.shape[0] == 0 {
		return nil, nil
	}
	if len(a.shape) != 1 || a.shape[0] != n {
		return nil, fmt.Errorf("shape %v: want (%d), one for each embedding", a.shape, n)
	}
	if a.kind == 'f' {
		return nil, errors.New("floating-point numbers: want strings (<U…) or integers")
	}
	list := make([]string, 0, min(n, 1<<16))
	left := allowed(stored)
	buffer := make([]byte, a.size)
	var text []byte
	for i := range n {
		if _, err := io.ReadFull(r, buffer); err != nil {
			return nil, fmt.Errorf("row %d of %d: %w", i, n, short(err))
		}
		if text, err = a.text(text[:0], buffer); err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
		if left -= int64(len(text)) + 16; left < 0 {
			return nil, fmt.Errorf("row %d: the strings take more than %d times the %d bytes on disk", i, maxRatio, stored)
		}
		list = append(list, string(text))
	}
	return list, nil
}

// text appends one value as text.
func (a *array) text(to, value []byte) ([]byte, error) {
	switch {
	case a.big && a.kind == 'U':
		swap(value, 4)
	case a.big && a.kind != 'S':
		swap(value, a.size)
	}
	switch a.kind {
	case 'S':
		return append(to, bytes.TrimRight(value, "\x00")...), nil
	case 'U':
		for len(value) >= 4 && binary.LittleEndian.Uint32(value[len(value)-4:]) == 0 {
			value = value[:len(value)-4]
		}
		for ; len(value) > 0; value = value[4:] {
			c := binary.LittleEndian.Uint32(value)
			if c > utf8.MaxRune || !utf8.ValidRune(rune(c)) {
				return nil, fmt.Errorf("%#x is no character", c)
			}
			to = utf8.AppendRune(to, rune(c))
		}
		return to, nil
	}
	var wide [8]byte
	copy(wide[:], value)
	u := binary.LittleEndian.Uint64(wide[:])
	if a.kind == 'u' {
		return strconv.AppendUint(to, u, 10), nil
	}
	shift := 64 - 8*a.size
	return strconv.AppendInt(to, int64(u<<shift)>>shift, 10), nil
}

// headerOf writes the header of an array as NumPy does: version 1.0, padded to a multiple of 64 bytes.
func headerOf(descr, shape string) []byte {
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape)
	const before = 10
	text += strings.Repeat(" ", 63-(before+len(text))%64) + "\n"
	b := append([]byte("\x93NUMPY\x01\x00"), 0, 0)
	binary.LittleEndian.PutUint16(b[8:], uint16(len(text)))
	return append(b, text...)
}

// writeVectors writes the embeddings as an array of float32.
func writeVectors(w io.Writer, t *Table) error {
	if _, err := w.Write(headerOf("<f4", fmt.Sprintf("(%d, %d)", t.Len(), t.Dim))); err != nil {
		return err
	}
	buffer := make([]byte, 0, 1<<16)
	for i, v := range t.Vectors {
		buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(v))
		if len(buffer) == cap(buffer) || i == len(t.Vectors)-1 {
			if _, err := w.Write(buffer); err != nil {
				return err
			}
			buffer = buffer[:0]
		}
	}
	return nil
}

// writeStrings writes strings as an array of the width of the longest.
func writeStrings(w io.Writer, list []string) error {
	width := 1
	for i, s := range list {
		width = max(width, utf8.RuneCountInString(s))
		if strings.HasSuffix(s, "\x00") {
			return fmt.Errorf("row %d: %.40q ends with a zero byte, which NumPy's strings cannot", i, s)
		}
	}
	const most = 16 << 30
	if width > maxWidth || len(list) > most/4/width {
		return fmt.Errorf("%d strings, the longest of %d characters: NumPy gives each the room of the longest; want at most %d characters and %d bytes in all, or .parquet", len(list), width, maxWidth, most)
	}
	if _, err := w.Write(headerOf(fmt.Sprintf("<U%d", width), fmt.Sprintf("(%d,)", len(list)))); err != nil {
		return err
	}
	value := make([]byte, 0, 4*width)
	for _, s := range list {
		value = value[:0]
		for _, c := range s {
			value = binary.LittleEndian.AppendUint32(value, uint32(c))
		}
		clear(value[len(value):cap(value)])
		if _, err := w.Write(value[:4*width]); err != nil {
			return err
		}
	}
	return nil
}
