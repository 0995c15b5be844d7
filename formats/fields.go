package formats

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// fields reads separated values. A field in quotes may hold separators, ends of lines, and quotes, each doubled
// (RFC 4180). In a field that does not begin with a quote they are as they are, as pandas reads them.
type fields struct {
	r         *bufio.Reader
	separator rune
	line      int // of the next byte, from 1
	start     int // line in which the last record begins
	memory    []byte
	ends      []int // of the fields in memory
	skipMark  bool  // a mark of the order of bytes may come
}

func newFields(r *bufio.Reader, separator rune) *fields {
	return &fields{r: r, separator: separator, line: 1, skipMark: true}
}

// next reads a record into list, whose memory it may use. Empty lines are passed by. An error is at line start of f; it
// is io.EOF at the end.
func (f *fields) next(list []string) ([]string, error) {
	f.start = f.line
	if f.skipMark {
		f.skipMark = false
		if mark, _ := f.r.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
			f.r.Discard(len(mark))
		}
	}
	f.memory, f.ends = f.memory[:0], f.ends[:0]
	const (
		begin  = iota // of a field
		plain         // inside one
		quoted        // inside quotes
		closed        // behind them
	)
	for state := begin; ; {
		c, size, err := f.r.ReadRune()
		if err != nil {
			switch {
			case err != io.EOF:
				return nil, err
			case state == quoted:
				return nil, errors.New("the file ends inside of quotes")
			case len(f.ends) == 0 && state == begin:
				return nil, io.EOF
			}
			f.ends = append(f.ends, len(f.memory))
			return f.strings(list), nil
		}
		if c == utf8.RuneError && size == 1 {
			return nil, errors.New("not UTF-8")
		}
		if c == '\r' && state != quoted {
			if b, _ := f.r.Peek(1); len(b) == 1 && b[0] == '\n' {
				continue
			}
		}
		if c == '\n' {
			f.line++
		}
		switch {
		case state == quoted && c == '"':
			state = closed
			continue
		case state == quoted:
		case c == '\n' && state == begin && len(f.ends) == 0:
			f.start = f.line
			continue
		case c == '\n':
			f.ends = append(f.ends, len(f.memory))
			return f.strings(list), nil
		case c == f.separator:
			f.ends = append(f.ends, len(f.memory))
			if len(f.ends) > maxFields {
				return nil, fmt.Errorf("more than %d fields", maxFields)
			}
			state = begin
			continue
		case state == begin && c == '"':
			state = quoted
			continue
		case state == closed && c == '"':
			state = quoted
		case state == closed:
			return nil, fmt.Errorf("field %d: %q behind the closing quote: want a separator (quotes inside of quotes are doubled)", len(f.ends)+1, c)
		case state == begin:
			state = plain
		}
		if len(f.memory)+size > maxLine {
			return nil, fmt.Errorf("row longer than %d bytes", maxLine)
		}
		f.memory = utf8.AppendRune(f.memory, c)
	}
}

// maxFields bounds the fields of a record.
const maxFields = 4096

// strings returns the fields of the record that is in memory.
func (f *fields) strings(list []string) []string {
	list = list[:0]
	text, at := string(f.memory), 0
	for _, end := range f.ends {
		list = append(list, text[at:end])
		at = end
	}
	return list
}
