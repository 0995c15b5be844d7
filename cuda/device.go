//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

// Attributes of a device, cuda.h.
const (
	attrSMs         = 16
	attrComputeMode = 20
	attrL2          = 38
	attrMajor       = 75
	attrMinor       = 76
	attrSharedOptIn = 97
)

// Compute modes, cuda.h.
const (
	modeProhibited = 2
	modeExclusive  = 3
)

// Devices describes the devices that the process may see (CUDA_VISIBLE_DEVICES). None is an error that wraps
// [ErrUnavailable].
func Devices() ([]Info, error) {
	d, err := opened()
	if err != nil {
		return nil, err
	}
	var n int32
	if err := d.call("cuDeviceGetCount", "", d.cuDeviceGetCount, uintptr(unsafe.Pointer(&n))); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if n == 0 {
		return nil, fmt.Errorf("cuda: %w: the driver %s sees no device (CUDA_VISIBLE_DEVICES may hide them)", ErrUnavailable, d.path)
	}
	list := make([]Info, n)
	for i := range list {
		if list[i], _, err = d.describe(i); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (d *driver) describe(ordinal int) (Info, int32, error) {
	info := Info{Ordinal: ordinal, Driver: d.version}
	of := fmt.Sprintf("device %d", ordinal)
	var device int32
	if err := d.call("cuDeviceGet", of, d.cuDeviceGet, uintptr(unsafe.Pointer(&device)), uintptr(ordinal)); err != nil {
		return info, 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	name := make([]byte, 256)
	if err := d.call("cuDeviceGetName", of, d.cuDeviceGetName, uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)-1), uintptr(device)); err != nil {
		return info, 0, err
	}
	info.Name = goString(&name[0])
	var uuid [16]byte
	if err := d.call("cuDeviceGetUuid", of, d.cuDeviceGetUuid, uintptr(unsafe.Pointer(&uuid)), uintptr(device)); err != nil {
		return info, 0, err
	}
	info.UUID = fmt.Sprintf("GPU-%x-%x-%x-%x-%x", uuid[:4], uuid[4:6], uuid[6:8], uuid[8:10], uuid[10:])
	var memory uintptr
	if err := d.call("cuDeviceTotalMem", of, d.cuDeviceTotalMem, uintptr(unsafe.Pointer(&memory)), uintptr(device)); err != nil {
		return info, 0, err
	}
	info.Memory = int64(memory)
	for attr, to := range map[int]*int{attrSMs: &info.SMs, attrL2: &info.L2, attrMajor: &info.Major, attrMinor: &info.Minor, attrSharedOptIn: &info.Shared} {
		var value int32
		if err := d.call("cuDeviceGetAttribute", fmt.Sprintf("%d, %s", attr, of), d.cuDeviceGetAttribute,
			uintptr(unsafe.Pointer(&value)), uintptr(attr), uintptr(device)); err != nil {
			return info, 0, err
		}
		*to = int(value)
	}
	return info, device, nil
}

// Device is a GPU with a goroutine of its own. Its methods may be called from any goroutine.
type Device struct {
	info   Info
	thread *Thread
	work   chan task
	closed chan struct{}
	once   sync.Once
}

type task struct {
	f    func(*Thread) error
	done chan<- error
}

// Thread is what a function that runs on a device's thread calls the driver by.
type Thread struct {
	*driver
	info Info
	lost error

	// Of the next launch: the values of the parameters, where these are, and what the driver is called with. They are
	// kept here so that a launch takes no memory.
	args   [maxParams]uint64
	ptrs   [maxParams]unsafe.Pointer
	kinds  [maxParams]byte
	launch [11]uintptr
}

// Open takes a device of the process, by its number. It must be closed.
func Open(ordinal int) (*Device, error) {
	list, err := Devices()
	if err != nil {
		return nil, err
	}
	if ordinal < 0 || ordinal >= len(list) {
		return nil, fmt.Errorf("cuda: %w: there is no device %d: the driver sees %d, from 0", ErrUnavailable, ordinal, len(list))
	}
	driver, err := opened()
	if err != nil {
		return nil, err
	}
	d := &Device{
		info:   list[ordinal],
		thread: &Thread{driver: driver, info: list[ordinal]},
		work:   make(chan task), closed: make(chan struct{}),
	}
	ready := make(chan error)
	go d.run(ready)
	if err := <-ready; err != nil {
		return nil, err
	}
	return d, nil
}

// OpenFree takes the first device of the process that can be had. It must be closed.
func OpenFree() (*Device, error) {
	list, err := Devices()
	if err != nil {
		return nil, err
	}
	var failed []string
	for _, info := range list {
		d, err := Open(info.Ordinal)
		if err == nil || len(list) == 1 {
			return d, err
		}
		failed = append(failed, err.Error())
	}
	return nil, fmt.Errorf("cuda: %w: none of %d devices is free: %s", ErrUnavailable, len(list), strings.Join(failed, "; "))
}

// run is the device's goroutine. It never gives its thread back: thread and current context end together.
func (d *Device) run(ready chan<- error) {
	runtime.LockOSThread()
	defer close(d.closed)
	t := d.thread
	release, err := t.begin()
	ready <- err
	if err != nil {
		return
	}
	for work := range d.work {
		work.done <- t.do(work.f)
	}
	release()
}

// begin makes the device's primary context current.
func (t *Thread) begin() (release func(), err error) {
	_, device, err := t.describe(t.info.Ordinal)
	if err != nil {
		return nil, err
	}
	var context uintptr
	if err := t.call("cuDevicePrimaryCtxRetain", t.info.String(), t.cuDevicePrimaryCtxRetain, uintptr(unsafe.Pointer(&context)), uintptr(device)); err != nil {
		return nil, t.notFree(device, err)
	}
	release = func() { t.call("cuDevicePrimaryCtxRelease", "", t.cuDevicePrimaryCtxRelease, uintptr(device)) }
	if err := t.call("cuCtxSetCurrent", "", t.cuCtxSetCurrent, context); err != nil {
		release()
		return nil, t.notFree(device, err)
	}
	return release, nil
}

// notFree says why a device cannot be had.
func (t *Thread) notFree(device int32, err error) error {
	var mode int32
	why := ""
	var e *Error
	switch modeErr := t.call("cuDeviceGetAttribute", "", t.cuDeviceGetAttribute, uintptr(unsafe.Pointer(&mode)), attrComputeMode, uintptr(device)); {
	case errors.As(err, &e) && e.Code == codeOutOfMemory:
		why = "other processes have all its memory"
	case modeErr == nil && mode == modeProhibited:
		why = "its compute mode is Prohibited (nvidia-smi -q -d COMPUTE)"
	case modeErr == nil && mode == modeExclusive:
		why = "another process has it, and its compute mode is Exclusive_Process (nvidia-smi -q -d COMPUTE)"
	case errors.As(err, &e) && e.Code == codeUnavailable:
		why = "another process has it"
	default:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("cuda: %w: %s is not free: %s: %w", ErrUnavailable, t.info, why, err)
}

// do runs f. A panic of f goes on in the goroutine that gave it.
func (t *Thread) do(f func(*Thread) error) (err error) {
	if t.lost != nil {
		return t.lost
	}
	defer func() {
		if r := recover(); r != nil {
			err = panicked{r}
		}
	}()
	return f(t)
}

type panicked struct{ value any }

func (p panicked) Error() string { return fmt.Sprint(p.value) }

// check calls a function of the driver. An error after which the context cannot be used is kept.
//
//go:uintptrescapes
func (t *Thread) check(name, operands string, f uintptr, args ...uintptr) error {
	if t.lost != nil {
		return t.lost
	}
	err := t.call(name, operands, f, args...)
	if err != nil && errors.Is(err, ErrLost) {
		t.lost = fmt.Errorf("cuda: %w: %s, since %w", ErrLost, t.info, err)
		return t.lost
	}
	return err
}

// Info describes the device.
func (d *Device) Info() Info { return d.info }

// Do runs f on the device's thread and returns its error. Functions run one after the other, in the order in which they
// are given. When the device is lost, f is not run, and the error wraps [ErrLost].
//
// Do panics if the device is closed, or with what f panics with.
func (d *Device) Do(f func(*Thread) error) error {
	done := make(chan error, 1)
	d.work <- task{f, done}
	err := <-done
	if p, ok := err.(panicked); ok {
		panic(p.value)
	}
	return err
}

// Close gives the device up: memory, streams and modules that are still there go with the process's last device of
// this number. It waits for what runs.
func (d *Device) Close() {
	d.once.Do(func() {
		close(d.work)
		<-d.closed
	})
}

// Info describes the thread's device.
func (t *Thread) Info() Info { return t.info }
