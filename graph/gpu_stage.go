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

// word is an element of an input.
type word interface{ ~float32 | ~int32 }

// parallel is from how many bytes on several goroutines copy to pinned memory: one of them does some 10 GB/s.
const parallel = 4 << 20

// copyWords copies src to dst, at the same place of both.
func copyWords[T word](dst []byte, src []T) {
	from := unsafe.Slice((*byte)(unsafe.Pointer(&src[0])), 4*len(src))
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
func stage[T word](e *gpuEngine, t *cuda.Thread, leaf *gpuLeaf, parts [][]T, places []cuda.Pointer) (err error) {
	s := &leaf.stages[leaf.turn]
	leaf.turn = 1 - leaf.turn
	n := 4 * len(parts[0])
	if s.pin == nil {
		if err := e.openStage(t, s, n*len(parts)); err != nil {
			return err
		}
	} else if s.used {
		if err := s.taken.Sync(); err != nil {
			return err
		}
	}
	for i, part := range parts {
		copyWords(s.pin.Bytes[i*n:(i+1)*n], part)
	}
	g := e.gpu
	err = cmp.Or(g.up.Upload(s.at, s.pin, 0, n*len(parts)), s.copied.Record(g.up), g.stream.Wait(s.copied))
	for i, to := range places {
		err = cmp.Or(err, g.stream.Copy(to, s.at.Add(i*n), n))
	}
	s.used = true
	return cmp.Or(err, s.taken.Record(g.stream))
}

func (e *gpuEngine) openStage(t *cuda.Thread, s *gpuStage, n int) (err error) {
	if s.at == 0 {
		if s.at, err = e.take(t, n/4); err != nil {
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
		for j := range e.leaves[i].stages {
			s := &e.leaves[i].stages[j]
			if s.pin != nil {
				errs = append(errs, t.FreePinned(s.pin))
			}
			for _, event := range []*cuda.Event{s.copied, s.taken} {
				if event != nil {
					errs = append(errs, event.Close())
				}
			}
			*s = gpuStage{}
		}
	}
	return errors.Join(errs...)
}
