package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// cleanup takes away the blanks that WordPiece leaves before punctuation and in
// contractions, one token at a time, as the published decoder does. The order
// counts.
var cleanup = []string{
	" .", ".", " ?", "?", " !", "!", " ,", ",", " ' ", "'", " n't", "n't", " 'm", "'m",
	" do not", " don't", " 's", "'s", " 've", "'ve", " 're", "'re",
}

// decodeWordPiece joins the pieces of words, and words with blanks.
func decodeWordPiece(prefix string, clean bool) func([]string) string {
	return func(tokens []string) string {
		var b strings.Builder
		for i, token := range tokens {
			if i > 0 {
				if rest, ok := strings.CutPrefix(token, prefix); ok {
					token = rest
				} else {
					token = " " + token
				}
			}
			if clean {
				for i := 0; i < len(cleanup); i += 2 {
					token = strings.ReplaceAll(token, cleanup[i], cleanup[i+1])
				}
			}
			b.WriteString(token)
		}
		return b.String()
	}
}

// decodeBytes is the way back from byteLevel. A token with a character that
// stands for no byte is itself.
func decodeBytes(tokens []string) string {
	var all []byte
	for _, token := range tokens {
		before := len(all)
		for _, r := range token {
			b, ok := runeBytes[r]
			if !ok {
				all = append(all[:before], token...)
				break
			}
			all = append(all, b)
		}
	}
	return repair(all)
}

// repair writes U+FFFD for what is not UTF-8: one for each longest sequence that
// begins a character (Unicode, section 3.9, "U+FFFD Substitution of Maximal
// Subparts").
func repair(data []byte) string {
	if utf8.Valid(data) {
		return string(data)
	}
	var b strings.Builder
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r != utf8.RuneError || n > 1 {
			b.Write(data[:n])
			data = data[n:]
			continue
		}
		b.WriteRune(utf8.RuneError)
		for n < len(data) && begins(data[:n+1]) {
			n++
		}
		data = data[n:]
	}
	return b.String()
}

// begins reports whether some character of UTF-8 is longer than p and begins
// with it.
func begins(p []byte) bool {
	if len(p) >= utf8.UTFMax {
		return false
	}
	for _, fill := range []byte{0x80, 0xbf} { // a range of second bytes has one of its ends in 80, 9f, 90, a0, bf
		full := append([]byte(nil), p...)
		for len(full) < utf8.UTFMax {
			full = append(full, fill)
			if utf8.Valid(full) {
				return true
			}
		}
	}
	return false
}
