package graph

import (
	"fmt"

	"gorgonia.org/tensor"

	"relsim/kernel"
)

// pictures are bytes that are bound to a leaf (B, 3, H, W) in place of its values: value i, which is in plane
// i / (H·W) of 3·B, is tables[256·plane + pixels[i]].
type pictures struct {
	pixels []byte
	tables []float32
}

// planes is the number of planes.
func (s pictures) planes() int { return len(s.tables) / 256 }

// expand writes the values to dst.
func (s pictures) expand(pool *kernel.Pool, dst []float32) {
	n := len(s.pixels) / s.planes()
	pool.Run(s.planes(), func(p int) {
		table := (*[256]float32)(s.tables[256*p:])
		from, to := s.pixels[p*n:(p+1)*n], dst[p*n:(p+1)*n]
		for i, v := range from {
			to[i] = table[v]
		}
	})
}

// SetPixels binds an input of pictures (B, 3, H, W) to 8-bit pixels of that shape and a table of 256 values for each picture
// and channel, (B, 3, 256): value i of a plane is the table's value of its pixel i. It stands for [Program.SetFloats] of
// these values, to the bit, and is read at each run likewise. A GPU is given the pixels, a quarter of the bytes, and looks
// them up; the CPU does so before each run, into memory of the Program.
func (p *Program) SetPixels(n *Node, pixels []byte, tables []float32) error {
	i, err := p.leafOf("set pixels", n, len(pixels), tensor.Float32)
	if err != nil {
		return err
	}
	shape := operandOf(n).dims
	switch {
	case shape.n != 4 || shape.d[1] != 3 || len(pixels) == 0:
		return fmt.Errorf("graph: set pixels: %s is %v, want pictures (B, 3, H, W)", describeNode(n), shape)
	case len(tables) != 256*3*shape.d[0]:
		return fmt.Errorf("graph: set pixels: %s is %v, got tables of %d values, want %d·3·256", describeNode(n), shape, len(tables), shape.d[0])
	case i < 0:
		return nil
	case p.plan.leaves[i].param:
		return fmt.Errorf("graph: set pixels: %s is a parameter, want an input", describeNode(n))
	}
	p.engine.bindPixels(i, pictures{pixels, tables})
	p.bound[i] = true
	return nil
}
