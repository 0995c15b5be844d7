package torchfile_test

import (
	"fmt"

	"relsim/torchfile"
)

func ExampleOpen() {
	f, err := torchfile.Open("testdata/module.legacy.pth")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	for _, name := range f.Names() {
		info, _ := f.Info(name)
		fmt.Println(name, info.DType, info.Shape)
	}
	// What Python would run when it reads the file is refused.
	_, err = torchfile.Open("testdata/refused.eval.pth")
	fmt.Println(err != nil)
	// Output:
	// 0.bias F32 [3]
	// 0.weight F32 [3 2 3 3]
	// 2.bias F32 [3]
	// 2.num_batches_tracked I64 []
	// 2.running_mean F32 [3]
	// 2.running_var F32 [3]
	// 2.weight F32 [3]
	// true
}
