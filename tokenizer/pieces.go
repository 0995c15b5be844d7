package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// splitter appends the pieces of s to dst.
type splitter func(dst []string, s string) []string

// scanner returns the length of the first match of a pattern in s, which is not
// empty, and true; or, if the pattern does not match at the beginning of s, the
// length of what is before the first match, and false.
type scanner func(s string) (n int, match bool)

// splitPattern keeps the matches of a pattern, what is between them, or both.
func splitPattern(scan scanner, matches, gaps bool) splitter {
	return func(dst []string, s string) []string {
		for s != "" {
			n, match := scan(s)
			if match && matches || !match && gaps {
				dst = append(dst, s[:n])
			}
			s = s[n:]
		}
		return dst
	}
}

// Patterns that published tokenizers split text with. Go's regexp has no
// look-ahead, so there is a scanner for each.
const (
	patternGPT2  = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternQwen2 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternCLIP  = `'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`
	// patternCLIPSpecial is how the original code of CLIP has it.
	patternCLIPSpecial = `<\|startoftext\|>|<\|endoftext\|>|` + patternCLIP
)

var scanners = map[string]scanner{
	patternGPT2:        scanGPT2,
	patternQwen2:       scanQwen2,
	patternCLIP:        scanCLIP,
	patternCLIPSpecial: scanCLIPSpecial,
}

// class is what the patterns tell apart.
type class int

const (
	other class = iota // [^\s\p{L}\p{N}]
	letter
	number
	space
	end // of the text
)

// classOf returns the class of the first character of s, and its length.
func classOf(s string) (class, int) {
	r, n := utf8.DecodeRuneInString(s)
	switch {
	case n == 0:
		return end, 0
	case unicode.IsLetter(r):
		return letter, n
	case unicode.IsNumber(r):
		return number, n
	case unicode.IsSpace(r):
		return space, n
	}
	return other, n
}

// run returns the length of the characters of one class that s begins with.
func run(s string, want class) int {
	length := 0
	for {
		c, n := classOf(s[length:])
		if c != want {
			return length
		}
		length += n
	}
}

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd at the
// beginning of s, and else 0. With fold, case does not matter; U+017F, the long
// s, is an s then.
func contraction(s string, fold bool) int {
	rest, ok := strings.CutPrefix(s, "'")
	if !ok {
		return 0
	}
	for _, ending := range []string{"s", "t", "re", "ve", "m", "ll", "d"} {
		if strings.HasPrefix(rest, ending) || fold && len(rest) >= len(ending) && strings.EqualFold(rest[:len(ending)], ending) {
			return 1 + len(ending)
		}
	}
	if fold && strings.HasPrefix(rest, "ſ") {
		return 1 + len("ſ")
	}
	return 0
}

// spaces returns how much of s, which begins with white space, `\s+(?!\S)|\s+`
// matches: all the white space, but for its last character where text follows.
func spaces(s string) int {
	n := run(s, space)
	if n == len(s) {
		return n
	}
	if _, last := utf8.DecodeLastRuneInString(s[:n]); last < n {
		return n - last
	}
	return n
}

func scanGPT2(s string) (int, bool) {
	if n := contraction(s, false); n > 0 {
		return n, true
	}
	blank := 0
	if s[0] == ' ' {
		blank = 1
	}
	if c, _ := classOf(s[blank:]); c == letter || c == number || c == other {
		return blank + run(s[blank:], c), true
	}
	return spaces(s), true
}

func scanQwen2(s string) (int, bool) {
	if n := contraction(s, true); n > 0 {
		return n, true
	}
	c, n := classOf(s)
	next, _ := classOf(s[n:])
	switch {
	case c == letter:
		return run(s, letter), true
	case c == number:
		return n, true
	case next == letter && s[0] != '\r' && s[0] != '\n':
		return n + run(s[n:], letter), true
	case c == other || s[0] == ' ' && next == other:
		if c == other {
			n = 0 // no blank before
		}
		n += run(s[n:], other)
		return len(s) - len(strings.TrimLeft(s[n:], "\r\n")), true
	}
	if last := strings.LastIndexAny(s[:run(s, space)], "\r\n"); last >= 0 {
		return last + 1, true
	}
	return spaces(s), true
}

func scanCLIP(s string) (int, bool) {
	if n := contraction(s, false); n > 0 {
		return n, true
	}
	switch c, n := classOf(s); c {
	case number:
		return n, true
	case space:
		return run(s, space), false
	default:
		return run(s, c), true
	}
}

func scanCLIPSpecial(s string) (int, bool) {
	for _, token := range []string{"<|startoftext|>", "<|endoftext|>"} {
		if strings.HasPrefix(s, token) {
			return len(token), true
		}
	}
	return scanCLIP(s)
}

// splitBERT drops white space and makes each punctuation character a piece.
func splitBERT(dst []string, s string) []string {
	begin := 0
	for i, r := range s {
		blank := unicode.IsSpace(r)
		if !blank && !isPunctuation(r) {
			continue
		}
		if begin < i {
			dst = append(dst, s[begin:i])
		}
		begin = i + utf8.RuneLen(r)
		if !blank {
			dst = append(dst, s[i:begin])
		}
	}
	if begin < len(s) {
		dst = append(dst, s[begin:])
	}
	return dst
}

// isPunctuation counts the ASCII symbols as punctuation too, as BERT does.
func isPunctuation(r rune) bool {
	if r < utf8.RuneSelf {
		return r > ' ' && r < 0x7f && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}
	return unicode.IsPunct(r) && inUnicode8(r)
}

// byteRunes has the character that stands for each byte in a byte-level
// vocabulary: itself where it is printable, and else one from U+0100 on, in
// order. runeBytes is the way back.
var byteRunes, runeBytes = func() (to [256]rune, from map[rune]byte) {
	from = make(map[rune]byte)
	next := rune(0x100)
	for b := range 256 {
		r := rune(b)
		if !(b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae) {
			r = next
			next++
		}
		to[b], from[r] = r, byte(b)
	}
	return to, from
}()

// splitBytes writes a piece in the characters that stand for its bytes. Before,
// it puts a blank in front where prefix asks for it, and splits by the pattern
// of GPT-2 where pattern does.
func splitBytes(prefix, pattern bool) splitter {
	return func(dst []string, s string) []string {
		if prefix && !strings.HasPrefix(s, " ") {
			s = " " + s
		}
		from := len(dst)
		if pattern {
			dst = splitPattern(scanGPT2, true, true)(dst, s)
		} else {
			dst = append(dst, s)
		}
		for i, piece := range dst[from:] {
			dst[from+i] = byteLevel(piece)
		}
		return dst
	}
}

// byteLevel writes each byte of s as the character that stands for it.
func byteLevel(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] > ' ' && s[i] < 0x7f
	}
	if plain {
		return s
	}
	var b strings.Builder
	b.Grow(2 * len(s))
	for i := range len(s) {
		b.WriteRune(byteRunes[s[i]])
	}
	return b.String()
}
