package scenes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// tiny is a benchmark of a few pictures.
func tiny() Config {
	return Config{Seed: 7, Size: 24, TrainProfiles: 12, Twins: 4, ValProfiles: 6, ValTwins: 4, TestProfiles: 8, TestTwins: 8}
}

func generate(t *testing.T, cfg Config, split string, workers int) []Picture {
	t.Helper()
	p, err := Generate(context.Background(), cfg, split, workers)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPictureIsPure: a picture is a function of the configuration and its position, whoever draws it, alone or among
// others, in whatever order, and in a split of whatever size.
func TestPictureIsPure(t *testing.T) {
	for _, split := range Splits() {
		want := generate(t, tiny(), split, 1)
		if got := generate(t, tiny(), split, 5); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: five workers draw otherwise than one", split)
		}
		s, err := Open(tiny(), split)
		if err != nil {
			t.Fatal(err)
		}
		if s.Len() != len(want) {
			t.Fatalf("%s: Len %d, %d pictures", split, s.Len(), len(want))
		}
		for _, i := range []int{s.Len() - 1, 0, s.Len() / 2} {
			if got := s.Picture(i); !reflect.DeepEqual(got, want[i]) {
				t.Errorf("%s: picture %d alone differs", split, i)
			}
		}
		i := 0
		err = s.Each(context.Background(), 3, func(p *Picture) error {
			if !reflect.DeepEqual(*p, want[i]) {
				t.Errorf("%s: Each gives another picture %d", split, i)
			}
			i++
			return nil
		})
		if err != nil || i != len(want) {
			t.Errorf("%s: Each gave %d pictures, error %v", split, i, err)
		}
		larger := tiny()
		larger.TrainProfiles, larger.ValProfiles, larger.TestProfiles = 25, 25, 25
		if got := generate(t, larger, split, 0)[:len(want)]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: a larger split begins otherwise", split)
		}
	}
}

// TestGolden holds the bytes of a tiny benchmark. A change of it changes every result recorded so far: say so in the
// changelog. The bytes are those of amd64; on machines that fuse multiplications and additions a sample on an edge may
// fall to the other side.
func TestGolden(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Logf("the bytes are not compared on %s", runtime.GOARCH)
		return
	}
	const want = "8472df11c8ea84f2da347cc988cb8611b756976e85521318b566567802cfaa1d"
	h := sha256.New()
	for _, split := range Splits() {
		for _, p := range generate(t, tiny(), split, 0) {
			h.Write([]byte(p.Hash + p.Caption + p.Literal + p.Relation))
			h.Write(p.Pix)
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("the tiny benchmark has SHA-256 %s, want %s", got, want)
	}
}

func TestHash(t *testing.T) {
	for _, p := range generate(t, tiny(), Val, 0) {
		sum := sha256.Sum256(p.Pix)
		if want := hex.EncodeToString(sum[:16]); p.Hash != want {
			t.Fatalf("hash %s, want %s", p.Hash, want)
		}
	}
}

// TestSeeds: another seed makes other pictures in every split.
func TestSeeds(t *testing.T) {
	other := tiny()
	other.Seed++
	for _, split := range Splits() {
		a, b := generate(t, tiny(), split, 0), generate(t, other, split, 0)
		for i := range min(len(a), len(b)) {
			if a[i].Hash == b[i].Hash {
				t.Fatalf("%s: picture %d is the same with both seeds", split, i)
			}
		}
	}
}

// TestSplits holds what a split may show: relations, captions, leading pairs, profiles and pictures.
func TestSplits(t *testing.T) {
	cfg := Default()
	cfg.TrainProfiles, cfg.ValProfiles, cfg.TestProfiles, cfg.Size = 240, 60, 80, 16
	families := Families()
	owner := map[string]string{}
	captions := map[string]map[string]bool{}
	leads := map[bool]map[[2]int]bool{false: {}, true: {}}
	profiles := map[profile]string{}
	for _, split := range Splits() {
		s, err := Open(cfg, split)
		if err != nil {
			t.Fatal(err)
		}
		captions[split] = map[string]bool{}
		count := map[int]int{}
		test := split == Test || split == NearMiss
		for _, p := range generate(t, cfg, split, 0) {
			if other, ok := owner[p.Hash]; ok {
				t.Fatalf("%s has a picture of %s", split, other)
			}
			owner[p.Hash] = split
			f := families[p.Family]
			if p.Relation != f.Name || p.HeldOut != f.HeldOut || p.Gravity != f.Gravity() || p.Split != split {
				t.Fatalf("%s %d: %+v does not fit family %s", split, p.Index, p, f.Name)
			}
			if p.HeldOut && !test {
				t.Fatalf("%s shows the held-out relation %s", split, p.Relation)
			}
			if (p.Pair >= 0) != (split == NearMiss) {
				t.Fatalf("%s %d: pair %d", split, p.Index, p.Pair)
			}
			allowed := f.TrainCaptions()
			if test {
				allowed = f.TestCaptions()
			}
			if !slices.Contains(allowed, p.Caption) {
				t.Fatalf("%s %d: caption %q", split, p.Index, p.Caption)
			}
			if strings.ContainsAny(p.Literal, "{}") || !strings.HasSuffix(p.Literal, " background") {
				t.Fatalf("%s %d: literal caption %q", split, p.Index, p.Literal)
			}
			captions[split][p.Caption] = true
			count[p.Family]++
			attributes := s.profile(p.Profile)
			leads[test][[2]int{attributes.shape[0], attributes.color[0]}] = true
			if split != NearMiss {
				if other, ok := profiles[*attributes]; ok && other != split {
					t.Fatalf("%s and %s share a profile", split, other)
				}
				profiles[*attributes] = split
			}
		}
		want := len(pool(test))
		if split == NearMiss {
			want -= 2 // scatter and same have no near miss
		}
		lo, hi := 1<<30, 0
		for _, n := range count {
			lo, hi = min(lo, n), max(hi, n)
		}
		if len(count) != want || lo != hi {
			t.Errorf("%s: %d relations, %d to %d pictures each; want %d, all alike", split, len(count), lo, hi, want)
		}
	}
	for pair := range leads[true] {
		if leads[false][pair] {
			t.Errorf("%s %s leads in training and in test", colorNames[pair[1]], shapeNames[pair[0]])
		}
	}
	for caption := range captions[Test] {
		if captions[Train][caption] || captions[Val][caption] {
			t.Errorf("%q is a caption of training and of test", caption)
		}
	}
	for caption := range captions[Val] {
		if !captions[Train][caption] {
			t.Errorf("%q is a caption of val, not of train", caption)
		}
	}
}

// TestTwins: pictures of one profile share its colours, shapes, textures and background, and no relation.
func TestTwins(t *testing.T) {
	for _, split := range []string{Train, Test} {
		s, err := Open(Default(), split)
		if err != nil {
			t.Fatal(err)
		}
		background, relation := map[int]string{}, map[[2]int]bool{}
		for i := range 480 {
			p := s.Picture(i)
			_, ground, _ := strings.Cut(p.Literal, " on a ")
			if other, ok := background[p.Profile]; ok && other != ground {
				t.Errorf("%s profile %d: backgrounds %q and %q", split, p.Profile, other, ground)
			}
			background[p.Profile] = ground
			if relation[[2]int{p.Profile, p.Family}] {
				t.Errorf("%s profile %d: %s twice", split, p.Profile, p.Relation)
			}
			relation[[2]int{p.Profile, p.Family}] = true
			scene, _ := s.scene(i)
			for _, o := range scene.objects {
				p := scene.profile
				if !slices.Contains(p.color[:], o.color) || !slices.Contains(p.rgb[:], o.rgb) {
					t.Fatalf("%s %d: colour %s is not of the profile", split, i, colorNames[o.color])
				}
				if !o.aux && !slices.Contains(p.shape[:], o.shape) && o.shape != circle {
					t.Fatalf("%s %d: a %s is not of the profile", split, i, shapeNames[o.shape])
				}
				if !slices.Contains(p.texture[:], o.texture) && o.texture != plain && o.texture != hollow {
					t.Fatalf("%s %d: texture %s is not of the profile", split, i, textureNames[o.texture])
				}
			}
		}
	}
}

// TestNearMissKeepsTheRest: a near miss has its true picture's attributes, caption and relation, and other pixels.
func TestNearMissKeepsTheRest(t *testing.T) {
	cfg := Default()
	cfg.TestProfiles = 40
	truth, near := generate(t, cfg, Test, 0), generate(t, cfg, NearMiss, 0)
	last := -1
	for _, miss := range near {
		p := truth[miss.Pair]
		if miss.Pair <= last {
			t.Fatalf("near miss %d: pair %d after %d", miss.Index, miss.Pair, last)
		}
		last = miss.Pair
		if miss.Relation != p.Relation || miss.Profile != p.Profile || miss.Caption != p.Caption || miss.Gravity != p.Gravity {
			t.Errorf("near miss %+v of %+v", miss, p)
		}
		differ := 0
		for i := range p.Pix {
			if d := int(p.Pix[i]) - int(miss.Pix[i]); d > 30 || d < -30 {
				differ++
			}
		}
		if differ < 12 {
			t.Errorf("near miss %d (%s): %d values differ from the true picture", miss.Index, p.Relation, differ)
		}
	}
}

// TestSizes: scenes keep within the picture and near their share of ink at any size.
func TestSizes(t *testing.T) {
	for _, size := range []int{MinSize, 17, 64, 97, 160} {
		cfg := tiny()
		cfg.Size = size
		s, err := Open(cfg, Test)
		if err != nil {
			t.Fatal(err)
		}
		ink := 0.0
		for i := range s.Len() {
			p := s.Picture(i)
			ink += p.Ink / float64(s.Len())
			if len(p.Pix) != size*size*3 {
				t.Fatalf("size %d: %d bytes", size, len(p.Pix))
			}
			scene, _ := s.scene(i)
			for _, o := range scene.objects {
				if ex, ey := o.box(); o.x-ex < -1 || o.y-ey < -1 || o.x+ex > float64(size)+1 || o.y+ey > float64(size)+1 {
					t.Errorf("size %d, picture %d (%s): an object leaves the picture", size, i, p.Relation)
					break
				}
			}
		}
		if ink < .05 || ink > .10 {
			t.Errorf("size %d: mean ink %.3f", size, ink)
		}
	}
}

func TestBadConfig(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*Config)
		want string
	}{
		{"small", func(c *Config) { c.Size = 15 }, "size 15: outside 16 to 2048"},
		{"large", func(c *Config) { c.Size = 1 << 20 }, "size 1048576"},
		{"no profiles", func(c *Config) { c.TrainProfiles = 0 }, "train profiles 0: outside 1"},
		{"many twins", func(c *Config) { c.Twins = 25 }, "twins 25: outside 1 to 24"},
		{"many test twins", func(c *Config) { c.TestTwins = 33 }, "test twins 33: outside 1 to 32"},
		{"negative", func(c *Config) { c.ValProfiles = -1 }, "val profiles -1"},
	} {
		cfg := Default()
		tt.edit(&cfg)
		if _, err := Open(cfg, Train); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
	if _, err := Open(Default(), "dev"); err == nil || !strings.Contains(err.Error(), `split "dev": none of train, val, test, near_miss`) {
		t.Errorf("unknown split: %v", err)
	}
}

func TestDrawPanics(t *testing.T) {
	s, err := Open(tiny(), Val)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(){
		"index":  func() { s.Picture(s.Len()) },
		"minus":  func() { s.Picture(-1) },
		"length": func() { s.Draw(0, make([]byte, 10)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("enough")
	cancel(reason)
	if _, err := Generate(ctx, tiny(), Train, 2); !errors.Is(err, reason) {
		t.Errorf("Generate: %v, want %v", err, reason)
	}
	s, err := Open(tiny(), Train)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Each(ctx, 2, func(*Picture) error { return nil }); !errors.Is(err, reason) {
		t.Errorf("Each: %v, want %v", err, reason)
	}
	stop := errors.New("stop")
	n := 0
	err = s.Each(context.Background(), 2, func(*Picture) error {
		if n++; n == 3 {
			return stop
		}
		return nil
	})
	if err != stop || n != 3 {
		t.Errorf("Each went on to %d pictures and returned %v", n, err)
	}
}

func TestDuplicates(t *testing.T) {
	seen := hashes{}
	if err := seen.add(&Picture{Hash: "a", Split: Train, Index: 3}); err != nil {
		t.Fatal(err)
	}
	err := seen.add(&Picture{Hash: "a", Split: Test, Index: 4})
	if !errors.Is(err, ErrDuplicate) || !strings.Contains(err.Error(), "train 3 and test 4") {
		t.Errorf("error %v", err)
	}
}

// TestGenerateSharesOneArray: a caller that appends to a picture must not write into the next.
func TestGenerateSharesOneArray(t *testing.T) {
	p := generate(t, tiny(), Val, 1)
	next := bytes.Clone(p[1].Pix)
	_ = append(p[0].Pix, 1, 2, 3)
	if !bytes.Equal(next, p[1].Pix) {
		t.Error("appending to a picture overwrites the next")
	}
}
