package dataloader

import (
	"context"
	"errors"
	"strings"
	"testing"

	"relsim/scenes"
)

func tinyScenes() scenes.Config {
	c := scenes.Default()
	c.Size = 32
	c.TrainProfiles, c.Twins = 8, 6
	c.ValProfiles, c.ValTwins = 2, 4
	c.TestProfiles, c.TestTwins = 4, 8
	return c
}

func TestPairsAreTestPictures(t *testing.T) {
	cfg := tinyScenes()
	test, err := Scenes(cfg, scenes.Test)
	if err != nil {
		t.Fatal(err)
	}
	near, err := Scenes(cfg, scenes.NearMiss)
	if err != nil {
		t.Fatal(err)
	}
	byID := make(map[string]Item)
	for i := range test.Len() {
		byID[test.Item(i).ID] = test.Item(i)
	}
	for i := range near.Len() {
		it := near.Item(i)
		if pair, ok := byID[it.Pair]; !ok || pair.Relation != it.Relation || pair.Profile != it.Profile {
			t.Errorf("near miss %d: %+v, its true picture is %+v", i, it, pair)
		}
	}
}

func TestScenesErrors(t *testing.T) {
	if _, err := Scenes(tinyScenes(), "tset"); err == nil || !strings.Contains(err.Error(), "tset") {
		t.Errorf("unknown split: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := ScenesContext(ctx, tinyScenes(), scenes.Train, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
