//go:build !((linux || darwin || windows) && (amd64 || arm64) && !android && !ios && !noturbo && !nogpu)

package jpeg

import (
	"errors"
)

func open() (*library, error) {
	return nil, errors.New("jpeg: this build does not load libturbojpeg")
}
