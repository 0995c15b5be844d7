//go:build linux && amd64

// Package fake builds a CUDA driver that runs on the host, for tests: the driver's functions, NVRTC's, and the kernels'
// own source, compiled by g++. A block's threads are fibers, whose order a seed chooses; work in streams is put off; fresh memory is NaN,
// and guard pages surround it. What a program may not rely on, it so cannot.
package fake

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

//go:embed src/*.cpp src/*.h
var sources embed.FS

// RealEnv is the environment variable that lets tests run on the machine's own GPU, if it is not empty: they build no driver, and
// leave out what they could ask of one only.
const RealEnv = "RELSIM_TEST_GPU"

// Real says whether tests are to run on the machine's own GPU.
func Real() bool { return os.Getenv(RealEnv) != "" }

// ErrNoCompiler says that g++ is not there.
var ErrNoCompiler = errors.New("g++ is not there")

// Build compiles the driver with kernels, files of CUDA C in the words of port.h, whose folder is include, into
// dir/libcuda.so.1, and returns that path. What it compiled before it takes from the user's cache. flags go to the compiler, such as "-DNAME". The error wraps
// [ErrNoCompiler], or has what the compiler says.
func Build(ctx context.Context, dir, include string, kernels []string, flags ...string) (string, error) {
	gxx, err := exec.LookPath("g++")
	if err != nil {
		return "", fmt.Errorf("fake: %w: %w", ErrNoCompiler, err)
	}
	path := filepath.Join(dir, "libcuda.so.1")
	options := append([]string{"-std=c++17", "-O1", "-g", "-Wall", "-Werror", "-U_FORTIFY_SOURCE", "-fPIC", "-shared", "-DRELSIM_FAKE"}, flags...)
	parts := append([]string{gxx, compilerVersion(ctx, gxx)}, options...)
	args := append(options, "-I", dir, "-I", include, "-o", path)
	files, err := sources.ReadDir("src")
	if err != nil {
		return "", err
	}
	for _, file := range files {
		text, err := sources.ReadFile("src/" + file.Name())
		if err != nil {
			return "", err
		}
		parts = append(parts, file.Name(), string(text))
		at := filepath.Join(dir, file.Name())
		if err := os.WriteFile(at, text, 0o666); err != nil {
			return "", fmt.Errorf("fake: %w", err)
		}
		if filepath.Ext(at) == ".cpp" {
			args = append(args, at)
		}
	}
	args = append(args, "-x", "c++")
	args = append(args, kernels...)
	headers, err := filepath.Glob(filepath.Join(include, "*.h"))
	if err != nil {
		return "", fmt.Errorf("fake: %w", err)
	}
	for _, file := range slices.Concat(headers, kernels) {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("fake: %w", err)
		}
		parts = append(parts, filepath.Base(file), string(text))
	}
	err = cached(path, parts, func() error {
		if out, err := exec.CommandContext(ctx, gxx, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("fake: g++: %w\n%s", err, out)
		}
		return nil
	})
	return path, err
}

// compilerVersion is what g++ says of itself.
func compilerVersion(ctx context.Context, gxx string) string {
	out, err := exec.CommandContext(ctx, gxx, "--version").Output()
	if err != nil {
		return "unknown"
	}
	return string(out)
}
