package viewer

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isInUse knows the errors of an address in use that errors.Is does not.
func isInUse(err error) bool {
	return errors.Is(err, windows.WSAEADDRINUSE) || errors.Is(err, windows.WSAEACCES)
}
