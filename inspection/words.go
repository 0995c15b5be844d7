package inspection

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is a word, a placeholder or a sign of a caption.
type token struct {
	text  string
	kind  tokenKind
	first bool // begins a sentence
}

type tokenKind uint8

const (
	word tokenKind = iota
	placeholder
	sign
)

// tokens cuts a caption into words, placeholders and signs. Letters, marks, digits, and apostrophes and hyphens between
// them make a word; in scripts that put no spaces between words (Han, kana) every character is one. A sentence
// begins with the caption, and behind . ! ? : … and their like, quotes and brackets, and the end of a line.
func tokens(s string) []token {
	var list []token
	first := true
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '{':
			if end := placeholderEnd(s[i:]); end > 0 {
				list = append(list, token{s[i : i+end], placeholder, first})
				first, n = false, end
			} else {
				list = append(list, token{s[i : i+n], sign, false})
				first = true // what follows is no name: somebody forgot the other brace
			}
		case isWord(r):
			n = wordEnd(s[i:])
			list = append(list, token{s[i : i+n], word, first})
			first = false
		case unicode.IsSpace(r):
			first = first || r == '\n' || r == '\u2028' || r == '\u2029'
		default:
			list = append(list, token{s[i : i+n], sign, false})
			first = first || strings.ContainsRune(".!?:…。！？：\"'“”‘’«»„([<•", r)
		}
		i += n
	}
	return list
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsNumber(r) }

// alone says that a character is a word of its own.
func alone(r rune) bool { return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) }

// wordEnd is the length of the word that s begins with.
func wordEnd(s string) int {
	r, n := utf8.DecodeRuneInString(s)
	if alone(r) {
		return n
	}
	for n < len(s) {
		r, size := utf8.DecodeRuneInString(s[n:])
		if strings.ContainsRune("'’-‑", r) { // only between letters
			if next, _ := utf8.DecodeRuneInString(s[n+size:]); !isWord(next) || alone(next) {
				return n
			}
		} else if !isWord(r) || alone(r) {
			return n
		}
		n += size
	}
	return n
}

// Normal returns a caption without what captions differ in when they say the same: case, punctuation, spaces and the
// names of placeholders, each of which becomes {}.
func Normal(caption string) string {
	var b strings.Builder
	for _, t := range tokens(caption) {
		if t.kind == sign {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		if t.kind == placeholder {
			b.WriteString("{}")
		} else {
			b.WriteString(strings.ToLower(t.text))
		}
	}
	return b.String()
}
