//go:build amd64 && !noasm

package kernel

func init() {
	bf16Kernels.add(AVX512BF16, &bf16Kernel{3, runBF16Dot, packBF16Rows, packBF16PairsT, packBF16RowsT, packBF16Pairs})
	bf16Kernels.add(AMX, &bf16Kernel{2, runBF16Tiles, packBF16Rows, packBF16PairsT, packBF16RowsT, packBF16Pairs})
}

var bf16Dots = [4]func(*int){nil, bf16Dot8x16, bf16Dot8x32, bf16Dot8x48}

// runBF16Dot does 8 rows at a time, half a tile of A.
func runBF16Dot(t *bf16Tile, rows, cols int) {
	const mr = 8
	tiles := ceilDiv(cols, bf16Side)
	run := bf16Dots[tiles]
	t.mask = 1<<(cols-(tiles-1)*bf16Side) - 1
	a, c, init := t.a, t.c, t.init
	for r := 0; r < rows; r += mr {
		t.rows = min(mr, rows-r)
		if t.k > 0 {
			t.a = half(a, r/bf16Side*t.aTile+r%bf16Side*bf16Depth*halfSize)
		}
		t.c = at(c, r*t.cRow)
		if init != nil {
			t.init = at(init, r*t.initRow)
		}
		run(&t.steps)
	}
}

var bf16Tiles = [3][3]func(*int){{}, {nil, bf16Tiles1x1, bf16Tiles1x2}, {nil, bf16Tiles2x1, bf16Tiles2x2}}

// runBF16Tiles does pairs of row tiles, and what is left of the rows in a step of its
// own, for which the tile registers are as small as C.
func runBF16Tiles(t *bf16Tile, rows, cols int) {
	const pair = 2 * bf16Side
	a, c, init := t.a, t.c, t.init
	for r := 0; r < rows; {
		n := min(pair, rows-r)
		t.steps = 1
		if n == pair {
			t.steps = (rows - r) / pair
		}
		setTiles(t.config, n, cols)
		if t.k > 0 {
			t.a = half(a, r/bf16Side*t.aTile)
		}
		t.c = at(c, r*t.cRow)
		if init != nil {
			t.init = at(init, r*t.initRow)
		}
		steps := t.steps // which the call counts down
		bf16Tiles[ceilDiv(n, bf16Side)][ceilDiv(cols, bf16Side)](&t.steps)
		r += steps * n
	}
}

// setTiles sets the shapes of the tile registers for a step of rows ≤ 32 by cols ≤ 32:
// 0 … 3 are C, row by row, 4 and 5 A, and 6 and 7 B. A tile that is not there has any
// shape.
//
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1,
// table 18-2: palette 1, bytes per row at 16, rows at 48.
func setTiles(config *[64]byte, rows, cols int) {
	*config = [64]byte{0: 1}
	shape := func(tile, rows, bytes int) {
		config[16+2*tile], config[48+tile] = byte(bytes), byte(rows)
	}
	for i := range 2 {
		r := max(1, min(bf16Side, rows-i*bf16Side))
		c := max(1, min(bf16Side, cols-i*bf16Side))
		shape(4+i, r, bf16Depth*halfSize)
		shape(6+i, bf16Side, c*wordSize)
		for j := range 2 {
			shape(2*i+j, r, wordSize*max(1, min(bf16Side, cols-j*bf16Side)))
		}
	}
}
