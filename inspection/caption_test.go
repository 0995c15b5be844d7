package inspection

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAnalyse(t *testing.T) {
	for _, tt := range []struct {
		text         string
		words        int
		placeholders string
		faults       string
		names        string
		colours      string
		numbers      string
		language     string
	}{
		{"{Subject} growing step by step", 5, "Subject", "", "", "", "", "English"},
		{"Creative use of {Objects} to form a {Shape}.", 8, "Objects Shape", "", "", "", "", "English"},
		{"{BodyPart1} and {Body Part 2}, {Élan}", 4, "BodyPart1|Body Part 2|Élan", "", "", "", "", "English"},
		{"A man in Paris. Then London calls; an Apple by I and I'm", 13, "", "", "Paris London Apple", "", "", "English"},
		{"(Look: Rome) “Then” he said: No", 6, "", "", "", "", "", "English"},
		{"Art by Leonardo da Vinci at the Louvre", 8, "", "", "Leonardo Vinci Louvre", "", "", "English"},
		{"THE BIG SALE OF THE YEAR", 6, "", "", "", "", "", "English"},
		{"A View Of The Great Wall Of China", 8, "", "", "", "", "", "English"},
		{"an X-ray, a T-shirt and plan B", 7, "", "", "", "", "", "English"},
		{"A blue-green {Bird} with reddish wings, Red again and redo", 10, "Bird", "", "Red", "blue-green reddish red", "", "English"},
		{"3 {Objects} in 2024, 1st and x2", 7, "Objects", "", "", "", "3 2024 1st", "English"},
		{"{Subject grows", 2, "", unclosed, "", "", "", "Latin script"},
		{"Subject} grows", 2, "", unopened, "", "", "", "Latin script"},
		{"{} grows and { }", 2, "", emptyName, "", "", "", "English"},
		{"{{Subject}} grows", 2, "Subject", nested, "", "", "", "Latin script"},
		{"{A and {B} grow}, {{C}", 5, "B C", unclosed, "", "", "", "English"},
		{"{A {B} C} or {D}}", 5, "B D", unopened + "|" + nested, "", "", "", "English"},
		{"{1st} {a;b}", 3, "", oddName, "", "", "1st", "Latin script"},
		{"[Subject] eats <Object>, [see below] and a<b", 8, "", brackets, "", "", "", "English"},
		{"Ein Hund und die Katze mit dem Ball", 8, "", "", "", "", "", "German"},
		{"Le chien et la table sous les arbres", 8, "", "", "", "", "", "French"},
		{"El perro y la mesa en las montañas", 8, "", "", "", "", "", "Spanish"},
		{"De hond en het huis van een man", 8, "", "", "", "", "", "Dutch"},
		{"собака и дым на кошке, ээ", 6, "", "", "", "", "", "Russian"},
		{"собака", 1, "", "", "", "", "", "Cyrillic script"},
		{"猫在树上", 4, "", "", "", "", "", "Chinese"},
		{"猫は木の上", 5, "", "", "", "", "", "Japanese"},
		{"고양이가 나무 위에", 3, "", "", "", "", "", "Korean"},
		{"القط على الشجرة", 3, "", "", "", "", "", "Arabic script"},
		{"12 {Objects} !", 2, "Objects", "", "", "", "12", NoLanguage},
		{"", 0, "", "", "", "", "", NoLanguage},
	} {
		got := Analyse(tt.text)
		sep := " "
		if strings.Contains(tt.placeholders, "|") {
			sep = "|"
		}
		if got.Words != tt.words || strings.Join(got.Placeholders, sep) != tt.placeholders || strings.Join(got.Faults, "|") != tt.faults ||
			strings.Join(got.Names, " ") != tt.names || strings.Join(got.Colours, " ") != tt.colours ||
			strings.Join(got.Numbers, " ") != tt.numbers || got.Language != tt.language || got.Characters != utf8.RuneCountInString(tt.text) {
			t.Errorf("%q: %+v, want %+v", tt.text, got, tt)
		}
	}
}

func TestReasons(t *testing.T) {
	for text, want := range map[string]string{
		"{Subject} growing":                "",
		"a thing growing":                  "no placeholder",
		"a red thing in Rome, red and Pig": "no placeholder|name: Rome, Pig|colour: red",
		"{Subject} in 3 steps":             "",
	} {
		var got []string
		for _, r := range Analyse(text).Reasons() {
			got = append(got, r.String())
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestNormal(t *testing.T) {
	for in, want := range map[string]string{
		"{Subject} growing, step by step!":  "{} growing step by step",
		"  {Objects}  GROWING step-by-step": "{} growing step-by-step",
		"don’t “stop”":                      "don’t stop",
		"猫 on":                              "猫 on",
		"…":                                 "",
	} {
		if got := Normal(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestShown(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                             "plain",
		"a\nb\tc":                           "a b c",
		"a\x1b[31mb\x00":                    `a\u001b[31mb\u0000`,
		"\u202egnp.exe":                     `\u202egnp.exe`,
		"a\u2066b\u200fc":                   `a\u2066b\u200fc`,
		"שלום":                              "שלום",
		"z\u0301\u0302\u0303\u0304\u0305 e": "z\u0301\u0302\u0303 e",
		"0123456789abcdef":                  "0123456789ab…",
		"\U000e0041":                        `\U000e0041`,
		"a\xffb":                            "a\ufffdb",
	} {
		if got := Shown(in, 12); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzAnalyse holds what must be true of any caption.
func FuzzAnalyse(f *testing.F) {
	for _, s := range []string{
		"{Subject} growing step by step", "{{", "}}{", "{a}{b", "[Object] <b>", "\"'“", "Ein Hund in Paris", "猫は木", "a-b-c d'e '-", "\xff{\xff}",
		"{" + strings.Repeat("a", 300) + "}", "Red BLUE-green 3rd",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := Analyse(s)
		if c.Words > len(s) || c.Characters > len(s) || c.Language == "" || len(c.Placeholders) > c.Words {
			t.Fatalf("%q: %+v", s, c)
		}
		for _, name := range c.Placeholders {
			if !strings.Contains(s, "{"+name+"}") || strings.ContainsAny(name, "{}") || utf8.RuneCountInString(name) > maxPlaceholder {
				t.Fatalf("%q: placeholder %q", s, name)
			}
		}
		for _, list := range [][]string{c.Names, c.Numbers} {
			for _, w := range list {
				if !strings.Contains(s, w) {
					t.Fatalf("%q: word %q", s, w)
				}
			}
		}
		if strings.Count(s, "{") == 0 && strings.Count(s, "}") == 0 && slices.ContainsFunc(c.Faults, func(f string) bool { return f != brackets }) {
			t.Fatalf("%q: faults %q without a brace", s, c.Faults)
		}
		if n := Normal(s); Normal(n) != n && utf8.ValidString(s) && !strings.Contains(n, "{}") {
			t.Fatalf("%q: %q becomes %q", s, n, Normal(n))
		}
		if shown := Shown(s, 50); strings.ContainsAny(shown, "\x00\x1b\n\r\u202e") || !utf8.ValidString(shown) {
			t.Fatalf("%q shown as %q", s, shown)
		}
	})
}
