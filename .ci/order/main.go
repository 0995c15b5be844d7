// Command order reads the JSON of `eval --json` and fails unless the methods come in the order that the benchmark is
// about: the model above its literal twin, every measure of appearance and chance, in recall@1 and in conflict
// accuracy.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

type estimate struct{ Mean, Low, High float64 }

func main() {
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
	if len(result.Methods) < 8 || result.Methods[0].Name != "relsim" {
		fmt.Fprintf(os.Stderr, "%d methods, want relsim, its twin, six measures and chance\n", len(result.Methods))
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
