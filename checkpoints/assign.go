package checkpoints

import (
	"fmt"
	"slices"
	"strings"
)

// Target is a parameter to be filled from a checkpoint.
type Target struct {
	Name  string
	Shape []int
	Data  []float32
}

// Assign fills every target from the tensor of its name in f. The names must be
// the same on both sides, with the same shapes and a floating-point type: what is
// missing, unexpected or different is listed in one error, and then nothing is
// written.
//
// Assign panics if a target's shape asks for another number of values than its
// Data has.
func Assign(dst []Target, f *File) error {
	return assign(dst, f.name, f.index, func(t Target) error {
		return f.readFloat32(t.Name, f.index[t.Name], t.Data)
	})
}

// AssignTensors is [Assign] from tensors in memory, such as those of a
// [Snapshot]; what names them in errors.
func AssignTensors(dst []Target, what string, src []Tensor) error {
	index := make(map[string]Info, len(src))
	data := make(map[string]Tensor, len(src))
	for _, t := range src {
		if _, err := t.check(); err != nil {
			return fmt.Errorf("checkpoints: assign %s: tensor %q: %w", what, t.Name, err)
		}
		if _, ok := data[t.Name]; ok {
			return fmt.Errorf("checkpoints: assign %s: tensor %q is there twice", what, t.Name)
		}
		index[t.Name] = Info{DType: t.DType, Shape: t.Shape}
		data[t.Name] = t
	}
	return assign(dst, what, index, func(t Target) error {
		s := data[t.Name]
		toFloat32(t.Data, s.Data, s.DType)
		return nil
	})
}

func assign(dst []Target, what string, index map[string]Info, read func(Target) error) error {
	var missing, unexpected, different []string
	asked := make(map[string]bool, len(dst))
	for _, t := range dst {
		if n, err := elements(t.Shape); err != nil || n != int64(len(t.Data)) {
			panic(fmt.Sprintf("checkpoints: Assign: %s: shape %v with %d values", t.Name, t.Shape, len(t.Data)))
		}
		if asked[t.Name] {
			panic(fmt.Sprintf("checkpoints: Assign: two targets are named %s", t.Name))
		}
		asked[t.Name] = true
		info, ok := index[t.Name]
		switch {
		case !ok:
			missing = append(missing, t.Name)
		case !slices.Equal(info.Shape, t.Shape):
			different = append(different, fmt.Sprintf("%s: %v in the checkpoint, %v asked for", t.Name, info.Shape, t.Shape))
		case !info.DType.float():
			different = append(different, fmt.Sprintf("%s: type %s in the checkpoint, floating point asked for", t.Name, info.DType))
		}
	}
	for name := range index {
		if !asked[name] {
			unexpected = append(unexpected, name)
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
		return fmt.Errorf("checkpoints: assign %s: of %d tensors asked for: %s", what, len(dst), strings.Join(faults, "; "))
	}
	for _, t := range dst {
		if err := read(t); err != nil {
			return err
		}
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
