//go:build linux && amd64 && !nogpu

package cuda

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func testSource(t *testing.T) (source string, include map[string]string) {
	t.Helper()
	kernels, err := os.ReadFile("testdata/kernels.cu")
	if err != nil {
		t.Fatal(err)
	}
	return string(kernels), headers()
}

func openTestCompiler(t *testing.T) *Compiler {
	t.Helper()
	if fakeErr != nil {
		t.Skip("NOT RUN: the fake driver: ", fakeErr)
	}
	c, err := OpenCompiler()
	if err != nil && control.reset == 0 {
		t.Skip("NOT RUN: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompile(t *testing.T) {
	d := openDevice(t, 0)
	c := openTestCompiler(t)
	if control.reset != 0 && c.Version() != "12.8" {
		t.Errorf("version %s", c.Version())
	}
	source, headers := testSource(t)
	code, err := c.Compile("kernels.cu", source, headers, d.Info().Arch(), "--use_fast_math")
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
	c := openTestCompiler(t)
	_, err := c.Compile("wrong.cu", "int x;\n#error no such thing\n", nil, 90)
	if err == nil || !strings.Contains(err.Error(), "cuda: nvrtcCompileProgram(wrong.cu for sm_90): NVRTC_ERROR_COMPILATION (6)\n") || !strings.Contains(err.Error(), "no such thing") ||
		errors.Is(err, ErrLost) || errors.Is(err, ErrOutOfMemory) {
		t.Errorf("a source that does not compile: %v", err)
	}
	if _, err = c.Compile("x.cu", "int x;", nil, 90, "fast"); err == nil || !strings.Contains(err.Error(), "NVRTC_ERROR_INVALID_OPTION (5)\nnvrtc: error: ") {
		t.Errorf("a wrong option: %v", err)
	}
}
