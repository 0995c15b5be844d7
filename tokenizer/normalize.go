package tokenizer

import (
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/unicode/rangetable"
)

// lowercase maps one character after the other, wherever it stands: a capital
// sigma at the end of a word becomes σ, and İ an i with the dot above.
func lowercase(s string) string {
	return strings.ToLower(strings.ReplaceAll(s, "İ", "i\u0307"))
}

// collapse writes each run of white space as replacement.
func collapse(replacement string) func(string) string {
	return func(s string) string {
		var b strings.Builder
		b.Grow(len(s))
		inside := false
		for _, r := range s {
			blank := unicode.IsSpace(r)
			if !blank {
				b.WriteRune(r)
			} else if !inside {
				b.WriteString(replacement)
			}
			inside = blank
		}
		return b.String()
	}
}

// bertNormalizer is what BERT does with a text first.
type bertNormalizer struct {
	clean   bool // drop control characters, write white space as blanks
	chinese bool // put blanks around ideographs
	accents bool // drop accents
	lower   bool
}

// override takes what tokenizer_config.json says: for transformers it counts
// more than tokenizer.json.
func (n *bertNormalizer) override(config *object) {
	has := func(key string) bool { _, ok := config.fields[key]; return ok }
	n.chinese = config.flag("tokenize_chinese_chars", n.chinese)
	lower := config.flag("do_lower_case", n.lower)
	if has("strip_accents") || lower != n.lower {
		n.accents = config.flag("strip_accents", lower)
	}
	n.lower = lower
}

func (n bertNormalizer) normalize(s string) string {
	if n.clean || n.chinese {
		var b strings.Builder
		b.Grow(len(s))
		for _, r := range s {
			switch {
			case n.clean && isControl(r):
			case n.clean && unicode.IsSpace(r):
				b.WriteByte(' ')
			case n.chinese && isIdeograph(r):
				b.WriteByte(' ')
				b.WriteRune(r)
				b.WriteByte(' ')
			default:
				b.WriteRune(r)
			}
		}
		s = b.String()
	}
	if n.accents {
		var b strings.Builder
		b.Grow(len(s))
		for _, c := range decompose(s) {
			if r := c.rune(); !unicode.Is(unicode.Mn, r) || !inUnicode8(r) {
				b.WriteRune(r)
			}
		}
		s = b.String()
	}
	if n.lower {
		s = lowercase(s)
	}
	return s
}

// The published code asks tables of Unicode 8.0 (crate unicode_categories 0.1.1)
// what is a mark, a format character or punctuation, so later ones are none. The
// tables have the first and last character of the areas for private use only.
var unicode8 = sync.OnceValue(func() *unicode.RangeTable { return rangetable.Assigned("8.0.0") })

func inUnicode8(r rune) bool { return r < utf8.RuneSelf || unicode.Is(unicode8(), r) }

var privateUse = rangetable.New(0xe000, 0xf8ff, 0xf0000, 0xffffd, 0x100000, 0x10fffd)

// isControl tells what clean drops: control and format characters, some of
// private use and U+FFFD, but not what is unassigned, nor the tabulator and ends
// of lines.
func isControl(r rune) bool {
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		return false
	case r < utf8.RuneSelf:
		return unicode.Is(unicode.Cc, r)
	}
	return r == utf8.RuneError || unicode.In(r, unicode.Cc, privateUse) || unicode.Is(unicode.Cf, r) && inUnicode8(r)
}

// isIdeograph has the blocks that BERT takes for Chinese. U+2B920 (for U+2B820)
// is what the published code has.
func isIdeograph(r rune) bool {
	return r >= 0x4e00 && r <= 0x9fff || r >= 0x3400 && r <= 0x4dbf ||
		r >= 0x20000 && r <= 0x2a6df || r >= 0x2a700 && r <= 0x2b73f || r >= 0x2b740 && r <= 0x2b81f ||
		r >= 0x2b920 && r <= 0x2ceaf || r >= 0xf900 && r <= 0xfaff || r >= 0x2f800 && r <= 0x2fa1f
}

// mark is a character with its canonical combining class: class<<56 | rune.
type mark uint64

func (m mark) rune() rune   { return rune(m & 0xff_ffff) }
func (m mark) class() uint8 { return uint8(m >> 56) }

// nfc composes s (Unicode NFC). Package norm has the tables, but puts U+034F
// between more than 30 marks in a row (the stream-safe format of UAX #15), which
// published tokenizers do not.
func nfc(s string) string {
	if norm.NFC.IsNormalString(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for _, c := range compose(decompose(s)) {
		b.WriteRune(c.rune())
	}
	return b.String()
}

// Hangul syllables are composed by arithmetic (Unicode, section 3.12).
const (
	hangulS, hangulL, hangulV, hangulT = 0xac00, 0x1100, 0x1161, 0x11a7
	hangulLs, hangulVs, hangulTs       = 19, 21, 28
)

// decompose returns the characters of s in canonical decomposition and order
// (Unicode NFD).
func decompose(s string) []mark {
	out := make([]mark, 0, len(s))
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		at := s[i : i+n]
		i += n
		if r < utf8.RuneSelf {
			out = append(out, mark(r))
			continue
		}
		if syllable := r - hangulS; syllable >= 0 && syllable < hangulLs*hangulVs*hangulTs {
			out = append(out, mark(hangulL+syllable/(hangulVs*hangulTs)), mark(hangulV+syllable/hangulTs%hangulVs))
			if t := syllable % hangulTs; t > 0 {
				out = append(out, mark(hangulT+t))
			}
			continue
		}
		p := norm.NFD.PropertiesString(at)
		parts := p.Decomposition()
		if parts == nil {
			out = append(out, mark(p.CCC())<<56|mark(r))
			continue
		}
		for len(parts) > 0 {
			r, n := utf8.DecodeRune(parts)
			out = append(out, mark(norm.NFD.Properties(parts[:n]).CCC())<<56|mark(r))
			parts = parts[n:]
		}
	}
	for i := 0; i < len(out); i++ {
		from := i
		for i < len(out) && out[i].class() != 0 {
			i++
		}
		order(out[from:i])
	}
	return out
}

// order sorts marks by class, and leaves those of one class in their order.
func order(marks []mark) {
	if slices.IsSortedFunc(marks, func(a, b mark) int { return int(a.class()) - int(b.class()) }) {
		return
	}
	slices.SortStableFunc(marks, func(a, b mark) int { return int(a.class()) - int(b.class()) })
}

// compose joins what can be joined of a canonical decomposition, in place.
func compose(in []mark) []mark {
	out := in[:0]
	starter := -1      // place in out
	between := mark(0) // what was kept last behind the starter
	for _, c := range in {
		if starter >= 0 && (between == 0 || between.class() < c.class()) {
			if r, ok := join(out[starter].rune(), c); ok {
				out[starter] = mark(r)
				continue
			}
		}
		if c.class() == 0 {
			starter, between = len(out), 0
		} else {
			between = c
		}
		out = append(out, c)
	}
	return out
}

// join returns the character that a and b compose to.
func join(a rune, b mark) (rune, bool) {
	r := b.rune()
	if l, v := a-hangulL, r-hangulV; l >= 0 && l < hangulLs && v >= 0 && v < hangulVs {
		return hangulS + (l*hangulVs+v)*hangulTs, true
	}
	if s, t := a-hangulS, r-hangulT; s >= 0 && s < hangulLs*hangulVs*hangulTs && s%hangulTs == 0 && t > 0 && t < hangulTs {
		return a + t, true
	}
	var in, out [2 * utf8.UTFMax]byte
	n := utf8.EncodeRune(in[:], a)
	m := utf8.EncodeRune(in[n:], r)
	if norm.NFC.Properties(in[n : n+m]).BoundaryBefore() {
		return 0, false
	}
	both := norm.NFC.Append(out[:0], in[:n+m]...)
	c, size := utf8.DecodeRune(both)
	return c, size == len(both)
}
