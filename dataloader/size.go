package dataloader

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseBytes reads an amount of memory: a positive number of bytes, or of KiB, MiB,
// GiB or TiB, which are 1024, 1024², … bytes: "20GiB", "1.5 TiB", "4096".
func ParseBytes(s string) (int64, error) {
	number, unit := strings.TrimSpace(s), 1.0
	for i, name := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if rest, ok := strings.CutSuffix(number, name); ok {
			number, unit = strings.TrimSpace(rest), math.Pow(1024, float64(i+1))
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if n := v * unit; err == nil && n >= 1 && n <= 1<<60 {
		return int64(n), nil
	}
	return 0, fmt.Errorf("dataloader: %q: want an amount such as 20GiB, 500MiB or 4096", s)
}
