//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

// maxTier is the highest tier of this processor.
var maxTier = func() Tier {
	switch x := cpu.X86; {
	case !x.HasAVX2 || !x.HasFMA:
		return Generic
	case !x.HasAVX512F || !x.HasAVX512BW || !x.HasAVX512DQ || !x.HasAVX512VL:
		return AVX2
	case !x.HasAVX512BF16:
		return AVX512
	case !x.HasAMXTile || !x.HasAMXBF16 || !askForTiles():
		return AVX512BF16
	}
	return AMX
}()
