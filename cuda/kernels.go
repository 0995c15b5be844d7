package cuda

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

//go:generate go run ./_gen

// sources are the kernels in CUDA C, and as PTX for devices from 7.0 and from 8.0 on.
//
//go:embed kernels/*.cu kernels/*.h kernels/ptx/*.ptx
var sources embed.FS

// kernelFiles returns the names of the files of kernels, without their ending.
func kernelFiles() []string { return filesEnding(".cu") }

func filesEnding(suffix string) []string {
	entries, err := sources.ReadDir("kernels")
	if err != nil {
		panic(err) // embedded
	}
	var names []string
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), suffix); ok {
			names = append(names, name)
		}
	}
	return names
}

// KernelsHash is a hash of the kernels' sources and of their PTX, by which measurements say what they are of.
func KernelsHash() string {
	h := sha256.New()
	err := fs.WalkDir(sources, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			text := embedded(name)
			fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
		}
		return err
	})
	if err != nil {
		panic(err) // embedded
	}
	return hex.EncodeToString(h.Sum(nil))
}

// KernelNames returns the names of the kernels that are embedded, in alphabetical order.
func KernelNames() ([]string, error) {
	of, err := embeddedLayouts(ptxArchs[0])
	return slices.Sorted(maps.Keys(of)), err
}

func embedded(name string) string {
	text, err := sources.ReadFile(name)
	if err != nil {
		panic(err) // embedded
	}
	return string(text)
}

// headers are what kernels include, by name.
func headers() map[string]string {
	texts := map[string]string{}
	for _, name := range filesEnding(".h") {
		texts[name+".h"] = embedded("kernels/" + name + ".h")
	}
	return texts
}

// ptxArchs are the architectures of the PTX, the best first.
var ptxArchs = []int{80, 70}

// ptxFor returns the PTX of a file of kernels that a device of an architecture can run.
func ptxFor(file string, arch int) (string, error) {
	i := slices.IndexFunc(ptxArchs, func(a int) bool { return a <= arch })
	if i < 0 {
		return "", fmt.Errorf("cuda: %w: its compute capability is %d.%d: want %d.%d or more", ErrUnavailable, arch/10, arch%10, 7, 0)
	}
	return embedded(path.Join("kernels/ptx", fmt.Sprintf("%s.sm_%d.ptx", file, ptxArchs[i]))), nil
}
