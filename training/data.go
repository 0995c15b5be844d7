package training

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"relsim/dataloader"
	"relsim/formats"
	"relsim/scenes"
)

// ScenesName is the value of [Source].Data that means the embedded benchmark.
const ScenesName = "scenes"

// Source says where pictures and captions come from. It is saved with a run, so that the run can be evaluated again.
type Source struct {
	Data   string         `json:"data"`             // ScenesName, or what [formats.Open] takes
	Images string         `json:"images,omitempty"` // folder of the pictures of rows; empty: beside them
	Val    string         `json:"val,omitempty"`    // rows to validate on; empty: split off
	Share  float64        `json:"val_share,omitempty"`
	Scenes *scenes.Config `json:"scenes,omitempty"`

	More    []Part    `json:"more,omitempty"`    // data that are mixed with Data
	Weights []float64 `json:"weights,omitempty"` // of Data and More: see [dataloader.Mix]; empty: 1 each

	// Of tables: see [formats.Options].
	ImageKey   string `json:"image_key,omitempty"`
	CaptionKey string `json:"caption_key,omitempty"`
	Separator  string `json:"separator,omitempty"`
}

// Part is one of several data sets.
type Part struct {
	Data   string `json:"data"`
	Images string `json:"images,omitempty"` // empty: beside the rows
}

// options say how to open data whose pictures are in images.
func (s Source) options(images string) formats.Options {
	return formats.Options{Images: images, ImageKey: s.ImageKey, CaptionKey: s.CaptionKey, Separator: s.Separator}
}

// parts are all data to train on.
func (s Source) parts() []Part { return append([]Part{{s.Data, s.Images}}, s.More...) }

// Validate returns an error that says what is missing.
func (s Source) Validate() error {
	for _, part := range s.More {
		if part.Data == "" || part.Data == ScenesName || s.Data == ScenesName {
			return fmt.Errorf("training: %q is mixed with %q: want files of rows or folders", s.Data, part.Data)
		}
	}
	switch {
	case s.Data == "":
		return fmt.Errorf("training: no data: want %q, a file of rows or a folder", ScenesName)
	case s.Data == ScenesName && (s.Images != "" || s.Val != ""):
		return fmt.Errorf("training: data %q is generated: it takes no folder of images and no validation file", ScenesName)
	case s.Data == ScenesName && s.Scenes == nil:
		return fmt.Errorf("training: data %q without its settings", ScenesName)
	case s.Data == ScenesName && (s.ImageKey != "" || s.CaptionKey != "" || s.Separator != ""):
		return fmt.Errorf("training: data %q is generated: it has no columns", ScenesName)
	case s.Data != ScenesName && s.Val == "" && !(s.Share > 0 && s.Share < 1):
		return fmt.Errorf("training: share of the rows to validate on is %v: want above 0, below 1", s.Share)
	case len(s.Weights) > 0 && len(s.Weights) != 1+len(s.More):
		return fmt.Errorf("training: %d weights for %d data sets: want one for each", len(s.Weights), 1+len(s.More))
	}
	for _, w := range s.Weights {
		if !(w > 0) || math.IsInf(w, 0) {
			return fmt.Errorf("training: weight %v of a data set: want a number above 0", w)
		}
	}
	return s.options("").Validate()
}

// Absolute returns the source with absolute paths, so that a run can be evaluated from another folder.
func (s Source) Absolute() (Source, error) {
	if s.Data == ScenesName {
		return s, nil
	}
	s.More = slices.Clone(s.More)
	data, folders := []*string{&s.Data, &s.Val}, []*string{&s.Images}
	for i := range s.More {
		data, folders = append(data, &s.More[i].Data), append(folders, &s.More[i].Images)
	}
	for _, spec := range data {
		if *spec == "" {
			continue
		}
		absolute, err := formats.Absolute(*spec)
		if err != nil {
			return Source{}, fmt.Errorf("training: %w", err)
		}
		*spec = absolute
	}
	for _, folder := range folders {
		if *folder == "" {
			continue
		}
		absolute, err := filepath.Abs(*folder)
		if err != nil {
			return Source{}, fmt.Errorf("training: %w", err)
		}
		*folder = absolute
	}
	return s, nil
}

// check returns an error if a folder of images is named that none of the data look into, or a column where none have
// columns.
func (s Source) check() error {
	formatOf := func(spec string) (f formats.Format, err error) {
		if spec == "" {
			return f, nil
		}
		found, _, err := s.options("").Identify(spec)
		if err != nil {
			return f, err
		}
		return *found, nil
	}
	val, err := formatOf(s.Val)
	if err != nil {
		return err
	}
	table, rows, named := val.Table, val.Rows, ""
	for _, part := range s.parts() {
		format, err := formatOf(part.Data)
		if err != nil {
			return err
		}
		if part.Images != "" && !format.Rows {
			named = fmt.Sprintf("%s is %s", part.Data, format.Name)
		}
		rows = rows || part.Images != "" && format.Rows
		table = table || format.Table
	}
	if named != "" && !rows {
		return fmt.Errorf("training: %s: it takes no folder of images", named)
	}
	if !table && (s.ImageKey != "" || s.CaptionKey != "" || s.Separator != "") {
		return fmt.Errorf("training: %s has no columns to be named, and no separator: only CSV and the like have", s.Data)
	}
	return nil
}

// Data are the pictures of a run.
type Data struct {
	Source Source
	Train  dataloader.Dataset
	Val    dataloader.Dataset
}

// Epoch is the number of pictures of a pass over the data to train on: that of its rows, but where data are mixed by
// weight. It is 0 where there is less than one.
func (d *Data) Epoch() int {
	l, err := dataloader.New(d.Train, dataloader.Config{Batch: 1, Transform: dataloader.Transform{Size: 1}})
	if err != nil {
		return 0
	}
	return l.Steps()
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
	if err := s.check(); err != nil {
		return nil, err
	}
	if d.Train, err = s.openTrain(ctx); err != nil {
		return nil, err
	}
	if s.Val != "" {
		d.Val, err = formats.Open(ctx, s.Val, s.options(s.Images))
		return d, err
	}
	if d.Train, d.Val, err = split(d.Train, s.Share); err != nil {
		return nil, err
	}
	if d.Train.Len() == 0 || d.Val.Len() < 2 {
		return nil, fmt.Errorf("training: %s: %d rows to train and %d to validate on after splitting off %v: name a validation file",
			s.Data, d.Train.Len(), d.Val.Len(), s.Share)
	}
	return d, nil
}

// split is [dataloader.Split], but that the pictures of a group, which share their caption, stay together.
func split(ds dataloader.Dataset, share float64) (train, val dataloader.Dataset, err error) {
	groups := false
	for i := 0; i < ds.Len() && !groups; i++ {
		groups = ds.Item(i).Group != ""
	}
	if !groups {
		train, val = dataloader.Split(ds, share)
		return train, val, nil
	}
	rule := dataloader.Rule{Val: share, Keys: func(i int) []string {
		if group := ds.Item(i).Group; group != "" {
			return []string{group}
		}
		return nil
	}}
	inTrain, inVal, _, err := rule.Divide(ds)
	if err != nil {
		return nil, nil, err
	}
	return dataloader.Subset(ds, ds.Name()+" (train)", inTrain), dataloader.Subset(ds, ds.Name()+" (val)", inVal), nil
}

// openTrain opens all data to train on, mixed where they are several.
func (s Source) openTrain(ctx context.Context) (dataloader.Dataset, error) {
	var sets []dataloader.Dataset
	for _, part := range s.parts() {
		ds, err := formats.Open(ctx, part.Data, s.options(part.Images))
		if err != nil {
			return nil, err
		}
		sets = append(sets, ds)
	}
	if len(sets) == 1 {
		return sets[0], nil
	}
	weights := s.Weights
	if weights == nil {
		weights = slices.Repeat([]float64{1}, len(sets))
	}
	return dataloader.Mix(sets, weights)
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
		if s.Val == s.Data { // it is all that is opened
			if err := s.check(); err != nil {
				return nil, nil, "", err
			}
		}
		gallery, err = formats.Open(ctx, s.Val, s.options(s.Images))
		if err != nil {
			return nil, nil, "", err
		}
		// The writer of the benchmark puts its near misses beside the gallery.
		beside := filepath.Join(filepath.Dir(s.Val), "near_miss.jsonl")
		if _, statErr := os.Stat(beside); statErr == nil && filepath.Base(s.Val) == "test.jsonl" {
			nearMiss, err = formats.Open(ctx, beside, s.options(s.Images))
		}
		return gallery, nearMiss, formats.Stem(s.Val), err
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
