package inspection

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// colours are the words that name one. Words that mean other things more often (gold, silver, rose, cream, chocolate)
// are not among them.
var colours = wordSet(`red green blue yellow orange purple violet pink brown black white grey gray turquoise cyan magenta
	maroon beige crimson scarlet teal indigo lavender khaki fuchsia azure
	reddish greenish bluish yellowish orangish purplish pinkish brownish blackish whitish greyish grayish
	golden silvery colourless colorless multicolored multicoloured
	rot grün blau gelb schwarz weiß grau rouge vert bleu jaune noir blanc gris rojo verde azul amarillo negro blanco`)

// plain are capitalised words inside of a sentence that name nobody.
var plain = wordSet(`I I'm I've I'd I'll I’m I’ve I’d I’ll OK`)

func wordSet(words string) map[string]bool {
	set := make(map[string]bool)
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

// names returns the words that look like proper names: capitalised inside of a sentence. Single letters are none (X-ray,
// plan B). There are none where that says nothing: in German, whose nouns are capitalised, in captions whose longer words
// are all capitalised, such as titles, and in those without small letters.
func names(list []token, language string) (found []string, title bool) {
	if language == "German" {
		return nil, false
	}
	inner, capitalised, small := 0, 0, false
	for _, t := range list {
		if t.kind != word {
			continue
		}
		r, n := utf8.DecodeRuneInString(t.text)
		upper := unicode.IsUpper(r) || unicode.IsTitle(r)
		small = small || strings.ToUpper(t.text) != t.text
		if !upper && !unicode.IsLower(r) {
			continue // digits, and letters without case
		}
		if !t.first && utf8.RuneCountInString(t.text) > 3 {
			inner++
			if upper {
				capitalised++
			}
		}
		next, _ := utf8.DecodeRuneInString(t.text[n:])
		if upper && !t.first && !plain[t.text] && (unicode.IsLetter(next) || unicode.IsMark(next)) {
			found = append(found, t.text)
		}
	}
	if len(found) > 0 && (!small || inner >= 4 && 10*capitalised >= 9*inner) {
		return nil, true
	}
	return unique(found), false
}

// coloured returns the words that name colours.
func coloured(list []token) []string {
	var found []string
	for _, t := range list {
		if t.kind != word {
			continue
		}
		lower := strings.ToLower(t.text)
		for part := range strings.SplitSeq(lower, "-") { // blue-green, red-hot
			if part = strings.TrimSuffix(strings.TrimSuffix(part, "'s"), "’s"); colours[part] {
				found = append(found, lower)
				break
			}
		}
	}
	return unique(found)
}

// numbers returns the words that begin with a digit.
func numbers(list []token) []string {
	var found []string
	for _, t := range list {
		if r, _ := utf8.DecodeRuneInString(t.text); t.kind == word && unicode.IsDigit(r) {
			found = append(found, t.text)
		}
	}
	return unique(found)
}

// unique drops repetitions.
func unique(list []string) []string {
	if len(list) < 2 {
		return list
	}
	seen := make(map[string]bool, len(list))
	kept := list[:0]
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			kept = append(kept, s)
		}
	}
	return kept
}
