package scenes

import "fmt"

// The splits.
const (
	Train    = "train"
	Val      = "val"
	Test     = "test"
	NearMiss = "near_miss"
)

// Splits returns the names of the splits in the order in which they are written.
func Splits() []string { return []string{Train, Val, Test, NearMiss} }

// Config says which benchmark to make. The number of pictures of a split is profiles times twins; near_miss has one
// for every picture of test whose family is [Family.Breakable].
type Config struct {
	Seed          uint64 `json:"seed"`
	Size          int    `json:"size"`           // side in pixels, MinSize to MaxSize
	TrainProfiles int    `json:"train_profiles"` // attribute profiles of train
	Twins         int    `json:"twins"`          // pictures per profile of train, at most 24
	ValProfiles   int    `json:"val_profiles"`
	ValTwins      int    `json:"val_twins"` // at most 24
	TestProfiles  int    `json:"test_profiles"`
	TestTwins     int    `json:"test_twins"` // at most 32
}

// Bounds of Config.Size.
const (
	MinSize = 16
	MaxSize = 2048
)

// maxProfiles bounds the number of profiles of a split.
const maxProfiles = 1 << 24

// Default returns the benchmark's own configuration: 24,000 training pictures of 64×64, 800 for validation and a
// gallery of 1,600.
func Default() Config {
	return Config{Seed: 1, Size: 64, TrainProfiles: 2400, Twins: 10, ValProfiles: 100, ValTwins: 8, TestProfiles: 200, TestTwins: 8}
}

// Validate reports the first setting that is out of bounds.
func (c Config) Validate() error {
	if c.Size < MinSize || c.Size > MaxSize {
		return fmt.Errorf("scenes: config: size %d: outside %d to %d", c.Size, MinSize, MaxSize)
	}
	seen, all := len(pool(false)), len(pool(true))
	for _, v := range []struct {
		name       string
		value, max int
	}{
		{"train profiles", c.TrainProfiles, maxProfiles}, {"twins", c.Twins, seen},
		{"val profiles", c.ValProfiles, maxProfiles}, {"val twins", c.ValTwins, seen},
		{"test profiles", c.TestProfiles, maxProfiles}, {"test twins", c.TestTwins, all},
	} {
		if v.value < 1 || v.value > v.max {
			return fmt.Errorf("scenes: config: %s %d: outside 1 to %d", v.name, v.value, v.max)
		}
	}
	return nil
}

// pool returns the IDs of the families that a split deals: the seen ones, or all.
func pool(heldOut bool) []int {
	var ids []int
	for _, f := range loadFamilies() {
		if heldOut || !f.HeldOut {
			ids = append(ids, f.ID)
		}
	}
	return ids
}
