package training

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"relsim/dataloader"
	"relsim/formats"
	"relsim/scenes"
)

// ScenesName is the value of [Source].Data that means the embedded benchmark.
const ScenesName = "scenes"

// Source says where pictures and captions come from. It is saved with a run, so that the run can be evaluated again.
type Source struct {
	Data   string         `json:"data"`             // ScenesName, or a file of rows
	Images string         `json:"images,omitempty"` // folder of the pictures of a file of rows
	Val    string         `json:"val,omitempty"`    // file of rows to validate on; empty: split off
	Share  float64        `json:"val_share,omitempty"`
	Scenes *scenes.Config `json:"scenes,omitempty"`
}

// Validate returns an error that says what is missing.
func (s Source) Validate() error {
	switch {
	case s.Data == "":
		return fmt.Errorf("training: no data: want %q or a file of rows", ScenesName)
	case s.Data == ScenesName && (s.Images != "" || s.Val != ""):
		return fmt.Errorf("training: data %q is generated: it takes no folder of images and no validation file", ScenesName)
	case s.Data == ScenesName && s.Scenes == nil:
		return fmt.Errorf("training: data %q without its settings", ScenesName)
	case s.Data != ScenesName && s.Images == "":
		return fmt.Errorf("training: data %s: the folder of its pictures is missing", s.Data)
	case s.Data != ScenesName && s.Val == "" && !(s.Share > 0 && s.Share < 1):
		return fmt.Errorf("training: share of the rows to validate on is %v: want above 0, below 1", s.Share)
	}
	return nil
}

// Absolute returns the source with absolute paths, so that a run can be evaluated from another folder.
func (s Source) Absolute() (Source, error) {
	if s.Data == ScenesName {
		return s, nil
	}
	for _, path := range []*string{&s.Data, &s.Images, &s.Val} {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return Source{}, fmt.Errorf("training: %w", err)
		}
		*path = absolute
	}
	return s, nil
}

// Data are the pictures of a run.
type Data struct {
	Source Source
	Train  dataloader.Dataset
	Val    dataloader.Dataset
}

// OpenData opens the pictures to train and validate on.
func OpenData(ctx context.Context, s Source) (*Data, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	d := &Data{Source: s}
	var err error
	if s.Data == ScenesName {
		if d.Train, err = dataloader.ScenesContext(ctx, *s.Scenes, "train", 0); err != nil {
			return nil, err
		}
		d.Val, err = dataloader.ScenesContext(ctx, *s.Scenes, "val", 0)
		return d, err
	}
	if d.Train, err = formats.Open(ctx, s.Data, formats.Options{Images: s.Images}); err != nil {
		return nil, err
	}
	if s.Val != "" {
		d.Val, err = formats.Open(ctx, s.Val, formats.Options{Images: s.Images})
		return d, err
	}
	d.Train, d.Val = dataloader.Split(d.Train, s.Share)
	if d.Train.Len() == 0 || d.Val.Len() < 2 {
		return nil, fmt.Errorf("training: %s: %d rows to train and %d to validate on after splitting off %v: name a validation file",
			s.Data, d.Train.Len(), d.Val.Len(), s.Share)
	}
	return d, nil
}

// shuffled deals the captions and relations of a data set to other pictures.
type shuffled struct {
	dataloader.Dataset
	deal []int
}

func newShuffled(ds dataloader.Dataset, seed uint64) shuffled {
	return shuffled{ds, rand.New(rand.NewPCG(seed, streamShuffle)).Perm(ds.Len())}
}

func (s shuffled) Item(i int) dataloader.Item {
	item, other := s.Dataset.Item(i), s.Dataset.Item(s.deal[i])
	item.Caption, item.Literal, item.Relation, item.Family = other.Caption, other.Literal, other.Relation, other.Family
	item.Captions = other.Captions
	return item
}

// Unwrap says which set has the pictures.
func (s shuffled) Unwrap() dataloader.Dataset { return s.Dataset }

// SquareImage lets the set below make squares by itself.
func (s shuffled) SquareImage(ctx context.Context, i int, t dataloader.Transform) (*dataloader.Image, error) {
	return t.Image(ctx, s.Dataset, i)
}

func (s shuffled) Fingerprint() string { return "shuffled " + s.Dataset.Fingerprint() }

// OpenGallery opens the pictures to evaluate on, and the near misses where there are any (nil elsewhere): the test
// split of the embedded benchmark, the validation rows of a file.
func OpenGallery(ctx context.Context, s Source) (gallery, nearMiss dataloader.Dataset, split string, err error) {
	if s.Data == ScenesName {
		if err := s.Validate(); err != nil {
			return nil, nil, "", err
		}
		if gallery, err = dataloader.ScenesContext(ctx, *s.Scenes, "test", 0); err != nil {
			return nil, nil, "", err
		}
		nearMiss, err = dataloader.ScenesContext(ctx, *s.Scenes, "near_miss", 0)
		return gallery, nearMiss, "test", err
	}
	if s.Val != "" {
		gallery, err = formats.Open(ctx, s.Val, formats.Options{Images: s.Images})
		if err != nil {
			return nil, nil, "", err
		}
		// The writer of the benchmark puts its near misses beside the gallery.
		beside := filepath.Join(filepath.Dir(s.Val), "near_miss.jsonl")
		if _, statErr := os.Stat(beside); statErr == nil && filepath.Base(s.Val) == "test.jsonl" {
			nearMiss, err = formats.Open(ctx, beside, formats.Options{Images: s.Images})
		}
		return gallery, nearMiss, strings.TrimSuffix(filepath.Base(s.Val), ".jsonl"), err
	}
	d, err := OpenData(ctx, s)
	if err != nil {
		return nil, nil, "", err
	}
	return d.Val, nil, "val", nil
}

func parseSource(data []byte) (Source, error) {
	var s Source
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return Source{}, fmt.Errorf("training: %s: %w", sourceFile, err)
	}
	return s, nil
}
