package training

import (
	"fmt"

	"relsim/kernel"
)

// AutoPrecision stands for float32, wherever the program runs: another precision is a choice.
const AutoPrecision = "auto"

// ChoosePrecision returns the precision of that name. It is an error if there is none, and if the processor has no
// instructions for it.
func ChoosePrecision(name string) (kernel.Precision, error) {
	if name == AutoPrecision {
		return kernel.Float32, nil
	}
	precision, err := kernel.ParsePrecision(name)
	if err != nil {
		return 0, fmt.Errorf("%w, or %s", err, AutoPrecision)
	}
	return precision, kernel.CheckPrecision(precision)
}
