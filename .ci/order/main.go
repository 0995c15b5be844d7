// Command order reads the JSON of `eval --json` and fails unless the methods come in the order that the benchmark is
// about: the model above its literal twin, every measure of appearance and chance, in recall@1 and in conflict
// accuracy. A method that is missing is a failure too.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// want are the methods, the model first.
var want = []string{
	"relsim", "literal-twin", "pixel-l2", "grey-thumbnail", "color-histogram", "ssim", "hog", "random-conv", "chance",
}

type estimate struct{ Mean, Low, High float64 }

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: order METRICS.json")
		os.Exit(2)
	}
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var result struct {
		Methods []struct {
			Name         string
			ImageToImage map[string]estimate `json:"image_to_image"`
			Triplets     map[string]estimate
		}
	}
	if err := json.Unmarshal(data, &result); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var names []string
	for _, m := range result.Methods {
		names = append(names, m.Name)
		if _, ok := m.ImageToImage["recall@1"]; !ok {
			fmt.Fprintf(os.Stderr, "%s has no recall@1\n", m.Name)
			os.Exit(1)
		}
		if _, ok := m.Triplets["conflict"]; !ok {
			fmt.Fprintf(os.Stderr, "%s has no conflict accuracy\n", m.Name)
			os.Exit(1)
		}
	}
	if len(names) == 0 || names[0] != want[0] || !slices.Equal(slices.Sorted(slices.Values(names)), slices.Sorted(slices.Values(want))) {
		fmt.Fprintf(os.Stderr, "methods %q, want %q, the first of them first\n", names, want)
		os.Exit(1)
	}
	ours := result.Methods[0]
	failed := false
	for _, m := range result.Methods[1:] {
		recall, conflict := m.ImageToImage["recall@1"], m.Triplets["conflict"]
		ok := ours.ImageToImage["recall@1"].Low > recall.High && ours.Triplets["conflict"].Low > conflict.High
		fmt.Printf("%-16s recall@1 %.3f, conflict %.3f: below %.3f and %.3f: %v\n", m.Name, recall.Mean, conflict.Mean,
			ours.ImageToImage["recall@1"].Mean, ours.Triplets["conflict"].Mean, ok)
		failed = failed || !ok
	}
	if failed {
		os.Exit(1)
	}
}
