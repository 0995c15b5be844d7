package inspection

import (
	"fmt"
	"strings"
	"unicode"
)

// Shown returns text from a data set as it may be shown on a terminal or a page: at most n characters, spaces in
// place of ends of lines, and escapes in place of control characters and of those that turn the direction of what
// follows or are not seen. More than three marks on one letter are left out.
func Shown(s string, n int) string {
	var b strings.Builder
	marks := 0
	for _, r := range s {
		if n == 0 {
			b.WriteRune('…')
			break
		}
		n--
		if unicode.IsMark(r) {
			if marks++; marks > 3 {
				n++
				continue
			}
		} else {
			marks = 0
		}
		switch {
		case r == '\n' || r == '\r' || r == '\t' || r == '\u2028' || r == '\u2029' || r == '\u0085':
			b.WriteByte(' ')
		case unicode.IsControl(r) || r == '\u200e' || r == '\u200f' || r == '\u061c' || r >= '\u202a' && r <= '\u202e' || r >= '\u2060' && r <= '\u206f' || r == '\ufeff':
			fmt.Fprintf(&b, `\u%04x`, r)
		case r >= 0xe0000 && r <= 0xe0fff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
