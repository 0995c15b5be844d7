package scenes

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

//go:embed families.json
var familiesJSON []byte

// heldOutCaptions is the number of captions at the end of [Family.Captions] that only the test split uses.
const heldOutCaptions = 2

// Family is one relation of the benchmark.
type Family struct {
	ID        int    `json:"id"`    // position in [Families]
	Name      string `json:"name"`  // unique, snake case
	Group     string `json:"group"` // topology, arrangement, progression, …
	HeldOut   bool   `json:"held_out"`
	Predicate string `json:"predicate"` // what makes a picture an instance
	// Tilt bounds the turn of a scene, in degrees to either side.
	Tilt float64 `json:"tilt_degrees"`
	// SafeFlips is "any" where turns and reflections keep the relation, "left-right" where only that reflection does.
	SafeFlips  string   `json:"safe_flips"`
	Transforms []string `json:"allowed_transforms"`
	// NearRelations are the families that a partial reading of a picture confuses with this one.
	NearRelations []string `json:"near_relations"`
	// Captions are anonymous: placeholders stand for the objects. The last two are the test split's.
	Captions []string `json:"captions"`
}

// Gravity reports whether the relation depends on what is down, so that a loader may reflect a picture left to
// right but must not turn it.
func (f *Family) Gravity() bool { return f.SafeFlips != "any" }

// Breakable reports whether the near-miss split has pictures of the family: whether its predicate can be taken
// away by an edit that keeps everything else.
func (f *Family) Breakable() bool { return relations[f.Name].breakable }

// TrainCaptions returns the captions that the splits train and val draw from.
func (f *Family) TrainCaptions() []string { return f.Captions[:len(f.Captions)-heldOutCaptions] }

// TestCaptions returns the paraphrases that only the splits test and near_miss draw from.
func (f *Family) TestCaptions() []string { return f.Captions[len(f.Captions)-heldOutCaptions:] }

// Families returns the relations of the benchmark by ID: 24 that are trained and 8 that are held out.
// The slice is the caller's own; the captions within are shared and must not be changed.
func Families() []Family { return slices.Clone(loadFamilies()) }

// FamilyByName returns the relation called name, and false when there is none.
func FamilyByName(name string) (Family, bool) {
	for _, f := range loadFamilies() {
		if f.Name == name {
			return f, true
		}
	}
	return Family{}, false
}

// loadFamilies parses the embedded table. The table is part of the program, so a fault in it panics.
var loadFamilies = sync.OnceValue(func() []Family {
	var fams []Family
	if err := json.Unmarshal(familiesJSON, &fams); err != nil {
		panic(fmt.Sprintf("scenes: families.json: %v", err))
	}
	for i := range fams {
		if fams[i].ID != i || relations[fams[i].Name].build == nil || len(fams[i].Captions) <= heldOutCaptions {
			panic(fmt.Sprintf("scenes: families.json: entry %d (%q): wrong id, no builder, or too few captions", i, fams[i].Name))
		}
	}
	return fams
})
