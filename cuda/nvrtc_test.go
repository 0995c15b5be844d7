//go:build linux && amd64 && !nogpu

package cuda

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testSource(t *testing.T) (source string, headers map[string]string) {
	t.Helper()
	kernels, err := os.ReadFile("testdata/kernels.cu")
	if err != nil {
		t.Fatal(err)
	}
	port, err := os.ReadFile("kernels/port.h")
	if err != nil {
		t.Fatal(err)
	}
	return string(kernels), map[string]string{"port.h": string(port)}
}

func openFakeCompiler(t *testing.T) *Compiler {
	t.Helper()
	if fakeErr != nil {
		t.Skip("NOT RUN: the fake driver: ", fakeErr)
	}
	c, err := OpenCompiler()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompile(t *testing.T) {
	d := openFake(t, 0)
	c := openFakeCompiler(t)
	if c.Version() != "12.8" {
		t.Errorf("version %s", c.Version())
	}
	source, headers := testSource(t)
	code, err := c.Compile("kernels.cu", source, headers, 80, "--use_fast_math")
	if err != nil {
		t.Fatal(err)
	}
	do(t, d, func(t *Thread) error {
		m, err := t.Load(code)
		if err != nil {
			return err
		}
		for _, name := range []string{"axpy", "sums", "apart"} {
			if _, err := m.Function(name); err != nil {
				return err
			}
		}
		return m.Close()
	})
}

func TestCompileErrors(t *testing.T) {
	c := openFakeCompiler(t)
	_, err := c.Compile("wrong.cu", "int x;\n#error no such thing\n", nil, 90)
	if err == nil || !strings.Contains(err.Error(), "cuda: nvrtcCompileProgram(wrong.cu for sm_90): NVRTC_ERROR_COMPILATION (6)\nwrong.cu(1): error: #error no such thing") ||
		errors.Is(err, ErrLost) || errors.Is(err, ErrOutOfMemory) {
		t.Errorf("a source that does not compile: %v", err)
	}
	if _, err = c.Compile("x.cu", "int x;", nil, 90, "fast"); err == nil || !strings.Contains(err.Error(), "NVRTC_ERROR_INVALID_OPTION (5)\nnvrtc: error: invalid value for fast") {
		t.Errorf("a wrong option: %v", err)
	}
}

// TestFind lets the compiler be found as Python's packages and the toolkit put it, and not at all.
func TestFind(t *testing.T) {
	openFakeCompiler(t)
	lib := os.Getenv(NVRTCEnv)
	t.Setenv(NVRTCEnv, "")
	home := t.TempDir()
	for _, variable := range []string{"CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV", "CONDA_PREFIX"} {
		t.Setenv(variable, "")
	}
	t.Setenv("HOME", home)
	if _, err := OpenCompiler(); err == nil {
		t.Skip("NOT RUN: this machine has NVRTC")
	} else if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "NVRTC, the compiler of kernels is not installed") || !strings.Contains(err.Error(), NVRTCEnv) {
		t.Fatal(err)
	}
	for _, tt := range []struct{ variable, folder, file string }{
		{"HOME", ".local/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib", "libnvrtc.so.12"},
		{"VIRTUAL_ENV", "lib/python3.13/site-packages/nvidia/cu13/lib", "libnvrtc.so.13"},
		{"CUDA_HOME", "lib64", "libnvrtc.so.11.2"},
	} {
		root := t.TempDir()
		t.Setenv(tt.variable, root)
		folder := filepath.Join(root, tt.folder)
		if err := os.MkdirAll(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(lib, filepath.Join(folder, tt.file)); err != nil {
			t.Fatal(err)
		}
		c, err := OpenCompiler()
		if err != nil || c.path != filepath.Join(folder, tt.file) {
			t.Errorf("%s: %v, %v", tt.folder, c, err)
		}
		t.Setenv(tt.variable, map[bool]string{true: home}[tt.variable == "HOME"])
	}
}
