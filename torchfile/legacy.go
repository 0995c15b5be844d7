package torchfile

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// legacyMagic is 0x1950a86a20f9469cfc6c, as a pickle writes it.
const legacyMagic = long("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")

// legacyVersion is the only version of the layout that there was.
const legacyVersion = 1001

// readLegacy reads the layout of before PyTorch 1.6: pickles of a magic number, the version, the byte order, the
// object, and the keys of its storages; then for each key the number of elements in 8 bytes, and the elements.
func (f *File) readLegacy(size int64) (any, error) {
	u := &unpickler{in: newInput(f.r, 0, size), storages: map[string]*storage{}, legacy: true, file: size}
	magic, err := u.load()
	if err != nil || magic != any(legacyMagic) {
		if err == nil {
			err = fmt.Errorf("it begins with a pickle of %s", describe(magic))
		}
		return nil, fmt.Errorf("neither a zip archive nor the older layout of PyTorch: %w", err)
	}
	version, err := u.load()
	if err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	if version != any(int64(legacyVersion)) {
		return nil, fmt.Errorf("version %s, want %d", describe(version), legacyVersion)
	}
	system, err := u.load()
	if err != nil {
		return nil, fmt.Errorf("system: %w", err)
	}
	if f.swap, err = bigEndian(system); err != nil {
		return nil, err
	}
	root, err := u.load()
	if err != nil {
		return nil, err
	}
	storages := u.storages
	u.storages = map[string]*storage{}
	keys, err := u.load()
	if err != nil {
		return nil, fmt.Errorf("keys of storages: %w", err)
	}
	if len(u.storages) > 0 {
		return nil, errors.New("keys of storages: there are storages among them")
	}
	return root, f.placeLegacy(storages, keys, u.in.at, size)
}

// bigEndian reads the byte order of {"protocol_version": …, "little_endian": …, "type_sizes": …}.
func bigEndian(system any) (bool, error) {
	if d, ok := system.(*dict); ok {
		for i, key := range d.keys {
			if little, ok := d.values[i].(bool); ok && key == any("little_endian") {
				return !little, nil
			}
		}
	}
	return false, fmt.Errorf("system: %s, want a dict with little_endian", describe(system))
}

// placeLegacy finds the storages, which follow one another from offset at.
func (f *File) placeLegacy(storages map[string]*storage, keys any, at, size int64) error {
	l, ok := keys.(*list)
	if !ok {
		return fmt.Errorf("keys of storages: %s, want a list", describe(keys))
	}
	for _, item := range l.items {
		key, _ := item.(string)
		s := storages[key]
		switch {
		case s == nil:
			return fmt.Errorf("keys of storages: %s, which no tensor has", describe(item))
		case s.offset >= 0:
			return fmt.Errorf("keys of storages: %q stands twice", key)
		}
		var count [8]byte
		if err := readAt(f.r, count[:], at); err != nil {
			return fmt.Errorf("storage %s: %w", key, err)
		}
		n := binary.LittleEndian.Uint64(count[:])
		if f.swap {
			n = binary.BigEndian.Uint64(count[:])
		}
		if n != uint64(s.elements) {
			return fmt.Errorf("storage %s has %d elements where its tensors say %d", key, n, s.elements)
		}
		bytes := s.elements * int64(s.dtype.Size())
		if bytes > size-at-8 {
			return fmt.Errorf("storage %s: %d bytes from %d in a file of %d", key, bytes, at+8, size)
		}
		s.offset = at + 8
		at += 8 + bytes
	}
	for key, s := range storages {
		if s.offset < 0 {
			return fmt.Errorf("storage %s is not in the file", key)
		}
	}
	return nil
}
