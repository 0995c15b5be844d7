//go:build !unix

package main

import (
	"os"
	"os/exec"
)

// cpuSeconds is not known here.
func cpuSeconds() float64 { return 0 }

// peakBytes is not known here.
func peakBytes(*os.ProcessState) float64 { return 0 }

// group leaves cmd as it is: a cancelled context kills it alone.
func group(*exec.Cmd) {}
