package tokenizer

import (
	"iter"
	"slices"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token that is cut out of the text before the model sees it.
type addedToken struct {
	at         string // where it was found, for errors
	id         int32
	content    string
	singleWord bool // not between characters of words
	lstrip     bool // takes the white space before it along
	rstrip     bool // and that behind it
	normalized bool // is found in the normalised text
	special    bool // is not text
}

// lexicon finds the longest of its words at the beginning of a text.
type lexicon struct {
	words []string // sorted
	index []int32  // what the caller numbered them
}

// newLexicon returns the lexicon of words, which are numbered by their order.
// Of equal words it has the last.
func newLexicon(words []string) lexicon {
	index := make([]int32, len(words))
	for i := range index {
		index[i] = int32(i)
	}
	slices.SortStableFunc(index, func(a, b int32) int { return strings.Compare(words[a], words[b]) })
	var l lexicon
	for _, i := range index {
		if n := len(l.words); n > 0 && l.words[n-1] == words[i] {
			l.index[n-1] = i
			continue
		}
		l.words = append(l.words, words[i])
		l.index = append(l.index, i)
	}
	return l
}

// longest returns the number of the longest word prefix+s[:n], n > 0, and n; if
// there is none, n is 0. It looks at one byte after the other, as far as some
// word begins like that, and counts them in steps.
func (l *lexicon) longest(prefix, s string, steps *int) (number int32, n int) {
	lo, hi := 0, len(l.words)
	for depth := 0; depth < len(prefix)+len(s); depth++ {
		*steps++
		b := byte(0)
		if depth < len(prefix) {
			b = prefix[depth]
		} else {
			b = s[depth-len(prefix)]
		}
		if lo < hi && len(l.words[lo]) == depth {
			lo++ // the word that ends here comes first
		}
		lo += sort.Search(hi-lo, func(i int) bool { return l.words[lo+i][depth] >= b })
		hi = lo + sort.Search(hi-lo, func(i int) bool { return l.words[lo+i][depth] > b })
		if lo == hi {
			break
		}
		if depth >= len(prefix) && len(l.words[lo]) == depth+1 {
			number, n = l.index[lo], depth+1-len(prefix)
		}
	}
	return number, n
}

// cutter cuts added tokens out of a text.
type cutter struct {
	tokens []addedToken
	lexicon
	first [256]bool // bytes that a token begins with
}

func newCutter(tokens []addedToken) cutter {
	c := cutter{tokens: tokens}
	words := make([]string, len(tokens))
	for i, t := range tokens {
		words[i] = t.content
		c.first[t.content[0]] = true
	}
	c.lexicon = newLexicon(words)
	return c
}

// segment is a piece of text, or an added token.
type segment struct {
	text string
	id   int32 // Unknown: it is text
}

// segments yields text and the added tokens in it, in order. The leftmost token
// is taken, of several the longest; they do not overlap. Bytes looked at are
// counted in steps.
func (c *cutter) segments(text string, steps *int) iter.Seq[segment] {
	return func(yield func(segment) bool) {
		begin := 0
		blank := 0 // white space was taken along up to here
		for i := 0; i < len(text); i++ {
			if !c.first[text[i]] {
				continue
			}
			number, n := c.longest("", text[i:], steps)
			if n == 0 {
				continue
			}
			token, start, end := c.tokens[number], i, i+n
			i = end - 1
			if token.singleWord && (endsWord(text[:start]) || beginsWord(text[end:])) {
				continue
			}
			if token.lstrip && begin < start {
				start = begin + len(strings.TrimRightFunc(text[begin:start], unicode.IsSpace))
			}
			if token.rstrip {
				if end > blank { // not inside of it
					blank = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
					*steps += blank - end
				}
				end = blank
			}
			if begin < start && !yield(segment{text[begin:start], Unknown}) {
				return
			}
			if !yield(segment{"", token.id}) {
				return
			}
			begin = end
		}
		if begin < len(text) {
			yield(segment{text[begin:], Unknown})
		}
	}
}

func endsWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWord(r)
}

func beginsWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWord(r)
}

// isWord is \w of Unicode regular expressions (UTS #18).
func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsMark(r) ||
		unicode.In(r, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}
