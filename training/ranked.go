package training

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"relsim/dataloader"
	"relsim/retrieval"
)

// RankingsPath finds the file of rankings that a path means: itself, or that of a report folder or a run folder.
func RankingsPath(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("training: rankings: %w", err)
	}
	if !info.IsDir() {
		return path, nil
	}
	for _, file := range []string{filepath.Join(path, retrieval.RankingsFile), filepath.Join(path, "report", retrieval.RankingsFile)} {
		if _, err := os.Stat(file); err == nil {
			return file, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("training: rankings: %w", err)
		}
	}
	return "", fmt.Errorf("training: %s has no rankings (report/%s): evaluate the run, with its report", path, retrieval.RankingsFile)
}

// keepSource notes in rankings where their gallery was opened from.
func keepSource(r *retrieval.Rankings, s Source, fingerprint string) error {
	s, err := s.Absolute()
	if err != nil {
		return err
	}
	if r.Source, err = json.Marshal(s); err != nil {
		return fmt.Errorf("training: source of the rankings: %w", err)
	}
	r.Fingerprint = fingerprint
	return nil
}

// OpenRankedGallery opens the pictures that rankings are of: picture i is that of r.Items[i]. They come from where they
// were when the rankings were made; a data set that has changed since is an error.
//
// images, if not empty, is a folder that the files of the pictures have moved to. The rows are not needed then.
func OpenRankedGallery(ctx context.Context, r *retrieval.Rankings, images string) (dataloader.Dataset, error) {
	if images != "" {
		return movedGallery(r, images)
	}
	if len(r.Source) == 0 {
		return nil, errors.New("training: the rankings do not say where their pictures are: name their folder")
	}
	source, err := rankedSource(r.Source)
	if err != nil {
		return nil, err
	}
	gallery, _, _, err := OpenGallery(ctx, source)
	if err != nil {
		return nil, err
	}
	if have := gallery.Fingerprint(); have != r.Fingerprint {
		return nil, fmt.Errorf("training: %s has changed since it was ranked (fingerprint %s, was %s): evaluate again",
			gallery.Name(), have, r.Fingerprint)
	}
	at := make(map[string]int, gallery.Len())
	for i := gallery.Len() - 1; i >= 0; i-- { // the first of several rows with one picture is the one that was ranked
		at[gallery.Item(i).ID] = i
	}
	indices := make([]int, len(r.Items))
	for i, it := range r.Items {
		k, ok := at[it.ID]
		if !ok {
			return nil, fmt.Errorf("training: %s has no picture %q, which was ranked: evaluate again", gallery.Name(), it.ID)
		}
		indices[i] = k
	}
	return dataloader.Subset(gallery, gallery.Name(), indices), nil
}

// rankedSource parses the source of rankings.
func rankedSource(data json.RawMessage) (Source, error) {
	var s Source
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return Source{}, fmt.Errorf("training: source of the rankings: %w", err)
	}
	return s, nil
}

// movedGallery has the pictures of rankings in another folder, under the names that their files had.
func movedGallery(r *retrieval.Rankings, images string) (dataloader.Dataset, error) {
	if info, err := os.Stat(images); err != nil {
		return nil, fmt.Errorf("training: pictures of the rankings: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("training: pictures of the rankings: %s is not a folder", images)
	}
	items := make([]dataloader.Item, len(r.Items))
	for i, it := range r.Items {
		if it.Path == "" || it.Member != "" {
			return nil, fmt.Errorf("training: picture %q of the rankings was not in a file of its own: it has no place in %s", it.ID, images)
		}
		name := it.Path[strings.LastIndexAny(it.Path, `/\`)+1:] // of whichever system they were ranked on
		if name == "" || name == "." || name == ".." {
			return nil, fmt.Errorf("training: picture %q of the rankings has the path %q: want a file", it.ID, it.Path)
		}
		items[i] = dataloader.Item{ID: it.ID, URL: it.URL, Caption: it.Caption, Relation: it.Relation, Group: it.Group,
			Profile: it.Profile, Family: -1, HeldOut: it.HeldOut, Path: filepath.Join(images, name)}
	}
	return dataloader.NewRows(r.Data, r.Fingerprint, items, nil), nil
}
