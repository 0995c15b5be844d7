package kernel

import "unsafe"

// attentionBF16 does the products of attention in bfloat16; softmax and its gradient are
// those of float32. Probabilities and their gradients are rounded as operands of
// products, not where they are summed. Heads whose width is not a multiple of 32 stay in
// float32: filling their tiles up takes longer than the products.
type attentionBF16 struct {
	unit   *bf16Kernel // nil for float32
	t      bf16Tile
	config [64]byte
	edge   [bf16Values]float32
	a, b   []uint16
}

// halves is the memory of x as bfloat16.
func halves(x []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*wordSize/halfSize)
}

// packT packs src (n, k) as the (k, n) operand of a product.
func (w *attentionBF16) packT(dst []float32, n, k int, src []float32, lds int) []float32 {
	depth := ceilDiv(k, bf16Depth)
	dst = room(dst, ceilDiv(n, bf16Side)*depth*bf16Values*halfSize/wordSize)
	packBF16(&w.edge, halves(dst), depth, src, lds, true, w.unit.rowsB, w.unit.colsB, 0, n, 0, k)
	return dst
}

// product is [attentionWork.product].
func (w *attentionBF16) product(m, n, k int, a []float32, aRow, aStep int, b []float32, bStep, packed int, c []float32, cRow int, accumulate bool) {
	u, depth := w.unit, ceilDiv(k, bf16Depth)
	w.t.config = &w.config
	w.a = roomHalves(w.a, ceilDiv(m, bf16Side)*depth*bf16Values)
	packBF16(&w.edge, w.a, depth, a, max(aRow, aStep), aStep == 1, u.rowsA, u.colsA, 0, m, 0, k)
	columns := halves(b)
	if packed == 0 {
		w.b = roomHalves(w.b, ceilDiv(n, bf16Side)*depth*bf16Values)
		packBF16(&w.edge, w.b, depth, b, bStep, false, u.rowsB, u.colsB, 0, n, 0, k)
		columns = w.b
	}
	for j := 0; j < n; j += u.panel * bf16Side {
		var init *float32
		if accumulate {
			init = &c[j]
		}
		u.sums(&w.t, m, min(n-j, u.panel*bf16Side), w.a, columns[j/bf16Side*depth*bf16Values:], depth, c[j:], cRow, init, cRow*wordSize)
	}
}
