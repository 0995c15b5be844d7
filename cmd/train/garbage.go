package main

import (
	"os"
	"runtime"
	"runtime/debug"

	"relsim/training"
)

// garbage is how much garbage may lie about before it is collected, where the default of Go would wait for as much as
// there is live memory: for a large model, that of weights, gradients and moments once more. They hold no pointers, so
// that more collections cost next to nothing.
const garbage = 256 << 20

// bounded has the garbage bounded when a run begins, with its model in memory.
func bounded(watch training.Observer) training.Observer {
	start := watch.Start
	watch.Start = func(info training.StartInfo) {
		boundGarbage()
		start(info)
	}
	return watch
}

// boundGarbage sets the collector by the memory that is live now, unless the user has chosen by GOGC.
func boundGarbage() {
	if os.Getenv("GOGC") != "" {
		return
	}
	runtime.GC() // what the data and the model left behind
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetGCPercent(garbagePercent(m.HeapAlloc))
}

// garbagePercent is the share of live memory that garbage may grow to: never more than the default of Go.
func garbagePercent(live uint64) int {
	return int(min(100, max(5, 100*garbage/max(live, 1))))
}
