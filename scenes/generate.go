package scenes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Picture is one picture of a split with what is known about it.
type Picture struct {
	Hash     string // hex of the first 16 bytes of the SHA-256 of Pix
	Caption  string // anonymous; in near_miss that of the true picture, which no longer holds
	Literal  string // attributes only
	Relation string // Family's name; in near_miss the relation whose predicate was taken away
	Family   int    // index into Families
	Profile  int    // attribute profile, numbered within the split; near_miss shares test's
	Split    string
	Index    int     // position in the split
	Pair     int     // in near_miss the index in test of the true picture, else -1
	Count    int     // drawn things, specks included and links not
	Ink      float64 // share of the picture that they cover
	HeldOut  bool    // the relation is in no training split
	Gravity  bool    // may be reflected left to right, must not be turned
	Pix      []byte  // Size·Size·3, RGB, row by row
}

// Set gives access to the pictures of one split. It is safe for concurrent use.
type Set struct {
	cfg      Config
	split    string
	seed     uint64 // of the split; near_miss shares test's
	pool     []int
	deal     deal
	order    []int // family of every picture, or of every true picture in near_miss
	pairs    []int // near_miss: index of the true picture
	canvases sync.Pool
}

// Open prepares a split of the benchmark, one of [Splits]. Nothing is drawn yet.
func Open(cfg Config, split string) (*Set, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Set{cfg: cfg, split: split}
	var profiles, twins int
	var stream uint64
	switch split {
	case Train:
		profiles, twins, stream = cfg.TrainProfiles, cfg.Twins, 1
	case Val:
		profiles, twins, stream = cfg.ValProfiles, cfg.ValTwins, 2
	case Test, NearMiss:
		profiles, twins, stream = cfg.TestProfiles, cfg.TestTwins, 3
	default:
		return nil, fmt.Errorf("scenes: open: split %q: none of %s", split, strings.Join(Splits(), ", "))
	}
	s.seed = mix(cfg.Seed, stream)
	s.pool = pool(s.test())
	s.deal = deal{seed: mix(s.seed, streamDeal), pool: len(s.pool), perProfile: twins}
	n := profiles * twins
	for b := 0; len(s.order) < n; b++ {
		for _, k := range s.deal.block(b) {
			s.order = append(s.order, s.pool[k])
		}
	}
	s.order = s.order[:n]
	if split == NearMiss {
		fams := loadFamilies()
		for i, f := range s.order {
			if fams[f].Breakable() {
				s.pairs = append(s.pairs, i)
			}
		}
	}
	s.canvases.New = func() any { return newCanvas(cfg.Size) }
	return s, nil
}

// Streams of random numbers within a split.
const (
	streamDeal = iota
	streamProfile
	streamScene
	streamDust
	streamNoise
	streamCaption
	streamEdit
	streamLook
)

func (s *Set) test() bool { return s.split == Test || s.split == NearMiss }

// Config returns the configuration of the benchmark.
func (s *Set) Config() Config { return s.cfg }

// Split returns the split's name.
func (s *Set) Split() string { return s.split }

// Len returns the number of pictures.
func (s *Set) Len() int {
	if s.split == NearMiss {
		return len(s.pairs)
	}
	return len(s.order)
}

// Family returns the family of picture i without drawing it.
func (s *Set) Family(i int) int {
	return s.order[s.position(i)]
}

// Picture draws picture i. It allocates the pixels.
//
// Picture panics if i is out of range.
func (s *Set) Picture(i int) Picture {
	return s.Draw(i, make([]byte, s.cfg.Size*s.cfg.Size*3))
}

// Draw draws picture i into pix, which becomes its Pix.
//
// Draw panics if i is out of range or pix is not Size·Size·3 bytes.
func (s *Set) Draw(i int, pix []byte) Picture {
	if i < 0 || i >= s.Len() {
		panic(fmt.Sprintf("scenes: draw: picture %d of %d", i, s.Len()))
	}
	if len(pix) != s.cfg.Size*s.cfg.Size*3 {
		panic(fmt.Sprintf("scenes: draw: %d bytes for a picture of %d×%d×3", len(pix), s.cfg.Size, s.cfg.Size))
	}
	f := &loadFamilies()[s.Family(i)]
	scene, seed := s.scene(i)
	p := Picture{
		Literal: literal(scene.profile, scene.objects), Relation: f.Name, Family: f.ID, Profile: s.position(i) / s.deal.perProfile,
		Split: s.split, Index: i, Pair: -1, HeldOut: f.HeldOut, Gravity: f.Gravity(), Pix: pix,
	}
	if s.split == NearMiss {
		p.Pair = s.position(i)
	}
	captions := f.TrainCaptions()
	if s.test() {
		captions = f.TestCaptions()
	}
	p.Caption = captions[rand.New(rand.NewPCG(seed, mix(streamCaption))).IntN(len(captions))]

	c := s.canvases.Get().(*canvas)
	defer s.canvases.Put(c)
	c.fill(scene.profile)
	for j := range scene.objects {
		c.draw(&scene.objects[j])
		if !scene.objects[j].link {
			p.Count++
		}
	}
	p.Ink = c.ink()
	c.develop(pix, rand.NewPCG(seed, mix(streamNoise)))
	sum := sha256.Sum256(pix)
	p.Hash = hex.EncodeToString(sum[:16])
	return p
}

// position returns the position in train, val or test of picture i: in near_miss that of the true picture.
func (s *Set) position(i int) int {
	if s.split == NearMiss {
		return s.pairs[i]
	}
	return i
}

// profile returns the attributes of a profile.
func (s *Set) profile(number int) *profile {
	p := newProfile(rand.New(rand.NewPCG(s.seed, mix(streamProfile, uint64(number)))), s.test())
	return &p
}

// scene returns the objects of picture i in pixels, and the seed of the picture's other streams.
func (s *Set) scene(i int) (sc *scene, seed uint64) {
	k := s.position(i)
	seed = mix(s.seed, streamScene, uint64(k))
	sc = compose(&loadFamilies()[s.order[k]], s.profile(k/s.deal.perProfile), s.cfg.Size, seed, s.split == NearMiss)
	sc.sprinkle(s.cfg.Size, rand.New(rand.NewPCG(seed, mix(streamDust))))
	return sc, seed
}

// Sides of a scene's bounding box, as shares of the picture.
const (
	minSide = .55
	maxSide = 1 - 2*margin
)

const (
	inkTolerance  = .12 // difference of log ink that is near enough to the target
	maxCandidates = 12
)

// compose makes the scene of a picture. Candidates are drawn until one covers the share of the picture that the
// profile asks for, or the nearest of maxCandidates is taken, so that ink does not tell the family. A near miss is
// the candidate that the true picture took, built once more without its predicate.
func compose(f *Family, p *profile, size int, seed uint64, broken bool) *scene {
	build := relations[f.Name].build
	// Drawn once for all candidates: long objects cover less, so the choice among candidates would shun them.
	look := rand.New(rand.NewPCG(seed, mix(streamLook)))
	long, bare := look.IntN(5) < 2, look.IntN(3) > 0
	candidate := func(number int, broken bool) (*scene, placement) {
		rng := rand.New(rand.NewPCG(seed, uint64(number)))
		s := &scene{rng: rng, edit: rand.New(rand.NewPCG(seed, mix(streamEdit))), profile: p,
			objects: make([]object, 0, 8), long: long, bare: bare, broken: broken}
		t := placement{
			angle: (2*rng.Float64() - 1) * f.Tilt * math.Pi / 180,
			side:  minSide + (maxSide-minSide)*rng.Float64(),
			dx:    rng.Float64(),
			dy:    rng.Float64(),
		}
		build(s)
		return s, t
	}
	var best *scene
	var bestPlacement placement
	bestNumber, nearest := 0, math.Inf(1)
	for number := range maxCandidates {
		s, t := candidate(number, false)
		t.scale = s.fit(size, t)
		ink := estimateInk(s.objects, size)
		if off := math.Abs(math.Log(ink / p.ink)); off > inkTolerance && ink > 0 {
			// Cover goes with the square of the side, so the side that fits can be told.
			if k := math.Sqrt(p.ink / ink); t.side*k >= minSide && t.side*k <= maxSide {
				t.side *= k
				t.scale *= s.fit(size, placement{side: t.side, dx: t.dx, dy: t.dy})
				ink = estimateInk(s.objects, size)
			}
		}
		if off := math.Abs(math.Log(ink / p.ink)); off < nearest || best == nil {
			best, bestPlacement, bestNumber, nearest = s, t, number, off
		}
		if nearest < inkTolerance {
			break
		}
	}
	if broken {
		best, _ = candidate(bestNumber, true)
		bestPlacement.side = maxSide
		best.fit(size, bestPlacement)
	}
	return best
}

// workersFor resolves a worker count: 0 or less means one for each usable core.
func workersFor(workers, n int) int {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	return max(1, min(workers, n))
}

// Generate draws all pictures of a split with the given number of workers (0: one for each core). The result does
// not depend on it. All pixels share one array. Two pictures with the same pixels are an error, for their hash would
// not tell them apart.
func Generate(ctx context.Context, cfg Config, split string, workers int) ([]Picture, error) {
	s, err := Open(cfg, split)
	if err != nil {
		return nil, err
	}
	bytes := cfg.Size * cfg.Size * 3
	pictures := make([]Picture, s.Len())
	pix := make([]byte, len(pictures)*bytes)
	if err := s.drawRange(ctx, workers, 0, pictures, pix, nil); err != nil {
		return nil, err
	}
	seen := make(hashes, len(pictures))
	for i := range pictures {
		if err := seen.add(&pictures[i]); err != nil {
			return nil, err
		}
	}
	return pictures, nil
}

// ErrDuplicate says that two pictures have the same pixels.
var ErrDuplicate = errors.New("two pictures have the same pixels")

// hashes tells which picture has a hash.
type hashes map[string]string

func (h hashes) add(p *Picture) error {
	name := fmt.Sprintf("%s %d", p.Split, p.Index)
	if other, ok := h[p.Hash]; ok {
		return fmt.Errorf("scenes: %s and %s: %w (hash %s)", other, name, ErrDuplicate, p.Hash)
	}
	h[p.Hash] = name
	return nil
}

// drawRange draws len(dst) pictures from index first on, their pixels into pix, and hands each to work, which may be
// nil and is called by several goroutines.
func (s *Set) drawRange(ctx context.Context, workers, first int, dst []Picture, pix []byte, work func(*Picture) error) error {
	bytes := s.cfg.Size * s.cfg.Size * 3
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range workersFor(workers, len(dst)) {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(dst) {
					return nil
				}
				if ctx.Err() != nil {
					return fmt.Errorf("scenes: %s: picture %d of %d: %w", s.split, first+i, s.Len(), context.Cause(ctx))
				}
				dst[i] = s.Draw(first+i, pix[i*bytes:(i+1)*bytes:(i+1)*bytes])
				if work != nil {
					if err := work(&dst[i]); err != nil {
						return err
					}
				}
			}
		})
	}
	return group.Wait()
}

// Bounds of what Each holds at a time.
const (
	streamPictures = 256
	streamBytes    = 1 << 26
)

// Each draws all pictures in order and hands them to f, at most a few hundred at a time in memory. A picture's Pix
// is valid until f returns. Each stops at the first error of f, or when ctx ends, and returns it.
func (s *Set) Each(ctx context.Context, workers int, f func(p *Picture) error) error {
	return s.stream(ctx, workers, s.Len(), nil, f)
}

// stream draws the first n pictures; it hands them to work as they come, by several goroutines, and then to ordered
// in their order.
func (s *Set) stream(ctx context.Context, workers, n int, work, ordered func(p *Picture) error) error {
	bytes := s.cfg.Size * s.cfg.Size * 3
	chunk := max(1, min(streamPictures, streamBytes/bytes, n))
	pictures, pix := make([]Picture, chunk), make([]byte, chunk*bytes)
	for first := 0; first < n; first += chunk {
		now := pictures[:min(chunk, n-first)]
		if err := s.drawRange(ctx, workers, first, now, pix[:len(now)*bytes], work); err != nil {
			return err
		}
		for i := range now {
			if err := ordered(&now[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
