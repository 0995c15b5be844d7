//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

// tiers has the tiers of this processor, slowest first.
var tiers = func() []Tier {
	switch x := cpu.X86; {
	case !x.HasAVX2 || !x.HasFMA:
		return []Tier{Generic}
	case !x.HasAVX512F || !x.HasAVX512BW || !x.HasAVX512DQ || !x.HasAVX512VL:
		return []Tier{Generic, AVX2}
	case !x.HasAVX512BF16:
		return []Tier{Generic, AVX2, AVX512}
	case !x.HasAMXTile || !x.HasAMXBF16 || !askForTiles():
		return []Tier{Generic, AVX2, AVX512, AVX512BF16}
	}
	return []Tier{Generic, AVX2, AVX512, AVX512BF16, AMX}
}()
