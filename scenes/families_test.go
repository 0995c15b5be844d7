package scenes

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestFamilies(t *testing.T) {
	families := Families()
	heldOut := 0
	var names []string
	for i, f := range families {
		if f.ID != i {
			t.Errorf("%s: id %d at %d", f.Name, f.ID, i)
		}
		if f.HeldOut {
			heldOut++
		}
		if f.Predicate == "" || f.Group == "" || f.Tilt <= 0 || len(f.Transforms) == 0 {
			t.Errorf("%s: a field is missing: %+v", f.Name, f)
		}
		if f.Gravity() != (f.Name == "stack") {
			t.Errorf("%s: gravity %v", f.Name, f.Gravity())
		}
		names = append(names, f.Name)
	}
	if len(families) != 32 || heldOut != 8 || len(relations) != 32 {
		t.Errorf("%d families, %d held out, %d builders; want 32, 8, 32", len(families), heldOut, len(relations))
	}
	for _, f := range families {
		for _, near := range f.NearRelations {
			if !slices.Contains(names, near) || near == f.Name {
				t.Errorf("%s: near relation %q", f.Name, near)
			}
		}
	}
	families[0].Name = "changed"
	if Families()[0].Name == "changed" {
		t.Error("Families returns the package's own slice")
	}
	if _, ok := FamilyByName("nothing"); ok {
		t.Error("there is a family called nothing")
	}
	if f, ok := FamilyByName("growth"); !ok || f.Name != "growth" {
		t.Errorf("FamilyByName(growth) = %+v, %v", f, ok)
	}
}

// TestCaptions holds every caption to the form that makes it anonymous: a placeholder in braces, no colour, no
// texture, and no caption that two relations share.
func TestCaptions(t *testing.T) {
	placeholder := regexp.MustCompile(`\{[A-Z][A-Za-z]*[0-9]?\}`)
	owner := map[string]string{}
	attributes := append(slices.Clone(colorNames), textureNames[:]...)
	for _, f := range Families() {
		if len(f.TrainCaptions()) != 8 || len(f.TestCaptions()) != 2 {
			t.Errorf("%s: %d and %d captions, want 8 and 2", f.Name, len(f.TrainCaptions()), len(f.TestCaptions()))
		}
		for _, c := range f.Captions {
			if !placeholder.MatchString(c) {
				t.Errorf("%s: %q has no placeholder", f.Name, c)
			}
			bare := placeholder.ReplaceAllString(c, "")
			if strings.ContainsAny(bare, "{}") || strings.TrimSpace(c) != c || strings.Contains(c, "  ") || strings.HasSuffix(c, ".") {
				t.Errorf("%s: %q is malformed", f.Name, c)
			}
			for word := range strings.FieldsSeq(strings.ToLower(bare)) {
				if slices.Contains(attributes, strings.Trim(word, ",:")) {
					t.Errorf("%s: %q names the attribute %q", f.Name, c, word)
				}
			}
			if other, ok := owner[strings.ToLower(c)]; ok {
				t.Errorf("%q belongs to %s and %s", c, other, f.Name)
			}
			owner[strings.ToLower(c)] = f.Name
		}
	}
}

// TestDocs holds the table of docs/scenes.md to the families.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/scenes.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Families() {
		use := "trained"
		if f.HeldOut {
			use = "held out"
		}
		row := fmt.Sprintf("| %d | `%s` | %s | %s | %s | ", f.ID, f.Name, f.Group, use, f.Predicate)
		_, miss, ok := strings.Cut(string(text), row)
		if !ok {
			t.Errorf("docs/scenes.md lacks %q", row)
		} else if none := strings.HasPrefix(miss, "–"); none == f.Breakable() {
			t.Errorf("docs/scenes.md: %s: near miss %v, breakable %v", f.Name, !none, f.Breakable())
		}
	}
}
