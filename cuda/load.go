//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package cuda

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kernels are this package's kernels, loaded on a device.
type Kernels struct {
	// Compiled says by what: "NVRTC 12.8", or "PTX" where NVRTC is not there and the driver compiles what is embedded.
	Compiled  string
	modules   []*Module
	functions map[string]*Function
	params    map[string]string // of the kernels
}

// LoadKernels loads the kernels: compiled by NVRTC for this very device where it is installed, which cache keeps (nil: nobody
// does), else from the PTX that is embedded. warn is told, in one line, why NVRTC was not used; it may be nil.
func (t *Thread) LoadKernels(cache *CodeCache, warn func(string)) (*Kernels, error) {
	params, err := embeddedLayouts(t.info.Arch())
	if err != nil {
		return nil, err
	}
	compiler, err := OpenCompiler()
	if err == nil {
		var k *Kernels
		if k, err = t.compileKernels(compiler, cache); err == nil {
			k.params = params
			return k, nil
		}
		if errors.Is(err, ErrLost) {
			return nil, err
		}
	}
	if warn != nil {
		warn(oneLine(err) + ": the kernels are the driver's, of embedded PTX")
	}
	k := &Kernels{Compiled: "PTX", params: params}
	for _, file := range kernelFiles() {
		text, err := ptxFor(file, t.info.Arch())
		if err != nil {
			return nil, errors.Join(err, k.Close())
		}
		if err := t.add(k, []byte(text)); err != nil {
			return nil, errors.Join(err, k.Close())
		}
	}
	return k, nil
}

func (t *Thread) compileKernels(c *Compiler, cache *CodeCache) (*Kernels, error) {
	k := &Kernels{Compiled: "NVRTC " + c.Version()}
	include := headers()
	var texts []string // of the headers
	for _, name := range slices.Sorted(maps.Keys(include)) {
		texts = append(texts, include[name])
	}
	for _, file := range kernelFiles() {
		name := file + ".cu"
		source := embedded("kernels/" + name)
		compile := func() ([]byte, error) { return c.Compile(name, source, include, t.info.Arch()) }
		var image []byte
		var err error
		if cache != nil {
			image, err = cache.Code(append(texts[:len(texts):len(texts)], source, fmt.Sprint(t.info.Arch()), c.Version()), compile)
		} else {
			image, err = compile()
		}
		if err == nil {
			err = t.add(k, image)
		}
		if err != nil {
			return nil, errors.Join(err, k.Close())
		}
	}
	return k, nil
}

func (t *Thread) add(k *Kernels, image []byte) error {
	m, err := t.Load(image)
	if err != nil {
		return err
	}
	k.modules = append(k.modules, m)
	return nil
}

// Function finds a kernel by its name.
func (k *Kernels) Function(name string) (*Function, error) {
	if f := k.functions[name]; f != nil {
		return f, nil
	}
	for i, m := range k.modules {
		f, err := m.Function(name)
		var e *Error
		if errors.As(err, &e) && e.Code == codeNotFound && i < len(k.modules)-1 {
			continue
		}
		if err != nil {
			return nil, err
		}
		f.params, f.known = k.params[name]
		if k.functions == nil {
			k.functions = make(map[string]*Function)
		}
		k.functions[name] = f
		return f, nil
	}
	return nil, fmt.Errorf("cuda: no kernel %q", name)
}

// oneLine is an error with no more than the first message of a compiler's log.
func oneLine(err error) string {
	line, log, _ := strings.Cut(err.Error(), "\n")
	for said := range strings.Lines(log) {
		if strings.Contains(said, "error") {
			return line + ": " + strings.TrimSpace(said)
		}
	}
	return line
}

// Close unloads the kernels.
func (k *Kernels) Close() error {
	var errs []error
	for _, m := range slices.Backward(k.modules) {
		errs = append(errs, m.Close())
	}
	k.modules, k.functions = nil, nil
	return errors.Join(errs...)
}
