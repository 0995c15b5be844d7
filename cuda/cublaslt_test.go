//go:build linux && amd64 && !nogpu

package cuda

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// TestCublasLtNumbers holds what is given to the library against cublasLt.h, cublas_api.h and library_types.h of CUDA 11.4,
// 12.6 and 13, and the bindings of cudarc and PyTorch: all have the same.
func TestCublasLtNumbers(t *testing.T) {
	for _, tt := range []struct {
		name      string
		got, want int
	}{
		{"CUDA_R_32F", ltFloat32, 0},
		{"CUDA_R_16BF", ltBFloat16, 14},
		{"CUBLAS_COMPUTE_32F", ltComputeFloat32, 68},
		{"CUBLAS_COMPUTE_32F_FAST_TF32", ltComputeTF32, 77},
		{"CUBLASLT_MATMUL_DESC_TRANSA", ltTransA, 3},
		{"CUBLASLT_MATMUL_DESC_TRANSB", ltTransB, 4},
		{"CUBLASLT_MATMUL_DESC_EPILOGUE", ltEpilogue, 7},
		{"CUBLASLT_MATMUL_DESC_BIAS_POINTER", ltBiasPointer, 8},
		{"CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER", ltAuxPointer, 11},
		{"CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD", ltAuxLd, 12},
		{"CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES", ltMaxWorkspace, 1},
		{"CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES", ltMinAlignment, 5},
		{"CUBLASLT_EPILOGUE_DEFAULT", ltEpilogueDefault, 1},
		{"CUBLASLT_EPILOGUE_BIAS", ltEpilogueBias, 4},
		{"CUBLASLT_EPILOGUE_GELU", ltEpilogueGELU, 32},
		{"CUBLASLT_EPILOGUE_GELU_BIAS", ltEpilogueGELU | ltEpilogueBias, 36},
		{"CUBLASLT_EPILOGUE_GELU_AUX", ltEpilogueGELUAux, 160},
		{"CUBLASLT_EPILOGUE_GELU_AUX_BIAS", ltEpilogueGELUAux | ltEpilogueBias, 164},
		{"CUBLASLT_EPILOGUE_DGELU", ltEpilogueGELUGrad, 192},
		{"CUBLASLT_EPILOGUE_BGRADB", ltEpilogueBGradB, 512},
		{"CUBLAS_STATUS_INVALID_VALUE", ltInvalidValue, 7},
		{"CUBLAS_STATUS_ARCH_MISMATCH", ltArchMismatch, 8},
		{"CUBLAS_STATUS_NOT_SUPPORTED", ltNotSupported, 15},
		{"sizeof(cublasLtMatmulAlgo_t)", int(unsafe.Sizeof(ltHeuristic{}.algo)), 64},
		{"offsetof workspaceSize", int(unsafe.Offsetof(ltHeuristic{}.workspace)), 64},
		{"offsetof state", int(unsafe.Offsetof(ltHeuristic{}.state)), 72},
		{"offsetof wavesCount", int(unsafe.Offsetof(ltHeuristic{}.waves)), 76},
		{"sizeof(cublasLtMatmulHeuristicResult_t)", int(unsafe.Sizeof(ltHeuristic{})), 96},
	} {
		if tt.got != tt.want {
			t.Errorf("%s is %d, want %d", tt.name, tt.got, tt.want)
		}
	}
}

// matrix is a row-major matrix with its values on both sides.
type matrix struct {
	rows, cols int
	of         DataType
	at         Pointer
	v          []float64 // as they are stored
}

func bf16(v float32) uint16 {
	b := math.Float32bits(v)
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

func rounded(v float64, of DataType) float64 {
	if of == BFloat16 {
		return float64(math.Float32frombits(uint32(bf16(float32(v))) << 16))
	}
	return float64(float32(v))
}

// newMatrix puts random values to the device, skip bytes behind the begin of its memory.
func newMatrix(t *Thread, r *rand.Rand, rows, cols int, of DataType, skip int) *matrix {
	m := &matrix{rows: rows, cols: cols, of: of, v: make([]float64, rows*cols)}
	m.at = must(t.Alloc(rows*cols*of.Size() + skip)).Add(skip)
	floats, halves := make([]float32, rows*cols), make([]uint16, rows*cols)
	for i := range m.v {
		m.v[i] = rounded(r.Float64()*2-1, of)
		floats[i], halves[i] = float32(m.v[i]), bf16(float32(m.v[i]))
	}
	if of == BFloat16 {
		must(0, Upload(t, m.at, halves))
	} else {
		must(0, Upload(t, m.at, floats))
	}
	return m
}

func (m *matrix) download(t *Thread) []float64 {
	floats, halves, v := make([]float32, len(m.v)), make([]uint16, len(m.v)), make([]float64, len(m.v))
	if m.of == BFloat16 {
		must(0, Download(t, halves, m.at))
	} else {
		must(0, Download(t, floats, m.at))
	}
	for i := range v {
		if v[i] = float64(floats[i]); m.of == BFloat16 {
			v[i] = float64(math.Float32frombits(uint32(halves[i]) << 16))
		}
	}
	return v
}

// at returns an element of a matrix or of its transpose.
func (m *matrix) get(i, j int, transposed bool) float64 {
	if transposed {
		i, j = j, i
	}
	return m.v[i*m.cols+j]
}

func gelu64(x float64) float64 {
	return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

// geluSlope64 is the derivative, by differences.
func geluSlope64(x float64) float64 { return (gelu64(x+1e-5) - gelu64(x-1e-5)) / 2e-5 }

// checkProduct runs a product with random operands and compares all that it writes with the definition. skip moves operands off
// their alignment.
func checkProduct(t *Thread, b *BLAS, s *Stream, p Product, seed uint64, skip map[string]int) error {
	r := rand.New(rand.NewPCG(seed, 1))
	flip := func(transposed bool, rows, cols int) (int, int) {
		if transposed {
			return cols, rows
		}
		return rows, cols
	}
	ar, ac := flip(p.TransA, p.M, p.K)
	br, bc := flip(p.TransB, p.K, p.N)
	n := p.N
	if p.Then == EpilogueRowSums {
		n = p.M
	}
	A, B := newMatrix(t, r, ar, ac, p.In, skip["A"]), newMatrix(t, r, br, bc, p.In, skip["B"])
	D, C := newMatrix(t, r, p.M, p.N, p.Out, skip["D"]), newMatrix(t, r, p.M, p.N, p.Out, skip["C"])
	bias, aux := newMatrix(t, r, 1, n, p.Out, skip["Bias"]), newMatrix(t, r, p.M, p.N, p.Out, skip["Aux"])
	all := map[string]*matrix{"A": A, "B": B, "C": C, "D": D, "Bias": bias, "Aux": aux}
	defer func() {
		must(0, t.Sync())
		for name, m := range all {
			must(0, t.Free(m.at.Add(-skip[name])))
		}
	}()
	o := Operands{D: D.at, A: A.at, B: B.at, C: C.at, Bias: bias.at, Aux: aux.at}
	if seed%2 == 1 && p.Add { // in place
		o.C, C = D.at, D
	}
	if err := b.Multiply(s, p, o); err != nil {
		return err
	}
	must(0, s.Sync())
	// Sums of k products in float32; operands of TF32 are rounded to 2⁻¹¹; results to the type's precision.
	tol := float64(p.K) * 0x1p-22
	if p.TF32 {
		tol = float64(p.K) * 0x1p-10
	}
	if p.Out == BFloat16 {
		tol += 0x1p-7 * math.Sqrt(float64(p.K)+4)
	}
	near := func(what string, got []float64, i int, want float64) error {
		if !(math.Abs(got[i]-want) <= tol) {
			return fmt.Errorf("%v: %s[%d] = %v, want %v ± %.2g", p, what, i, got[i], want, tol)
		}
		return nil
	}
	got, gotAux, gotBias := D.download(t), aux.download(t), bias.download(t)
	for i := range p.M {
		var rows float64
		for k := range p.K {
			rows += A.get(i, k, p.TransA)
		}
		if p.Then == EpilogueRowSums {
			if err := near("Bias", gotBias, i, rows); err != nil {
				return err
			}
		}
		for j := range p.N {
			var v float64
			for k := range p.K {
				v += A.get(i, k, p.TransA) * B.get(k, j, p.TransB)
			}
			if p.Bias {
				v += bias.v[j]
			}
			if p.Add {
				v += C.get(i, j, false)
			}
			at := i*p.N + j
			if p.Then == EpilogueGELUKeep {
				if err := near("Aux", gotAux, at, v); err != nil {
					return err
				}
			}
			switch p.Then {
			case EpilogueGELU, EpilogueGELUKeep:
				v = gelu64(v)
			case EpilogueGELUGrad:
				v *= geluSlope64(aux.v[at])
			}
			if err := near("D", got, at, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// withBLAS runs f on the fake device with the fake library. What f takes with take is given back.
func withBLAS(t *testing.T, seed int, f func(t *Thread, b *BLAS, s *Stream, take func([]float32) Pointer) error) error {
	return onBLAS(openFake(t, seed), f)
}

// onBLAS is withBLAS on any device.
func onBLAS(d *Device, f func(t *Thread, b *BLAS, s *Stream, take func([]float32) Pointer) error) error {
	return d.Do(func(t *Thread) (err error) {
		b, s := must(t.OpenBLAS(1<<16)), must(t.NewStream())
		var taken []Pointer
		defer func() {
			for _, p := range taken {
				err = errors.Join(err, t.Free(p))
			}
			err = errors.Join(err, s.Close(), b.Close())
		}()
		return f(t, b, s, func(values []float32) Pointer {
			taken = append(taken, upload(t, values))
			return taken[len(taken)-1]
		})
	})
}

func TestProducts(t *testing.T) {
	for seed := range 8 {
		missing := make(map[string]bool)
		err := onBLAS(openDevice(t, seed), func(t *Thread, b *BLAS, s *Stream, _ func([]float32) Pointer) error {
			if control.reset != 0 && b.Version() != "12.8" {
				return fmt.Errorf("version %s", b.Version())
			}
			for i, shape := range [][3]int{{1, 1, 1}, {5, 8, 3}, {33, 16, 40}, {7, 64, 130}} {
				p := Product{M: shape[0], N: shape[1], K: shape[2], TransA: (seed+i)&1 == 1, TransB: (seed+i)&2 == 2}
				for _, types := range [][2]DataType{{Float32, Float32}, {BFloat16, BFloat16}, {BFloat16, Float32}} {
					p.In, p.Out = types[0], types[1]
					for _, tf32 := range []bool{false, true} {
						if p.TF32 = tf32; tf32 && p.In != Float32 {
							continue
						}
						for _, then := range []Epilogue{EpilogueNone, EpilogueGELU, EpilogueGELUKeep, EpilogueGELUGrad, EpilogueRowSums} {
							p.Then = then
							for k := range 4 {
								p.Bias, p.Add = k&1 == 1 && then != EpilogueRowSums && then != EpilogueGELUGrad, k&2 == 2 && then != EpilogueRowSums
								if p.hasAux() && p.N%8 != 0 {
									continue
								}
								err := checkProduct(t, b, s, p, uint64(seed), nil)
								if errors.Is(err, ErrUnsupported) && control.reset == 0 { // a library may lack kernels
									missing[p.String()] = true
								} else if err != nil {
									return err
								}
							}
						}
					}
				}
			}
			return nil
		})
		for p := range missing {
			t.Log("the library has no kernel for ", p)
		}
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// TestProductAlignment moves one operand after the other off its alignment, with one BLAS: what is chosen for one alignment
// must not be used for another. Bias and Aux have to be aligned.
func TestProductAlignment(t *testing.T) {
	err := withBLAS(t, 1, func(t *Thread, b *BLAS, s *Stream, take func([]float32) Pointer) error {
		p := Product{M: 9, N: 24, K: 8, Bias: true, Add: true, Then: EpilogueGELUKeep}
		for _, operand := range []string{"", "A", "B", "C", "D"} {
			for _, skip := range []int{4, 16, 64} {
				if err := checkProduct(t, b, s, p, 2, map[string]int{operand: skip}); err != nil {
					return fmt.Errorf("%s at %d: %w", operand, skip, err)
				}
			}
		}
		for _, operand := range []string{"Bias", "Aux"} {
			if err := checkProduct(t, b, s, p, 2, map[string]int{operand: 16}); err != nil {
				return err
			}
			err := checkProduct(t, b, s, p, 2, map[string]int{operand: 8})
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "bias and auxiliary matrix want 16 bytes of alignment") {
				return fmt.Errorf("%s at 8: %v", operand, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestProductRefused asks for what the library has no kernel for: that is said, kept, and nothing else.
func TestProductRefused(t *testing.T) {
	defer callFake(control.cublasLt, 0, 0, 0)
	err := withBLAS(t, 0, func(t *Thread, b *BLAS, s *Stream, take func([]float32) Pointer) error {
		p := Product{M: 8, N: 8, K: 8, Then: EpilogueRowSums}
		callFake(control.cublasLt, 0, ltEpilogueBGradB, 0)
		if ok, err := b.Supports(p, Operands{}); ok || err != nil {
			return fmt.Errorf("row sums, refused: %v, %v", ok, err)
		}
		err := checkProduct(t, b, s, p, 0, nil)
		var e *Error
		if !errors.Is(err, ErrUnsupported) || !errors.As(err, &e) || errors.Is(err, ErrLost) ||
			!strings.Contains(err.Error(), "cublasLtMatmulAlgoGetHeuristic((8, 8) = A·B of 8, float32 to float32, row sums): CUBLAS_STATUS_NOT_SUPPORTED (15)") {
			return fmt.Errorf("row sums, refused: %v", err)
		}
		p.Then = EpilogueGELU
		if ok, err := b.Supports(p, Operands{}); !ok || err != nil {
			return fmt.Errorf("GELU: %v, %v", ok, err)
		}
		// What heuristics promise and the library does not keep is refused from then on.
		callFake(control.cublasLt, 0, ltEpilogueGELU, 1)
		if err := checkProduct(t, b, s, p, 0, nil); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "cublasLtMatmul((8, 8) = A·B of 8, float32 to float32, GELU, D 0x") {
			return fmt.Errorf("GELU, refused late: %v", err)
		}
		if ok, err := b.Supports(p, Operands{}); ok || err != nil {
			return fmt.Errorf("GELU, after it was refused: %v, %v", ok, err)
		}
		callFake(control.cublasLt, 0, 0, 0)
		p.Then = EpilogueNone
		return checkProduct(t, b, s, p, 0, nil)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestProductErrors gives operands that are wrong: the error names call, product and operands, and the device goes on.
func TestProductErrors(t *testing.T) {
	err := withBLAS(t, 0, func(t *Thread, b *BLAS, s *Stream, take func([]float32) Pointer) error {
		x, y, z := take(make([]float32, 64)), take(make([]float32, 64)), take(make([]float32, 63))
		p := Product{M: 8, N: 8, K: 8}
		for what, o := range map[string]Operands{
			"D is A": {D: x, A: x, B: y}, "D is too short": {D: z, A: x, B: y}, "A is nowhere": {D: y, A: 4096, B: x},
			"D is the workspace": {D: b.workspace, A: x, B: y},
		} {
			err := b.Multiply(s, p, o)
			if err == nil || errors.Is(err, ErrLost) || errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "cublasLtMatmul((8, 8) = A·B of 8, float32 to float32, D 0x") ||
				!strings.Contains(err.Error(), "CUBLAS_STATUS_INVALID_VALUE (7)") {
				return fmt.Errorf("%s: %v", what, err)
			}
		}
		return checkProduct(t, b, s, p, 0, nil)
	})
	if err != nil {
		t.Error(err)
	}
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "no such product: (2, 3) = A·Bᵀ of 4, float32 to bfloat16") {
			t.Errorf("float32 to bfloat16: %v", r)
		}
	}()
	withBLAS(t, 0, func(t *Thread, b *BLAS, s *Stream, _ func([]float32) Pointer) error {
		return b.Multiply(s, Product{M: 2, N: 3, K: 4, TransB: true, Out: BFloat16}, Operands{})
	})
}

// TestProductOrder looks at a product before its stream is waited for: it is put off, and captured as all other work is.
func TestProductOrder(t *testing.T) {
	early := 0
	for seed := range 8 {
		err := withBLAS(t, seed, func(t *Thread, b *BLAS, s *Stream, take func([]float32) Pointer) error {
			p := Product{M: 2, N: 2, K: 2}
			a, y := take([]float32{1, 2, 3, 4}), take(make([]float32, 4))
			o := Operands{D: y, A: a, B: a}
			must(0, b.Multiply(s, p, o))
			if download(t, y, 4)[0] == 0 {
				early++
			}
			must(0, s.Sync())
			want := []float32{7, 10, 15, 22}
			if got := download(t, y, 4); !slices.Equal(got, want) {
				return fmt.Errorf("%v, want %v", got, want)
			}
			g, err := s.Capture(func() error { return b.Multiply(s, p, o) })
			if err != nil {
				return err
			}
			must(0, Upload(t, a, []float32{1, 0, 0, 1}))
			must(0, g.Launch(s))
			must(0, s.Sync())
			if got := download(t, y, 4); !slices.Equal(got, []float32{1, 0, 0, 1}) {
				return fmt.Errorf("replayed: %v", got)
			}
			return g.Close()
		})
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	if early == 0 {
		t.Error("no product is ever put off")
	}
}

// TestNoBLAS opens libraries that are not there or do not start.
func TestNoBLAS(t *testing.T) {
	d := openFake(t, 0)
	callFake(control.cublasLt, 1, 0, 0)
	open := func() error {
		return d.Do(func(t *Thread) error {
			_, err := t.OpenBLAS(0)
			return err
		})
	}
	err := open()
	callFake(control.cublasLt, 0, 0, 0)
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrLost) ||
		!strings.Contains(err.Error(), "cublasLt 12.8 does not start with the driver for CUDA 12.8: cuda: cublasLtCreate(") || !strings.Contains(err.Error(), "CUBLAS_STATUS_NOT_INITIALIZED (1)") {
		t.Errorf("one that does not start: %v", err)
	}
	t.Setenv(BLASEnv, "/nowhere/libcublasLt.so.12")
	if err := open(); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "cublasLt, the library of matrix products (RELSIM_LIBCUBLASLT=/nowhere/") {
		t.Errorf("one that is not there: %v", err)
	}
	t.Setenv(BLASEnv, "libc.so.6")
	if err := open(); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "libc.so.6 has no cublasLt") {
		t.Errorf("another library: %v", err)
	}
}
