//go:build (linux || windows) && (amd64 || arm64) && !android && !nogpu

package cuda

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/ebitengine/purego"

	"relsim/dynlib"
)

// BLASEnv is the environment variable that names the file of cublasLt's library. Without it, it is looked for where
// CUDA's toolkit and Python's packages put it.
const BLASEnv = "RELSIM_LIBCUBLASLT"

// What cublasLt calls the types of elements (cudaDataType_t), kinds of arithmetic (cublasComputeType_t), attributes and
// epilogues. They are the same in CUDA 11.4 to 13.
const (
	ltFloat32  = 0  // CUDA_R_32F
	ltBFloat16 = 14 // CUDA_R_16BF

	ltComputeFloat32 = 68 // CUBLAS_COMPUTE_32F
	ltComputeTF32    = 77 // CUBLAS_COMPUTE_32F_FAST_TF32

	ltTransA      = 3  // CUBLASLT_MATMUL_DESC_TRANSA: int32, 1 for CUBLAS_OP_T
	ltTransB      = 4  // CUBLASLT_MATMUL_DESC_TRANSB
	ltEpilogue    = 7  // CUBLASLT_MATMUL_DESC_EPILOGUE: uint32
	ltBiasPointer = 8  // CUBLASLT_MATMUL_DESC_BIAS_POINTER
	ltAuxPointer  = 11 // CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER
	ltAuxLd       = 12 // CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD: int64

	ltMaxWorkspace = 1 // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: uint64
	ltMinAlignment = 5 // CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES: uint32, and 6, 7, 8 of B, C, D

	ltEpilogueDefault  = 1
	ltEpilogueBias     = 4
	ltEpilogueGELU     = 32
	ltEpilogueGELUAux  = 32 | 128
	ltEpilogueGELUGrad = 64 | 128 // CUBLASLT_EPILOGUE_DGELU
	ltEpilogueBGradB   = 512
)

// ltStatus are the names of cublasLt's codes, cublas_api.h.
var ltStatus = map[int]string{
	1: "CUBLAS_STATUS_NOT_INITIALIZED", 3: "CUBLAS_STATUS_ALLOC_FAILED", 7: "CUBLAS_STATUS_INVALID_VALUE",
	8: "CUBLAS_STATUS_ARCH_MISMATCH", 11: "CUBLAS_STATUS_MAPPING_ERROR", 13: "CUBLAS_STATUS_EXECUTION_FAILED",
	14: "CUBLAS_STATUS_INTERNAL_ERROR", 15: "CUBLAS_STATUS_NOT_SUPPORTED", 16: "CUBLAS_STATUS_LICENSE_ERROR",
}

// Codes that say that there is no way to do a product, not that something is broken.
const (
	ltInvalidValue = 7
	ltArchMismatch = 8
	ltNotSupported = 15
)

// ltHeuristic is cublasLtMatmulHeuristicResult_t.
type ltHeuristic struct {
	algo      [8]uint64 // cublasLtMatmulAlgo_t
	workspace uintptr
	state     int32
	waves     float32
	reserved  [4]int32
}

// cublasLt is the library, by the functions that are called.
type cublasLt struct {
	path    string
	version int // 10000·major + 100·minor + patch

	cublasLtGetVersion, cublasLtCreate, cublasLtDestroy,
	cublasLtMatrixLayoutCreate, cublasLtMatrixLayoutDestroy,
	cublasLtMatmulDescCreate, cublasLtMatmulDescDestroy, cublasLtMatmulDescSetAttribute,
	cublasLtMatmulPreferenceCreate, cublasLtMatmulPreferenceDestroy, cublasLtMatmulPreferenceSetAttribute,
	cublasLtMatmulAlgoGetHeuristic, cublasLtMatmul uintptr
}

// openCublasLt opens the library.
func openCublasLt() (*cublasLt, error) {
	lib, err := cublasLtToolkit.open()
	if err != nil {
		return nil, err
	}
	l := &cublasLt{path: lib.Name}
	if err := l.bind(lib); err != nil {
		return nil, err
	}
	version, _, _ := purego.SyscallN(l.cublasLtGetVersion)
	l.version = int(version)
	if l.version < 110000 {
		return nil, missingf("cuda: %s is cublasLt %s, want 11 or later", lib.Name, l)
	}
	return l, nil
}

func (l *cublasLt) bind(lib *dynlib.Library) error {
	for name, at := range map[string]*uintptr{
		"cublasLtGetVersion":                   &l.cublasLtGetVersion,
		"cublasLtCreate":                       &l.cublasLtCreate,
		"cublasLtDestroy":                      &l.cublasLtDestroy,
		"cublasLtMatrixLayoutCreate":           &l.cublasLtMatrixLayoutCreate,
		"cublasLtMatrixLayoutDestroy":          &l.cublasLtMatrixLayoutDestroy,
		"cublasLtMatmulDescCreate":             &l.cublasLtMatmulDescCreate,
		"cublasLtMatmulDescDestroy":            &l.cublasLtMatmulDescDestroy,
		"cublasLtMatmulDescSetAttribute":       &l.cublasLtMatmulDescSetAttribute,
		"cublasLtMatmulPreferenceCreate":       &l.cublasLtMatmulPreferenceCreate,
		"cublasLtMatmulPreferenceDestroy":      &l.cublasLtMatmulPreferenceDestroy,
		"cublasLtMatmulPreferenceSetAttribute": &l.cublasLtMatmulPreferenceSetAttribute,
		"cublasLtMatmulAlgoGetHeuristic":       &l.cublasLtMatmulAlgoGetHeuristic,
		"cublasLtMatmul":                       &l.cublasLtMatmul,
	} {
		var err error
		if *at, err = lib.Function(name); err != nil {
			return missingf("cuda: %s has no %s: it is another library, or older than CUDA 11", lib.Name, name)
		}
	}
	return nil
}

func (l *cublasLt) String() string { return fmt.Sprintf("%d.%d", l.version/10000, l.version/100%100) }

//go:uintptrescapes
func (l *cublasLt) call(name, operands string, f uintptr, args ...uintptr) error {
	r, _, _ := purego.SyscallN(f, args...)
	code := int(int32(r))
	if code == 0 {
		return nil
	}
	e := &Error{Call: name, Operands: operands, Code: code, Name: ltStatus[code], foreign: true}
	if e.Name == "" {
		e.Name = "an unknown error"
	}
	return e
}

// BLAS multiplies matrices by cublasLt, in one stream at a time: it has one workspace. Its methods may be called only from
// the device's thread.
type BLAS struct {
	t             *Thread
	lt            *cublasLt
	handle        uintptr
	workspace     Pointer
	workspaceSize int
	plans         map[planKey]*productPlan

	scalars [2]float32 // 0 and 1, where the library reads them
}

// OpenBLAS opens cublasLt for the thread's device, with workspace bytes of its memory for sums on the way. Where it is not
// there, or does not run with the driver, the error wraps [ErrUnavailable].
func (t *Thread) OpenBLAS(workspace int) (*BLAS, error) {
	lt, err := openCublasLt()
	if err != nil {
		return nil, err
	}
	b := &BLAS{t: t, lt: lt, plans: make(map[planKey]*productPlan), scalars: [2]float32{0, 1}}
	if err := lt.call("cublasLtCreate", lt.path, lt.cublasLtCreate, uintptr(unsafe.Pointer(&b.handle))); err != nil {
		return nil, missingf("cuda: cublasLt %s does not start with the driver for CUDA %s: %v", lt, dotted(t.version), err)
	}
	if workspace > 0 {
		if b.workspace, err = t.Alloc(workspace); err != nil {
			return nil, errors.Join(err, b.Close())
		}
		b.workspaceSize = workspace
	}
	return b, nil
}

// Version is that of cublasLt, such as "12.8".
func (b *BLAS) Version() string { return b.lt.String() }

// Close gives the library's handle and the workspace back. Nothing may be under way that uses them.
func (b *BLAS) Close() error {
	var errs []error
	for _, p := range b.plans {
		errs = append(errs, p.close(b.lt))
	}
	if b.workspace != 0 {
		errs = append(errs, b.t.Free(b.workspace))
	}
	errs = append(errs, b.lt.call("cublasLtDestroy", "", b.lt.cublasLtDestroy, b.handle))
	b.plans, b.workspace, b.workspaceSize = nil, 0, 0
	return errors.Join(errs...)
}

// DataType is how the elements of a matrix are stored.
type DataType uint8

// The types.
const (
	Float32 DataType = iota
	BFloat16
)

// Size is that of an element in bytes.
func (d DataType) Size() int { return [...]int{4, 2}[d] }

func (d DataType) code() uintptr { return [...]uintptr{ltFloat32, ltBFloat16}[d] }

func (d DataType) String() string { return [...]string{"float32", "bfloat16"}[d] }

// Epilogue is what a product does with its sums before it stores them. GELU is the form with tanh.
type Epilogue uint8

// The epilogues, v being an element of op(A)·op(B), with the bias and C added.
const (
	EpilogueNone     Epilogue = iota // D = v
	EpilogueGELU                     // D = gelu(v)
	EpilogueGELUKeep                 // D = gelu(v), Aux = v
	EpilogueGELUGrad                 // D = v·gelu'(Aux)
	EpilogueRowSums                  // D = v, Bias (M) = the sums of the rows of op(A); Bias is not added
)

// Product is
//
//	D (M, N) = op(A)·op(B) + Bias + C
//
// of row-major matrices without gaps, with float32 sums. op(A) is (M, K): A, or with TransA the transpose of A (K, M); op(B)
// is (K, N): B, or with TransB that of B (N, K). Bias (N) is added to every row.
type Product struct {
	M, N, K        int
	TransA, TransB bool
	In             DataType // of A and B
	Out            DataType // of C, D, Bias and Aux
	TF32           bool     // float32 operands are rounded to 11 bits for tensor cores
	Bias           bool
	Add            bool // C is added; it may be D
	Then           Epilogue
}

// hasBias and hasAux say whether the operands of these names are looked at.
func (p Product) hasBias() bool { return p.Bias || p.Then == EpilogueRowSums }

func (p Product) hasAux() bool { return p.Then == EpilogueGELUKeep || p.Then == EpilogueGELUGrad }

func (p Product) String() string {
	op := map[bool]string{true: "ᵀ"}
	s := fmt.Sprintf("(%d, %d) = A%s·B%s of %d, %v to %v", p.M, p.N, op[p.TransA], op[p.TransB], p.K, p.In, p.Out)
	for _, what := range []struct {
		on   bool
		name string
	}{{p.TF32, ", TF32"}, {p.Bias, ", bias"}, {p.Add, " + C"}, {p.Then == EpilogueGELU, ", GELU"}, {p.Then == EpilogueGELUKeep, ", GELU and its operand"},
		{p.Then == EpilogueGELUGrad, ", GELU's gradient"}, {p.Then == EpilogueRowSums, ", row sums"}} {
		if what.on {
			s += what.name
		}
	}
	return s
}

// Operands are the places of the matrices of a [Product]. Those that it does not have are not looked at. D overlaps no other,
// but may be C.
type Operands struct{ D, A, B, C, Bias, Aux Pointer }

// ErrUnsupported is wrapped where cublasLt has no way to do a product, by its shape, types, epilogue or the alignment of
// its operands.
var ErrUnsupported = errors.New("cublasLt does not do this product")

// epilogueAlignment is that of Bias and Aux in bytes: kernels load them in pieces of so many, whatever the heuristics say.
const epilogueAlignment = 16

// planKey is all that the choice of a kernel depends on.
type planKey struct {
	product                                             Product
	alignD, alignA, alignB, alignC, alignBias, alignAux uint8 // logarithms, up to 8
}

// productPlan is a product that is set up, but for its operands.
type productPlan struct {
	desc, a, b, d uintptr // the library's
	bias, aux     Pointer // in desc
	best          ltHeuristic
	err           error // why there is none
}

func alignment(p Pointer) uint8 {
	return uint8(min(bits.TrailingZeros64(uint64(p)|1<<8), 8))
}

// Supports says whether [BLAS.Multiply] would do a product with operands at these places, or aligned like these: 0 stands for
// memory of [Thread.Alloc]. The answer is kept for each product and alignment.
func (b *BLAS) Supports(p Product, o Operands) (bool, error) {
	_, err := b.plan(p, o)
	if errors.Is(err, ErrUnsupported) {
		return false, nil
	}
	return err == nil, err
}

// Multiply puts a product into a stream. The error wraps [ErrUnsupported] if cublasLt has no way to do it, and then nothing was
// put there, and [BLAS.Supports] says so from now on.
func (b *BLAS) Multiply(s *Stream, p Product, o Operands) error {
	plan, err := b.plan(p, o)
	if err != nil {
		return err
	}
	if b.t.lost != nil {
		return b.t.lost
	}
	if err := plan.place(b.lt, p, o); err != nil {
		return err
	}
	c, beta := o.D, &b.scalars[0]
	if p.Add {
		c, beta = o.C, &b.scalars[1]
	}
	// A row-major matrix is the transpose of the column-major one that lies there, and Dᵀ = op(B)ᵀ·op(A)ᵀ.
	err = b.lt.call("cublasLtMatmul", "", b.lt.cublasLtMatmul, b.handle, plan.desc, uintptr(unsafe.Pointer(&b.scalars[1])),
		uintptr(o.B), plan.a, uintptr(o.A), plan.b, uintptr(unsafe.Pointer(beta)), uintptr(c), plan.d, uintptr(o.D), plan.d,
		uintptr(unsafe.Pointer(&plan.best.algo)), uintptr(b.workspace), uintptr(b.workspaceSize), s.at)
	var e *Error
	if errors.As(err, &e) { // the text is made only when it is needed
		e.Operands = fmt.Sprintf("%v, D %#x, A %#x, B %#x, C %#x", p, o.D, o.A, o.B, c)
		if e.Code == ltArchMismatch || e.Code == ltNotSupported { // heuristics promised too much
			plan.err = fmt.Errorf("cuda: %w: %w", ErrUnsupported, err)
			return plan.err
		}
		if _, lost := s.Done(); errors.Is(lost, ErrLost) { // the driver knows more
			return errors.Join(lost, err)
		}
	}
	return err
}

func (b *BLAS) plan(p Product, o Operands) (*productPlan, error) {
	key := planKey{product: p, alignD: alignment(o.D), alignA: alignment(o.A), alignB: alignment(o.B), alignC: alignment(o.D)}
	if p.Add {
		key.alignC = alignment(o.C)
	}
	if p.hasBias() {
		key.alignBias = alignment(o.Bias)
	}
	if p.hasAux() {
		key.alignAux = alignment(o.Aux)
	}
	plan := b.plans[key]
	if plan == nil {
		plan = new(productPlan)
		if err := plan.set(b, p, o, key); err != nil {
			closeErr := plan.close(b.lt)
			var e *Error
			if !errors.As(err, &e) || !slices.Contains([]int{ltInvalidValue, ltArchMismatch, ltNotSupported}, e.Code) {
				return nil, errors.Join(err, closeErr)
			}
			plan.err = fmt.Errorf("cuda: %w: %w", ErrUnsupported, err)
		}
		b.plans[key] = plan
	}
	return plan, plan.err
}

// set makes the library's descriptions of a product and asks for the best kernel.
func (l *productPlan) set(b *BLAS, p Product, o Operands, key planKey) error {
	if min(p.M, p.N, p.K) < 1 || p.M != int(int32(p.M)) || p.N != int(int32(p.N)) || p.K != int(int32(p.K)) ||
		p.Out == BFloat16 && p.In == Float32 || p.TF32 && p.In != Float32 || p.Bias && p.Then == EpilogueRowSums {
		panic(fmt.Sprintf("cuda: Multiply: no such product: %v", p))
	}
	lt := b.lt
	if p.hasBias() && 1<<key.alignBias < epilogueAlignment || p.hasAux() && (1<<key.alignAux < epilogueAlignment || p.N%8 != 0) {
		return &Error{Call: "cublasLtMatmulAlgoGetHeuristic", Operands: p.String(), Code: ltNotSupported, Name: ltStatus[ltNotSupported], foreign: true,
			Detail: fmt.Sprintf("bias and auxiliary matrix want %d bytes of alignment, and the latter rows of a multiple of 8", epilogueAlignment)}
	}
	// layout describes a row-major matrix as its transpose.
	layout := func(to *uintptr, of DataType, rows, cols int) error {
		return lt.call("cublasLtMatrixLayoutCreate", p.String(), lt.cublasLtMatrixLayoutCreate, uintptr(unsafe.Pointer(to)),
			of.code(), uintptr(cols), uintptr(rows), uintptr(cols))
	}
	flip := func(transposed bool, rows, cols int) (int, int) {
		if transposed {
			return cols, rows
		}
		return rows, cols
	}
	bRows, bCols := flip(p.TransB, p.K, p.N)
	aRows, aCols := flip(p.TransA, p.M, p.K)
	compute := uintptr(ltComputeFloat32)
	if p.TF32 {
		compute = ltComputeTF32
	}
	for _, step := range []func() error{
		func() error { return layout(&l.a, p.In, bRows, bCols) },
		func() error { return layout(&l.b, p.In, aRows, aCols) },
		func() error { return layout(&l.d, p.Out, p.M, p.N) },
		func() error {
			return lt.call("cublasLtMatmulDescCreate", p.String(), lt.cublasLtMatmulDescCreate, uintptr(unsafe.Pointer(&l.desc)), compute, ltFloat32)
		},
		func() error { return l.describe(lt, p) },
		func() error {
			return l.place(lt, p, Operands{Bias: cmp.Or(o.Bias, b.workspace), Aux: cmp.Or(o.Aux, b.workspace)})
		},
		func() error { return l.choose(b, p, key) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// attribute sets one of the description's.
func attribute[T any](lt *cublasLt, desc uintptr, which int, value T) error {
	v := new(T)
	*v = value
	return lt.call("cublasLtMatmulDescSetAttribute", fmt.Sprint(which), lt.cublasLtMatmulDescSetAttribute, desc, uintptr(which),
		uintptr(unsafe.Pointer(v)), unsafe.Sizeof(value))
}

func (l *productPlan) describe(lt *cublasLt, p Product) error {
	flag := map[bool]int32{true: 1}
	epilogue := map[Epilogue]uint32{EpilogueNone: ltEpilogueDefault, EpilogueGELU: ltEpilogueGELU, EpilogueGELUKeep: ltEpilogueGELUAux,
		EpilogueGELUGrad: ltEpilogueGELUGrad, EpilogueRowSums: ltEpilogueBGradB}[p.Then]
	if p.Bias {
		// DEFAULT is a bit that BIAS does not have.
		epilogue = epilogue&^ltEpilogueDefault | ltEpilogueBias
	}
	if err := cmp.Or(attribute(lt, l.desc, ltTransA, flag[p.TransB]), attribute(lt, l.desc, ltTransB, flag[p.TransA]),
		attribute(lt, l.desc, ltEpilogue, epilogue)); err != nil {
		return err
	}
	if p.hasAux() {
		return attribute(lt, l.desc, ltAuxLd, int64(p.N))
	}
	return nil
}

// place puts the places of bias and auxiliary matrix into the description. Heuristics look at their alignment, too.
func (l *productPlan) place(lt *cublasLt, p Product, o Operands) error {
	if p.hasBias() && l.bias != o.Bias {
		if err := attribute(lt, l.desc, ltBiasPointer, o.Bias); err != nil {
			return err
		}
		l.bias = o.Bias
	}
	if p.hasAux() && l.aux != o.Aux {
		if err := attribute(lt, l.desc, ltAuxPointer, o.Aux); err != nil {
			return err
		}
		l.aux = o.Aux
	}
	return nil
}

// choose asks for the best kernel.
func (l *productPlan) choose(b *BLAS, p Product, key planKey) error {
	lt := b.lt
	var preference uintptr
	if err := lt.call("cublasLtMatmulPreferenceCreate", "", lt.cublasLtMatmulPreferenceCreate, uintptr(unsafe.Pointer(&preference))); err != nil {
		return err
	}
	defer lt.call("cublasLtMatmulPreferenceDestroy", "", lt.cublasLtMatmulPreferenceDestroy, preference)
	workspace := uint64(b.workspaceSize)
	if err := lt.call("cublasLtMatmulPreferenceSetAttribute", "workspace", lt.cublasLtMatmulPreferenceSetAttribute, preference, ltMaxWorkspace,
		uintptr(unsafe.Pointer(&workspace)), unsafe.Sizeof(workspace)); err != nil {
		return err
	}
	for i, log := range []uint8{key.alignB, key.alignA, key.alignC, key.alignD} {
		bytes := uint32(1) << log
		if err := lt.call("cublasLtMatmulPreferenceSetAttribute", "alignment", lt.cublasLtMatmulPreferenceSetAttribute, preference,
			uintptr(ltMinAlignment+i), uintptr(unsafe.Pointer(&bytes)), unsafe.Sizeof(bytes)); err != nil {
			return err
		}
	}
	var found int32
	if err := lt.call("cublasLtMatmulAlgoGetHeuristic", p.String(), lt.cublasLtMatmulAlgoGetHeuristic, b.handle, l.desc, l.a, l.b, l.d, l.d,
		preference, 1, uintptr(unsafe.Pointer(&l.best)), uintptr(unsafe.Pointer(&found))); err != nil {
		return err
	}
	if state := int(l.best.state); found < 1 || state != 0 {
		if state == 0 {
			state = ltNotSupported
		}
		return &Error{Call: "cublasLtMatmulAlgoGetHeuristic", Operands: p.String(), Code: state, Name: ltStatus[state], foreign: true}
	}
	return nil
}

// close gives the library's descriptions back.
func (l *productPlan) close(lt *cublasLt) error {
	var errs []error
	for _, layout := range []uintptr{l.a, l.b, l.d} {
		if layout != 0 {
			errs = append(errs, lt.call("cublasLtMatrixLayoutDestroy", "", lt.cublasLtMatrixLayoutDestroy, layout))
		}
	}
	if l.desc != 0 {
		errs = append(errs, lt.call("cublasLtMatmulDescDestroy", "", lt.cublasLtMatmulDescDestroy, l.desc))
	}
	l.a, l.b, l.d, l.desc = 0, 0, 0, 0
	return errors.Join(errs...)
}
