// Command fake builds the driver that runs the kernels on the host into a folder, and prints its path.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"relsim/cuda/fake"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: go run ./.ci/fake DIR")
	}
	kernels, err := filepath.Glob("cuda/kernels/*.cu")
	if err != nil {
		return err
	}
	path, err := fake.Build(context.Background(), os.Args[1], "cuda/kernels", kernels)
	if err == nil {
		fmt.Println(path)
	}
	return err
}
