package dataloader

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// shards is a set of n pictures in groups of size.
func shards(n, size int) Dataset {
	ds := numbered(n).(*memory)
	groups := make([]int32, n)
	for i := range groups {
		groups[i] = int32(i / size)
	}
	return grouped{ds, groups}
}

type grouped struct {
	Dataset
	groups []int32
}

func (g grouped) Groups() []int32 { return g.groups }

// orderOf is the order of an epoch.
func orderOf(t testing.TB, ds Dataset, c Config, epoch int) []int {
	t.Helper()
	l := newLoader(t, ds, c)
	order := make([]int32, l.plan.own())
	l.plan.fill(order, epoch)
	list := make([]int, len(order))
	for i, item := range order {
		list[i] = int(item)
	}
	return list
}

func sorted(list []int) []int { return slices.Sorted(slices.Values(list)) }

func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// With a buffer, an epoch has every item once, in an order that is a pure function of (seed, epoch); at any time only
// few shards are open; and each shard comes at any place.
func TestShuffleBuffer(t *testing.T) {
	const n, size, buffer = 600, 20, 40
	ds := shards(n, size)
	c := Config{Batch: 8, Seed: 3, Shuffle: buffer}
	first := orderOf(t, ds, c, 0)
	if !slices.Equal(sorted(first), upTo(n)) {
		t.Fatalf("an epoch of %d items, not each once", len(first))
	}
	if !slices.Equal(first, orderOf(t, ds, c, 0)) || slices.Equal(first, orderOf(t, ds, c, 1)) {
		t.Error("the order is no function of the epoch, or the same in each")
	}
	if other := c; slices.Equal(first, func() []int { other.Seed++; return orderOf(t, ds, other, 0) }()) {
		t.Error("the order is the same with another seed")
	}
	// An item leaves the buffer at most when the stream has come to buffer items behind it: an item at place p of the
	// order was among the first p+buffer of the stream, which are (p+buffer)/size shards.
	var opened []int
	for p, item := range first {
		if !slices.Contains(opened, item/size) {
			opened = append(opened, item/size)
		}
		if most := (p+buffer)/size + 1; len(opened) > most {
			t.Fatalf("at place %d, %d shards have been read, want at most %d", p, len(opened), most)
		}
	}
	moved := 0
	for p, item := range first[1:] {
		if item != first[p]+1 {
			moved++
		}
	}
	if moved < n/2 {
		t.Errorf("only %d of %d items do not follow on the one before", moved, n)
	}
	var places [n / size]float64 // mean place of the first shard's items, over epochs
	const epochs = 200
	for epoch := range epochs {
		for p, item := range orderOf(t, ds, c, epoch) {
			places[item/size] += float64(p) / size / epochs
		}
	}
	for shard, mean := range places { // the mean of a shard's place is uniform: sd n/√12, over 200 epochs 12
		if math.Abs(mean-n/2) > 62 {
			t.Errorf("shard %d comes at place %.0f on average, want about %d", shard, mean, n/2)
		}
	}
}

// A buffer of one leaves the shards as they are; without groups, and with none asked for, nothing changes.
func TestShuffleBufferEnds(t *testing.T) {
	const n, size = 60, 10
	order := orderOf(t, shards(n, size), Config{Batch: 8, Shuffle: 1}, 0)
	for i, item := range order {
		if i%size > 0 && item != order[i-1]+1 {
			t.Fatalf("a buffer of one changes the order inside of a shard: %v", order)
		}
	}
	whole := orderOf(t, numbered(n), Config{Batch: 8, Seed: 9}, 2)
	for name, ds := range map[string]Dataset{"groups without a buffer": shards(n, size), "a buffer without groups": numbered(n)} {
		c := Config{Batch: 8, Seed: 9}
		if name == "a buffer without groups" {
			c.Shuffle = 16
		}
		if !slices.Equal(orderOf(t, ds, c, 2), whole) {
			t.Errorf("%s: another order than the whole permutation", name)
		}
	}
	if order := orderOf(t, shards(n, size), Config{Batch: 8, Shuffle: 1000}, 0); !slices.Equal(sorted(order), upTo(n)) {
		t.Error("a buffer of more than there are: not each item once")
	}
}

// In a window that the buffer holds, items leave in any order: over many epochs each is as often before as behind another.
func TestBufferIsFair(t *testing.T) {
	ds := shards(8, 8)
	var count [8][8]int
	const epochs = 16000
	l := newLoader(t, ds, Config{Batch: 1, Shuffle: 8, Seed: 1})
	order := make([]int32, 8)
	for epoch := range epochs {
		l.plan.fill(order, epoch)
		for place, item := range order {
			count[item][place]++
		}
	}
	for item := range count {
		for place, c := range count[item] {
			if c < 1800 || c > 2200 { // 2000 ± 4.7 σ
				t.Errorf("item %d comes %d times at place %d, want about 2000", item, c, place)
			}
		}
	}
}

// Ranks see every item once between them, each its own part of every batch: together they have the batches of one
// process that takes them whole.
func TestRanks(t *testing.T) {
	const n, ranks, batch = 103, 3, 4 // 8 batches of 12, 7 items left
	for _, ds := range []Dataset{numbered(n), shards(n, 10)} {
		c := Config{Batch: batch, Seed: 5, Shuffle: 16}
		whole := c
		whole.Batch *= ranks
		want := take(t, newLoader(t, ds, whole), 20)
		var parts [ranks][]Batch
		for r := range ranks {
			c.Rank, c.Ranks = r, ranks
			l := newLoader(t, ds, c)
			if l.Steps() != 8 {
				t.Errorf("%d steps, want 8", l.Steps())
			}
			parts[r] = take(t, l, 20)
		}
		for s, b := range want {
			var got []int
			var images []float32
			for r := range ranks {
				got = append(got, parts[r][s].Index...)
				images = append(images, parts[r][s].Images...)
				if parts[r][s].Epoch != b.Epoch {
					t.Fatalf("step %d: rank %d is in epoch %d, want %d", s, r, parts[r][s].Epoch, b.Epoch)
				}
			}
			if !slices.Equal(got, b.Index) || !slices.Equal(images, b.Images) {
				t.Fatalf("step %d: the ranks have %v, want %v", s, got, b.Index)
			}
		}
	}
}

// Items that are left take the places of broken pictures, on each rank its own, and no item comes twice.
func TestRanksWithBroken(t *testing.T) {
	const n, ranks, batch = 103, 3, 4
	order := orderOf(t, numbered(n), Config{Batch: batch * ranks, Seed: 5}, 0)
	ds := &faulty{Dataset: numbered(n), broken: map[int]string{order[1]: "x", order[batch+2]: "x", order[2*batch*ranks]: "x"}}
	seen := make(map[int]bool)
	for r := range ranks {
		l := newLoader(t, ds, Config{Batch: batch, Seed: 5, Rank: r, Ranks: ranks, MaxBroken: 1})
		for s, b := range take(t, l, 8) {
			if b.Epoch != 0 {
				t.Fatalf("rank %d: batch %d is of epoch %d", r, s, b.Epoch)
			}
			for _, i := range b.Index {
				if seen[i] || ds.broken[i] != "" {
					t.Errorf("rank %d: item %d comes twice, or is broken", r, i)
				}
				seen[i] = true
			}
		}
	}
	if len(seen) != 8*ranks*batch {
		t.Errorf("%d items, want %d", len(seen), 8*ranks*batch)
	}
}

// A loader that is stopped inside of a shard goes on there, bit for bit, from a state that went through JSON.
func TestResumeInsideAShard(t *testing.T) {
	ds := captioned(shards(90, 15))
	for _, c := range []Config{
		{Batch: 4, Workers: 3, Seed: 8, Shuffle: 12},
		{Batch: 4, Workers: 2, Seed: 8, Shuffle: 12, Rank: 1, Ranks: 2},
	} {
		want := take(t, newLoader(t, ds, c), 40)
		for _, stop := range []int{1, 2, 7, 21, 30} {
			l := newLoader(t, ds, c)
			take(t, l, stop)
			text, err := json.Marshal(l.State())
			if err != nil {
				t.Fatal(err)
			}
			var state State
			if err := json.Unmarshal(text, &state); err != nil {
				t.Fatal(err)
			}
			again := newLoader(t, ds, c)
			if err := again.Restore(state); err != nil {
				t.Fatal(err)
			}
			if got := take(t, again, 40-stop); !reflect.DeepEqual(got, want[stop:]) {
				t.Errorf("%+v: another way after batch %d", c, stop)
			}
		}
	}
}

func TestRestoreRefusesOtherOrders(t *testing.T) {
	ds := shards(90, 15)
	base := Config{Batch: 4, Seed: 8, Shuffle: 12, Rank: 1, Ranks: 2}
	state := newLoader(t, ds, base).State()
	for want, change := range map[string]func(c *Config){
		"belongs to a shuffle buffer of 12, not 0":                                   func(c *Config) { c.Shuffle = 0 },
		"belongs to rank 1 of 2 with a batch of 4, not to rank 0 of 2 with one of 4": func(c *Config) { c.Rank = 0 },
		"belongs to rank 1 of 2 with a batch of 4, not to rank 1 of 3 with one of 4": func(c *Config) { c.Ranks = 3 },
		"belongs to rank 1 of 2 with a batch of 4, not to rank 1 of 2 with one of 5": func(c *Config) { c.Batch = 5 },
		"belongs to rank 1 of 2 with a batch of 4, not to rank 0 of 1 with one of 4": func(c *Config) { c.Rank, c.Ranks = 0, 0 },
	} {
		c := base
		change(&c)
		if err := newLoader(t, ds, c).Restore(state); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	for want, c := range map[string]Config{
		"a shuffle buffer of -1": {Batch: 4, Shuffle: -1},
		"rank 2 of 2":            {Batch: 4, Rank: 2, Ranks: 2},
		"rank -1 of 2":           {Batch: 4, Rank: -1, Ranks: 2},
		"rank 0 of -1":           {Batch: 4, Ranks: -1},
		"has 90 pictures, fewer than a batch of 100": {Batch: 10, Ranks: 10},
		"rank 0 of 9223372036854775807":              {Batch: 4, Ranks: math.MaxInt},
	} {
		c.Transform = small
		if _, err := New(ds, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	// The state of a loader with none of it is as it always was.
	text, err := json.Marshal(newLoader(t, ds, Config{Batch: 4, Ranks: 1}).State())
	if err != nil || strings.Contains(string(text), "shuffle") || strings.Contains(string(text), "rank") || strings.Contains(string(text), "batch") {
		t.Errorf("state %s, %v", text, err)
	}
}

// captioned gives items several captions: item i has i%4.
func captioned(ds Dataset) Dataset { return withCaptions{ds} }

type withCaptions struct{ Dataset }

func (w withCaptions) Unwrap() Dataset { return w.Dataset }

func (w withCaptions) Item(i int) Item {
	it := w.Dataset.Item(i)
	for k := range i % 4 {
		it.Captions = append(it.Captions, fmt.Sprint("caption ", i, " ", k))
	}
	if len(it.Captions) > 0 {
		it.Caption = it.Captions[0]
	}
	return it
}

// A caption is drawn by (seed, epoch, index) alone, each as often as another; one that is alone stays.
func TestDrawnCaptions(t *testing.T) {
	ds := captioned(numbered(40))
	of := func(c Config, epochs int) map[string]string {
		captions := make(map[string]string)
		for _, b := range take(t, newLoader(t, ds, c), epochs*40/c.Batch) {
			for k, i := range b.Index {
				captions[fmt.Sprint(b.Epoch, " ", i)] = b.Items[k].Caption
				if !slices.Equal(b.Items[k].Captions, ds.Item(i).Captions) {
					t.Fatalf("item %d has other captions in a batch", i)
				}
				if i%4 < 2 && b.Items[k].Caption != ds.Item(i).Caption {
					t.Fatalf("item %d: caption %q, and it has only one", i, b.Items[k].Caption)
				}
			}
		}
		return captions
	}
	want := of(Config{Batch: 4, Seed: 2}, 90)
	if !maps.Equal(want, of(Config{Batch: 20, Workers: 3, Seed: 2}, 90)) {
		t.Error("captions depend on the batch or the workers")
	}
	if maps.Equal(want, of(Config{Batch: 4, Seed: 3}, 90)) {
		t.Error("captions do not depend on the seed")
	}
	count := make(map[string]int)
	for key, caption := range want {
		var epoch, i int
		fmt.Sscan(key, &epoch, &i)
		if i%4 == 3 {
			count[caption[len(caption)-1:]]++
		}
	}
	for k := range 3 { // 900 draws: 300, σ 14
		if c := count[fmt.Sprint(k)]; c < 230 || c > 370 {
			t.Errorf("caption %d of three is drawn %d times of 900", k, c)
		}
	}
}

func mustMix(t testing.TB, sets []Dataset, weights []float64) Dataset {
	t.Helper()
	ds, err := Mix(sets, weights)
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// named is numbered with IDs of its own.
func named(n int, prefix string) Dataset {
	items, images := make([]Item, n), make([]*Image, n)
	for i := range n {
		items[i] = Item{ID: fmt.Sprint(prefix, i), Caption: "c"}
		images[i] = noise(8, 8, uint64(i)+uint64(prefix[0])<<32)
	}
	return NewMemory(prefix, items, images)
}

// A set's weight is how often each of its rows counts in an epoch; fractions take turns.
func TestMix(t *testing.T) {
	a, b, c := named(30, "a"), named(20, "b"), named(10, "c")
	ds := mustMix(t, []Dataset{a, b, c}, []float64{1, 0.3, 2.5})
	if ds.Len() != 60 || ds.Name() != "a + 0.3 × b + 2.5 × c" || ds.Item(49).ID != "b19" || ds.Item(50).ID != "c0" {
		t.Fatalf("%s: %d items, %+v, %+v", ds.Name(), ds.Len(), ds.Item(49), ds.Item(50))
	}
	total := make([]int, 60)
	const epochs = 40
	for epoch := range epochs {
		order := orderOf(t, ds, Config{Batch: 4, Seed: 6}, epoch)
		if len(order) != 30+6+25 {
			t.Fatalf("%d items in an epoch, want 61", len(order))
		}
		count := make([]int, 60)
		for _, i := range order {
			count[i]++
			total[i]++
		}
		for i, n := range count {
			if lo, hi := [...]int{1, 0, 2}[set(i)], [...]int{1, 1, 3}[set(i)]; n < lo || n > hi {
				t.Fatalf("epoch %d: item %d comes %d times, want %d to %d", epoch, i, n, lo, hi)
			}
		}
		for i, n := range total { // they take turns
			if exact := [...]float64{1, 0.3, 2.5}[set(i)] * float64(epoch+1); math.Abs(float64(n)-exact) >= 1 {
				t.Fatalf("after %d epochs item %d has come %d times, want about %v", epoch+1, i, n, exact)
			}
		}
	}
	if slices.Equal(orderOf(t, ds, Config{Batch: 4, Seed: 6}, 0), orderOf(t, ds, Config{Batch: 4, Seed: 7}, 0)) {
		t.Error("the order does not depend on the seed")
	}
	// One set of weight 1 has the order that it has alone.
	alone := mustMix(t, []Dataset{a}, []float64{1})
	for epoch := range 3 {
		if !slices.Equal(orderOf(t, alone, Config{Batch: 4, Seed: 6}, epoch), orderOf(t, a, Config{Batch: 4, Seed: 6}, epoch)) {
			t.Error("a set mixed with none has another order than alone")
		}
	}
	for want, bad := range map[string][]float64{"3 data sets with 2 weights": {1, 2}, "weight 0 of a": {0, 1, 1}, "weight NaN": {1, math.NaN(), 1}, "weight 1001": {1, 1, 1001}} {
		if _, err := Mix([]Dataset{a, b, c}, bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func set(i int) int {
	switch {
	case i < 30:
		return 0
	case i < 50:
		return 1
	}
	return 2
}

// Weights, pictures, files and groups go through whatever is made of a mixture.
func TestMixGoesThrough(t *testing.T) {
	ctx := context.Background()
	a, b := named(40, "a"), shards(20, 5)
	ds := mustMix(t, []Dataset{a, b}, []float64{0.5, 2})
	if other := mustMix(t, []Dataset{a, b}, []float64{0.5, 3}); other.Fingerprint() == ds.Fingerprint() {
		t.Error("the fingerprint does not depend on the weights")
	}
	train, val := Split(ds, 0.25)
	count := func(ds Dataset) (fromA, fromB int) {
		for i := range ds.Len() {
			if strings.HasPrefix(ds.Item(i).ID, "a") {
				fromA++
			} else {
				fromB++
			}
		}
		return fromA, fromB
	}
	fromA, fromB := count(train)
	if trainVal, _ := count(val); trainVal+fromA != 40 {
		t.Errorf("%d and %d of 40 rows", fromA, trainVal)
	}
	want := int(math.Round(0.5*float64(fromA))) + 2*fromB
	for name, view := range map[string]Dataset{
		"split": train, "squared": small.Square(train), "cached": WithCache(train, nil), "view": withCaptions{train},
		"mixed again": mustMix(t, []Dataset{train}, []float64{1}),
	} {
		if got := orderOf(t, view, Config{Batch: 4, Seed: 1}, 3); len(got) != want {
			t.Errorf("%s: %d items in an epoch, want %d", name, len(got), want)
		}
	}
	if got := orderOf(t, mustMix(t, []Dataset{train}, []float64{2}), Config{Batch: 4}, 0); len(got) != fromA+4*fromB {
		t.Errorf("%d items in an epoch of a mixture of a mixture, want %d", len(got), fromA+4*fromB)
	}
	for _, i := range []int{0, 39, 40, 59} {
		it := ds.Item(i)
		im, err := ds.Image(ctx, i)
		if err != nil {
			t.Fatal(err)
		}
		from, k := a, i
		if i >= 40 {
			from, k = b, i-40
		}
		direct, err := from.Image(ctx, k)
		if err != nil || !reflect.DeepEqual(im, direct) || it.ID != from.Item(k).ID {
			t.Errorf("item %d has another picture (%v)", i, err)
		}
		square, err := small.Image(ctx, ds, i)
		if err != nil || !slices.Equal(square.Pix, direct.Pix) {
			t.Errorf("item %d has another square (%v)", i, err)
		}
		data, err := Bytes(ctx, ds, i)
		if err != nil {
			t.Fatal(err)
		}
		if whole, err := Decode(data, DefaultLimits); err != nil || !slices.Equal(whole.Pix, direct.Pix) {
			t.Errorf("item %d has another file (%v)", i, err)
		}
	}
	// Shards of the second set stay together, and a repeated row does not come twice within one.
	order := orderOf(t, ds, Config{Batch: 4, Seed: 2, Shuffle: 1}, 0)
	runs := 0
	for p, i := range order {
		if i >= 40 && (p == 0 || order[p-1] != i-1 || i%5 == 0) {
			runs++
		}
	}
	if runs > 8+2 || len(order) != 20+40 { // 4 shards twice; two may meet
		t.Errorf("%d items, the shards in %d runs, want 8: %v", len(order), runs, order)
	}
}

// A broken picture of a set that counts twice is passed by both times, and the loader ends with an epoch as it should.
func TestMixWithBroken(t *testing.T) {
	ds := &faulty{Dataset: named(10, "a"), broken: map[int]string{3: "x", 4: "x"}}
	l := newLoader(t, mustMix(t, []Dataset{ds}, []float64{2}), Config{Batch: 8, Seed: 1, MaxBroken: 1})
	for _, b := range take(t, l, 6) { // 16 good ones: two batches
		for _, i := range b.Index {
			if i == 3 || i == 4 {
				t.Errorf("broken item %d in a batch", i)
			}
		}
		if b.Epoch != b.Step/2 {
			t.Errorf("batch %d is of epoch %d", b.Step, b.Epoch)
		}
	}
}

func TestNewShards(t *testing.T) {
	items := []Item{{ID: "a"}, {ID: "b"}}
	ds := NewShards("x", "f", items, []int32{4, 7}, []string{"1 link passed by"}, nil)
	if got := groupsOf(Subset(ds, "s", []int{1})); !slices.Equal(got, []int32{7}) {
		t.Errorf("groups %v", got)
	}
	mix := mustMix(t, []Dataset{Subset(ds, "s", []int{1}), ds}, []float64{1, 2})
	if got := Notes(small.Square(withCaptions{mix})); !slices.Equal(got, []string{"1 link passed by", "1 link passed by"}) {
		t.Errorf("notes %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic over groups that are too few")
		}
	}()
	NewShards("x", "f", items, nil, nil, nil)
}
