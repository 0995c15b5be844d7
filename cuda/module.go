//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package cuda

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"unsafe"
)

// Module is code for a device.
type Module struct {
	t  *Thread
	at uintptr
}

// Options of the driver's compiler, cuda.h.
const (
	jitErrorLog     = 5
	jitErrorLogSize = 6
	jitLog          = 16 << 10 // bytes
)

// Load loads code: PTX, which the driver compiles, or a cubin for the device's architecture. An error has what the
// driver's compiler says.
func (t *Thread) Load(image []byte) (*Module, error) {
	text := append(image[:len(image):len(image)], 0) // PTX ends with a zero
	log := make([]byte, jitLog)
	options := [2]int32{jitErrorLog, jitErrorLogSize}
	values := [2]uintptr{uintptr(unsafe.Pointer(&log[0])), jitLog - 1}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&log[0])
	m := &Module{t: t}
	err := t.check("cuModuleLoadDataEx", fmt.Sprintf("%d bytes for %d.%d", len(image), t.info.Major, t.info.Minor), t.cuModuleLoadDataEx,
		uintptr(unsafe.Pointer(&m.at)), uintptr(unsafe.Pointer(&text[0])), uintptr(len(options)),
		uintptr(unsafe.Pointer(&options)), uintptr(unsafe.Pointer(&values)))
	if err == nil {
		return m, nil
	}
	if said := strings.TrimSpace(goString(&log[0])); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return nil, err
}

// Close unloads the code.
func (m *Module) Close() error { return m.t.check("cuModuleUnload", "", m.t.cuModuleUnload, m.at) }

// Function is a kernel.
type Function struct {
	t      *Thread
	name   string
	at     uintptr
	shared int // bytes of dynamic shared memory that it may have
	known  bool
	params string // what its parameters are, if that is known
}

// Attributes of a function, cuda.h.
const (
	funcMaxThreads    = 0
	funcDynamicShared = 8
)

// defaultShared is how much dynamic shared memory a kernel may have without being asked.
const defaultShared = 48 << 10

// Function finds a kernel by its name.
func (m *Module) Function(name string) (*Function, error) {
	f := &Function{t: m.t, name: name, shared: defaultShared}
	return f, m.t.check("cuModuleGetFunction", name, m.t.cuModuleGetFunction, uintptr(unsafe.Pointer(&f.at)), m.at, uintptr(unsafe.Pointer(cString(name))))
}

// Name is the kernel's.
func (f *Function) Name() string { return f.name }

// MaxThreads is the largest block that the kernel can have, by its registers.
func (f *Function) MaxThreads() (int, error) {
	var n int32
	err := f.t.check("cuFuncGetAttribute", f.name, f.t.cuFuncGetAttribute, uintptr(unsafe.Pointer(&n)), funcMaxThreads, f.at)
	return int(n), err
}

// Dim is the size of a grid in blocks, or of a block in threads; 0 stands for 1.
type Dim struct{ X, Y, Z int }

func (d Dim) String() string { return fmt.Sprintf("%d×%d×%d", max(d.X, 1), max(d.Y, 1), max(d.Z, 1)) }

// maxParams bounds the parameters of a kernel.
const maxParams = 32

// Args are the parameters of a launch. They are copied when it is put into the stream.
type Args struct {
	t *Thread
	n int
}

// Args begins the parameters of the next launch.
func (t *Thread) Args() Args { return Args{t: t} }

func (a Args) put(kind byte, v uint64) Args {
	if a.n == maxParams {
		panic(fmt.Sprintf("cuda: more than %d parameters", maxParams))
	}
	a.t.args[a.n] = v
	a.t.ptrs[a.n] = unsafe.Pointer(&a.t.args[a.n])
	a.t.kinds[a.n] = kind
	a.n++
	return a
}

// Pointer adds an address.
func (a Args) Pointer(p Pointer) Args { return a.put(paramLong, uint64(p)) }

// Int32 adds an int of C.
func (a Args) Int32(v int) Args {
	if v != int(int32(v)) {
		panic(fmt.Sprintf("cuda: parameter %d is %d, which has more than 32 bits", a.n, v))
	}
	return a.put(paramWord, uint64(uint32(int32(v))))
}

// Int64 adds a long long of C.
func (a Args) Int64(v int64) Args { return a.put(paramLong, uint64(v)) }

// Float32 adds a float of C.
func (a Args) Float32(v float32) Args { return a.put(paramReal, uint64(math.Float32bits(v))) }

// Launch puts a kernel into the stream: grid blocks of block threads, each block with shared bytes of dynamic shared
// memory. Errors of the kernel itself are found when the stream is waited for.
//
// Launch panics if the parameters are not those of a kernel of [Kernels]: a driver takes the values that it finds, whatever they are.
func (s *Stream) Launch(f *Function, grid, block Dim, shared int, a Args) error {
	t := s.t
	if f.known && string(t.kinds[:a.n]) != f.params {
		panic(fmt.Sprintf("cuda: launch of %s with %s, want %s", f.name, describeParams(string(t.kinds[:a.n])), describeParams(f.params)))
	}
	if shared > f.shared {
		if err := t.check("cuFuncSetAttribute", fmt.Sprintf("%s, %d bytes of shared memory", f.name, shared), t.cuFuncSetAttribute,
			f.at, funcDynamicShared, uintptr(shared)); err != nil {
			return err
		}
		f.shared = shared
	}
	one := func(n int) uintptr { return uintptr(max(n, 1)) }
	t.launch = [...]uintptr{f.at, one(grid.X), one(grid.Y), one(grid.Z), one(block.X), one(block.Y), one(block.Z),
		uintptr(shared), s.at, uintptr(unsafe.Pointer(&t.ptrs)), 0}
	err := t.check("cuLaunchKernel", "", t.cuLaunchKernel, t.launch[:]...)
	if e, ok := err.(*Error); ok { // the text is made only when it is needed
		e.Operands = fmt.Sprintf("%s, grid %s, block %s, %d bytes of shared memory, %d parameters", f.name, grid, block, shared, a.n)
	}
	return err
}
