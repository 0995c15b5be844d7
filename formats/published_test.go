package formats

import (
	"os"
	"path/filepath"
	"testing"
)

// The published lists of relsim load, with as many groups and addresses as are in them.
func TestPublishedLists(t *testing.T) {
	dir := os.Getenv("RELSIM_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skip("NOT RUN: the published lists of relsim are missing: neither RELSIM_DATA nor ../shared/data beside the repository has them")
	}
	for _, tt := range []struct {
		name                            string
		rows, groups, smallest, largest int
		captions                        bool
	}{
		{"seed_group.json", 1529, 532, 2, 19, true},
		{"random_images_1000.jsonl", 1000, 1, 1000, 1000, false},
	} {
		ds, err := Open(t.Context(), filepath.Join(dir, tt.name), Options{Images: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		sizes := make(map[string]int)
		for i := range ds.Len() {
			it := ds.Item(i)
			sizes[it.Group]++
			if it.URL == "" || it.ID == "" || (it.Caption != "") != tt.captions || len(it.Caption) > 0 && it.Caption[0] == '"' {
				t.Fatalf("%s: %+v", it.Row(), it)
			}
		}
		smallest, largest := ds.Len(), 0
		for _, n := range sizes {
			smallest, largest = min(smallest, n), max(largest, n)
		}
		if ds.Len() != tt.rows || len(sizes) != tt.groups || smallest != tt.smallest || largest != tt.largest {
			t.Errorf("%s: %d rows, %d groups of %d to %d", tt.name, ds.Len(), len(sizes), smallest, largest)
		}
	}
}
