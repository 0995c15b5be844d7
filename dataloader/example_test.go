package dataloader_test

import (
	"context"
	"fmt"

	"relsim/dataloader"
)

// stripes is a set of n striped pictures of 6×4 pixels.
func stripes(n int) dataloader.Dataset {
	items := make([]dataloader.Item, n)
	images := make([]*dataloader.Image, n)
	for i := range n {
		items[i] = dataloader.Item{ID: fmt.Sprintf("%02d", i), Caption: "{Color} in stripes"}
		images[i] = &dataloader.Image{Width: 6, Height: 4, Pix: make([]byte, 6*4*3)}
		for p := range images[i].Pix {
			images[i].Pix[p] = byte(p / 3 % 2 * 10 * i)
		}
	}
	return dataloader.NewMemory("stripes", items, images)
}

func ExampleNew() {
	l, err := dataloader.New(stripes(10), dataloader.Config{
		Batch: 4, Workers: 2, Seed: 1,
		Transform: dataloader.Transform{Size: 4, Flip: true},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	for range 3 {
		b, err := l.Next(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("epoch", b.Epoch, "step", b.Step, "items", b.Index, len(b.Images), "values")
		l.Recycle(b)
	}
	// Output:
	// epoch 0 step 0 items [1 6 9 5] 192 values
	// epoch 0 step 1 items [2 4 8 7] 192 values
	// epoch 1 step 2 items [4 9 6 5] 192 values
}

func ExampleTransform_Apply() {
	im := &dataloader.Image{Width: 3, Height: 1, Pix: []byte{9, 9, 9, 255, 0, 51, 9, 9, 9}}
	t := dataloader.Transform{Size: 1, Normalize: dataloader.Normalize{Std: [3]float64{1, 1, 1}}}
	dst := make([]float32, t.Len())
	t.Apply(dst, im, nil)
	fmt.Println(dst)
	// Output:
	// [1 0 0.2]
}

func ExampleForEach() {
	broken, err := dataloader.ForEach(context.Background(), stripes(3), nil, 2, func(k int, im *dataloader.Image) error {
		fmt.Println(k, im.Pix[3])
		return nil
	})
	fmt.Println(len(broken), err)
	// Output:
	// 0 0
	// 1 10
	// 2 20
	// 0 <nil>
}

func ExampleSplit() {
	train, val := dataloader.Split(stripes(100), 0.1)
	fmt.Println(train.Len(), val.Len())
	// Output:
	// 94 6
}

// Half of the photographs are in an epoch, and the other half in the next; drawings are there twice.
func ExampleMix() {
	photos, drawings := stripes(20), stripes(5)
	ds, err := dataloader.Mix([]dataloader.Dataset{photos, drawings}, []float64{0.5, 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := dataloader.New(ds, dataloader.Config{Batch: 20, Transform: dataloader.Transform{Size: 4}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	seen := make(map[int]bool)
	for range 2 {
		b, err := l.Next(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		photos := 0
		for _, i := range b.Index {
			if i < 20 {
				photos++
				seen[i] = true
			}
		}
		fmt.Println("epoch", b.Epoch, "photographs", photos, "drawings", len(b.Index)-photos)
	}
	fmt.Println(len(seen), "different photographs")
	// Output:
	// epoch 0 photographs 10 drawings 10
	// epoch 1 photographs 10 drawings 10
	// 20 different photographs
}

// Rows of one group stay on one side.
func ExampleRule_Divide() {
	var items []dataloader.Item
	for i := range 100 {
		items = append(items, dataloader.Item{ID: fmt.Sprint("picture", i), Group: fmt.Sprint(i / 10)})
	}
	ds := dataloader.NewRows("groups", "", items, nil)
	rule := dataloader.Rule{Val: 0.2, Keys: func(i int) []string { return []string{ds.Item(i).Group} }}
	train, val, _, err := rule.Divide(ds)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(train)+len(val), len(val)%10)
	// Output: 100 0
}
