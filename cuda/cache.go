package cuda

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"relsim/regular"
)

// CodeCache keeps compiled code in a folder, so that a program does not compile what it compiled yesterday. What an entry
// is made of is in its name, and a checksum is in the entry: one that is damaged is made again. No trouble with
// the folder is an error; it is warned of once.
type CodeCache struct {
	dir  string
	warn func(string)
	told bool
}

// OpenCodeCache opens a cache in a folder, which is made when it is needed; "": the user's cache folder, relsim/kernels. warn gets
// the first trouble in words; nil: nobody does. It is not safe for concurrent use by one process; several processes may share the folder.
func OpenCodeCache(dir string, warn func(string)) *CodeCache {
	c := &CodeCache{dir: dir, warn: warn}
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			c.trouble(err)
			return c
		}
		c.dir = filepath.Join(base, "relsim", "kernels")
	}
	return c
}

func (c *CodeCache) trouble(err error) {
	if c.warn != nil && !c.told {
		c.warn(fmt.Sprintf("cuda: the cache of compiled kernels is not used: %v", err))
	}
	c.told = true
}

// entryMagic begins an entry; a checksum and the code follow.
const entryMagic = "relsim code 1\n"

// Code returns what make makes of parts, from the cache if it is there. parts is everything that the code depends on.
func (c *CodeCache) Code(parts []string, make func() ([]byte, error)) ([]byte, error) {
	if c.dir == "" {
		return make()
	}
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d\n%s", len(part), part)
	}
	path := filepath.Join(c.dir, hex.EncodeToString(h.Sum(nil))+".bin")
	code, err := readCode(path)
	if err == nil {
		return code, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		c.trouble(err)
	}
	if code, err = make(); err != nil {
		return nil, err
	}
	if err := writeCode(path, code); err != nil {
		c.trouble(err)
	}
	return code, nil
}

func readCode(path string) ([]byte, error) {
	b, err := regular.Read(path, 64<<20)
	if err != nil {
		return nil, err
	}
	head := len(entryMagic) + sha256.Size
	if len(b) < head || !strings.HasPrefix(string(b[:len(entryMagic)]), entryMagic) {
		return nil, fmt.Errorf("%s is damaged, or of another version", path)
	}
	if sum := sha256.Sum256(b[head:]); !bytes.Equal(sum[:], b[len(entryMagic):head]) {
		return nil, fmt.Errorf("%s is damaged: its checksum is wrong", path)
	}
	return b[head:], nil
}

// writeCode writes beside and renames.
func writeCode(path string, code []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".code*")
	if err != nil {
		return err
	}
	sum := sha256.Sum256(code)
	_, err = f.Write(slices.Concat([]byte(entryMagic), sum[:], code))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
