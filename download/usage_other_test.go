//go:build !unix

package download

import "time"

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }
