package dataloader

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"testing"
)

func withIDs(n int, id func(i int) string) Dataset {
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{ID: id(i)}
	}
	return NewRows("named", "", items, nil)
}

// exact is the hash of a key as an exact fraction.
func exact(key string, seed uint64) *big.Rat {
	text := key
	if seed != 0 {
		text = string(binary.BigEndian.AppendUint64(nil, seed)) + key
	}
	sum := sha256.Sum256([]byte(text))
	return new(big.Rat).SetFrac(new(big.Int).SetBytes(sum[:]), new(big.Int).Lsh(big.NewInt(1), 256))
}

func TestDivide(t *testing.T) {
	ds := withIDs(4000, func(i int) string { return fmt.Sprint("picture ", i%2000) })
	train, val, test, err := Rule{Val: 0.1, Test: 0.2}.Divide(ds)
	if err != nil {
		t.Fatal(err)
	}
	side := make([]string, 4000)
	for name, list := range map[string][]int{"train": train, "val": val, "test": test} {
		if !slices.IsSorted(list) {
			t.Errorf("%s is out of order", name)
		}
		for _, i := range list {
			side[i] += name
		}
	}
	for i, got := range side {
		want := "train"
		switch f := exact(ds.Item(i).ID, 0); {
		case f.Cmp(big.NewRat(1, 10)) < 0:
			want = "val"
		case f.Cmp(big.NewRat(3, 10)) < 0:
			want = "test"
		}
		if got != want {
			t.Fatalf("item %d is in %q, want %q", i, got, want)
		}
	}
	// What is validated on is that of Split.
	_, v := Split(ds, 0.1)
	if v.Len() != len(val) {
		t.Fatalf("%d and %d items", v.Len(), len(val))
	}
	for k, i := range val {
		if v.Item(k).ID != ds.Item(i).ID {
			t.Fatalf("item %d: %s and %s", k, v.Item(k).ID, ds.Item(i).ID)
		}
	}
	_, other, _, err := Rule{Val: 0.1, Seed: 5}.Divide(ds)
	if err != nil || slices.Equal(other, val) {
		t.Errorf("another seed, and the same division: %v", err)
	}
	for _, i := range other {
		if exact(ds.Item(i).ID, 5).Cmp(big.NewRat(1, 10)) >= 0 {
			t.Fatalf("seed 5: item %d is in val", i)
		}
	}
}

// What shares a key stays together, over others too, by the hash of the least key; more rows move none.
func TestDivideTogether(t *testing.T) {
	const n = 3000
	ds := withIDs(n, func(i int) string { return fmt.Sprint("id", i) })
	keys := func(i int) []string {
		switch i % 10 {
		case 8:
			return nil
		case 9: // it joins two
			return []string{fmt.Sprint("g", i/10*2), fmt.Sprint("g", i/10*2+1)}
		}
		return []string{fmt.Sprint("g", i/5)}
	}
	rule := Rule{Val: 0.3, Test: 0.1, Keys: keys}
	sides := func(ds Dataset, r Rule) []int {
		t.Helper()
		train, val, test, err := r.Divide(ds)
		if err != nil {
			t.Fatal(err)
		}
		side := make([]int, ds.Len())
		for k, list := range [][]int{train, val, test} {
			for _, i := range list {
				side[i] = k + 1
			}
		}
		return side
	}
	got := sides(ds, rule)
	for i, side := range got {
		key := fmt.Sprint("g", i/10*2)
		if other := fmt.Sprint("g", i/10*2+1); other < key {
			key = other
		}
		if i%10 == 8 {
			key = ds.Item(i).ID
		}
		want := 1
		switch f := exact(key, 0); {
		case f.Cmp(big.NewRat(3, 10)) < 0:
			want = 2
		case f.Cmp(big.NewRat(4, 10)) < 0:
			want = 3
		}
		if side != want {
			t.Fatalf("item %d of %s is in part %d, want %d", i, key, side, want)
		}
	}
	if fewer := sides(Subset(ds, "fewer", seq(n/2)), rule); !slices.Equal(fewer, got[:n/2]) {
		t.Error("more rows moved others")
	}
	// Alike items, and rows of one picture.
	rule = Rule{Val: 0.5, Alike: func(same func(i, k int)) {
		for i := 2; i < n; i += 2 {
			same(i-2, i)
		}
	}}
	got = sides(ds, rule)
	for i := 2; i < n; i += 2 {
		if got[i] != got[0] {
			t.Fatalf("item %d is in part %d, item 0 in %d", i, got[i], got[0])
		}
	}
	got = sides(withIDs(n, func(i int) string { return fmt.Sprint(i % 100) }), Rule{Val: 0.5, Keys: func(i int) []string { return []string{fmt.Sprint("g", i)} }})
	for i := 100; i < n; i++ {
		if got[i] != got[i%100] {
			t.Fatalf("row %d is in part %d, another of the same picture in %d", i, got[i], got[i%100])
		}
	}
	for _, r := range []Rule{{Val: -1}, {Val: 0.6, Test: 0.6}, {Test: 2}} {
		if _, _, _, err := r.Divide(ds); err == nil {
			t.Errorf("%+v: no error", r)
		}
	}
}
