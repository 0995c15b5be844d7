package scenes_test

import (
	"context"
	"fmt"
	"log"

	"relsim/scenes"
)

// One picture can be drawn alone: it is a function of the configuration and its position.
func ExampleOpen() {
	set, err := scenes.Open(scenes.Default(), scenes.Test)
	if err != nil {
		log.Fatal(err)
	}
	p := set.Picture(1)
	fmt.Println(set.Len(), "pictures; picture 1 is of", p.Relation)
	fmt.Println(p.Caption)
	// Output:
	// 1600 pictures; picture 1 is of ring
	// a ring of different {Items} around an empty center
}

func ExampleGenerate() {
	cfg := scenes.Default()
	cfg.TrainProfiles, cfg.Size = 24, 32
	pictures, err := scenes.Generate(context.Background(), cfg, scenes.Train, 0)
	if err != nil {
		log.Fatal(err)
	}
	relations := map[string]int{}
	for _, p := range pictures {
		relations[p.Relation]++
	}
	fmt.Println(len(pictures), "pictures,", relations["growth"], "of growth,", relations["nested"], "of nested")
	// Output:
	// 240 pictures, 10 of growth, 0 of nested
}

func ExampleSet_Each() {
	cfg := scenes.Default()
	cfg.TestProfiles = 20
	set, err := scenes.Open(cfg, scenes.NearMiss)
	if err != nil {
		log.Fatal(err)
	}
	towers := 0
	err = set.Each(context.Background(), 0, func(p *scenes.Picture) error {
		if p.Relation == "stack" { // test picture p.Pair, its tower taken apart
			towers++
		}
		return nil
	})
	fmt.Println(set.Len(), "near misses,", towers, "of stack", err)
	// Output:
	// 150 near misses, 5 of stack <nil>
}

func ExampleFamilyByName() {
	f, _ := scenes.FamilyByName("stack")
	fmt.Println(f.Predicate)
	fmt.Println("held out:", f.HeldOut, "gravity:", f.Gravity())
	// Output:
	// objects rest on each other in a tower on the ground
	// held out: false gravity: true
}
