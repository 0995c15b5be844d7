package kernel

import (
	"errors"
	"fmt"
)

// Precision is that of the operands of the matrix products of dense layers and of
// attention. Sums, results and all other kernels are float32.
type Precision int

// The precisions.
const (
	Float32 Precision = iota
	BF16              // operands are rounded to bfloat16: 8 bits of precision
	TF32              // operands are rounded to 11 bits, with float32's range; of GPUs alone
)

// String returns the name that flags and configuration files have.
func (p Precision) String() string {
	switch p {
	case Float32:
		return "float32"
	case BF16:
		return "bf16"
	case TF32:
		return "tf32"
	}
	return fmt.Sprintf("Precision(%d)", int(p))
}

// ParsePrecision returns the precision of that name.
func ParsePrecision(name string) (Precision, error) {
	for _, p := range []Precision{Float32, TF32, BF16} {
		if name == p.String() {
			return p, nil
		}
	}
	return 0, fmt.Errorf("kernel: precision %q: want %v, %v or %v", name, Float32, TF32, BF16)
}

// MarshalText gives the name.
func (p Precision) MarshalText() ([]byte, error) {
	if _, err := ParsePrecision(p.String()); err != nil {
		return nil, err
	}
	return []byte(p.String()), nil
}

// UnmarshalText reads the name.
func (p *Precision) UnmarshalText(name []byte) (err error) {
	*p, err = ParsePrecision(string(name))
	return err
}

// With returns a Pool of the same threads for which [Linear], its gradients and the
// kernels that are fused with it, [Gemm], [Attention] and [AttentionGrad] multiply in the
// given precision. It is closed with p.
//
// With panics if the precision is [TF32], which processors do not have.
func (p *Pool) With(precision Precision) *Pool {
	if precision == TF32 {
		panic("kernel: With: " + errTF32.Error())
	}
	switch {
	case p == nil:
		return &Pool{threads: 1, precision: precision}
	case p.owner != nil:
		p = p.owner
	}
	return &Pool{threads: p.threads, precision: precision, owner: p}
}

// Precision returns that of the matrix products of p, Float32 unless [Pool.With] says
// another.
func (p *Pool) Precision() Precision {
	if p == nil {
		return Float32
	}
	return p.precision
}

// ErrTF32 is wrapped by the error of [CheckPrecision].
var ErrTF32 = errors.New("no products in tf32")

var errTF32 = fmt.Errorf("%w: GPUs have them, from compute capability 8.0 on, and processors do not", ErrTF32)

// ErrBF16 is wrapped by the error of [CheckPrecision].
var ErrBF16 = errors.New("no instructions for bf16")

// CheckPrecision returns an error that says what is missing if the active tier has no
// instructions for products in the given precision. Those of [BF16] can be had all the
// same, but are far slower than those of float32.
func CheckPrecision(precision Precision) error {
	if precision == TF32 {
		return fmt.Errorf("kernel: %w", errTF32)
	}
	t := Active()
	if precision != BF16 || t.BF16() {
		return nil
	}
	return fmt.Errorf("kernel: %w: it takes tier %v or %v (AMD since Zen 4, Intel since Sapphire Rapids); this build and processor have %s, and %v is in use",
		ErrBF16, AVX512BF16, AMX, tierNames(Tiers()), t)
}
