//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package cuda

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// NVRTCEnv is the environment variable that names the file of NVRTC's library. Without it, it is looked for where CUDA's
// toolkit and Python's packages put it.
const NVRTCEnv = "RELSIM_LIBNVRTC"

// Compiler compiles kernels for a device by NVRTC. It is safe for concurrent use.
type Compiler struct {
	path         string
	major, minor int

	nvrtcGetErrorString, nvrtcVersion, nvrtcCreateProgram, nvrtcDestroyProgram, nvrtcCompileProgram,
	nvrtcGetProgramLogSize, nvrtcGetProgramLog, nvrtcGetCUBINSize, nvrtcGetCUBIN uintptr
}

// maxCode bounds what a compiler may return, in bytes.
const maxCode = 64 << 20

// OpenCompiler opens NVRTC. Where it is not there, the error wraps [ErrUnavailable].
func OpenCompiler() (*Compiler, error) {
	lib, err := nvrtcToolkit.open()
	if err != nil {
		return nil, err
	}
	c := &Compiler{path: lib.Name}
	for name, at := range map[string]*uintptr{
		"nvrtcGetErrorString":    &c.nvrtcGetErrorString,
		"nvrtcVersion":           &c.nvrtcVersion,
		"nvrtcCreateProgram":     &c.nvrtcCreateProgram,
		"nvrtcDestroyProgram":    &c.nvrtcDestroyProgram,
		"nvrtcCompileProgram":    &c.nvrtcCompileProgram,
		"nvrtcGetProgramLogSize": &c.nvrtcGetProgramLogSize,
		"nvrtcGetProgramLog":     &c.nvrtcGetProgramLog,
		"nvrtcGetCUBINSize":      &c.nvrtcGetCUBINSize,
		"nvrtcGetCUBIN":          &c.nvrtcGetCUBIN,
	} {
		if *at, err = lib.Function(name); err != nil {
			return nil, missingf("cuda: %s has no %s: it is another library, or older than CUDA 11.2", lib.Name, name)
		}
	}
	var major, minor int32
	if err := c.call("nvrtcVersion", "", c.nvrtcVersion, uintptr(unsafe.Pointer(&major)), uintptr(unsafe.Pointer(&minor))); err != nil {
		return nil, err
	}
	c.major, c.minor = int(major), int(minor)
	return c, nil
}

// Version is that of NVRTC, such as "12.8".
func (c *Compiler) Version() string { return fmt.Sprintf("%d.%d", c.major, c.minor) }

//go:uintptrescapes
func (c *Compiler) call(name, operands string, f uintptr, args ...uintptr) error {
	r, _, _ := purego.SyscallN(f, args...)
	code := int(int32(r))
	if code == 0 {
		return nil
	}
	e := &Error{Call: name, Operands: operands, Code: code, Name: "an unknown error", foreign: true}
	// The text is a constant of the library.
	if text, _, _ := purego.SyscallN(c.nvrtcGetErrorString, uintptr(code)); text != 0 {
		e.Name = goString(*(**byte)(unsafe.Pointer(&text)))
	}
	return e
}

// Compile compiles CUDA C for an architecture ([Info.Arch]) to a cubin. name stands for the source in messages; headers
// are what it includes, by name. The error has the compiler's own messages.
func (c *Compiler) Compile(name, source string, headers map[string]string, arch int, options ...string) ([]byte, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	// strings returns an array of C's strings.
	strings := func(list []string) []*byte {
		p := make([]*byte, len(list)+1) // never empty
		for i, s := range list {
			p[i] = cString(s)
			pin.Pin(p[i])
		}
		return p
	}
	names := make([]string, 0, len(headers))
	for name := range headers {
		names = append(names, name)
	}
	slices.Sort(names)
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = headers[name]
	}
	headerNames, headerTexts := strings(names), strings(texts)
	options = append([]string{fmt.Sprintf("--gpu-architecture=sm_%d", arch)}, options...)
	flags := strings(options)

	var program uintptr
	if err := c.call("nvrtcCreateProgram", name, c.nvrtcCreateProgram, uintptr(unsafe.Pointer(&program)),
		uintptr(unsafe.Pointer(cString(source))), uintptr(unsafe.Pointer(cString(name))), uintptr(len(names)),
		uintptr(unsafe.Pointer(&headerTexts[0])), uintptr(unsafe.Pointer(&headerNames[0]))); err != nil {
		return nil, err
	}
	defer c.call("nvrtcDestroyProgram", name, c.nvrtcDestroyProgram, uintptr(unsafe.Pointer(&program)))
	operands := fmt.Sprintf("%s for sm_%d", name, arch)
	if err := c.call("nvrtcCompileProgram", operands, c.nvrtcCompileProgram, program, uintptr(len(options)), uintptr(unsafe.Pointer(&flags[0]))); err != nil {
		if log, logErr := c.bytes("nvrtcGetProgramLog", c.nvrtcGetProgramLogSize, c.nvrtcGetProgramLog, program); logErr == nil {
			err = fmt.Errorf("%w\n%s", err, trim(log))
		}
		return nil, err
	}
	return c.bytes("nvrtcGetCUBIN", c.nvrtcGetCUBINSize, c.nvrtcGetCUBIN, program)
}

// bytes asks for the size of a result, and for the result.
func (c *Compiler) bytes(name string, size, get, program uintptr) ([]byte, error) {
	var n uintptr
	if err := c.call(name+"Size", "", size, program, uintptr(unsafe.Pointer(&n))); err != nil {
		return nil, err
	}
	if n == 0 || n > maxCode {
		return nil, fmt.Errorf("cuda: %s: %d bytes, want 1 to %d", name, n, maxCode)
	}
	b := make([]byte, n)
	return b, c.call(name, "", get, program, uintptr(unsafe.Pointer(&b[0])))
}

// trim is a compiler's log without the zero and the empty lines at its end, 16 KiB at most.
func trim(log []byte) string {
	return strings.TrimRight(string(log[:min(len(log), 16<<10)]), "\x00\n ")
}
