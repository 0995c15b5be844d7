package kernel

// Xor returns the exclusive or of all words of x, 0 for none. It does nothing with
// them but read them, so that the time it takes for an array much larger than the
// caches is what the machine's memory allows for reading with as many threads.
func Xor(p *Pool, x []uint64) uint64 {
	j := xorJobs.get()
	j.x = x
	n := ceilDiv(len(x), xorPiece)
	if cap(j.parts) < n {
		j.parts = make([]uint64, n)
	}
	j.parts = j.parts[:n]
	p.run(n, j)
	sum := xorGeneric(j.parts)
	j.x = nil
	xorJobs.put(j)
	return sum
}

// xorPiece is the number of words that one item reads: 1 MiB.
const xorPiece = 1 << 17

type xorJob struct {
	x, parts []uint64
}

var xorJobs freelist[xorJob]

func (j *xorJob) item(i int) {
	j.parts[i] = xorKernel.get()(j.x[i*xorPiece : min(len(j.x), (i+1)*xorPiece)])
}

var xorKernel = newDispatch(xorGeneric)

func xorGeneric(x []uint64) (sum uint64) {
	for _, v := range x {
		sum ^= v
	}
	return sum
}
