package inspection

import (
	"strings"
	"unicode/utf8"
)

// Caption is what a caption says about itself.
type Caption struct {
	Words        int // placeholders included
	Characters   int
	Placeholders []string // their names in order, repeated ones too
	Faults       []string // of braces
	Names        []string // capitalised words inside of a sentence
	Colours      []string
	Numbers      []string // words that begin with a digit
	Language     string   // or the script, see languageOf
	Title        bool     // mostly capitalised, so that names cannot be told
}

// Analyse looks at one caption.
//
// A caption is held to be not anonymous enough where it has no placeholder, a name or a colour: see [Caption.Reasons].
// These are heuristics: a capitalised word may be a harmless one ("Venn"), a name may be spelt with a small letter, and a
// colour may be the relation itself. Numbers are listed, and are no reason, since relations count.
func Analyse(text string) Caption {
	list := tokens(text)
	c := Caption{Characters: utf8.RuneCountInString(text), Faults: braceFaults(text), Language: languageOf(list)}
	for _, t := range list {
		switch t.kind {
		case placeholder:
			c.Placeholders = append(c.Placeholders, t.text[1:len(t.text)-1])
			c.Words++
		case word:
			c.Words++
		}
	}
	c.Names, c.Title = names(list, c.Language)
	c.Colours, c.Numbers = coloured(list), numbers(list)
	return c
}

// The reasons why a caption is not anonymous enough.
const (
	NoPlaceholder = "no placeholder"
	ProperName    = "name"
	Colour        = "colour"
)

// Reasons says why a caption is not anonymous enough, with the words that made it so; nothing where it is.
func (c Caption) Reasons() []Reason {
	var r []Reason
	if len(c.Placeholders) == 0 {
		r = append(r, Reason{Kind: NoPlaceholder})
	}
	if len(c.Names) > 0 {
		r = append(r, Reason{ProperName, c.Names})
	}
	if len(c.Colours) > 0 {
		r = append(r, Reason{Colour, c.Colours})
	}
	return r
}

// Reason is why a caption is not anonymous enough.
type Reason struct {
	Kind  string   `json:"kind"`
	Words []string `json:"words,omitempty"`
}

// String is "colour: red, blue".
func (r Reason) String() string {
	if len(r.Words) == 0 {
		return r.Kind
	}
	return r.Kind + ": " + strings.Join(r.Words, ", ")
}
