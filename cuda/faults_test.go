//go:build linux && amd64 && !nogpu

package cuda

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"relsim/cuda/fake"
)

// childEnv names the test that a child process runs.
const childEnv = "CUDA_TEST_CHILD"

// child runs the test again in a process of its own, since a process opens one driver, and returns false; in that process
// it returns true.
func child(t *testing.T, env ...string) bool {
	t.Helper()
	if os.Getenv(childEnv) == t.Name() {
		return true
	}
	if fakeErr != nil {
		t.Skip("NOT RUN: the fake driver: ", fakeErr)
	}
	if control.reset == 0 {
		t.Skip("NOT RUN: this test is for the fake driver")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), childEnv+"="+t.Name()), env...)
	out, err := cmd.CombinedOutput()
	if _, why, found := bytes.Cut(out, []byte("NOT RUN: ")); err == nil && found {
		line, _, _ := bytes.Cut(why, []byte("\n"))
		t.Skip("NOT RUN: ", string(line))
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("%v: %v\n%s", env, err, out)
	}
	return false
}

// oneClearLine checks that an error is unavailability, said in one line.
func oneClearLine(t *testing.T, err error, want string) {
	t.Helper()
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), want) {
		t.Fatalf("%v, want %q", err, want)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than a line: %q", err)
	}
}

// TestUnavailable opens drivers that cannot be used.
func TestUnavailable(t *testing.T) {
	text := t.TempDir() + "/text.so"
	if err := os.WriteFile(text, []byte("text"), 0o666); err != nil {
		t.Fatal(err)
	}
	given := os.Getenv("CUDA_TEST_TEXT")
	for _, tt := range []struct {
		name, want string
		env        []string
	}{
		{"no device", "no GPU can be used: cuda: cuInit: CUDA_ERROR_NO_DEVICE (100)", []string{"FAKECUDA_DEVICES=0"}},
		{"old", "is of CUDA 10.2: want 11.4 or newer", []string{"FAKECUDA_VERSION=10020"}},
		{"not a library", "the driver (" + DriverEnv + "=" + given + "): ", []string{DriverEnv + "=" + text, "CUDA_TEST_TEXT=" + text}},
		{"no such file", "the driver (" + DriverEnv + "=/nowhere/libcuda.so): ", []string{DriverEnv + "=/nowhere/libcuda.so"}},
		{"another library", "libc.so.6 has no cu", []string{DriverEnv + "=libc.so.6"}},
		{"exclusive", "fake GPU (device 0, compute capability 8.0, 1024 MiB) is not free: another process has it, and its compute mode is Exclusive_Process",
			[]string{"FAKECUDA_BUSY=1", "FAKECUDA_MODE=3"}},
		{"prohibited", "is not free: its compute mode is Prohibited (nvidia-smi -q -d COMPUTE): cuda: cuDevicePrimaryCtxRetain(",
			[]string{"FAKECUDA_BUSY=1", "FAKECUDA_MODE=2"}},
		{"busy", "is not free: another process has it: cuda: cuDevicePrimaryCtxRetain(", []string{"FAKECUDA_BUSY=1"}},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "_"), func(t *testing.T) {
			if child(t, tt.env...) {
				_, err := Open(0)
				oneClearLine(t, err, tt.want)
				_, again := OpenFree()
				oneClearLine(t, again, tt.want)
			}
		})
	}
}

func TestNoDriver(t *testing.T) {
	if child(t, DriverEnv+"=", fake.RealEnv+"=1") {
		_, err := Open(0)
		if err == nil {
			t.Skip("NOT RUN: this machine has a driver")
		}
		oneClearLine(t, err, "the NVIDIA driver is not installed, or not where it is looked for: libcuda.so.1, ")
		if !strings.Contains(err.Error(), DriverEnv) {
			t.Errorf("%v: want the variable that names it", err)
		}
	}
}

func TestOpenFree(t *testing.T) {
	t.Run("second", func(t *testing.T) {
		if child(t, "FAKECUDA_DEVICES=2", "FAKECUDA_BUSY=1", "FAKECUDA_MODE=3") {
			d, err := OpenFree()
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if d.Info().Ordinal != 1 {
				t.Errorf("opened %v, want device 1", d.Info())
			}
		}
	})
	t.Run("none", func(t *testing.T) {
		if child(t, "FAKECUDA_DEVICES=2", "FAKECUDA_BUSY=2") {
			_, err := OpenFree()
			oneClearLine(t, err, "none of 2 devices is free: ")
		}
	})
}

// loadKernels loads the kernels and returns by what they were compiled, and what was warned of.
func loadKernels(t *testing.T, cache *CodeCache) (compiled string, warnings []string) {
	t.Helper()
	d := openFake(t, 0)
	do(t, d, func(t *Thread) error {
		k, err := t.LoadKernels(cache, func(s string) { warnings = append(warnings, s) })
		if err != nil {
			return err
		}
		compiled = k.Compiled
		return k.Close()
	})
	return compiled, warnings
}

func TestLoadKernels(t *testing.T) {
	cache := OpenCodeCache(t.TempDir(), func(s string) { t.Error(s) })
	for range 2 { // the second time they come from the cache
		if compiled, warnings := loadKernels(t, cache); compiled != "NVRTC 12.8" || len(warnings) != 0 {
			t.Errorf("compiled by %s; warnings %q", compiled, warnings)
		}
	}
}

// TestNVRTCFaults takes the embedded PTX, and says why in one line.
func TestNVRTCFaults(t *testing.T) {
	for _, tt := range []struct{ name, env, want string }{
		{"missing", NVRTCEnv + "=/nowhere/libnvrtc.so", "the compiler of kernels (NVRTC) (" + NVRTCEnv + "=/nowhere/libnvrtc.so): "},
		{"fails", "FAKECUDA_NVRTC_FAILS=1", "NVRTC_ERROR_COMPILATION (6): attention.cu(8): error: what it does not know: the kernels are"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if child(t, tt.env) {
				compiled, warnings := loadKernels(t, nil)
				if compiled != "PTX" || len(warnings) != 1 || !strings.Contains(warnings[0], tt.want) || strings.Contains(warnings[0], "\n") {
					t.Errorf("compiled by %s; warnings %q, want one with %q", compiled, warnings, tt.want)
				}
			}
		})
	}
}

// TestLostInMidStep loses the device after two launches: whoever notices it first, every later call says so.
func TestLostInMidStep(t *testing.T) {
	for name, notice := range map[string]func(*Thread, *Stream, *Event, Pointer) error{
		"stream": func(_ *Thread, s *Stream, _ *Event, _ Pointer) error { return s.Sync() },
		"device": func(t *Thread, _ *Stream, _ *Event, _ Pointer) error { return t.Sync() },
		"event":  func(_ *Thread, _ *Stream, e *Event, _ Pointer) error { return e.Sync() },
		"query": func(_ *Thread, s *Stream, _ *Event, _ Pointer) error {
			for {
				if done, err := s.Done(); done || err != nil {
					return err
				}
			}
		},
		"free": func(t *Thread, _ *Stream, _ *Event, y Pointer) error { return t.Free(y) },
	} {
		t.Run(name, func(t *testing.T) {
			d := openFake(t, 0)
			callFake(control.loseAfter, 2)
			ran := 0
			var s *Stream
			var y Pointer
			var thread *Thread
			err := d.Do(func(t *Thread) error {
				thread = t
				s, y = must(t.NewStream()), must(t.Alloc(32))
				reached := must(t.NewEvent(false))
				for range 4 {
					must(0, s.Launch(kernel(t, "parameters"), Dim{}, Dim{}, 0, t.Args().Pointer(y).Int32(0).Int64(0).Float32(0).Pointer(0)))
					must(0, reached.Record(s))
					if err := notice(t, s, reached, y); err != nil {
						return err
					}
					if name == "free" {
						y = must(t.Alloc(32))
					}
					ran++
				}
				return nil
			})
			if ran != 2 || !errors.Is(err, ErrLost) || errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "cuda: the device is lost: fake GPU (device 0") ||
				strings.Contains(err.Error(), "\n") {
				t.Fatalf("%d launches, then %v", ran, err)
			}
			if again := d.Do(func(*Thread) error { return nil }); again != err {
				t.Errorf("afterwards: %v, want the same error", again)
			}
			for call, later := range map[string]error{
				"Free": thread.Free(y), "Stream.Close": s.Close(), "Upload": Upload(thread, y, []float32{1}), "Sync": thread.Sync(),
				"Graph": func() error { _, err := s.Capture(func() error { return nil }); return err }(),
			} {
				if later != err {
					t.Errorf("%s afterwards: %v, want the same error", call, later)
				}
			}
		})
	}
}

// TestLaunchParameters passes parameters that a kernel does not have.
func TestLaunchParameters(t *testing.T) {
	d := openFake(t, 0)
	defer func() {
		want := "cuda: launch of add with (8 bytes, 8 bytes, int32), want (8 bytes, 8 bytes, 8 bytes, int32, 8 bytes)"
		if r := recover(); r != want {
			t.Errorf("recovered %v, want %s", r, want)
		}
	}()
	d.Do(func(t *Thread) error {
		s := must(t.NewStream())
		f := &Function{t: t, name: "add", known: true, params: must(embeddedLayouts(80))["add"]}
		return s.Launch(f, Dim{}, Dim{}, 0, t.Args().Pointer(0).Pointer(0).Int32(1))
	})
}
