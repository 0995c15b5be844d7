package checkpoints_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"relsim/checkpoints"
)

func ExampleSave() {
	run, err := os.MkdirTemp("", "run")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(run)
	weight := []float32{1, 2, 3, 4}
	_, err = checkpoints.Save(run, 1200, checkpoints.Snapshot{
		Model: []checkpoints.Tensor{checkpoints.FromFloat32("head.weight", []int{2, 2}, weight)},
		State: json.RawMessage(`{"step":1200}`),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	dir, err := checkpoints.Latest(run)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(filepath.Base(dir))
	s, err := checkpoints.Load(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(s.State), s.Model[0].Name, s.Model[0].Shape)
	// Output:
	// step-00001200
	// {"step":1200} head.weight [2 2]
}

func ExampleOpen() {
	f, err := checkpoints.Open("testdata/safetensors_dtypes/model.safetensors")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	info, _ := f.Info("f16")
	fmt.Println(info.DType, info.Shape)
	values, _, err := f.Float32("scalar")
	fmt.Println(values, err)
	// Output:
	// F16 [3 5]
	// [2.6592] <nil>
}

func ExampleAssign() {
	f, err := checkpoints.Open("testdata/safetensors_dtypes/golden.safetensors")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	err = checkpoints.Assign([]checkpoints.Target{
		{Name: "f32", Shape: []int{5, 3}, Data: make([]float32, 15)},
		{Name: "head.bias", Shape: []int{1}, Data: make([]float32, 1)},
	}, f)
	fmt.Println(err)
	// Output:
	// checkpoints: assign golden.safetensors: of 2 tensors asked for: 1 missing (head.bias); 11 unexpected (bf16, bool, f16, f64, i16, i32, i64, i8 and 3 more); 1 different (f32: [3 5] in the checkpoint, [5 3] asked for)
}
