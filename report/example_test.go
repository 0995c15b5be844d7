package report_test

import (
	"fmt"
	"os"
	"path/filepath"

	"relsim/metrics"
	"relsim/report"
	"relsim/retrieval"
)

func ExampleWrite() {
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	result := &retrieval.Result{
		Data: "my pictures", Split: "val", Queries: 500, Gallery: 500, Positives: "caption",
		Methods: []retrieval.MethodResult{
			{Name: "relsim", Kind: retrieval.Trained, ImageToImage: retrieval.Metrics{"recall@1": metrics.Interval{Mean: .61, Low: .57, High: .65}}},
			{Name: "hog", Kind: retrieval.Baseline, ImageToImage: retrieval.Metrics{"recall@1": metrics.Interval{Mean: .12, Low: .09, High: .15}}},
		},
	}
	if err := report.Write(dir, report.Input{Title: "A first look", Result: result}); err != nil {
		fmt.Println(err)
		return
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range files {
		fmt.Println(filepath.Base(f))
	}
	// Output:
	// bars.png
	// bars.svg
	// index.html
	// metrics.json
	// recall.png
	// recall.svg
}
