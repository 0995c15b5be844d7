package training

import (
	"fmt"

	"relsim/cuda"
	"relsim/kernel"
)

// AutoPrecision stands for float32 on CPUs, wherever the program runs: another precision is a choice. On GPUs see [OpenDevice].
const AutoPrecision = "auto"

// PrecisionError says that a precision is not one, or that a device has no instructions for it.
type PrecisionError struct{ Err error }

func (e *PrecisionError) Error() string { return e.Err.Error() }
func (e *PrecisionError) Unwrap() error { return e.Err }

// ChoosePrecision returns the precision of that name on the CPU. It is an error if there is none, and if the processor has
// no instructions for it.
func ChoosePrecision(name string) (kernel.Precision, error) {
	if name == AutoPrecision {
		return kernel.Float32, nil
	}
	precision, err := parsePrecision(name)
	if err != nil {
		return 0, err
	}
	return precision, kernel.CheckPrecision(precision)
}

// tensorCores is the compute capability from which on GPUs multiply in bfloat16 and TF32.
const tensorCores = 80

// gpuPrecision is [ChoosePrecision] for a GPU.
func gpuPrecision(info cuda.Info, name string) (kernel.Precision, error) {
	if name == AutoPrecision {
		if info.Arch() >= tensorCores {
			return kernel.BF16, nil
		}
		return kernel.Float32, nil
	}
	precision, err := parsePrecision(name)
	if err == nil && precision != kernel.Float32 && info.Arch() < tensorCores {
		err = fmt.Errorf("%s has no instructions for it: want compute capability %d.%d or more", info, tensorCores/10, tensorCores%10)
	}
	return precision, err
}

// CheckPrecisionName returns an error if no precision has that name.
func CheckPrecisionName(name string) error {
	if name == AutoPrecision {
		return nil
	}
	_, err := parsePrecision(name)
	return err
}

func parsePrecision(name string) (kernel.Precision, error) {
	precision, err := kernel.ParsePrecision(name)
	if err != nil {
		return 0, fmt.Errorf("%w, or %s", err, AutoPrecision)
	}
	return precision, nil
}
