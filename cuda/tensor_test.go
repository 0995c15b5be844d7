//go:build linux && amd64 && !nogpu

package cuda

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// product is a (m, k)·b (k, n) + d, in float64.
func product(d, a, b []float64, m, n, k int) []float64 {
	sums := make([]float64, m*n)
	for i := range m {
		for j := range n {
			sums[i*n+j] = d[i*n+j]
			for l := range k {
				sums[i*n+j] += a[i*k+l] * b[l*n+j]
			}
		}
	}
	return sums
}

// draw returns n numbers of few bits, which every format here has, as float64 and float32; and the bits of bfloat16.
func draw(r *rand.Rand, n int) (exact []float64, single []float32, half []uint16) {
	for range n {
		v := float32(r.IntN(511)-255) / 16
		exact, single, half = append(exact, float64(v)), append(single, v), append(half, uint16(math.Float32bits(v)>>16))
	}
	return exact, single, half
}

// upload16 is upload for values of 16 bits, an even number of them.
func upload16(t *Thread, x []uint16) Pointer {
	words := make([]int32, len(x)/2)
	for i := range words {
		words[i] = int32(uint32(x[2*i]) | uint32(x[2*i+1])<<16)
	}
	return upload(t, words)
}

// runOne runs a test kernel in one block.
func runOne(t *Thread, name string, threads, shared int, a Args) error {
	s := must(t.NewStream())
	defer s.Close()
	must(0, s.Launch(kernel(t, name), Dim{}, Dim{X: threads}, shared, a))
	return s.Sync()
}

// openTensorDevice opens a device that has tensor cores for bfloat16.
func openTensorDevice(t *testing.T, seed int) *Device {
	t.Helper()
	d := openDevice(t, seed)
	if d.Info().Arch() < 80 {
		t.Skip("NOT RUN: ", d.Info(), " has no tensor cores for bfloat16")
	}
	return d
}

// TestTensorProducts compares the products of a warp with plain ones. All sums are exact, so the results are equal.
func TestTensorProducts(t *testing.T) {
	for _, tt := range []struct {
		kernel string
		depth  int
	}{{"product_bf16", 16}, {"product_tf32", 8}} {
		t.Run(tt.kernel, func(t *testing.T) {
			for seed := range seeds() {
				d := openTensorDevice(t, seed)
				do(t, d, func(t *Thread) error {
					r := rand.New(rand.NewPCG(uint64(seed), 1))
					sums, sums32, _ := draw(r, 16*8)
					a, a32, a16 := draw(r, 16*tt.depth)
					b, b32, b16 := draw(r, tt.depth*8)
					at := upload(t, sums32)
					args := t.Args().Pointer(at)
					if tt.kernel == "product_bf16" {
						args = args.Pointer(upload16(t, a16)).Pointer(upload16(t, b16))
					} else {
						args = args.Pointer(upload(t, a32)).Pointer(upload(t, b32))
					}
					if err := runOne(t, tt.kernel, 32, 0, args); err != nil {
						return err
					}
					want := product(sums, a, b, 16, 8, tt.depth)
					for i, v := range download(t, at, 16*8) {
						if float64(v) != want[i] {
							return fmt.Errorf("seed %d: value %d, %d is %v, want %v", seed, i/8, i%8, v, want[i])
						}
					}
					return nil
				})
			}
		})
	}
}

// TestTF32 multiplies by one: what comes out is rounded to 10 bits behind the point, to nearest.
func TestTF32(t *testing.T) {
	d := openTensorDevice(t, 0)
	do(t, d, func(t *Thread) error {
		one, x := make([]float32, 64), make([]float32, 16*8)
		for i := range 8 {
			one[i*9] = 1
		}
		r := rand.New(rand.NewPCG(3, 3))
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		x[3], x[4] = 1+0x1p-11, -(1 + 0x1p-11) // halfway: away from zero
		at := upload(t, make([]float32, 16*8))
		if err := runOne(t, "product_tf32", 32, 0, t.Args().Pointer(at).Pointer(upload(t, x)).Pointer(upload(t, one))); err != nil {
			return err
		}
		for i, v := range download(t, at, 16*8) {
			_, e := math.Frexp(float64(x[i]))
			unit := math.Ldexp(1, e-11)
			if want := math.Round(float64(x[i])/unit) * unit; float64(v) != want {
				return fmt.Errorf("%v becomes %v, want %v", x[i], v, want)
			}
		}
		return nil
	})
}

func TestLoadMatrices(t *testing.T) {
	d := openTensorDevice(t, 5)
	do(t, d, func(t *Thread) error {
		x := make([]uint16, 4*64)
		for i := range x {
			x[i] = uint16(i)
		}
		at := must(t.Alloc(4 * 256))
		if err := runOne(t, "matrices", 32, 0, t.Args().Pointer(at).Pointer(upload16(t, x))); err != nil {
			return err
		}
		got := make([]int32, 256)
		must(0, Download(t, got, at))
		for i := range 4 {
			for lane := range 32 {
				g, t := lane/4, lane%4
				plain := [2]int{i*64 + g*8 + 2*t, i*64 + g*8 + 2*t + 1}
				turned := [2]int{i*64 + 2*t*8 + g, i*64 + (2*t+1)*8 + g}
				for k, want := range [][2]int{plain, turned} {
					if v := got[k*128+i*32+lane]; v != int32(want[0]|want[1]<<16) {
						return fmt.Errorf("matrix %d, lane %d, transposed %d: %#x, want %v", i, lane, k, v, want)
					}
				}
			}
		}
		return nil
	})
}

// TestCopyAhead copies to shared memory in two groups. What is read too early is not there yet.
func TestCopyAhead(t *testing.T) {
	for seed := range seeds() {
		d := openTensorDevice(t, seed)
		do(t, d, func(t *Thread) error {
			const threads, n = 64, 500 // of 512: the last copies are of zeros
			for _, early := range []int{0, 1} {
				y := must(t.Alloc(4 * 8 * threads))
				err := runOne(t, "ahead", threads, 4*8*threads, t.Args().Pointer(y).Pointer(upload(t, ramp(n))).Int32(n).Int32(early))
				if err != nil {
					return err
				}
				unknown := 0
				for i, v := range download(t, y, 8*threads) {
					want := float32(i)
					if i >= n {
						want = 0
					}
					if (v != v || control.reset == 0) && early == 1 && i < 4*threads {
						unknown++
					} else if v != want {
						return fmt.Errorf("seed %d, early %d: value %d is %v, want %v", seed, early, i, v, want)
					}
				}
				if (unknown > 0) != (early == 1) && control.reset != 0 {
					return fmt.Errorf("seed %d, early %d: %d values were read before they were there", seed, early, unknown)
				}
			}
			return nil
		})
	}
}

// TestTensorErrors runs kernels that use a warp's operations wrongly.
func TestTensorErrors(t *testing.T) {
	for _, tt := range []struct {
		kernel, want string
		shared       int
		args         func(*Thread, Args) Args
	}{
		{"unequal", "unequal: thread 16,0,0 of block 0,0,0 has come to mma_bf16 where others of its warp have come to shuffle", 0,
			func(t *Thread, a Args) Args { return a.Pointer(must(t.Alloc(4 * 32))) }},
		{"unrounded", "unrounded: mma_tf32 of a value that has more bits than tf32 gives", 0,
			func(t *Thread, a Args) Args { return a.Pointer(must(t.Alloc(4 * 32))) }},
		{"unwaited", "unwaited: a thread ends before its copies have landed", 16 * 32,
			func(t *Thread, a Args) Args { return a.Pointer(must(t.Alloc(16))) }},
	} {
		t.Run(tt.kernel, func(t *testing.T) {
			d := openFake(t, 0)
			err := d.Do(func(t *Thread) error { return runOne(t, tt.kernel, 32, tt.shared, tt.args(t, t.Args())) })
			if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// TestOvertaking runs a kernel that is right only if its warps keep step, which they do in some blocks and not in others.
func TestOvertaking(t *testing.T) {
	wrong := 0
	const seeds = 16
	for seed := range seeds {
		d := openFake(t, seed)
		do(t, d, func(t *Thread) error {
			y := must(t.Alloc(4 * 64))
			must(0, runOne(t, "overtaken", 64, 0, t.Args().Pointer(y)))
			for i, v := range download(t, y, 64) {
				if v != float32(63-i) {
					wrong++
					break
				}
			}
			return nil
		})
	}
	if wrong == 0 || wrong == seeds {
		t.Errorf("%d of %d seeds show that a warp overtakes another", wrong, seeds)
	}
}
