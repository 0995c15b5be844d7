package command

import (
	"errors"
	"fmt"

	"relsim/training"
)

// CheckDevice looks at --device and --precision by themselves.
func CheckDevice(name, precision string) error {
	if _, _, err := training.ParseDevice(name); err != nil {
		return Usagef("--device %w", err)
	}
	if err := training.CheckPrecisionName(precision); err != nil {
		return Usagef("--precision %s: %w", precision, err)
	}
	return nil
}

// Device opens what --device and --precision name: see [training.OpenDevice]. A name that is none, and a precision that the
// device does not have, are errors of the command line. Warn is told what the user should know.
func Device(name, precision string, warn func(string)) (*training.Device, error) {
	if err := CheckDevice(name, precision); err != nil {
		return nil, err
	}
	d, err := training.OpenDevice(name, precision, warn)
	var wrong *training.PrecisionError
	switch {
	case errors.As(err, &wrong):
		return nil, Usagef("--precision %s: %w", precision, err)
	case err != nil:
		return nil, fmt.Errorf("--device %s: %w", name, err)
	}
	if d.Trouble {
		warn(fmt.Sprintf("going on with the CPU: %v", d.Missing))
	}
	return d, nil
}
