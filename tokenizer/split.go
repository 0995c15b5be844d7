package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits of [Split]: longer input is cut, at a character boundary.
const (
	// MaxText is the number of bytes of a caption that are looked at.
	MaxText = 1 << 16
	// MaxWord is the number of bytes of a word that are kept.
	MaxWord = 64
)

// Split cuts a caption into words:
//
//   - Letters, with the marks on them, are lower-cased and composed (Unicode
//     NFC): "É" is one word however it is typed. An apostrophe between letters
//     belongs to the word.
//   - Numbers are dropped without cutting the word: "Object1" and "object2" are
//     both "object".
//   - A placeholder is one word with its braces: "{Object1}" is "{object}",
//     "{Food Item}" is "{food item}", "{1}" is "{}". A brace without a partner
//     on the same level is a separator.
//   - Everything else, bytes that are not UTF-8 included, separates words.
//
// Text behind [MaxText] bytes is not looked at, words are cut at [MaxWord]
// bytes. Splitting a word that Split returned gives that word again.
func Split(text string) []string {
	text = cut(text, MaxText)
	var words []string
	for len(text) > 0 {
		if text[0] == '{' {
			end := strings.IndexAny(text[1:], "{}")
			if end >= 0 && text[1+end] == '}' {
				words = append(words, placeholder(text[1:1+end]))
				text = text[end+2:]
				continue
			}
			text = text[1:]
			continue
		}
		end := strings.IndexByte(text, '{')
		if end < 0 {
			end = len(text)
		}
		words = appendPlain(words, text[:end])
		text = text[end:]
	}
	return words
}

// placeholder returns the word of a placeholder with the given inside.
func placeholder(inside string) string {
	name := cut(strings.Join(appendPlain(nil, inside), " "), MaxWord-2)
	return "{" + strings.TrimRight(name, " '") + "}"
}

// appendPlain appends the words of text, which holds no placeholder, to words.
func appendPlain(words []string, text string) []string {
	var word strings.Builder
	flush := func() {
		if w := strings.Trim(norm.NFC.String(word.String()), "'"); w != "" {
			words = append(words, strings.TrimRight(cut(w, MaxWord), "'"))
		}
		word.Reset()
	}
	for _, r := range text {
		switch {
		case unicode.IsNumber(r):
		case unicode.IsLetter(r) || unicode.IsMark(r):
			word.WriteRune(unicode.ToLower(r))
		case r == '\'' || r == '’':
			word.WriteByte('\'')
		default:
			flush()
		}
	}
	flush()
	return words
}

// cut returns s shortened to at most limit bytes, at a character boundary.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
