package kernel

import (
	"os"
	"strconv"
	"strings"
)

// level2Cache returns the size in bytes of the level-2 cache of the first processor, 0
// if the system does not tell.
func level2Cache() int {
	text, err := os.ReadFile("/sys/devices/system/cpu/cpu0/cache/index2/size")
	if err != nil {
		return 0
	}
	return parseCacheSize(string(text))
}

// parseCacheSize reads a size as "2048K", 0 if it is none.
func parseCacheSize(text string) int {
	number, ok := strings.CutSuffix(strings.TrimSpace(text), "K")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 || n > 1<<20 {
		return 0
	}
	return n << 10
}
