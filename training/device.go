package training

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"relsim/cuda"
	"relsim/graph"
	"relsim/kernel"
)

// Names of devices, as flags have them. CUDADevice may be followed by ":" and a number.
const (
	AutoDevice = "auto" // a GPU where one can be used, else the CPU
	CPUDevice  = "cpu"
	CUDADevice = "cuda"
)

// Device is what a model runs on.
type Device struct {
	GPU       *graph.GPU // nil: the CPU
	Precision kernel.Precision
	// Missing says why [AutoDevice] is the CPU; nil: it is not, or was not asked for.
	Missing error
	// Trouble says whether that is a driver or a device that is there and cannot be used, rather than none at all.
	Trouble bool

	device *cuda.Device
}

// ParseDevice takes the name of a device apart: any is to be taken (number -1), or that of this number. It is an error if
// there is no such name.
func ParseDevice(name string) (kind string, number int, err error) {
	kind, text, numbered := strings.Cut(name, ":")
	switch {
	case name == AutoDevice || name == CPUDevice || name == CUDADevice:
		return name, -1, nil
	case kind == CUDADevice && numbered:
		if n, err := strconv.ParseUint(text, 10, 16); err == nil {
			return kind, int(n), nil
		}
	}
	return "", 0, fmt.Errorf("%q: want %s, %s, %s or %s:N", name, AutoDevice, CPUDevice, CUDADevice, CUDADevice)
}

// OpenDevice opens the device of a name, to run in a precision: its name, or [AutoPrecision], which is bfloat16 on GPUs of
// compute capability 8.0 and later, and float32 elsewhere. Of several GPUs it takes the first that can be used, unless the
// name has a number. [AutoDevice] is the CPU where none can. Warn is told what is worth to know; it may be nil.
//
// An error about the precision is a [PrecisionError]. Close gives the device up.
func OpenDevice(name, precision string, warn func(string)) (*Device, error) {
	kind, number, err := ParseDevice(name)
	if err != nil {
		return nil, err
	}
	d := &Device{}
	if kind != CPUDevice {
		err := d.openGPU(number, precision, warn)
		var wrong *PrecisionError
		switch {
		case err == nil:
			return d, nil
		case kind == CUDADevice || errors.As(err, &wrong):
			return nil, oneLine{err}
		}
		d.Missing, d.Trouble = oneLine{err}, cuda.Supported && !errors.Is(err, cuda.ErrNoDriver)
	}
	if d.Precision, err = ChoosePrecision(precision); err != nil {
		return nil, &PrecisionError{err}
	}
	return d, nil
}

// openGPU opens the GPU of a number, or, below 0, the first that can be used.
func (d *Device) openGPU(number int, precision string, warn func(string)) error {
	list, err := cuda.Devices()
	if err != nil {
		return err
	}
	if number >= 0 {
		if number >= len(list) {
			return fmt.Errorf("there is no GPU %d: the driver sees %d, from 0 (CUDA_VISIBLE_DEVICES may hide some)", number, len(list))
		}
		return d.openOne(list[number], precision, warn)
	}
	var failed error
	for _, info := range list {
		err := d.openOne(info, precision, warn)
		if err == nil {
			return nil
		}
		failed = cmp.Or(failed, err)
	}
	if len(list) > 1 {
		return fmt.Errorf("none of %d GPUs can be used; the first: %w", len(list), failed)
	}
	return failed
}

func (d *Device) openOne(info cuda.Info, precision string, warn func(string)) error {
	p, err := gpuPrecision(info, precision)
	if err != nil {
		return &PrecisionError{err}
	}
	device, err := cuda.Open(info.Ordinal)
	if err != nil {
		return err
	}
	gpu, err := graph.NewGPU(device, graph.GPUConfig{Precision: p, Cache: cuda.OpenCodeCache("", warn), Warn: warn})
	if err != nil {
		device.Close()
		return err
	}
	d.GPU, d.Precision, d.device = gpu, p, device
	return nil
}

// Name is "the CPU", or what the GPU is called.
func (d *Device) Name() string {
	if d.GPU == nil {
		return "the CPU"
	}
	return d.GPU.Name()
}

// String says what models run on, in which precision, and why it is the CPU where a GPU might be expected.
func (d *Device) String() string {
	text := fmt.Sprintf("on %s in %v", d.Name(), d.Precision)
	if d.Missing != nil && !d.Trouble {
		text += ", as no GPU is found"
	}
	return text
}

// Close gives the device up; what runs on it is closed before.
func (d *Device) Close() error {
	if d.GPU == nil {
		return nil
	}
	err := d.GPU.Close()
	d.device.Close()
	d.GPU, d.device = nil, nil
	return err
}

// oneLine is an error whose text is on one line: several libraries that cannot be opened have one each.
type oneLine struct{ error }

func (e oneLine) Error() string {
	return strings.ReplaceAll(strings.TrimSpace(e.error.Error()), "\n", "; ")
}
func (e oneLine) Unwrap() error { return e.error }
