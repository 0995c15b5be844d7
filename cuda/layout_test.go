package cuda

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestLayouts(t *testing.T) {
	got, err := layouts(".version 7.0\n.visible .entry a(\n\t.param .u64 a_param_0,\n\t.param .f32 a_param_1,\n\t.param .u32 a_param_2\n)\n{\n ret;\n}\n.entry b()\n{}\n")
	if want := map[string]string{"a": "lfw", "b": ""}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if got := describeParams("lfw"); got != "(8 bytes, float32, int32)" {
		t.Error(got)
	}
	for text, want := range map[string]string{
		".entry a":                        "without parameters",
		".entry a(.param .u64 x":          "do not end",
		".entry a(.param .u16 x)":         "has type .u16",
		".entry a(.param .align 8 .b8 x)": "want .param, a type and a name",
		".entry a() {} .entry a() {}":     "two kernels a",
	} {
		if _, err := layouts(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// A declaration of a kernel, after the preprocessor, and attributes that it may have.
var (
	declaration = regexp.MustCompile(`\bextern "C" [^;{}]*?\bvoid\s+(?:__launch_bounds__\s*\([^)]*\)\s*|__attribute__\s*\(\([^{};]*?\)\)\s+)?(\w+)\s*\(([^()]*)\)\s*\{`)
	qualifiers  = regexp.MustCompile(`\b(const|volatile|__restrict__|signed)\b`)
)

// declared returns the kernels that a source has for one of its compilers, and their parameters.
func declared(source string) (map[string]string, error) {
	of := make(map[string]string)
	for _, match := range declaration.FindAllStringSubmatch(source, -1) {
		name := match[1]
		if _, ok := of[name]; ok {
			return nil, fmt.Errorf("two kernels %s", name)
		}
		var params []byte
		for param := range strings.SplitSeq(match[2], ",") {
			words := strings.Fields(qualifiers.ReplaceAllString(param, ""))
			if len(words) == 0 {
				continue
			}
			kind := strings.Join(words[:len(words)-1], " ")
			switch {
			case strings.Contains(param, "*"):
				params = append(params, paramLong)
			case kind == "int" || kind == "unsigned" || kind == "unsigned int":
				params = append(params, paramWord)
			case kind == "long long" || kind == "unsigned long long" || kind == "Index" || kind == "double":
				params = append(params, paramLong)
			case kind == "float":
				params = append(params, paramReal)
			default:
				return nil, fmt.Errorf("parameter %q of %s has a type that is not known here", param, name)
			}
		}
		of[name] = string(params)
	}
	return of, nil
}

func TestDeclared(t *testing.T) {
	got, err := declared("extern \"C\" __attribute__((global)) void a(float *x, const int *__restrict__ y, unsigned long long n,\n int m, float by) { }\n" +
		"extern \"C\" __global__ void __launch_bounds__(256, 2) b(Index n, unsigned m) {}\nstatic void c(int x) {}")
	if want := map[string]string{"a": "lllwf", "b": "lw"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if _, err := declared(`extern "C" __global__ void a(short x) {}`); err == nil {
		t.Error("an unknown type is no error")
	}
}

// TestPTX holds the PTX that is checked in against the sources: the names of the kernels and the layouts of their parameters,
// as the sources are for clang, which makes the PTX, and for NVRTC.
func TestPTX(t *testing.T) {
	gxx, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("NOT RUN: the preprocessor: ", err)
	}
	files, err := filepath.Glob("kernels/*.cu")
	if err != nil || len(files) == 0 {
		t.Fatalf("kernels %v, %v", files, err)
	}
	made, err := filepath.Glob("kernels/ptx/*.ptx")
	if err != nil || len(made) != len(ptxArchs)*len(files) {
		t.Errorf("%d files of PTX of %d sources for %d architectures: run go generate ./cuda", len(made), len(files), len(ptxArchs))
	}
	compilers := map[string][]string{"clang": {"-D__clang__=1", "-D__CUDA__=1"}, "NVRTC": {"-D__CUDACC_RTC__=1"}}
	for _, file := range files {
		stem := strings.TrimSuffix(filepath.Base(file), ".cu")
		for _, arch := range ptxArchs {
			text, err := os.ReadFile(fmt.Sprintf("kernels/ptx/%s.sm_%d.ptx", stem, arch))
			if err != nil {
				t.Error(err)
				continue
			}
			got, err := layouts(string(text))
			if err != nil {
				t.Error(err)
			}
			for compiler, defines := range compilers {
				args := append([]string{"-E", "-P", "-x", "c++", "-I", "kernels", fmt.Sprintf("-D__CUDA_ARCH__=%d0", arch), file}, defines...)
				source, err := exec.Command(gxx, args...).Output()
				if err != nil {
					t.Fatalf("g++ %v: %v", args, err)
				}
				want, err := declared(string(source))
				if err != nil {
					t.Fatalf("%s for %s: %v", file, compiler, err)
				}
				if len(want) == 0 && arch == ptxArchs[0] {
					t.Errorf("%s has no kernels for %s", file, compiler)
				}
				for _, name := range slices.Sorted(maps.Keys(want)) {
					if params, ok := got[name]; !ok {
						t.Errorf("%s.sm_%d.ptx has no kernel %s: run go generate ./cuda", stem, arch, name)
					} else if params != want[name] {
						t.Errorf("%s.sm_%d.ptx: %s has parameters %s, the source for %s has %s: run go generate ./cuda",
							stem, arch, name, describeParams(params), compiler, describeParams(want[name]))
					}
				}
				for name := range got {
					if _, ok := want[name]; !ok {
						t.Errorf("%s.sm_%d.ptx has a kernel %s, the source for %s has none: run go generate ./cuda", stem, arch, name, compiler)
					}
				}
			}
		}
	}
}
