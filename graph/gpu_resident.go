//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package graph

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"relsim/cuda"
)

// Resident is a copy on the device of a slice of the host. A Program of the GPU that is bound to a part of that slice
// ([Program.SetFloats], [Program.SetGrad], Config.Lent, the upstream of [Program.Backward], [Program.CopyValue])
// takes the copy instead: what the host has is neither read nor written until it is asked for.
type Resident struct {
	gpu  *GPU
	host []float32
	low  uintptr // the address of host, which the Resident keeps where it is
	at   cuda.Pointer

	copied *cuda.Event // until then a snapshot reads it; of the device's goroutine
}

// Resident makes a copy of host on the device, with the values of now. It is an error if a part of host has one. A buffer
// that is lent to a Program (Config.Lent) needs its Resident before the Program is compiled.
func (g *GPU) Resident(host []float32) (*Resident, error) {
	if len(host) == 0 {
		return nil, errors.New("graph: GPU: resident: the slice is empty")
	}
	r := &Resident{gpu: g, host: host, low: uintptr(unsafe.Pointer(&host[0]))}
	i := g.behind(r.low)
	if i > 0 && g.residents[i-1].high() > r.low || i < len(g.residents) && r.high() > g.residents[i].low {
		return nil, fmt.Errorf("graph: GPU: resident: a part of the %d elements is resident already", len(host))
	}
	err := g.do(func(t *cuda.Thread) (err error) {
		if r.at, err = t.Alloc(4 * len(host)); err != nil {
			return err
		}
		if err = cuda.Upload(t, r.at, host); err != nil {
			return errors.Join(err, t.Free(r.at))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("graph: GPU: resident of %d elements: %w", len(host), err)
	}
	g.residents = slices.Insert(g.residents, i, r)
	g.version++
	return r, nil
}

// high is the address behind the slice.
func (r *Resident) high() uintptr { return r.low + 4*uintptr(len(r.host)) }

// behind is the number of the first resident that begins behind an address.
func (g *GPU) behind(address uintptr) int {
	i, _ := slices.BinarySearchFunc(g.residents, address+1, func(r *Resident, a uintptr) int { return cmp.Compare(r.low, a) })
	return i
}

// find returns where s is on the device, and what it is a part of, 0 and nil if it is not resident. One that is so in part
// is an error.
func (g *GPU) find(s []float32) (cuda.Pointer, *Resident, error) {
	if len(s) == 0 {
		return 0, nil, nil
	}
	low := uintptr(unsafe.Pointer(&s[0]))
	high := low + 4*uintptr(len(s))
	i := g.behind(low)
	if i > 0 && g.residents[i-1].high() > low {
		r := g.residents[i-1]
		if high > r.high() {
			return 0, nil, fmt.Errorf("a slice of %d elements reaches %d beyond the end of what is resident", len(s), (high-r.high())/4)
		}
		return r.at.Add(int(low - r.low)), r, nil
	}
	if i < len(g.residents) && high > g.residents[i].low {
		return 0, nil, fmt.Errorf("of a slice of %d elements the first %d are not resident", len(s), (g.residents[i].low-low)/4)
	}
	return 0, nil, nil
}

// Holds says whether a slice is a part of a resident.
func (g *GPU) Holds(part []float32) bool {
	_, r, err := g.find(part)
	return err == nil && r != nil
}

var errResidentClosed = errors.New("graph: GPU: the resident is closed")

// copy waits for what is in the queue, and runs f.
func (r *Resident) copy(what string, f func(t *cuda.Thread) error) error {
	if r.at == 0 {
		return fmt.Errorf("%w: %s", errResidentClosed, what)
	}
	err := r.gpu.do(func(t *cuda.Thread) error { return cmp.Or(r.gpu.writes(r), r.gpu.stream.Sync(), f(t)) })
	if err != nil {
		return fmt.Errorf("graph: GPU: %s of %d elements: %w", what, len(r.host), err)
	}
	return nil
}

// Upload brings the values of the host to the device, behind what is in the queue, and waits.
func (r *Resident) Upload() error {
	return r.copy("upload", func(t *cuda.Thread) error { return cuda.Upload(t, r.at, r.host) })
}

// Download brings the values of the device to the host, when what is in the queue is done.
func (r *Resident) Download() error {
	return r.copy("download", func(t *cuda.Thread) error { return cuda.Download(t, r.host, r.at) })
}

// Fetch brings the values of a part of a resident to the host, as [Resident.Download] does.
func (g *GPU) Fetch(part []float32) error {
	err := g.do(func(t *cuda.Thread) error {
		at, r, err := g.find(part)
		if err != nil || r == nil {
			return cmp.Or(err, fmt.Errorf("%d elements are not resident", len(part)))
		}
		return cmp.Or(g.stream.Sync(), cuda.Download(t, part, at))
	})
	if err != nil {
		return fmt.Errorf("graph: GPU: fetch: %w", err)
	}
	return nil
}

// Close gives the memory on the device back, with the values there. Programs that are bound to the slice copy it from
// then on.
func (r *Resident) Close() error {
	if r.at == 0 {
		return nil
	}
	g := r.gpu
	g.residents = slices.DeleteFunc(g.residents, func(other *Resident) bool { return other == r })
	g.version++
	at := r.at
	r.at = 0
	if err := g.do(func(t *cuda.Thread) error { return t.Free(at) }); err != nil {
		return fmt.Errorf("graph: GPU: close a resident of %d elements: %w", len(r.host), err)
	}
	return nil
}
