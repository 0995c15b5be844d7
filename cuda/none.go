//go:build !((linux || windows) && (amd64 || arm64) && !android && !nogpu)

package cuda

import "fmt"

var errBuild = fmt.Errorf("cuda: %w: this build has no support for GPUs", ErrUnavailable)

// Supported says whether this build can use GPUs at all.
const Supported = false

// Devices returns an error that wraps [ErrUnavailable].
func Devices() ([]Info, error) { return nil, errBuild }

// OpenFree returns an error that wraps [ErrUnavailable].
func OpenFree() (*Device, error) { return nil, errBuild }

// Device is a GPU; this build can open none.
type Device struct{}

// Open returns an error that wraps [ErrUnavailable].
func Open(ordinal int) (*Device, error) { return nil, errBuild }

// Close does nothing.
func (*Device) Close() {}
