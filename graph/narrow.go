package graph

// narrow replaces steps of the backward phase that give the gradients of several
// operands, where only the first is wanted, by steps that compute no other and
// read less: the norms and scales of frozen layers are such. A graph has the steps
// with all gradients, since it is not known there which are wanted.
func (p *planner) narrow(gradients []*Node) {
	wanted := make([]bool, len(p.slots))
	for _, n := range gradients {
		wanted[p.slotOf(n)] = true
	}
	for i := p.forward; i < len(p.steps); i++ {
		s := &p.steps[i]
		others := false
		for _, out := range s.out[1:] {
			others = others || wanted[out] || p.keep[out] || p.reads[out] > 0
		}
		if others {
			continue
		}
		switch k := s.kind.(type) {
		case layerNormGrad:
			s.kind, s.out = layerNormGradX(k), s.out[:1]
		case columnScaleGrad:
			s.kind, s.in, s.out = columnScale(k), []int{s.in[0], s.in[2]}, s.out[:1]
		}
	}
	p.trace()
}
