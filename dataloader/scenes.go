package dataloader

import (
	"context"
	"fmt"

	"relsim/scenes"
)

// Scenes generates a split of the embedded benchmark in memory, with a worker for
// each core. See [scenes.Generate].
func Scenes(cfg scenes.Config, split string) (Dataset, error) {
	return ScenesContext(context.Background(), cfg, split, 0)
}

// ScenesContext is [Scenes] with the given number of workers (0: one for each
// core); it ends early when ctx does.
func ScenesContext(ctx context.Context, cfg scenes.Config, split string, workers int) (Dataset, error) {
	pictures, err := scenes.Generate(ctx, cfg, split, workers)
	if err != nil {
		return nil, fmt.Errorf("dataloader: %w", err)
	}
	var truth []scenes.Picture
	if split == scenes.NearMiss {
		// A near miss knows its true picture by number; only the pixels give its hash.
		if truth, err = scenes.Generate(ctx, cfg, scenes.Test, workers); err != nil {
			return nil, fmt.Errorf("dataloader: %w", err)
		}
	}
	items := make([]Item, len(pictures))
	images := make([]*Image, len(pictures))
	for i := range pictures {
		p := &pictures[i]
		items[i] = Item{
			ID:       p.Hash,
			Caption:  p.Caption,
			Literal:  p.Literal,
			Relation: p.Relation,
			Split:    p.Split,
			Family:   p.Family,
			Profile:  p.Profile,
			Count:    p.Count,
			Ink:      p.Ink,
			HeldOut:  p.HeldOut,
			Gravity:  p.Gravity,
		}
		if p.Pair >= 0 {
			items[i].Pair = truth[p.Pair].Hash
		}
		images[i] = &Image{Width: cfg.Size, Height: cfg.Size, Pix: p.Pix}
	}
	return NewMemory("scenes "+split, items, images), nil
}
