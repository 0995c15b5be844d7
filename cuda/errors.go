package cuda

import (
	"errors"
	"fmt"
)

var (
	// ErrUnavailable is wrapped where there is no device to use: no driver, one that is too old, no device, or a build
	// without GPUs.
	ErrUnavailable = errors.New("no GPU can be used")
	// ErrNoDriver is wrapped, with ErrUnavailable, where no driver is found under the names that systems give it.
	ErrNoDriver = fmt.Errorf("%w: the NVIDIA driver is not installed, or not where it is looked for", ErrUnavailable)
	// ErrLost is wrapped where the device's context cannot be used any more.
	ErrLost = errors.New("the device is lost")
	// ErrOutOfMemory is wrapped where the device has too little memory.
	ErrOutOfMemory = errors.New("out of memory")
)

// missing is an error about a library without which GPUs can be used all the same.
type missing struct {
	text  string
	cause error // nil: none
}

func (m *missing) Error() string { return m.text }

// Is lets errors.Is find [ErrUnavailable].
func (m *missing) Is(target error) bool { return target == ErrUnavailable }

func (m *missing) Unwrap() error { return m.cause }

// missingf makes one; an error among the operands is its cause.
func missingf(format string, operands ...any) error {
	m := &missing{text: fmt.Sprintf(format, operands...)}
	for _, o := range operands {
		if err, ok := o.(error); ok {
			m.cause = err
		}
	}
	return m
}

// Error is a call of the driver, or of a library of CUDA, that failed.
type Error struct {
	Call     string // such as "cuMemAlloc"
	Operands string // what it was given; may be empty
	Code     int
	Name     string // such as "CUDA_ERROR_OUT_OF_MEMORY"
	Detail   string // what else is known

	foreign bool // the code is not the driver's, but another library's
}

func (e *Error) Error() string {
	s := "cuda: " + e.Call
	if e.Operands != "" {
		s += "(" + e.Operands + ")"
	}
	s += fmt.Sprintf(": %s (%d)", e.Name, e.Code)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Is lets errors.Is find the kinds of errors above.
func (e *Error) Is(target error) bool {
	switch {
	case e.foreign:
		return false
	case target == ErrOutOfMemory:
		return e.Code == codeOutOfMemory
	}
	return target == ErrLost && sticky(e.Code)
}

// Codes of the driver, cuda.h.
const (
	codeOutOfMemory = 2
	codeUnavailable = 46
	codeNotFound    = 500
	codeNotReady    = 600
)

// sticky says whether a code leaves the context unusable.
func sticky(code int) bool {
	switch code {
	case 4, // CUDA_ERROR_DEINITIALIZED
		214,                          // CUDA_ERROR_ECC_UNCORRECTABLE
		220,                          // CUDA_ERROR_NVLINK_UNCORRECTABLE
		226,                          // CUDA_ERROR_CONTAINED
		700,                          // CUDA_ERROR_ILLEGAL_ADDRESS
		702,                          // CUDA_ERROR_LAUNCH_TIMEOUT
		709,                          // CUDA_ERROR_CONTEXT_IS_DESTROYED
		710,                          // CUDA_ERROR_ASSERT
		714, 715, 716, 717, 718, 719, // of the hardware, the instructions and the launch
		721, // CUDA_ERROR_TENSOR_MEMORY_LEAK
		999: // CUDA_ERROR_UNKNOWN
		return true
	}
	return false
}
