package training

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"relsim/dataloader"
)

// Survey is what is known of the data before training starts.
type Survey struct {
	Rows     int `json:"rows"`     // to train on
	Pictures int `json:"pictures"` // distinct ones of them
	Captions int `json:"captions"` // of all rows
	Distinct int `json:"distinct_captions"`
	Validate int `json:"rows_to_validate_on"`

	There   int      `json:"there"`             // pictures whose file, or shard, is there
	Sampled int      `json:"sampled"`           // of those that are there: drawn and decoded
	Broken  int      `json:"broken"`            // of these: could not be read
	Reasons []Reason `json:"reasons,omitempty"` // the commonest first
	Missing string   `json:"missing,omitempty"` // path of the first picture that is not there
	Each    float64  `json:"seconds_a_picture"` // to decode one, by all workers; 0: the pictures are in memory
}

// Reason is why pictures cannot be read.
type Reason struct {
	Text  string `json:"reason"` // without the name of the file
	Count int    `json:"count"`
}

// Usable is the share of the pictures that can be read, as far as it is known.
func (s Survey) Usable() float64 {
	share := float64(s.There) / float64(max(s.Pictures, 1))
	if s.Sampled > 0 {
		share *= float64(s.Sampled-s.Broken) / float64(s.Sampled)
	}
	return share
}

// A sample has so many pictures, or as many as can be decoded in this time.
const (
	surveySample = 200
	surveyTime   = 10 * time.Second
)

// Look counts what there is to train on: rows, pictures, captions, and how many of the pictures are there, by a listing
// of their folders. It decodes a sample of them, drawn by the seed of c, as training would. No bit of a run depends on it.
func Look(ctx context.Context, d *Data, c Config, workers int) (*Survey, error) {
	ds := dataloader.Distinct(d.Train)
	s := &Survey{Rows: d.Train.Len(), Pictures: ds.Len(), Validate: d.Val.Len()}
	distinct := make(map[string]bool)
	for i := range d.Train.Len() {
		for _, caption := range c.allCaptions(d.Train.Item(i)) {
			if caption != "" {
				s.Captions++
				distinct[caption] = true
			}
		}
	}
	s.Distinct = len(distinct)
	there, err := present(ctx, ds)
	if err != nil {
		return nil, err
	}
	s.There = len(there)
	if s.There < s.Pictures {
		for i, k := 0, 0; i < ds.Len(); i, k = i+1, k+1 {
			if k == len(there) || there[k] != i {
				s.Missing = ds.Item(i).Picture()
				break
			}
		}
	}
	if s.There == 0 || ds.Item(there[0]).Path == "" {
		return s, nil
	}
	rng := rand.New(rand.NewPCG(c.Seed, streamSurvey))
	for i := range min(surveySample, len(there)) { // the first of a shuffle
		j := i + rng.IntN(len(there)-i)
		there[i], there[j] = there[j], there[i]
	}
	return s, s.sample(ctx, c.transform().Square(ds), there[:min(surveySample, len(there))], workers)
}

// sample decodes some pictures.
func (s *Survey) sample(ctx context.Context, ds dataloader.Dataset, indices []int, workers int) error {
	began := time.Now()
	for part := range slices.Chunk(indices, max(16, 4*workers)) {
		broken, err := dataloader.ForEach(ctx, ds, part, workers, func(int, *dataloader.Image) error { return nil })
		if err != nil {
			return err
		}
		s.Sampled += len(part)
		for _, b := range broken {
			s.note(reason(b))
		}
		if time.Since(began) > surveyTime {
			break
		}
	}
	s.Each = time.Since(began).Seconds() / float64(s.Sampled)
	slices.SortStableFunc(s.Reasons, func(a, b Reason) int { return b.Count - a.Count })
	return nil
}

func (s *Survey) note(text string) {
	s.Broken++
	for i := range s.Reasons {
		if s.Reasons[i].Text == text {
			s.Reasons[i].Count++
			return
		}
	}
	s.Reasons = append(s.Reasons, Reason{text, 1})
}

// reason is why a picture cannot be read, without its name, so that those of several are one.
func reason(b dataloader.Broken) string {
	text := b.Reason
	for _, name := range []string{b.Path + ":" + b.Member, b.Path} {
		if _, after, ok := strings.Cut(text, name+": "); ok && len(name) > 1 {
			return after
		}
	}
	return strings.TrimPrefix(text, "dataloader: ")
}

// present returns the items of ds whose pictures are there: in memory, in a shard, or as files in a listing of their
// folders.
func present(ctx context.Context, ds dataloader.Dataset) ([]int, error) {
	folders := make(map[string]map[string]bool) // the names that are looked for; true: found
	for i := range ds.Len() {
		if it := ds.Item(i); it.Path != "" {
			dir, name := filepath.Split(it.Path)
			if folders[dir] == nil {
				folders[dir] = make(map[string]bool)
			}
			folders[dir][name] = false
		}
	}
	for dir, names := range folders {
		if err := lookInto(ctx, dir, names); err != nil {
			return nil, err
		}
	}
	var there []int
	for i := range ds.Len() {
		it := ds.Item(i)
		dir, name := filepath.Split(it.Path)
		if it.Path == "" || folders[dir][name] {
			there = append(there, i)
		}
	}
	return there, nil
}

// lookInto marks the names that a folder has. One that cannot be listed has none.
func lookInto(ctx context.Context, dir string, names map[string]bool) error {
	if dir == "" {
		dir = "."
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, err := f.ReadDir(4096)
		for _, entry := range entries {
			if _, wanted := names[entry.Name()]; wanted && !entry.IsDir() {
				names[entry.Name()] = true
			}
		}
		if err != nil { // the end, or no more can be seen
			return nil
		}
	}
}
