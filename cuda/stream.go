//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package cuda

import (
	"errors"
	"fmt"
	"time"
	"unsafe"
)

// Stream is a queue of work on a device. What is in one stream is done in order; streams wait for each other by events
// alone.
type Stream struct {
	t  *Thread
	at uintptr
}

// streamNonBlocking: the stream does not wait for the legacy default stream.
const streamNonBlocking = 1

// NewStream makes a stream.
func (t *Thread) NewStream() (*Stream, error) {
	s := &Stream{t: t}
	return s, t.check("cuStreamCreate", "", t.cuStreamCreate, uintptr(unsafe.Pointer(&s.at)), streamNonBlocking)
}

// Close gives the stream up; what is in it is still done.
func (s *Stream) Close() error { return s.t.check("cuStreamDestroy", "", s.t.cuStreamDestroy, s.at) }

// Sync waits until everything in the stream is done. Errors of kernels are found here.
func (s *Stream) Sync() error {
	return s.t.check("cuStreamSynchronize", "", s.t.cuStreamSynchronize, s.at)
}

// Done says whether everything in the stream is done, without waiting.
func (s *Stream) Done() (bool, error) {
	return ready(s.t.check("cuStreamQuery", "", s.t.cuStreamQuery, s.at))
}

func ready(err error) (bool, error) {
	var e *Error
	if errors.As(err, &e) && e.Code == codeNotReady {
		return false, nil
	}
	return err == nil, err
}

// Sync waits until everything on the device is done.
func (t *Thread) Sync() error { return t.check("cuCtxSynchronize", "", t.cuCtxSynchronize) }

// Upload copies n bytes from offset of src to the device, in the stream. src must not change until that is done.
func (s *Stream) Upload(dst Pointer, src *Pinned, offset, n int) error {
	return s.t.check("cuMemcpyHtoDAsync", fmt.Sprintf("to %#x, %d bytes", dst, n), s.t.cuMemcpyHtoDAsync,
		uintptr(dst), src.within(offset, n), uintptr(n), s.at)
}

// Download copies n bytes from the device to offset of dst, in the stream.
func (s *Stream) Download(dst *Pinned, offset int, src Pointer, n int) error {
	return s.t.check("cuMemcpyDtoHAsync", fmt.Sprintf("from %#x, %d bytes", src, n), s.t.cuMemcpyDtoHAsync,
		dst.within(offset, n), uintptr(src), uintptr(n), s.at)
}

// Copy copies n bytes on the device, in the stream.
func (s *Stream) Copy(dst, src Pointer, n int) error {
	return s.t.check("cuMemcpyDtoDAsync", fmt.Sprintf("to %#x from %#x, %d bytes", dst, src, n), s.t.cuMemcpyDtoDAsync,
		uintptr(dst), uintptr(src), uintptr(n), s.at)
}

// Fill sets n words of 4 bytes to value, in the stream.
func (s *Stream) Fill(dst Pointer, value uint32, n int) error {
	return s.t.check("cuMemsetD32Async", fmt.Sprintf("%#x, %d words", dst, n), s.t.cuMemsetD32Async,
		uintptr(dst), uintptr(value), uintptr(n), s.at)
}

// Wait lets what is put into the stream from now on wait for an event, as it was recorded last.
func (s *Stream) Wait(e *Event) error {
	return s.t.check("cuStreamWaitEvent", "", s.t.cuStreamWaitEvent, s.at, e.at, 0)
}

// Event is a mark in a stream.
type Event struct {
	t     *Thread
	at    uintptr
	timed bool
}

const eventDisableTiming = 2

// NewEvent makes an event. Only those that are timed know when they were reached.
func (t *Thread) NewEvent(timed bool) (*Event, error) {
	e := &Event{t: t, timed: timed}
	flags := uintptr(eventDisableTiming)
	if timed {
		flags = 0
	}
	return e, t.check("cuEventCreate", "", t.cuEventCreate, uintptr(unsafe.Pointer(&e.at)), flags)
}

// Close gives the event up.
func (e *Event) Close() error { return e.t.check("cuEventDestroy", "", e.t.cuEventDestroy, e.at) }

// Record puts the event into a stream: it is reached when everything before it is done.
func (e *Event) Record(s *Stream) error {
	return e.t.check("cuEventRecord", "", e.t.cuEventRecord, e.at, s.at)
}

// Sync waits until the event is reached.
func (e *Event) Sync() error {
	return e.t.check("cuEventSynchronize", "", e.t.cuEventSynchronize, e.at)
}

// Done says whether the event is reached, without waiting.
func (e *Event) Done() (bool, error) {
	return ready(e.t.check("cuEventQuery", "", e.t.cuEventQuery, e.at))
}

// Since returns the time between two timed events that are reached, to about half a microsecond.
//
// Since panics if one of them is not timed.
func (e *Event) Since(begin *Event) (time.Duration, error) {
	if !e.timed || !begin.timed {
		panic("cuda: Since of events that are not timed")
	}
	var ms float32
	err := e.t.check("cuEventElapsedTime", "", e.t.cuEventElapsedTime, uintptr(unsafe.Pointer(&ms)), begin.at, e.at)
	return time.Duration(float64(ms) * float64(time.Millisecond)), err
}

// Graph is a recorded sequence of work that is launched as one.
type Graph struct {
	t  *Thread
	at uintptr // executable
}

// captureThreadLocal refuses calls that are unsafe in a capture, such as taking memory, to the thread that makes it.
const captureThreadLocal = 1

// Capture records what f puts into the stream, and into streams that are joined to it by events and joined back, instead of
// doing it. Parameters of kernels, addresses and sizes are those of now.
func (s *Stream) Capture(f func() error) (*Graph, error) {
	t := s.t
	if err := t.check("cuStreamBeginCapture", "", t.cuStreamBeginCapture, s.at, captureThreadLocal); err != nil {
		return nil, err
	}
	err := f()
	var graph uintptr
	if endErr := t.check("cuStreamEndCapture", "", t.cuStreamEndCapture, s.at, uintptr(unsafe.Pointer(&graph))); err == nil {
		err = endErr
	}
	if graph == 0 || err != nil {
		if graph != 0 {
			err = errors.Join(err, t.check("cuGraphDestroy", "", t.cuGraphDestroy, graph))
		}
		return nil, err
	}
	g := &Graph{t: t}
	err = t.check("cuGraphInstantiateWithFlags", "", t.cuGraphInstantiate, uintptr(unsafe.Pointer(&g.at)), graph, 0)
	if err := errors.Join(err, t.check("cuGraphDestroy", "", t.cuGraphDestroy, graph)); err != nil {
		return nil, err
	}
	return g, nil
}

// Launch puts the recorded work into a stream.
func (g *Graph) Launch(s *Stream) error {
	return g.t.check("cuGraphLaunch", "", g.t.cuGraphLaunch, g.at, s.at)
}

// Close gives the graph up, when it is not under way.
func (g *Graph) Close() error {
	return g.t.check("cuGraphExecDestroy", "", g.t.cuGraphExecDestroy, g.at)
}
