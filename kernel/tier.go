package kernel

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
)

// TierEnv is the environment variable that chooses the tier at start: generic,
// avx2, avx512, avx512bf16, amx or neon.
const TierEnv = "RELSIM_KERNEL"

// Tier is a set of instructions that kernels may use. A higher tier includes the
// lower ones of its architecture.
type Tier int

// The tiers, the slowest of an architecture first.
const (
	Generic    Tier = iota // Go without assembly
	AVX2                   // amd64 with AVX2 and FMA
	AVX512                 // amd64 with AVX-512 F, BW, DQ and VL
	AVX512BF16             // amd64 with AVX512_BF16: products of bfloat16 in vectors
	AMX                    // amd64 with AMX_TILE and AMX_BF16: the same in tiles
	NEON                   // arm64 with its vectors of 128 bits
	numTiers
)

// String returns the name that [TierEnv] takes.
func (t Tier) String() string {
	switch t {
	case Generic:
		return "generic"
	case AVX2:
		return "avx2"
	case AVX512:
		return "avx512"
	case AVX512BF16:
		return "avx512bf16"
	case AMX:
		return "amx"
	case NEON:
		return "neon"
	}
	return fmt.Sprintf("Tier(%d)", int(t))
}

// BF16 reports whether the tier differs from the one below in the products of bfloat16
// only. For float32 it is the same.
func (t Tier) BF16() bool { return t == AVX512BF16 || t == AMX }

// noTier is the active tier when the environment names one that is not there.
const noTier Tier = -1

var (
	activeTier atomic.Int32
	tierErr    error // why activeTier is noTier
)

func init() {
	t, err := chooseTier(os.Getenv(TierEnv), Tiers())
	activeTier.Store(int32(t))
	tierErr = err
}

// chooseTier returns the tier called name, or the highest one of have if name is
// empty.
func chooseTier(name string, have []Tier) (Tier, error) {
	if name == "" {
		return have[len(have)-1], nil
	}
	for t := Generic; t < numTiers; t++ {
		if name != t.String() {
			continue
		}
		if !slices.Contains(have, t) {
			return noTier, fmt.Errorf("kernel: %s=%s: this build or processor has only %s", TierEnv, name, tierNames(have))
		}
		return t, nil
	}
	return noTier, fmt.Errorf("kernel: %s=%s: unknown tier; this build and processor have %s", TierEnv, name, tierNames(have))
}

func tierNames(ts []Tier) string {
	names := make([]string, len(ts))
	for i, t := range ts {
		names[i] = t.String()
	}
	return strings.Join(names, ", ")
}

// Init reports whether [TierEnv] is empty or names a tier that is there. Commands
// call it at start. Without it, the first kernel panics with the same error.
func Init() error { return tierErr }

// Tiers returns the tiers that this build and processor have, slowest first.
func Tiers() []Tier { return slices.Clone(tiers) }

// Active returns the tier in use. It panics with the error of [Init] if there is
// one.
func Active() Tier {
	t := Tier(activeTier.Load())
	if t < 0 {
		panic(tierErr)
	}
	return t
}

// SetTier makes every kernel use tier t or a lower one, for tests and benchmarks.
// The function it returns restores the former tier. No kernel may run meanwhile.
func SetTier(t Tier) (restore func(), err error) {
	if !slices.Contains(Tiers(), t) {
		return nil, fmt.Errorf("kernel: set tier %v: this build or processor has only %s", t, tierNames(Tiers()))
	}
	old := activeTier.Swap(int32(t))
	return func() { activeTier.Store(old) }, nil
}

// dispatch holds the implementations of one kernel, by tier. F is the type of the
// function. A tier without an implementation of its own has that of the tier below.
//
// The pattern, in foo.go and foo_amd64.go:
//
//	var fooKernel = newDispatch(fooGeneric)
//	func init() { fooKernel.add(AVX2, fooAVX2) } // tiers of an architecture in ascending order
//	… fooKernel.get()(…)
type dispatch[F any] struct {
	byTier [numTiers]F
}

func newDispatch[F any](generic F) *dispatch[F] {
	d := new(dispatch[F])
	d.add(Generic, generic)
	return d
}

// add makes f the implementation for tier t and those after it. Among these may be
// tiers of other architectures, which are never active.
func (d *dispatch[F]) add(t Tier, f F) {
	for ; t < numTiers; t++ {
		d.byTier[t] = f
	}
}

// get returns the implementation for the active tier.
func (d *dispatch[F]) get() F { return d.byTier[Active()] }
