package inspection_test

import (
	"context"
	"fmt"

	"relsim/dataloader"
	"relsim/inspection"
)

// A caption that is not anonymous enough, and one that stands twice.
func ExampleInspect() {
	rows := dataloader.NewRows("rows.jsonl", "1", []dataloader.Item{
		{ID: "a", Caption: "{Subject} growing step by step", File: "rows.jsonl", Line: 1},
		{ID: "b", Caption: "a red ball in front of the Eiffel Tower", File: "rows.jsonl", Line: 2},
		{ID: "c", Caption: "{Subject} growing step by step", File: "rows.jsonl", Line: 3},
	}, nil)
	report, err := inspection.Inspect(context.Background(), rows, inspection.Options{NoPictures: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Rows.Rows, "rows,", report.Captions.Distinct, "distinct captions")
	for _, f := range report.Findings() {
		if f.Count > 0 {
			fmt.Println(f.Name, f.Count)
		}
	}
	// Output:
	// 3 rows, 2 distinct captions
	// not-anonymous 1
}
