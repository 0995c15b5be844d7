package scenes

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMoveIntoKeepsTheOldOutput lets renames fail at each point: the earlier output must survive, in its place or where
// the error says.
func TestMoveIntoKeepsTheOldOutput(t *testing.T) {
	defer func() { rename = os.Rename }()
	for failing := range 4 {
		root := t.TempDir()
		from, dir := filepath.Join(root, "new"), filepath.Join(root, "out")
		for _, folder := range []string{from, dir} {
			if err := os.Mkdir(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, "file"), []byte(filepath.Base(folder)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		calls := 0
		rename = func(a, b string) error {
			calls++
			// The first call fails by itself: dir is not empty. The next fail from the given one on.
			if failing > 0 && calls > failing {
				return errors.New("no more renames")
			}
			return os.Rename(a, b)
		}
		err := moveInto(from, dir)
		if (err == nil) != (failing == 0 || failing == 3) {
			t.Errorf("renames fail after %d: error %v", failing, err)
		}
		text, readErr := os.ReadFile(filepath.Join(dir, "file"))
		switch {
		case err == nil:
			if string(text) != "new" {
				t.Errorf("renames fail after %d: %q in place (%v), want the new output", failing, text, readErr)
			}
		case readErr == nil:
			if string(text) != "out" {
				t.Errorf("renames fail after %d: %q in place, want the earlier output", failing, text)
			}
		default:
			kept, _ := filepath.Glob(filepath.Join(root, ".out.old-*", "out", "file"))
			if len(kept) != 1 || !strings.Contains(err.Error(), filepath.Dir(kept[0])) {
				t.Errorf("renames fail after %d: the earlier output is in %v, the error says %v", failing, kept, err)
			}
		}
	}
}
