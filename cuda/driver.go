//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package cuda

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"relsim/dynlib"
)

// DriverEnv is the environment variable that names the file of the driver's library. Without it, the names under
// which systems install it are tried.
const DriverEnv = "RELSIM_LIBCUDA"

// Supported says whether this build can use GPUs at all.
const Supported = true

// minDriver is the oldest version of the driver interface that has all that is called, times 1000: 11.4.
const minDriver = 11040

// driver is the driver's library, by the functions that are called.
type driver struct {
	path    string
	version int // of the interface: 1000·major + 10·minor

	cuInit, cuDriverGetVersion, cuGetErrorName, cuGetErrorString,
	cuDeviceGetCount, cuDeviceGet, cuDeviceGetName, cuDeviceGetAttribute, cuDeviceTotalMem, cuDeviceGetUuid,
	cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRelease, cuCtxSetCurrent, cuCtxSynchronize,
	cuMemGetInfo, cuMemAlloc, cuMemFree, cuMemHostAlloc, cuMemFreeHost, cuMemcpyHtoD, cuMemcpyDtoH, cuMemcpyHtoDAsync, cuMemcpyDtoHAsync,
	cuMemcpyDtoDAsync, cuMemsetD32Async,
	cuStreamCreate, cuStreamDestroy, cuStreamSynchronize, cuStreamQuery, cuStreamWaitEvent,
	cuStreamBeginCapture, cuStreamEndCapture,
	cuEventCreate, cuEventDestroy, cuEventRecord, cuEventSynchronize, cuEventQuery, cuEventElapsedTime,
	cuModuleLoadDataEx, cuModuleUnload, cuModuleGetFunction, cuFuncSetAttribute, cuFuncGetAttribute, cuLaunchKernel,
	cuGraphInstantiate, cuGraphLaunch, cuGraphExecDestroy, cuGraphDestroy uintptr
}

// bind looks the functions up by the names of their versions that cuda.h of CUDA 11.4 and later gives them.
func (d *driver) bind(lib *dynlib.Library) error {
	for name, at := range map[string]*uintptr{
		"cuInit":                       &d.cuInit,
		"cuDriverGetVersion":           &d.cuDriverGetVersion,
		"cuGetErrorName":               &d.cuGetErrorName,
		"cuGetErrorString":             &d.cuGetErrorString,
		"cuDeviceGetCount":             &d.cuDeviceGetCount,
		"cuDeviceGet":                  &d.cuDeviceGet,
		"cuDeviceGetName":              &d.cuDeviceGetName,
		"cuDeviceGetAttribute":         &d.cuDeviceGetAttribute,
		"cuDeviceTotalMem_v2":          &d.cuDeviceTotalMem,
		"cuDeviceGetUuid":              &d.cuDeviceGetUuid,
		"cuDevicePrimaryCtxRetain":     &d.cuDevicePrimaryCtxRetain,
		"cuDevicePrimaryCtxRelease_v2": &d.cuDevicePrimaryCtxRelease,
		"cuCtxSetCurrent":              &d.cuCtxSetCurrent,
		"cuCtxSynchronize":             &d.cuCtxSynchronize,
		"cuMemGetInfo_v2":              &d.cuMemGetInfo,
		"cuMemAlloc_v2":                &d.cuMemAlloc,
		"cuMemFree_v2":                 &d.cuMemFree,
		"cuMemHostAlloc":               &d.cuMemHostAlloc,
		"cuMemFreeHost":                &d.cuMemFreeHost,
		"cuMemcpyHtoD_v2":              &d.cuMemcpyHtoD,
		"cuMemcpyDtoH_v2":              &d.cuMemcpyDtoH,
		"cuMemcpyHtoDAsync_v2":         &d.cuMemcpyHtoDAsync,
		"cuMemcpyDtoHAsync_v2":         &d.cuMemcpyDtoHAsync,
		"cuMemcpyDtoDAsync_v2":         &d.cuMemcpyDtoDAsync,
		"cuMemsetD32Async":             &d.cuMemsetD32Async,
		"cuStreamCreate":               &d.cuStreamCreate,
		"cuStreamDestroy_v2":           &d.cuStreamDestroy,
		"cuStreamSynchronize":          &d.cuStreamSynchronize,
		"cuStreamQuery":                &d.cuStreamQuery,
		"cuStreamWaitEvent":            &d.cuStreamWaitEvent,
		"cuStreamBeginCapture_v2":      &d.cuStreamBeginCapture,
		"cuStreamEndCapture":           &d.cuStreamEndCapture,
		"cuEventCreate":                &d.cuEventCreate,
		"cuEventDestroy_v2":            &d.cuEventDestroy,
		"cuEventRecord":                &d.cuEventRecord,
		"cuEventSynchronize":           &d.cuEventSynchronize,
		"cuEventQuery":                 &d.cuEventQuery,
		"cuEventElapsedTime":           &d.cuEventElapsedTime,
		"cuModuleLoadDataEx":           &d.cuModuleLoadDataEx,
		"cuModuleUnload":               &d.cuModuleUnload,
		"cuModuleGetFunction":          &d.cuModuleGetFunction,
		"cuFuncSetAttribute":           &d.cuFuncSetAttribute,
		"cuFuncGetAttribute":           &d.cuFuncGetAttribute,
		"cuLaunchKernel":               &d.cuLaunchKernel,
		"cuGraphInstantiateWithFlags":  &d.cuGraphInstantiate,
		"cuGraphLaunch":                &d.cuGraphLaunch,
		"cuGraphExecDestroy":           &d.cuGraphExecDestroy,
		"cuGraphDestroy":               &d.cuGraphDestroy,
	} {
		var err error
		if *at, err = lib.Function(name); err != nil {
			return fmt.Errorf("cuda: %w: %s has no %s: it is another library, or older than CUDA 11.4", ErrUnavailable, lib.Name, name)
		}
	}
	return nil
}

// codeStub is what the library says that the toolkit has for linking, in place of a driver.
const codeStub = 34 // CUDA_ERROR_STUB_LIBRARY

// open loads the driver and starts it.
func open() (*driver, error) {
	if given := os.Getenv(DriverEnv); given != "" {
		lib, err := dynlib.Open(given)
		if err != nil {
			return nil, fmt.Errorf("cuda: %w: the driver (%s=%s): %w", ErrUnavailable, DriverEnv, given, err)
		}
		return start(lib)
	}
	var names []string
	for _, name := range driverNames {
		if !filepath.IsAbs(name) || isFile(name) {
			names = append(names, name)
		}
	}
	var stub error
	failed := ""
	for i := range names {
		lib, why := openFirst(names[i : i+1])
		failed += why
		if lib == nil {
			continue
		}
		d, err := start(lib)
		var e *Error
		if errors.As(err, &e) && e.Code == codeStub {
			stub = err
			continue
		}
		return d, err
	}
	if stub != nil {
		return nil, stub
	}
	return nil, fmt.Errorf("cuda: %w: %s (%s names its library)%s",
		ErrNoDriver, strings.Join(driverNames, ", "), DriverEnv, failed)
}

// start starts a driver.
func start(lib *dynlib.Library) (*driver, error) {
	d := &driver{path: lib.Name}
	if err := d.bind(lib); err != nil {
		return nil, err
	}
	var version int32
	if err := d.call("cuDriverGetVersion", "", d.cuDriverGetVersion, uintptr(unsafe.Pointer(&version))); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	d.version = int(version)
	if d.version < minDriver {
		return nil, fmt.Errorf("cuda: %w: the driver %s is of CUDA %s: want %s or newer", ErrUnavailable, lib.Name, dotted(d.version), dotted(minDriver))
	}
	if err := d.call("cuInit", "", d.cuInit, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return d, nil
}

// opened opens the driver once.
var opened = sync.OnceValues(open)

func dotted(version int) string { return fmt.Sprintf("%d.%d", version/1000, version%1000/10) }

// call calls a function of the driver and makes an error of what it returns.
//
//go:uintptrescapes
func (d *driver) call(name, operands string, f uintptr, args ...uintptr) error {
	r, _, _ := purego.SyscallN(f, args...)
	if int32(r) == 0 {
		return nil
	}
	return d.errorOf(name, operands, int(int32(r)))
}

func (d *driver) errorOf(name, operands string, code int) *Error {
	e := &Error{Call: name, Operands: operands, Code: code, Name: "an unknown error"}
	var text *byte
	if r, _, _ := purego.SyscallN(d.cuGetErrorName, uintptr(code), uintptr(unsafe.Pointer(&text))); int32(r) == 0 && text != nil {
		e.Name = goString(text)
	}
	text = nil
	if r, _, _ := purego.SyscallN(d.cuGetErrorString, uintptr(code), uintptr(unsafe.Pointer(&text))); int32(r) == 0 && text != nil {
		e.Detail = goString(text)
	}
	return e
}

// goString copies a string of C of at most 4 KiB.
func goString(p *byte) string {
	n := 0
	for n < 4096 && *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}

// cString returns text as C has it.
func cString(text string) *byte {
	b := make([]byte, len(text)+1)
	copy(b, text)
	return &b[0]
}
