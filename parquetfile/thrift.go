package parquetfile

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Bounds of what a footer may hold. A decoder makes room for a list before it has seen its elements.
const (
	maxDepth    = 16
	maxElements = 1 << 18 // of all lists together
)

// thrift walks over a structure in Thrift's compact protocol, to find its end and to know before it is decoded that no
// length in it leads beyond the bytes.
//
// Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
type thrift struct {
	b        []byte
	at       int
	elements int
}

var errThrift = errors.New("lengths lead beyond the bytes")

// structure passes one structure.
func (t *thrift) structure(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("structures in structures, more than %d deep", maxDepth)
	}
	for {
		head, err := t.next()
		if err != nil {
			return err
		}
		kind := head & 15
		if kind == 0 {
			return nil
		}
		if head>>4 == 0 { // the number of the field follows
			if _, err := t.varint(); err != nil {
				return err
			}
		}
		if kind > 2 { // a truth value is in its type
			if err := t.value(kind, depth); err != nil {
				return err
			}
		}
	}
}

// value passes a value that is no truth value of a structure.
func (t *thrift) value(kind byte, depth int) error {
	switch kind {
	case 1, 2, 3:
		return t.pass(1)
	case 4, 5, 6:
		_, err := t.varint()
		return err
	case 7:
		return t.pass(8)
	case 8:
		n, err := t.varint()
		if err != nil {
			return err
		}
		return t.pass(n)
	case 9, 10:
		head, err := t.next()
		if err != nil {
			return err
		}
		n := uint64(head >> 4)
		if n == 15 {
			if n, err = t.varint(); err != nil {
				return err
			}
		}
		return t.list(n, depth, head&15)
	case 11:
		n, err := t.varint()
		if err != nil || n == 0 {
			return err
		}
		kinds, err := t.next()
		if err != nil {
			return err
		}
		return t.list(n, depth, kinds>>4, kinds&15)
	case 12:
		return t.structure(depth + 1)
	}
	return fmt.Errorf("unknown type %d", kind)
}

// list passes n times values of these types.
func (t *thrift) list(n uint64, depth int, kinds ...byte) error {
	if n > uint64(len(t.b)-t.at) { // each takes a byte at least
		return errThrift
	}
	if t.elements += int(n); t.elements > maxElements {
		return fmt.Errorf("lists of more than %d elements", maxElements)
	}
	if depth++; depth > maxDepth {
		return fmt.Errorf("lists in lists, more than %d deep", maxDepth)
	}
	for range n {
		for _, kind := range kinds {
			if err := t.value(kind, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *thrift) next() (byte, error) {
	if t.at >= len(t.b) {
		return 0, errThrift
	}
	t.at++
	return t.b[t.at-1], nil
}

func (t *thrift) varint() (uint64, error) {
	v, n := binary.Uvarint(t.b[t.at:])
	if n <= 0 {
		return 0, errThrift
	}
	t.at += n
	return v, nil
}

func (t *thrift) pass(n uint64) error {
	if n > uint64(len(t.b)-t.at) {
		return errThrift
	}
	t.at += int(n)
	return nil
}
