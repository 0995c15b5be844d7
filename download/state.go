package download

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"relsim/regular"
)

// The values of State.Status.
const (
	Done    = "done"    // the picture is there
	Failed  = "failed"  // given up; --retry failed tries again
	Gone    = "gone"    // the server says that there is no such picture: 404 or 410
	Pending = "pending" // not yet asked for, or to be asked again
)

// State is what is known of one row.
type State struct {
	Status string    `json:"status"`
	Reason string    `json:"reason,omitempty"` // why it is not done; where it is done, what was changed about the picture
	Tries  int       `json:"tries"`            // requests so far, of all runs; a redirection is part of its request
	When   time.Time `json:"when"`             // of the last change, to the second
	URL    string    `json:"url,omitempty"`    // where it came from: the address of the row, or of the fallback
	File   string    `json:"file,omitempty"`   // the picture, below the folder, with slashes
	Bytes  int64     `json:"bytes,omitempty"`  // size of File
	Width  int       `json:"width,omitempty"`  // pixels, as the picture is meant to be seen
	Height int       `json:"height,omitempty"`
	SHA256 string    `json:"sha256,omitempty"` // of File, 64 hexadecimal digits
	PHash  string    `json:"phash,omitempty"`  // perceptual hash, 16 hexadecimal digits
}

// LedgerName is the name of the ledger in its folder.
const LedgerName = "ledger.jsonl"

// States reads what a download into dir has reached: the state of each row by its image_hash. Rows without one are
// pending. It may be called while a download is running, and sees what is on the disk then. Where there is no ledger,
// the error wraps [fs.ErrNotExist].
func States(dir string) (map[string]State, error) {
	states := make(map[string]State)
	_, err := readLedger(filepath.Join(dir, LedgerName), func(id string, s State, _ int64, _ []byte) { states[id] = s })
	if err != nil {
		return nil, err
	}
	return states, nil
}

const (
	maxLine   = 64 << 10 // bytes of a line of the ledger
	maxURL    = 8 << 10  // bytes of an address
	maxReason = 500      // bytes of a reason
	crcField  = `,"crc":"`
	crcTail   = len(crcField) + 8 + len(`"}`)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// line is the form of a line of the ledger. The last field, "crc", is the CRC-32C of what stands before it.
type line struct {
	ID string `json:"image_hash"`
	State
}

// appendLine appends a line of the ledger to b.
func appendLine(b []byte, id string, s State) ([]byte, error) {
	s.When = s.When.UTC().Truncate(time.Second)
	s.Reason = shorten(s.Reason, maxReason)
	if len(s.URL) > maxURL {
		s.URL = ""
	}
	text, err := json.Marshal(line{id, s})
	if err != nil {
		return b, err
	}
	text = text[:len(text)-1] // without the brace
	if len(text)+crcTail > maxLine {
		return b, fmt.Errorf("row %.60q: line of %d bytes, want at most %d", id, len(text)+crcTail, maxLine)
	}
	b = append(b, text...)
	return fmt.Appendf(b, "%s%08x\"}\n", crcField, crc32.Checksum(text, castagnoli)), nil
}

// shorten cuts s to n bytes and makes it valid UTF-8.
func shorten(s string, n int) string {
	if len(s) > n {
		s = s[:n]
		for len(s) > 0 && !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
	}
	return strings.ToValidUTF8(s, "�")
}

// parseLine reads a line of the ledger, without its end.
func parseLine(b []byte) (id string, s State, err error) {
	fail := func(format string, args ...any) (string, State, error) {
		return "", State{}, fmt.Errorf(format, args...)
	}
	cut := len(b) - crcTail
	if cut < 1 || string(b[cut:cut+len(crcField)]) != crcField || string(b[len(b)-2:]) != `"}` {
		return fail(`no "crc" at its end`)
	}
	sum, err := strconv.ParseUint(string(b[cut+len(crcField):len(b)-2]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(b[:cut], castagnoli) {
		return fail("its checksum is not that of its bytes")
	}
	var l line
	if err := json.Unmarshal(b, &l); err != nil {
		return fail("%w", err)
	}
	s = l.State
	switch {
	case l.ID == "":
		return fail(`missing "image_hash"`)
	case s.Status != Done && s.Status != Failed && s.Status != Gone && s.Status != Pending:
		return fail(`"status" is %.20q, want done, failed, gone or pending`, s.Status)
	case s.Tries < 0 || s.Bytes < 0 || s.Width < 0 || s.Height < 0:
		return fail("a number is negative")
	case !isHex(s.SHA256, 64):
		return fail(`"sha256" is %.80q, want 64 hexadecimal digits`, s.SHA256)
	case !isHex(s.PHash, 16):
		return fail(`"phash" is %.80q, want 16 hexadecimal digits`, s.PHash)
	case s.File != "" && (!fs.ValidPath(s.File) || !filepath.IsLocal(filepath.FromSlash(s.File)) || strings.Contains(s.File, `\`)):
		return fail(`"file" is %.80q, want a path below the folder`, s.File)
	case s.Status == Done && s.File == "":
		return fail(`"status" is done, and there is no "file"`)
	}
	return l.ID, s, nil
}

// isHex tells whether s is "", or n hexadecimal digits.
func isHex(s string, n int) bool {
	_, err := hex.DecodeString(s)
	return err == nil && (s == "" || len(s) == n)
}

// ledgerInfo is what a ledger is like as a file.
type ledgerInfo struct {
	size    int64 // bytes up to the end of the last whole line
	lines   int
	damaged []int // numbers of lines that cannot be read
}

// readLedger reads a ledger and calls f for every line that is whole, with where it begins and its bytes, which f must
// not keep. What stands behind the last end of a line was being written when the writer ended, and is passed by.
// A damaged line is passed by too: its row is then not known to be done, and is looked after again.
func readLedger(path string, f func(id string, s State, offset int64, text []byte)) (ledgerInfo, error) {
	var info ledgerInfo
	file, _, err := regular.Open(path)
	if err != nil {
		return info, fmt.Errorf("download: read ledger: %w", err)
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, maxLine)
	for {
		text, err := r.ReadSlice('\n')
		length := int64(len(text))
		long := false
		for errors.Is(err, bufio.ErrBufferFull) {
			long = true
			text, err = r.ReadSlice('\n')
			length += int64(len(text))
		}
		if err == io.EOF {
			return info, nil
		}
		if err != nil {
			return info, fmt.Errorf("download: read ledger %s:%d: %w", path, info.lines+1, err)
		}
		info.lines++
		if !long {
			text = bytes.TrimSuffix(text, []byte("\n"))
			if id, s, err := parseLine(text); err == nil {
				f(id, s, info.size, text)
			} else {
				long = true
			}
		}
		if long {
			info.damaged = append(info.damaged, info.lines)
		}
		info.size += length
	}
}

// syncDir sees that the names in a folder are on the disk. Windows has no such call, and needs none.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, os.ErrInvalid) && !errors.Is(err, errors.ErrUnsupported) && !isWindows {
		return err
	}
	return nil
}
