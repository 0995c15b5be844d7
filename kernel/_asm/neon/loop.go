package main

// place is where the body of a loop is at work: on a whole vector, or on a single
// element in the lowest lane.
type place struct {
	f   *function
	u   int  // number of the unrolled copy
	one bool // a single element
}

// load reads a vector. With a single element the other lanes are zero.
func (at place) load(p R) V {
	v := at.f.vec()
	if at.one {
		at.f.line("FMOVS (R%d), F%d", p, v)
	} else {
		at.f.line("FMOVQ %d(R%d), F%d", 16*at.u, p, v)
	}
	return v
}

// fill is load with a single element in every lane.
func (at place) fill(p R) V {
	v := at.load(p)
	if at.one {
		at.f.line("VDUP V%d.S[0], V%d.S4", v, v)
	}
	return v
}

func (at place) store(v V, p R) {
	if at.one {
		at.f.line("FMOVS F%d, (R%d)", v, p)
	} else {
		at.f.line("FMOVQ F%d, %d(R%d)", v, 16*at.u, p)
	}
}

// drop clears the lanes of v that hold no element.
func (at place) drop(v V) {
	if at.one {
		at.f.line("FMOVS F%d, F%d", v, v)
	}
}

// widen reads a vector as float64, in two registers, or in one if there is a single
// element.
func (at place) widen(p R) []V {
	v := at.load(p)
	if at.one {
		at.f.do(fcvtl, v, v)
		return []V{v}
	}
	high := at.f.vec()
	at.f.do(fcvtl2, high, v)
	at.f.do(fcvtl, v, v)
	return []V{v, high}
}

// loop runs body over n elements: unroll vectors at a time, then one, then element
// by element, and each time advances the pointers to float32 and, twice as far, those
// to float64. It leaves n as it is. The name makes its labels.
func (f *function) loop(name string, n R, unroll int, pointers, wide []R, body func(at place)) {
	f.scope(func() {
		left := f.gp()
		f.line("MOVD R%d, R%d", n, left)
		stage := func(label string, elements int, copies func()) {
			f.line("SUBS $%d, R%d", elements, left)
			f.line("BLT %s%s_done", name, label)
			f.label(name + label)
			copies()
			for _, p := range pointers {
				f.line("ADD $%d, R%d", 4*elements, p)
			}
			for _, p := range wide {
				f.line("ADD $%d, R%d", 8*elements, p)
			}
			f.line("SUBS $%d, R%d", elements, left)
			f.line("BGE %s%s", name, label)
			f.label(name + label + "_done")
			f.line("ADD $%d, R%d", elements, left)
		}
		if unroll > 1 {
			stage("many", 4*unroll, func() {
				for u := range unroll {
					f.scope(func() { body(place{f: f, u: u}) })
				}
			})
		}
		stage("four", 4, func() { f.scope(func() { body(place{f: f}) }) })
		stage("one", 1, func() { f.scope(func() { body(place{f: f, one: true}) }) })
	})
}

// fold combines vectors pairwise into the first.
func (f *function) fold(op instruction, vs []V) V {
	for n := len(vs) / 2; n > 0; n /= 2 {
		for i := range n {
			f.do(op, vs[i], vs[i], vs[i+n])
		}
	}
	return vs[0]
}

// sum adds the lanes of the vectors up, into the lowest one.
func (f *function) sum(vs []V) V {
	v := f.fold(fadd, vs)
	f.do(faddp, v, v, v)
	f.do(faddps, v, v)
	return v
}

// sum64 is sum of float64.
func (f *function) sum64(vs []V) V {
	v := f.fold(fadd64, vs)
	f.do(faddp64, v, v)
	return v
}
