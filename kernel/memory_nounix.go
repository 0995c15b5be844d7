//go:build !unix

package kernel

import "errors"

// mapMemory has no call of the system to make.
func mapMemory(int) ([]byte, error) { return nil, errors.ErrUnsupported }

// unmapMemory is not reached: mapMemory maps nothing.
func unmapMemory([]byte) {}
