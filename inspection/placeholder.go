package inspection

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPlaceholder bounds the name of a placeholder in characters.
const maxPlaceholder = 60

// placeholderEnd is the length of the placeholder that s begins with, such as {Subject}; 0: none. Its name begins
// with a letter, and has letters, digits, spaces and _ - ' / & , . ( ) in it.
func placeholderEnd(s string) int {
	end := strings.IndexByte(s, '}')
	if end < 2 || end > 1+maxPlaceholder*utf8.UTFMax || !validName(s[1:end]) {
		return 0
	}
	return end + 1
}

func validName(name string) bool {
	if utf8.RuneCountInString(name) > maxPlaceholder {
		return false
	}
	for i, r := range name {
		letter := unicode.IsLetter(r)
		if i == 0 && !letter || !letter && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune(" _-'’/&,.()", r) {
			return false
		}
	}
	return strings.TrimSpace(name) == name
}

// The faults of braces.
const (
	unclosed  = "{ without }"
	unopened  = "} without {"
	nested    = "braces in braces"
	emptyName = "{} without a name"
	oddName   = "a name with other characters than letters, digits, spaces and _-'/&,.()"
	brackets  = "[Word] or <Word> in place of {Word}"
)

// braceFaults says what is wrong with the braces of a caption, each fault once.
func braceFaults(s string) []string {
	var faults []string
	fault := func(f string) {
		for _, g := range faults {
			if f == g {
				return
			}
		}
		faults = append(faults, f)
	}
	open, depth, deepest := -1, 0, 0 // open: the { that is nearest
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{':
			open = i
			depth++
			deepest = max(deepest, depth)
		case '}':
			if depth == 0 {
				fault(unopened)
				continue
			}
			depth--
			if open < 0 { // that of a pair around another one
				continue
			}
			switch inside := s[open+1 : i]; {
			case strings.TrimSpace(inside) == "":
				fault(emptyName)
			case !validName(inside):
				fault(oddName)
			}
			open = -1
		case '[', '<':
			if end := strings.IndexByte(s[i:], map[byte]byte{'[': ']', '<': '>'}[s[i]]); end > 1 && end <= 40 {
				name := s[i+1 : i+end]
				if r, _ := utf8.DecodeRuneInString(name); unicode.IsUpper(r) && validName(name) && !strings.ContainsAny(name, " ,.&()") {
					fault(brackets)
				}
			}
		}
	}
	switch {
	case depth > 0:
		fault(unclosed)
	case deepest > 1:
		fault(nested)
	}
	return faults
}
