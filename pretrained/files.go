package pretrained

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"relsim/checkpoints"
)

// The files that weights are in: one, or shards and their index.
const (
	weightsFile = "model.safetensors"
	indexFile   = "model.safetensors.index.json"
)

// files are the headers of the files with the weights.
type files struct {
	paths []string // links followed
	shown []string // in messages
	index map[string]stored
}

// stored is a tensor of the files.
type stored struct {
	file int
	name string // in the file
	info checkpoints.Info
}

// openFiles reads the headers of the weights of a folder.
func openFiles(f folder, kind family) (*files, error) {
	fs := &files{index: map[string]stored{}}
	switch {
	case f.has(weightsFile):
		return fs, fs.add(f, weightsFile, kind, nil)
	case f.has(indexFile):
		return fs, fs.addShards(f, kind)
	}
	return nil, fmt.Errorf("neither %s nor %s is there: want weights as safetensors", weightsFile, indexFile)
}

// addShards reads the index and the headers of all shards. Both must name the same
// tensors.
func (fs *files) addShards(f folder, kind family) error {
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := f.json(indexFile, maxIndex, &index); err != nil {
		return err
	}
	shards := slices.Compact(slices.Sorted(maps.Values(index.Map)))
	switch {
	case len(shards) == 0:
		return fmt.Errorf("%s: weight_map is empty", indexFile)
	case len(shards) > maxShards:
		return fmt.Errorf("%s: %d shards, at most %d are allowed", indexFile, len(shards), maxShards)
	}
	for _, shard := range shards {
		if !plain(shard) || !strings.HasSuffix(shard, ".safetensors") {
			return fmt.Errorf("%s: shard %q: want the plain name of a .safetensors file", indexFile, shard)
		}
		if err := fs.add(f, shard, kind, index.Map); err != nil {
			return err
		}
	}
	there := make(map[string]bool, len(fs.index))
	for _, s := range fs.index {
		there[s.name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(index.Map)) {
		if !there[name] {
			return fmt.Errorf("%s: tensor %q is not in %s", indexFile, name, index.Map[name])
		}
	}
	return nil
}

// add reads the header of one file. Without an index, where is nil.
func (fs *files) add(f folder, name string, kind family, where map[string]string) error {
	path, err := f.path(name)
	if err != nil {
		return err
	}
	file, err := checkpoints.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer file.Close()
	number := len(fs.paths)
	fs.paths, fs.shown = append(fs.paths, path), append(fs.shown, filepath.Join(f.dir, name))
	for _, n := range file.Names() {
		if where != nil && where[n] != name {
			return fmt.Errorf("%s: tensor %q: %s says that it is in %q", name, n, indexFile, where[n])
		}
		known := n
		if kind.prefix != "" {
			known = strings.TrimPrefix(n, kind.prefix)
		}
		if kind.rename != nil {
			known = kind.rename(known)
		}
		if before, ok := fs.index[known]; ok {
			return fmt.Errorf("%s: tensor %q is there twice: %q is the same", name, n, before.name)
		}
		info, _ := file.Info(n)
		fs.index[known] = stored{number, n, info}
	}
	return nil
}

func (fs *files) has(name string) bool {
	_, ok := fs.index[name]
	return ok
}

// shape returns the shape of a tensor, which must have so many dimensions.
func (fs *files) shape(name string, dims int) ([]int, error) {
	s, ok := fs.index[name]
	if !ok {
		return nil, fmt.Errorf("tensor %s is missing", name)
	}
	if len(s.info.Shape) != dims {
		return nil, fmt.Errorf("tensor %s: %v, want %d dimensions", name, s.info.Shape, dims)
	}
	return s.info.Shape, nil
}

// scalar reads a tensor of one value.
func (fs *files) scalar(name string) (float64, error) {
	s, ok := fs.index[name]
	if !ok {
		return 0, fmt.Errorf("tensor %s is missing", name)
	}
	var value [1]float32
	if !isFloat(s.info.DType) || !slices.Equal(s.info.Shape, []int{}) && !slices.Equal(s.info.Shape, []int{1}) {
		return 0, fmt.Errorf("tensor %s: %v of %s, want one floating-point number", name, s.info.Shape, s.info.DType)
	}
	file, err := fs.open(s.file)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if err := file.ReadFloat32(s.name, value[:], 0); err != nil {
		return 0, err
	}
	if v := float64(value[0]); v-v == 0 {
		return v, nil
	}
	return 0, fmt.Errorf("tensor %s is %v, want a number", name, value[0])
}

// open opens a file again. What its header says must be what it said before.
func (fs *files) open(number int) (*checkpoints.File, error) {
	file, err := checkpoints.Open(fs.paths[number])
	if err != nil {
		return nil, err
	}
	for _, s := range fs.index {
		if s.file != number {
			continue
		}
		info, ok := file.Info(s.name)
		if !ok || info.DType != s.info.DType || !slices.Equal(info.Shape, s.info.Shape) {
			file.Close()
			return nil, fmt.Errorf("%s: tensor %q is not what it was: the file has changed", fs.shown[number], s.name)
		}
	}
	return file, nil
}

func isFloat(d checkpoints.DType) bool {
	return slices.Contains([]checkpoints.DType{checkpoints.F32, checkpoints.F16, checkpoints.BF16, checkpoints.F64}, d)
}

// compare returns an error that lists what is missing, unexpected or different.
func (fs *files) compare(family string, names []Name) error {
	var missing, unexpected, different []string
	asked := make(map[string]bool, len(names))
	for _, n := range names {
		asked[n.Published] = true
		s, ok := fs.index[n.Published]
		switch {
		case !ok:
			missing = append(missing, n.Published)
		case !slices.Equal(s.info.Shape, n.Shape):
			different = append(different, fmt.Sprintf("%s: %v in the file, %v by config.json", s.name, s.info.Shape, n.Shape))
		case !isFloat(s.info.DType):
			different = append(different, fmt.Sprintf("%s: type %s, want F32, F16, BF16 or F64", s.name, s.info.DType))
		}
	}
	for name, s := range fs.index {
		if !asked[name] && !ignores(family, name) {
			unexpected = append(unexpected, s.name)
		}
	}
	slices.Sort(unexpected)
	var faults []string
	for _, f := range []struct {
		kind  string
		names []string
	}{{"missing", missing}, {"unexpected", unexpected}, {"different", different}} {
		if len(f.names) > 0 {
			faults = append(faults, fmt.Sprintf("%d %s (%s)", len(f.names), f.kind, firstOf(f.names)))
		}
	}
	if len(faults) > 0 {
		return errors.New("of " + fmt.Sprint(len(names)) + " tensors that config.json asks for: " + strings.Join(faults, "; "))
	}
	return nil
}

// firstOf joins a list, and cuts a long one.
func firstOf(list []string) string {
	const most = 8
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}
