package dataloader

import (
	"fmt"
	"strings"
	"testing"
)

func TestRequireCaptions(t *testing.T) {
	var items []Item
	for i, literal := range []string{"y", "", ""} {
		items = append(items, Item{ID: "abc"[i : i+1], Caption: "xx "[i : i+1], Literal: literal, File: "rows.jsonl", Line: i + 1})
	}
	items[2].Caption = ""
	ds := NewRows("rows", "", items, nil)
	if err := RequireCaptions(ds, false); err == nil || err.Error() != `dataloader: rows.jsonl:3: missing "caption", which training needs` {
		t.Error(err)
	}
	if err := RequireCaptions(ds, true); err == nil || err.Error() != `dataloader: rows.jsonl:2: missing "literal_caption", which training needs` {
		t.Error(err)
	}
	if err := RequireCaptions(Subset(ds, "part", []int{0, 1}), false); err != nil {
		t.Error(err)
	}
	m := NewMemory("m", []Item{{ID: "q"}}, []*Image{noise(1, 1, 1)})
	if err := RequireCaptions(m, false); err == nil || !strings.Contains(err.Error(), "item 0 (q)") {
		t.Error(err)
	}
}

func TestSplit(t *testing.T) {
	var items []Item
	var images []*Image
	for i := range 4000 {
		items = append(items, Item{ID: fmt.Sprint("picture ", i%2000)})
		images = append(images, noise(1, 1, uint64(i)))
	}
	ds := NewMemory("m", items, images)
	train, val := Split(ds, 0.1)
	if train.Len()+val.Len() != 4000 || val.Len() < 320 || val.Len() > 480 {
		t.Errorf("%d and %d items", train.Len(), val.Len())
	}
	in := make(map[string]bool)
	for i := range val.Len() {
		in[val.Item(i).ID] = true
	}
	for i := range train.Len() {
		if in[train.Item(i).ID] {
			t.Fatalf("%s is on both sides", train.Item(i).ID)
		}
	}
	// A larger share keeps what is there, and more rows move none.
	_, more := Split(ds, 0.2)
	_, fewer := Split(Subset(ds, "half", seq(2000)), 0.1)
	count := 0
	for i := range more.Len() {
		if in[more.Item(i).ID] {
			count++
		}
	}
	if count != val.Len() || fewer.Len() != val.Len()/2 {
		t.Errorf("%d of %d kept; %d of half the set", count, val.Len(), fewer.Len())
	}
	if train, val := Split(ds, 0); train.Len() != 4000 || val.Len() != 0 {
		t.Errorf("share 0: %d and %d", train.Len(), val.Len())
	}
	if train, val := Split(ds, 1); train.Len() != 0 || val.Len() != 4000 {
		t.Errorf("share 1: %d and %d", train.Len(), val.Len())
	}
	if train.Fingerprint() == ds.Fingerprint() || train.Fingerprint() == val.Fingerprint() {
		t.Error("fingerprints do not differ")
	}
	again, _ := Split(ds, 0.1)
	if again.Fingerprint() != train.Fingerprint() {
		t.Error("the fingerprint is not the same again")
	}
}

func seq(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func TestFingerprintOfMemory(t *testing.T) {
	of := func(caption string, seed uint64) string {
		return NewMemory("m", []Item{{ID: "a", Caption: caption}}, []*Image{noise(2, 2, seed)}).Fingerprint()
	}
	first, again, other, pixels := of("a", 1), of("a", 1), of("b", 1), of("a", 2)
	if first != again || first == other || first == pixels {
		t.Error("the fingerprint does not tell sets apart")
	}
}
