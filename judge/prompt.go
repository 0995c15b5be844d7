package judge

import "fmt"

// Prompt is the text around the two pictures of a question. Its version is part of what an answer is kept under: a text
// that has been used is never changed, it gets a successor.
type Prompt struct {
	Version string
	// Ask comes first, then First, a picture, Second, the other picture, and End.
	Ask, First, Second, End string
}

// Text returns the prompt as one text, with a word in the place of each picture.
func (p Prompt) Text() string {
	return p.Ask + "\n" + p.First + "\n[picture]\n" + p.Second + "\n[picture]\n" + p.End
}

// prompts are the versions, the newest last.
var prompts = []Prompt{{
	Version: "relation-1",
	Ask: "You are shown two pictures. Judge how far they share one underlying relation: the same logic, process, function or arrangement " +
		"among the things in them, so that what happens or holds in the first picture, told without naming any object, is also true of the second.\n" +
		"Pay no attention to how they look or what they contain. Pictures with the same objects, colours, style or place, but another relation, " +
		"get a low score. Pictures with nothing in common to the eye, but the same relation, get a high one.\n" +
		"0 means that no relation is shared, 5 that a loose or partial one is, 10 that it is the very same.",
	First:  "First picture:",
	Second: "Second picture:",
	End:    "Answer with one number from 0 to 10 and nothing else. Decimals are allowed.",
}}

// DefaultPrompt is the newest version.
func DefaultPrompt() Prompt { return prompts[len(prompts)-1] }

// FindPrompt returns the prompt of a version.
func FindPrompt(version string) (Prompt, error) {
	for _, p := range prompts {
		if p.Version == version {
			return p, nil
		}
	}
	return Prompt{}, fmt.Errorf("judge: no prompt has the version %q: want %s", version, DefaultPrompt().Version)
}
