//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"cmp"
	"errors"
	"sync"
	"unsafe"

	"relsim/cuda"
)

// gpuStage is a stop on the way of an input to the device: it goes to pinned memory, from there to the device in a stream of
// its own, while ops of the run before are under way, and then to the place where the ops of this run read it. An input has
// two: the host may be two runs ahead.
type gpuStage struct {
	pin    *cuda.Pinned
	at     cuda.Pointer
	copied *cuda.Event // the device has it
	taken  *cuda.Event // and it is in its place: the stage may be used again
	used   bool
}

// gpuStages are the two stages of an input, and which of them is the next run's.
type gpuStages struct {
	both [2]gpuStage
	turn int
}

// word is an element of an input.
type word interface{ ~float32 | ~int32 }

// bytesOf returns the memory of words.
func bytesOf[T word](s []T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), 4*len(s)) }

// parallel is from how many bytes on several goroutines copy to pinned memory: one of them does some 10 GB/s.
const parallel = 4 << 20

// copyBytes copies from to dst, of the same length.
func copyBytes(dst, from []byte) {
	if len(from) < parallel {
		copy(dst, from)
		return
	}
	const parts = 4
	var all sync.WaitGroup
	for i := range parts {
		low, high := i*len(from)/parts, (i+1)*len(from)/parts
		all.Go(func() { copy(dst[low:high], from[low:high]) })
	}
	all.Wait()
}

// stage brings the same number of elements of each of parts to places on the device. They are read before it returns, and the host
// waits for no more than the run before the last.
func stage[T word](e *gpuEngine, t *cuda.Thread, leaf *gpuLeaf, parts [][]T, places []cuda.Pointer) error {
	n := 4 * len(parts[0])
	s, err := e.nextStage(t, &leaf.stages, n*len(parts))
	if err != nil {
		return err
	}
	for i, part := range parts {
		copyBytes(s.pin.Bytes[i*n:(i+1)*n], bytesOf(part))
	}
	return e.send(s, n*len(parts), func() (err error) {
		for i, to := range places {
			err = cmp.Or(err, e.gpu.stream.Copy(to, s.at.Add(i*n), n))
		}
		return err
	})
}

// Pixels that a block of the kernel pixels takes.
const pixelsPerBlock = 4096

// stagePictures is stage of pictures: their tables and pixels go to the device, where their values are looked up.
func (e *gpuEngine) stagePictures(t *cuda.Thread, leaf *gpuLeaf, to cuda.Pointer) error {
	tables, n := 4*len(leaf.tables), 4*len(leaf.tables)+len(leaf.pixels)
	s, err := e.nextStage(t, &leaf.bytes, n)
	if err != nil {
		return err
	}
	copyBytes(s.pin.Bytes[:tables], bytesOf(leaf.tables))
	copyBytes(s.pin.Bytes[tables:n], leaf.pixels)
	return e.send(s, n, func() error {
		planes := leaf.planes()
		plane := len(leaf.pixels) / planes
		blocks := (plane + pixelsPerBlock - 1) / pixelsPerBlock
		q := e.queue(t)
		q.launch("pixels", cuda.Dim{X: planes * blocks}, cuda.Dim{X: 256}, 0, q.args(to, s.at.Add(tables), s.at).Int32(plane).Int32(blocks))
		return q.err
	})
}

// nextStage returns the stage of this run, of n bytes, which are the same number each time. The device needs nothing of it
// any more.
func (e *gpuEngine) nextStage(t *cuda.Thread, of *gpuStages, n int) (*gpuStage, error) {
	s := &of.both[of.turn]
	of.turn = 1 - of.turn
	if s.pin == nil {
		return s, e.openStage(t, s, n)
	}
	if s.used {
		return s, s.taken.Sync()
	}
	return s, nil
}

// send brings n bytes of a stage to the device; take puts into the queue what brings them to their place.
func (e *gpuEngine) send(s *gpuStage, n int, take func() error) error {
	g := e.gpu
	err := cmp.Or(g.up.Upload(s.at, s.pin, 0, n), s.copied.Record(g.up), g.stream.Wait(s.copied))
	if err == nil {
		err = take()
	}
	s.used = true
	return cmp.Or(err, s.taken.Record(g.stream))
}

func (e *gpuEngine) openStage(t *cuda.Thread, s *gpuStage, n int) (err error) {
	if s.at == 0 {
		if s.at, err = e.take(t, (n+3)/4); err != nil {
			return err
		}
	}
	if s.copied == nil {
		if s.copied, err = t.NewEvent(false); err != nil {
			return err
		}
	}
	if s.taken == nil {
		if s.taken, err = t.NewEvent(false); err != nil {
			return err
		}
	}
	s.pin, err = t.AllocPinned(n)
	return err
}

// closeStages gives up what stages have but the memory of the device. Nothing may be under way.
func (e *gpuEngine) closeStages(t *cuda.Thread) error {
	var errs []error
	for i := range e.leaves {
		for _, stages := range []*gpuStages{&e.leaves[i].stages, &e.leaves[i].bytes} {
			for j := range stages.both {
				errs = append(errs, stages.both[j].close(t))
			}
		}
	}
	return errors.Join(errs...)
}

func (s *gpuStage) close(t *cuda.Thread) error {
	var errs []error
	if s.pin != nil {
		errs = append(errs, t.FreePinned(s.pin))
	}
	for _, event := range []*cuda.Event{s.copied, s.taken} {
		if event != nil {
			errs = append(errs, event.Close())
		}
	}
	*s = gpuStage{}
	return errors.Join(errs...)
}
