// Package cuda drives NVIDIA GPUs without cgo: it opens the driver (libcuda, nvcuda.dll) when it is asked for a device, and
// not before.
//
// A [Device] has a goroutine that is locked to its OS thread, on which the device's primary context is current. What
// is to happen on the device is a function of a [Thread], given to [Device.Do]; handing it over costs some 20 µs, so
// a whole training step is one such function. The methods of a Thread, and of the streams, events, modules and graphs that come
// from it, may be called only from there.
//
// Copies that go on while the program does may touch memory of the device and [Pinned] memory, never memory of Go.
//
// Errors name the call, what it was given and the driver's code. After an error that leaves the context unusable
// (an illegal address, a failed launch, a device that has gone) every later call says so: [ErrLost].
//
// With the build tag nogpu, and on systems without a driver, [Open] returns an error that wraps [ErrUnavailable].
package cuda
