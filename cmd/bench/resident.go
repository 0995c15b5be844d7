package main

import (
	"fmt"
	"os"
)

// residentBytes returns the memory that this process holds now, 0 where it is not
// known.
func residentBytes() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0
	}
	return float64(resident) * float64(os.Getpagesize())
}
