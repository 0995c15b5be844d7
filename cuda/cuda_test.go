//go:build linux && amd64 && !nogpu

package cuda

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"

	"relsim/cuda/fake"
	"relsim/dynlib"
)

var (
	fakeErr error
	control struct{ loseAfter, reset, cublasLt uintptr } // functions of the fake driver
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv(DriverEnv) == "" && !fake.Real() {
		dir, err := os.MkdirTemp("", "fakecuda")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		var path string
		if path, fakeErr = build(dir); fakeErr == nil {
			os.Setenv(DriverEnv, path)
			os.Setenv(NVRTCEnv, path)
			os.Setenv(BLASEnv, path)
		} else if !errors.Is(fakeErr, fake.ErrNoCompiler) {
			fmt.Fprintln(os.Stderr, fakeErr)
			return 1
		}
	}
	if lib, err := dynlib.Open(os.Getenv(DriverEnv)); err == nil {
		control.loseAfter, _ = lib.Function("fakeLoseAfter")
		control.reset, _ = lib.Function("fakeReset")
		control.cublasLt, _ = lib.Function("fakeCublasLt")
	}
	if name := os.Getenv(plantedEnv); name != "" {
		return planted(name)
	}
	return m.Run()
}

// plantedEnv names a kernel that is wrong. It is run, and nothing else: tools that look for such errors have to find it.
const plantedEnv = "RELSIM_PLANTED"

func planted(name string) int {
	d, err := Open(0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer d.Close()
	err = d.Do(func(t *Thread) error {
		s, x := must(t.NewStream()), must(t.Alloc(4*1024))
		switch name {
		case "sums_race":
			must(0, s.Launch(kernel(t, name), Dim{}, Dim{X: 128}, 0, t.Args().Pointer(x).Pointer(x).Int32(1024)))
		case "beyond":
			must(0, s.Launch(kernel(t, name), Dim{}, Dim{X: 8}, 0, t.Args().Pointer(x).Int32(1024)))
		default:
			return fmt.Errorf("no kernel %q is planted", name)
		}
		return s.Sync()
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func build(dir string) (string, error) {
	return fake.Build(context.Background(), dir, "kernels", []string{"testdata/kernels.cu"})
}

// The test kernels in PTX. The fake driver looks at their names alone.
var (
	//go:embed testdata/kernels.sm_70.ptx
	image70 []byte
	//go:embed testdata/kernels.sm_80.ptx
	image80 []byte
)

// image is that for the device.
func image(t *Thread) []byte {
	if t.Info().Arch() < 80 {
		return image70
	}
	return image80
}

// callFake calls a function of the fake driver, and does nothing where the driver is a real one.
func callFake(f uintptr, args ...uintptr) {
	if f != 0 {
		purego.SyscallN(f, args...)
	}
}

// openFake opens the fake driver's device, as new, with a seed. The test is passed over where the driver is a real one.
func openFake(t *testing.T, seed int) *Device {
	t.Helper()
	if fakeErr == nil && control.reset == 0 {
		t.Skip("NOT RUN: this test is for the fake driver")
	}
	return openDevice(t, seed)
}

// openDevice opens the first device: the fake driver's, as new, with a seed, or that of the machine.
func openDevice(t *testing.T, seed int) *Device {
	t.Helper()
	if fakeErr != nil {
		t.Skip("NOT RUN: the fake driver: ", fakeErr)
	}
	callFake(control.reset, uintptr(seed))
	d, err := Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		callFake(control.reset, 0)
		d.Close()
	})
	return d
}

// seeds is how many orders of threads and streams there are to try; a real driver has its own.
func seeds() int {
	if control.reset == 0 {
		return 1
	}
	return 9
}

// do runs f on the device and fails the test with its error.
func do(t *testing.T, d *Device, f func(*Thread) error) {
	t.Helper()
	if err := d.Do(f); err != nil {
		t.Fatal(err)
	}
}

// must returns v, or ends the function given to do with err.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func kernel(t *Thread, name string) *Function {
	return must(must(t.Load(image(t))).Function(name))
}

// upload puts values into new memory of the device.
func upload[T number](t *Thread, src []T) Pointer {
	p := must(t.Alloc(int(sizeOf(src))))
	must(0, Upload(t, p, src))
	return p
}

func download(t *Thread, p Pointer, n int) []float32 {
	x := make([]float32, n)
	must(0, Download(t, x, p))
	return x
}

func ramp(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i)
	}
	return x
}

func TestDevices(t *testing.T) {
	d := openFake(t, 0)
	list, err := Devices()
	if err != nil {
		t.Fatal(err)
	}
	want := Info{Name: "fake GPU", UUID: "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f", Major: 8, SMs: 4, Memory: 1 << 30, Shared: 227 << 10, L2: 1 << 20, Driver: 12080}
	if len(list) != 1 || list[0] != want || d.Info() != want {
		t.Errorf("devices %+v, opened %+v, want %+v", list, d.Info(), want)
	}
	if want.Arch() != 80 || want.String() != "fake GPU (device 0, compute capability 8.0, 1024 MiB)" {
		t.Errorf("%d, %q", want.Arch(), want)
	}
	for _, ordinal := range []int{-1, 1} {
		if _, err := Open(ordinal); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), fmt.Sprintf("no device %d: the driver sees 1", ordinal)) {
			t.Errorf("device %d: %v", ordinal, err)
		}
	}
}

func TestMemory(t *testing.T) {
	d := openDevice(t, 0)
	do(t, d, func(t *Thread) error {
		want := []int32{1, -2, 3}
		p := upload(t, want)
		got := make([]int32, 3)
		if err := Download(t, got, p); err != nil {
			return err
		}
		if !equal(got, want) {
			return fmt.Errorf("%v, want %v", got, want)
		}
		if err := t.Free(p); err != nil {
			return err
		}
		if control.reset == 0 {
			return nil
		}
		fresh := must(t.Alloc(8))
		defer t.Free(fresh)
		if x := download(t, fresh, 2); x[0] == x[0] || x[1] == x[1] {
			return fmt.Errorf("fresh memory is %v, want NaN", x)
		}
		if err := Upload(t, fresh, make([]float32, 3)); err == nil || !strings.Contains(err.Error(), "12 bytes") || !strings.Contains(err.Error(), "CUDA_ERROR_INVALID_VALUE") {
			return fmt.Errorf("three values into the memory of two: %v", err)
		}
		return nil
	})
}

func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestOutOfMemory(t *testing.T) {
	d := openFake(t, 0)
	do(t, d, func(t *Thread) error {
		some := must(t.Alloc(512 << 20))
		defer t.Free(some)
		_, err := t.Alloc(600 << 20)
		var oom *OutOfMemory
		if !errors.As(err, &oom) || !errors.Is(err, ErrOutOfMemory) || errors.Is(err, ErrLost) {
			return fmt.Errorf("error %v", err)
		}
		if want := "cuda: out of memory: 600 MiB were asked for, 512 MiB of 1024 MiB are free"; err.Error() != want {
			return fmt.Errorf("%q, want %q", err, want)
		}
		p, err := t.Alloc(512 << 20) // the device goes on
		if err != nil {
			return err
		}
		return t.Free(p)
	})
}

func TestLaunch(t *testing.T) {
	for seed := range seeds() {
		d := openDevice(t, seed)
		do(t, d, func(t *Thread) error {
			const n, a = 1000, 0.5
			x, y := upload(t, ramp(n)), upload(t, ramp(n))
			s := must(t.NewStream())
			defer s.Close()
			if err := s.Launch(kernel(t, "axpy"), Dim{X: (n + 255) / 256}, Dim{X: 256}, 0, t.Args().Float32(a).Pointer(x).Pointer(y).Int32(n)); err != nil {
				return err
			}
			if err := s.Sync(); err != nil {
				return err
			}
			for i, v := range download(t, y, n) {
				if v != a*float32(i)+float32(i) {
					return fmt.Errorf("value %d is %v", i, v)
				}
			}
			return errors.Join(t.Free(x), t.Free(y))
		})
	}
}

func TestDims(t *testing.T) {
	d := openDevice(t, 3)
	do(t, d, func(t *Thread) error {
		const n = 2 * 3 * 4 * 5 * 6 * 7
		y := must(t.Alloc(4 * n))
		s := must(t.NewStream())
		must(0, s.Launch(kernel(t, "where"), Dim{2, 3, 4}, Dim{5, 6, 7}, 0, t.Args().Pointer(y)))
		must(0, s.Sync())
		got := make([]int32, n)
		must(0, Download(t, got, y))
		for i, v := range got {
			if int(v) != i {
				return fmt.Errorf("value %d is %d", i, v)
			}
		}
		return nil
	})
}

func TestParameters(t *testing.T) {
	d := openDevice(t, 0)
	do(t, d, func(t *Thread) error {
		y := must(t.Alloc(32))
		s := must(t.NewStream())
		must(0, s.Launch(kernel(t, "parameters"), Dim{}, Dim{}, 0, t.Args().Pointer(y).Int32(-7).Int64(1<<40+1).Float32(2.5).Pointer(0)))
		must(0, s.Sync())
		got := make([]int64, 4)
		must(0, Download(t, got, y))
		if want := []int64{-7, 1<<40 + 1, 2560, 1}; !equal(got, want) {
			return fmt.Errorf("%v, want %v", got, want)
		}
		return nil
	})
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "more than 32 bits") {
			t.Errorf("a parameter of 33 bits: %v", r)
		}
	}()
	d.Do(func(t *Thread) error {
		t.Args().Int32(1 << 32)
		return nil
	})
}

// rowSums runs a kernel of sums on 5 rows of 1000 and says whether it is right.
func rowSums(t *Thread, name string) (bool, error) {
	const rows, cols = 5, 1000
	x := make([]float32, rows*cols)
	for i := range x {
		x[i] = float32(i % 7)
	}
	in, out := upload(t, x), must(t.Alloc(4*rows))
	defer t.Free(in)
	defer t.Free(out)
	s := must(t.NewStream())
	defer s.Close()
	must(0, s.Launch(kernel(t, name), Dim{X: rows}, Dim{X: 128}, 0, t.Args().Pointer(in).Pointer(out).Int32(cols)))
	if err := s.Sync(); err != nil {
		return false, err
	}
	for r, v := range download(t, out, rows) {
		var want float32
		for c := range cols {
			want += x[r*cols+c] // small integers: exact in any order
		}
		if v != want {
			return false, nil
		}
	}
	return true, nil
}

func TestSharedAndShuffle(t *testing.T) {
	for seed := range seeds() {
		d := openDevice(t, seed)
		do(t, d, func(t *Thread) error {
			right, err := rowSums(t, "sums")
			if err == nil && !right {
				err = fmt.Errorf("seed %d: wrong sums", seed)
			}
			return err
		})
	}
}

// TestMissingBarrier looks for a barrier that is left out on purpose: some seed has to show it.
func TestMissingBarrier(t *testing.T) {
	wrong := 0
	for seed := range 9 {
		d := openFake(t, seed)
		do(t, d, func(t *Thread) error {
			right, err := rowSums(t, "sums_race")
			if !right {
				wrong++
			}
			return err
		})
	}
	if wrong == 0 {
		t.Error("no seed shows that a barrier is missing")
	}
}

func TestDynamicShared(t *testing.T) {
	d := openDevice(t, 4)
	do(t, d, func(t *Thread) error {
		f := kernel(t, "reverse")
		if n := must(f.MaxThreads()); n != 1024 {
			return fmt.Errorf("blocks of %d threads at most", n)
		}
		s := must(t.NewStream())
		for _, shared := range []int{4 * 96, 100 << 10} {
			x := upload(t, ramp(192))
			must(0, s.Launch(f, Dim{X: 2}, Dim{X: 96}, shared, t.Args().Pointer(x)))
			must(0, s.Sync())
			for i, v := range download(t, x, 192) {
				if want := i/96*96 + 95 - i%96; int(v) != want {
					return fmt.Errorf("%d bytes: value %d is %v, want %d", shared, i, v, want)
				}
			}
		}
		x := must(t.Alloc(4))
		err := s.Launch(f, Dim{}, Dim{}, 1<<20, t.Args().Pointer(x))
		if err == nil || !strings.Contains(err.Error(), "cuFuncSetAttribute(reverse, 1048576 bytes of shared memory)") {
			return fmt.Errorf("1 MiB of shared memory: %v", err)
		}
		err = s.Launch(f, Dim{}, Dim{X: 1025}, 0, t.Args().Pointer(x))
		if err == nil || !strings.Contains(err.Error(), "cuLaunchKernel(reverse, grid 1×1×1, block 1025×1×1, 0 bytes of shared memory, 1 parameters): CUDA_ERROR_INVALID_VALUE (1)") {
			return fmt.Errorf("a block of 1,025 threads: %v", err)
		}
		return nil
	})
}

// TestKernelErrors runs kernels that are wrong. Each is found, the error names it, and the device is lost.
func TestKernelErrors(t *testing.T) {
	for _, tt := range []struct {
		kernel string
		n      int // threads
		want   string
		args   func(*Thread, Args) Args
	}{
		{"beyond", 8, "beyond: illegal address", func(t *Thread, a Args) Args { return a.Pointer(must(t.Alloc(4 * 8))).Int32(8) }},
		{"beyond_shared", 9, "beyond_shared: a write behind the end of 32 bytes of shared memory", func(t *Thread, a Args) Args { return a.Pointer(must(t.Alloc(4 * 9))) }},
		{"apart", 32, "apart: a shuffle waits for thread 16,0,0 of block 0,0,0, which has come to a barrier", func(t *Thread, a Args) Args { return a.Pointer(must(t.Alloc(4 * 32))) }},
		{"askew", 1, "askew: misaligned address 0x", func(t *Thread, a Args) Args { return a.Pointer(must(t.Alloc(4 * 16))) }},
		{"sums", 16, "parameter 0 of sums is", func(t *Thread, a Args) Args {
			return a.Pointer(Pointer(uintptr(unsafe.Pointer(&ramp(16)[0])))).Pointer(0).Int32(16) // memory of Go
		}},
	} {
		t.Run(tt.kernel, func(t *testing.T) {
			d := openFake(t, 0)
			var s *Stream
			err := d.Do(func(t *Thread) error {
				s = must(t.NewStream())
				must(0, s.Launch(kernel(t, tt.kernel), Dim{}, Dim{X: tt.n}, 0, tt.args(t, t.Args())))
				return s.Sync()
			})
			if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "cuStreamSynchronize: CUDA_ERROR_") {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			again := d.Do(func(*Thread) error {
				t.Error("a function runs on a device that is lost")
				return nil
			})
			if again != err {
				t.Errorf("afterwards: %v, want the same error", again)
			}
		})
	}
}

// TestProductLost loses the device in mid-product: the error has the driver's reason.
func TestProductLost(t *testing.T) {
	err := withBLAS(t, 0, func(t *Thread, b *BLAS, s *Stream, take func([]float32) Pointer) error {
		x, y := take(make([]float32, 4)), take(make([]float32, 4))
		callFake(control.loseAfter, 1)
		must(0, b.Multiply(s, Product{M: 2, N: 2, K: 2}, Operands{D: y, A: x, B: x}))
		must(0, b.Multiply(s, Product{M: 2, N: 2, K: 2}, Operands{D: y, A: x, B: x}))
		return s.Sync()
	})
	if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "the device has gone") {
		t.Errorf("%v", err)
	}
}

func TestUnsetShared(t *testing.T) {
	d := openFake(t, 0)
	do(t, d, func(t *Thread) error {
		y := must(t.Alloc(4 * 32))
		s := must(t.NewStream())
		must(0, s.Launch(kernel(t, "unset"), Dim{}, Dim{X: 32}, 0, t.Args().Pointer(y)))
		must(0, s.Sync())
		for i, v := range download(t, y, 32) {
			if !math.IsNaN(float64(v)) {
				return fmt.Errorf("value %d is %v, want NaN", i, v)
			}
		}
		return nil
	})
}

// TestOtherThread calls the driver from another thread than the device's.
func TestOtherThread(t *testing.T) {
	d := openDevice(t, 0)
	var thread *Thread
	do(t, d, func(t *Thread) error { thread = t; return nil })
	if _, err := thread.Alloc(4); err == nil || !strings.Contains(err.Error(), "CUDA_ERROR_INVALID_CONTEXT") {
		t.Errorf("from another thread: %v", err)
	}
}

// TestStaging uploads from pinned memory that changes before the copy is waited for: the change has to show.
func TestStaging(t *testing.T) {
	early := 0
	for seed := range seeds() {
		d := openDevice(t, seed)
		do(t, d, func(t *Thread) error {
			s := must(t.NewStream())
			buffer := must(t.AllocPinned(4 * 100))
			defer t.FreePinned(buffer)
			x := must(t.Alloc(4 * 100))
			copy(buffer.Floats(), ramp(100))
			must(0, s.Upload(x, buffer, 0, 400))
			must(0, s.Sync())
			if got := download(t, x, 100); !equal(got, ramp(100)) {
				return fmt.Errorf("uploaded %v", got)
			}
			for i := range buffer.Floats() {
				buffer.Floats()[i] = 1
			}
			must(0, s.Upload(x, buffer, 0, 400))
			buffer.Floats()[50] = 2
			must(0, s.Sync())
			if download(t, x, 100)[50] == 2 {
				early++
			}
			for i := range buffer.Floats() {
				buffer.Floats()[i] = 0
			}
			must(0, s.Download(buffer, 0, x, 400))
			must(0, s.Sync())
			if got := buffer.Floats(); got[0] != 1 || got[99] != 1 {
				return fmt.Errorf("downloaded %v", got)
			}
			return nil
		})
	}
	if early == 0 && control.reset != 0 {
		t.Error("a buffer that is written to too early is never noticed")
	}
}

// TestStreams lets one stream write what another one reads. With an event the order holds for every seed; without one it
// must not, or the fake driver would hide what is missing.
func TestStreams(t *testing.T) {
	run := func(seed int, wait bool) (got float32) {
		d := openDevice(t, seed)
		do(t, d, func(t *Thread) error {
			a, b := must(t.NewStream()), must(t.NewStream())
			x, y := upload(t, []float32{0}), upload(t, []float32{0})
			ready := must(t.NewEvent(false))
			must(0, a.Fill(x, math.Float32bits(7), 1))
			must(0, ready.Record(a))
			if wait {
				must(0, b.Wait(ready))
			}
			must(0, b.Copy(y, x, 4))
			must(0, b.Sync())
			must(0, a.Sync())
			got = download(t, y, 1)[0]
			return errors.Join(ready.Close(), a.Close(), b.Close())
		})
		return got
	}
	stale := 0
	for seed := range seeds() {
		if got := run(seed, true); got != 7 {
			t.Errorf("seed %d: with an event %v, want 7", seed, got)
		}
		if run(seed, false) != 7 {
			stale++
		}
	}
	if stale == 0 && control.reset != 0 {
		t.Error("that streams do not wait for each other is never noticed")
	}
}

func TestEvents(t *testing.T) {
	d := openDevice(t, 0)
	do(t, d, func(t *Thread) error {
		s := must(t.NewStream())
		begin, end := must(t.NewEvent(true)), must(t.NewEvent(true))
		x := must(t.Alloc(4))
		must(0, begin.Record(s))
		must(0, s.Fill(x, 0, 1))
		must(0, end.Record(s))
		if done := must(end.Done()); done && control.reset != 0 {
			return errors.New("an event is reached that nobody waited for")
		}
		if done := must(s.Done()); done && control.reset != 0 {
			return errors.New("a stream is done that nobody waited for")
		}
		must(0, end.Sync())
		if time := must(end.Since(begin)); time < 0 {
			return fmt.Errorf("the time between two events is %v", time)
		}
		if !must(end.Done()) || !must(s.Done()) {
			return errors.New("not done after waiting")
		}
		return nil
	})
}

// TestGraph records a step with a fork and a join, and launches it several times.
func TestGraph(t *testing.T) {
	for seed := range seeds() {
		d := openDevice(t, seed)
		do(t, d, func(t *Thread) error {
			const n = 300
			a, b := must(t.NewStream()), must(t.NewStream())
			fork, join := must(t.NewEvent(false)), must(t.NewEvent(false))
			x, y, z := upload(t, ramp(n)), upload(t, ramp(n)), upload(t, ramp(n))
			f := kernel(t, "axpy")
			axpy := func(s *Stream, a float32, x, y Pointer) {
				must(0, s.Launch(f, Dim{X: 2}, Dim{X: 160}, 0, t.Args().Float32(a).Pointer(x).Pointer(y).Int32(n)))
			}
			g, err := a.Capture(func() error {
				axpy(a, 1, x, y) // y += x
				must(0, fork.Record(a))
				must(0, b.Wait(fork))
				axpy(b, 1, y, z) // z += y, beside
				axpy(a, 0, y, x) // x stays
				must(0, join.Record(b))
				must(0, a.Wait(join))
				axpy(a, -1, x, z) // z -= x
				return nil
			})
			if err != nil {
				return err
			}
			if got := download(t, y, n); !equal(got, ramp(n)) {
				return errors.New("a capture runs what it records")
			}
			for range 3 {
				must(0, g.Launch(a))
			}
			must(0, a.Sync())
			// y: 2, 3, 4 times the ramp; z: 1 + (2-1) + (3-1) + (4-1) times.
			for i, v := range download(t, z, n) {
				if v != float32(7*i) {
					return fmt.Errorf("seed %d: value %d is %v, want %d", seed, i, v, 7*i)
				}
			}
			return g.Close()
		})
	}
}

func TestCaptureErrors(t *testing.T) {
	d := openDevice(t, 0)
	do(t, d, func(t *Thread) error {
		a, b := must(t.NewStream()), must(t.NewStream())
		fork := must(t.NewEvent(false))
		x := must(t.Alloc(4))
		_, err := a.Capture(func() error {
			must(0, fork.Record(a))
			must(0, b.Wait(fork))
			return b.Fill(x, 0, 1)
		})
		if err == nil || !strings.Contains(err.Error(), "CAPTURE_UNJOINED") {
			return fmt.Errorf("a stream that is not joined: %v", err)
		}
		_, err = a.Capture(func() error {
			_, err := t.Alloc(4)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "cuMemAlloc(4 bytes): CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED") {
			return fmt.Errorf("memory in a capture: %v", err)
		}
		must(0, a.Fill(x, 5, 1)) // the stream goes on
		must(0, a.Sync())
		return nil
	})
}

func TestModuleErrors(t *testing.T) {
	d := openFake(t, 0)
	do(t, d, func(t *Thread) error {
		if _, err := t.Load([]byte("not PTX")); err == nil || !strings.Contains(err.Error(), "cuModuleLoadDataEx(7 bytes for 8.0): CUDA_ERROR_INVALID_PTX (218)") ||
			!strings.Contains(strings.ToLower(err.Error()), ".version") {
			return fmt.Errorf("text that is not PTX: %v", err)
		}
		return nil
	})
}

func TestMissingKernel(t *testing.T) {
	d := openDevice(t, 0)
	do(t, d, func(t *Thread) error {
		m := must(t.Load(image(t)))
		if _, err := m.Function("missing"); err == nil || !strings.Contains(err.Error(), "cuModuleGetFunction(missing): CUDA_ERROR_NOT_FOUND (500)") {
			return fmt.Errorf("a kernel that is not in the image: %v", err)
		}
		return m.Close()
	})
}

func TestPanicInDo(t *testing.T) {
	d := openDevice(t, 0)
	defer func() {
		if r := recover(); r != "boom" {
			t.Errorf("recovered %v", r)
		}
		do(t, d, func(*Thread) error { return nil }) // the device goes on
	}()
	d.Do(func(*Thread) error { panic("boom") })
}

// TestLaunchAllocates checks that a launch takes no memory of Go.
func TestLaunchAllocates(t *testing.T) {
	d := openDevice(t, 0)
	do(t, d, func(t *Thread) error {
		x, y := upload(t, ramp(8)), upload(t, ramp(8))
		s, f := must(t.NewStream()), kernel(t, "axpy")
		var err error
		n := testing.AllocsPerRun(100, func() {
			err = s.Launch(f, Dim{X: 1}, Dim{X: 32}, 0, t.Args().Float32(1).Pointer(x).Pointer(y).Int32(8))
		})
		if err == nil && n > 0 {
			err = fmt.Errorf("%v allocations for a launch", n)
		}
		return errors.Join(err, s.Sync())
	})
}
