package relsim_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers lists the packages from the top down. A package imports only packages
// printed below it; ARCHITECTURE.md explains each.
var layers = []string{
	"cmd/train", "cmd/eval", "cmd/score", "cmd/export", "cmd/data", "cmd/view", "cmd/bench",
	"command/script", "command",
	"viewer",
	"viewer/browsertest",
	"report",
	"study",
	"training",
	"judge/endpoint",
	"judge",
	"judge/judgetest",
	"retrieval",
	"baseline",
	"lpips",
	"embeddings",
	"optim",
	"loss",
	"hub",
	"hub/hubtest",
	"inspection",
	"download",
	"download/downloadtest",
	"pretrained",
	"nn",
	"graph",
	"cuda",
	"cuda/fake",
	"torchfile",
	"checkpoints",
	"formats",
	"phash",
	"dataloader",
	"parquetfile",
	"jpeg",
	"kernel",
	"scenes",
	"tokenizer",
	"metrics",
	"regular",
	"dynlib",
	"bench",
}

// alone are imports that one package has, because they weigh: whoever links OpenAI's client is larger by 7 MB.
var alone = map[string]string{"github.com/openai/openai-go/v3": "judge/endpoint", "relsim/judge/endpoint": "cmd/eval"}

// TestLayers reads the import lines of every Go file. It parses them itself:
// the result of a test that runs `go list` is cached and misses new imports.
func TestLayers(t *testing.T) {
	rank := make(map[string]int, len(layers))
	for i, name := range layers {
		if _, ok := rank[name]; ok {
			t.Fatalf("%s is listed twice", name)
		}
		rank[name] = i
	}
	seen := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			name := entry.Name()
			if path != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "runs") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || filepath.Dir(path) == "." {
			return nil
		}
		from := filepath.ToSlash(filepath.Dir(path))
		above, ok := rank[from]
		if !ok {
			t.Errorf("%s: package %s has no place in the layers of deps_test.go", path, from)
			return nil
		}
		seen[from] = true
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if target == "C" {
				t.Errorf("%s imports C: everything builds without cgo", path)
			}
			for heavy, importer := range alone {
				if (target == heavy || strings.HasPrefix(target, heavy+"/")) && from != importer && from != strings.TrimPrefix(heavy, "relsim/") {
					t.Errorf("%s imports %s, which only %s does", path, target, importer)
				}
			}
			to, ok := strings.CutPrefix(target, "relsim/")
			if !ok || to == from {
				continue
			}
			below, ok := rank[to]
			if !ok {
				t.Errorf("%s imports %s, which has no place in the layers", path, to)
			} else if below <= above {
				t.Errorf("%s: %s may not import %s, which is printed above it", path, from, to)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range layers {
		if !seen[name] {
			t.Errorf("%s is in the layers, but has no Go file", name)
		}
	}
}

// TestArchitecturePage holds the page against the list: every layer is
// described, in the same order.
func TestArchitecturePage(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "```text\n")
	if !ok {
		t.Fatal("ARCHITECTURE.md has no layout block (```text)")
	}
	block, _, _ = strings.Cut(block, "```")
	var described []string
	for line := range strings.Lines(block) {
		if name, _, ok := strings.Cut(strings.TrimRight(line, "\n"), "/ "); ok && !strings.HasPrefix(name, " ") {
			described = append(described, name)
		}
	}
	if !slices.Equal(described, layers) {
		t.Errorf("ARCHITECTURE.md lists %v, deps_test.go %v", described, layers)
	}
}
