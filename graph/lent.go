package graph

import (
	"cmp"
	"slices"
)

// lent is the buffer of the gradients while a plan is laid out: each place is free for
// other values until the step that computes the gradient there.
type lent struct {
	free   arena
	places []place // by offset
}

// place is where a gradient will be.
type place struct {
	low, high int
	born      int // the step that computes it
}

// newLent returns the buffer with the places of sinks, in a plan of so many steps, or one without a
// place if it has no words. What lies between the places is not the Program's to use.
func newLent(sinks []sink, slots []slot, steps, words int) *lent {
	l := new(lent)
	if words == 0 {
		return l
	}
	for _, k := range sinks {
		born := k.step
		if born < 0 { // a leaf is delivered last
			born = steps
		}
		l.places = append(l.places, place{k.offset, k.offset + slots[k.slot].size, born})
	}
	slices.SortFunc(l.places, func(a, b place) int { return cmp.Compare(a.low, b.low) })
	for i := 0; i < len(l.places); {
		low, high := l.places[i].low, l.places[i].high
		for i++; i < len(l.places) && l.places[i].low == high; i++ {
			high = l.places[i].high
		}
		low, high = roundUp(low), high/lineWords*lineWords
		if low < high {
			l.free.release(low, high-low)
		}
	}
	return l
}

// fits reports whether no gradient within a window is computed before the end of step
// last.
func (l *lent) fits(offset, size, last int) bool {
	high, _ := l.run(offset, offset+roundUp(size), last)
	return high == offset+roundUp(size)
}

// run returns how far a value that is read by step last at the latest may reach from low
// on, within end, and where the next may begin.
func (l *lent) run(low, end, last int) (high, next int) {
	i, _ := slices.BinarySearchFunc(l.places, low, func(p place, low int) int { return cmp.Compare(p.high, low+1) })
	for ; i < len(l.places) && l.places[i].low < end; i++ {
		if l.places[i].born <= last {
			return max(low, l.places[i].low/lineWords*lineWords), roundUp(l.places[i].high)
		}
	}
	return end, end
}

// alloc returns the offset of a free window for a value that is read by step last at the
// latest, and whether there is one: the first that fits, or else the last.
//
// Parameters are declared in the order of the forward pass, so gradients are computed
// from the end of the buffer to its beginning. The values of a layer fit in the places of the
// layers before it: with the first window, what is over is left to the layers behind.
func (l *lent) alloc(size, last int, first bool) (offset int, ok bool) {
	size = roundUp(size)
	for _, w := range l.free.free {
		end := w.offset + w.size
		for low := w.offset; low+size <= end; {
			high, next := l.run(low, end, last)
			if high-low >= size {
				offset, ok = high-size, true
				if first {
					l.free.take(low, size)
					return low, true
				}
			}
			low = next
		}
	}
	if ok {
		l.free.take(offset, size)
	}
	return offset, ok
}

// take takes a window that lies in a free one.
func (a *arena) take(offset, size int) {
	i, found := slices.BinarySearchFunc(a.free, offset, func(w window, offset int) int { return cmp.Compare(w.offset, offset) })
	if !found {
		i--
	}
	w := a.free[i]
	rest := make([]window, 0, 2)
	if w.offset < offset {
		rest = append(rest, window{w.offset, offset - w.offset})
	}
	if end := offset + size; end < w.offset+w.size {
		rest = append(rest, window{end, w.offset + w.size - end})
	}
	a.free = slices.Replace(a.free, i, i+1, rest...)
}
