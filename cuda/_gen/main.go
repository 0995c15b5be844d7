// Command _gen compiles the kernels to PTX by clang-16, without CUDA's toolkit: go generate ./cuda
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// targets are the architectures, each with the first version of PTX that has all its instructions.
var targets = []struct{ arch, ptx string }{{"sm_70", "ptx63"}, {"sm_80", "ptx70"}}

// testSource has the kernels of tests, wrong ones among them.
const testSource = "testdata/kernels.cu"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	sources, err := filepath.Glob("kernels/*.cu")
	if err != nil || len(sources) == 0 {
		return fmt.Errorf("_gen: no kernels/*.cu here: %v", err)
	}
	for _, source := range append(sources, testSource) {
		for _, t := range targets {
			folder := "kernels/ptx"
			if source == testSource {
				folder = filepath.Dir(testSource)
			}
			name := strings.TrimSuffix(filepath.Base(source), ".cu") + "." + t.arch + ".ptx"
			cmd := exec.Command("clang-16", "--cuda-device-only", "--cuda-gpu-arch="+t.arch, "-nocudainc", "-nocudalib",
				"-Xclang", "-target-feature", "-Xclang", "+"+t.ptx, "-O3", "-S", "-x", "cuda", "-I", "kernels", source, "-o", "-")
			cmd.Stderr = os.Stderr
			text, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("_gen: clang-16: %s for %s: %w", source, t.arch, err)
			}
			if err := os.WriteFile(filepath.Join(folder, name), text, 0o666); err != nil {
				return err
			}
		}
	}
	return nil
}
