package lpips

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relsim/checkpoints"
)

// stored reads the narrow net of a kind as tensors to write again.
func stored(t *testing.T, kind string) map[string]checkpoints.Tensor {
	t.Helper()
	f, err := checkpoints.Open(filepath.Join("testdata", kind, "model.safetensors"))
	must(t, err)
	defer f.Close()
	all := map[string]checkpoints.Tensor{}
	for _, name := range f.Names() {
		all[name], err = f.Tensor(name)
		must(t, err)
	}
	return all
}

// write writes the tensors whose names keep accepts to a safetensors file.
func write(t *testing.T, path string, all map[string]checkpoints.Tensor, keep func(name string) bool) {
	t.Helper()
	var list []checkpoints.Tensor
	for name, x := range all {
		if keep == nil || keep(name) {
			x.Name = name
			list = append(list, x)
		}
	}
	must(t, checkpoints.Write(path, list, nil))
}

func isNet(name string) bool  { return strings.HasPrefix(name, "features.") }
func isHead(name string) bool { return strings.HasPrefix(name, "lin") }

func sameWeights(t *testing.T, got, want *Net) {
	t.Helper()
	if got.Kind() != want.Kind() || len(got.weights) != len(want.weights) {
		t.Fatalf("%s with %d weights, want %s with %d", got.Kind(), len(got.weights), want.Kind(), len(want.weights))
	}
	for name, w := range want.weights {
		if g := got.weights[name]; !slices.Equal(g.shape, w.shape) || !slices.Equal(g.data, w.data) {
			t.Errorf("%s differs", name)
		}
	}
}

// TestOpenPublished opens the files that are published: torchvision's net and LPIPS's head, of PyTorch.
func TestOpenPublished(t *testing.T) {
	want, err := Open("testdata/alex/model.safetensors")
	must(t, err)
	for _, paths := range [][]string{
		{"testdata/pth"}, {"testdata/pth/alexnet-0.pth", "testdata/pth/alex.pth"}, {"testdata/pth/alex.pth", "testdata/pth/alexnet-0.pth"},
	} {
		for _, kind := range []Kind{"", Alex} {
			n, err := OpenKind(kind, paths...)
			must(t, err)
			sameWeights(t, n, want)
			if files := n.Files(); !slices.Equal(files, []string{filepath.Join("testdata", "pth", "alexnet-0.pth"), filepath.Join("testdata", "pth", "alex.pth")}) {
				t.Errorf("files %q", files)
			}
		}
	}
}

// TestOpenFolder finds each net in a folder that has all three, in six files.
func TestOpenFolder(t *testing.T) {
	dir := t.TempDir()
	for i, kind := range []string{"alex", "vgg", "squeeze"} {
		all := stored(t, kind)
		write(t, filepath.Join(dir, fmt.Sprintf("%d.safetensors", i)), all, isNet)
		write(t, filepath.Join(dir, fmt.Sprintf("%d.safetensors", 9-i)), all, isHead)
	}
	must(t, os.WriteFile(filepath.Join(dir, "readme.txt"), []byte("text"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "broken.pth"), []byte("text"), 0o600))
	for _, kind := range Kinds() {
		n, err := OpenKind(kind, dir)
		must(t, err)
		want, err := Open(filepath.Join("testdata", string(kind), "model.safetensors"))
		must(t, err)
		sameWeights(t, n, want)
	}
	_, err := Open(dir)
	if err == nil || !strings.Contains(err.Error(), "several nets with a head: alex in ") || !strings.Contains(err.Error(), "name one") {
		t.Errorf("no net named: %v", err)
	}
}

// TestOpenWhole opens a whole LPIPS model, whose tensors have other names.
func TestOpenWhole(t *testing.T) {
	slices := map[string]string{"0": "1", "3": "2", "4": "2", "6": "3", "7": "3", "9": "4", "10": "5", "11": "6", "12": "7"}
	all := map[string]checkpoints.Tensor{}
	for name, x := range stored(t, "squeeze") {
		if rest, ok := strings.CutPrefix(name, "features."); ok {
			at, _, _ := strings.Cut(rest, ".")
			all["net.slice"+slices[at]+"."+rest] = x
			continue
		}
		all[name] = x
		all[strings.Replace(name, "lin", "lins.", 1)] = x
	}
	all["scaling_layer.shift"] = checkpoints.FromFloat32("", []int{1, 3, 1, 1}, shift[:])
	path := filepath.Join(t.TempDir(), "lpips.safetensors")
	write(t, path, all, nil)
	n, err := Open(path)
	must(t, err)
	want, err := Open("testdata/squeeze/model.safetensors")
	must(t, err)
	sameWeights(t, n, want)
}

func TestOpenErrors(t *testing.T) {
	changed := func(kind string, change func(all map[string]checkpoints.Tensor)) string {
		all := stored(t, kind)
		change(all)
		path := filepath.Join(t.TempDir(), "x.safetensors")
		write(t, path, all, nil)
		return path
	}
	only := func(kind string, keep func(string) bool) string {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		write(t, path, stored(t, kind), keep)
		return path
	}
	empty := t.TempDir()
	broken := t.TempDir()
	must(t, os.WriteFile(filepath.Join(broken, "alex.pth"), []byte("text"), 0o600))
	for _, tt := range []struct {
		name  string
		kind  Kind
		paths []string
		want  []string
	}{
		{"no path", "", nil, []string{"lpips: open : no path"}},
		{"no file", "", []string{"testdata/none.pth"}, []string{"testdata/none.pth", "no such file"}},
		{"an empty folder", "", []string{empty}, []string{"no file of tensors (.safetensors, .pth, .pt, .bin) in the folder " + empty}},
		{"another kind", "resnet", []string{empty}, []string{`no net "resnet": want alex, vgg or squeeze`}},
		{"not what was asked for", VGG, []string{"testdata/alex/model.safetensors"},
			[]string{": vgg: no features of vgg", "alex in testdata/alex/model.safetensors", "a head of [8 24 48 32 32] channels"}},
		{"no head", "", []string{only("alex", isNet)},
			[]string{"the features of alex are in ", "no head for their [8 24 48 32 32] channels: want lin0.model.1.weight … lin4.model.1.weight, which are in LPIPS's weights/v0.1/alex.pth"}},
		{"no net", "", []string{only("vgg", isHead)}, []string{"no features of alex, vgg or squeeze: want features.0.weight", "found: a head of [8 16 32 64 64] channels in "}},
		{"the head of another net", "", []string{only("squeeze", isNet), only("alex", isHead)}, []string{"the features of squeeze are in ", "no head for their [16 32 64 96 96 128 128] channels", "found: a head of [8 24 48 32 32]"}},
		{"two of one kind", Alex, []string{"testdata/alex/model.safetensors", "testdata/pth"}, []string{"several nets with a head"}},
		{"only broken files", "", []string{broken}, []string{"no features", "neither a zip archive nor the older layout of PyTorch"}},
		{"a layer missing", "", []string{changed("vgg", func(all map[string]checkpoints.Tensor) { delete(all, "features.17.weight") })}, []string{"has no features.17.weight, which vgg has"}},
		{"a bias missing", "", []string{changed("alex", func(all map[string]checkpoints.Tensor) { delete(all, "features.8.bias") })}, []string{"has no features.8.bias, which alex has"}},
		{"another shape", "", []string{changed("alex", func(all map[string]checkpoints.Tensor) {
			all["features.3.weight"] = checkpoints.FromFloat32("", []int{24, 9, 5, 5}, make([]float32, 24*9*25))
		})}, []string{"features.3.weight is [24 9 5 5], want [C 8 5 5] for alex"}},
		{"a flat weight", "", []string{changed("squeeze", func(all map[string]checkpoints.Tensor) {
			all["features.3.squeeze.weight"] = checkpoints.FromFloat32("", []int{4, 16}, make([]float32, 64))
		})}, []string{"features.3.squeeze.weight is [4 16], want [C 16 1 1] for squeeze"}},
		{"no channels", "", []string{changed("alex", func(all map[string]checkpoints.Tensor) {
			all["features.0.weight"] = checkpoints.FromFloat32("", []int{0, 3, 11, 11}, nil)
		})}, []string{"features.0.weight is [0 3 11 11], want [C 3 11 11]"}},
		{"a gap in the head", "", []string{changed("alex", func(all map[string]checkpoints.Tensor) { delete(all, "lin2.model.1.weight") })}, []string{"the head has 4 layers but no lin2.model.1.weight"}},
		{"a wide head", "", []string{changed("alex", func(all map[string]checkpoints.Tensor) {
			all["lin1.model.1.weight"] = checkpoints.FromFloat32("", []int{2, 24, 1, 1}, make([]float32, 48))
		})}, []string{"lin1.model.1.weight is [2 24 1 1], want [1 C 1 1]"}},
		{"not finite", "", []string{changed("alex", func(all map[string]checkpoints.Tensor) {
			all["features.0.bias"] = checkpoints.FromFloat32("", []int{8}, []float32{0, 0, float32(math.NaN()), 0, 0, 0, 0, 0})
		})}, []string{"features.0.bias has values that are not finite"}},
		{"one tensor twice", "", []string{changed("alex", func(all map[string]checkpoints.Tensor) {
			all["module.features.0.bias"] = all["features.0.bias"]
		})}, []string{`are both features.0.bias`}},
		{"code", "", []string{"../torchfile/testdata/refused.system.pth"}, []string{`"posix.system": only tensors are read`}},
	} {
		n, err := OpenKind(tt.kind, tt.paths...)
		if err == nil || n != nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", tt.name, err, want)
			}
		}
	}
	if _, err := Open("testdata/none.pth"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
