package pretrained

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relsim/checkpoints"
	"relsim/nn"
)

// loadEnv makes the test binary a process that reads or loads once: "WAY DIR".
const loadEnv = "RELSIM_TEST_LOAD"

func TestMain(m *testing.M) {
	if what, ok := os.LookupEnv(loadEnv); ok {
		way, dir, _ := strings.Cut(what, " ")
		if err := loadOnce(way, dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// loaded is what a process took.
type loaded struct {
	Wall, CPU time.Duration
	Peak      int64 // bytes of memory, at most
	Values    int   // parameters
}

// loadOnce does it one of these ways, and prints what it took:
//
//	read    the bytes of the weights, one after the other, into a buffer of a MiB
//	keep    the same, into memory for all of them
//	open    Open and Weights
func loadOnce(way, dir string) error {
	var r loaded
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		return err
	}
	start := time.Now()
	switch way {
	case "open":
		m, err := Open(dir)
		if err != nil {
			return err
		}
		n, err := nn.Declare(m.Config, 0)
		if err != nil {
			return err
		}
		if err := n.Params.Allocate(); err != nil {
			return err
		}
		if err := m.Weights(n.Params, nn.VisionTower); err != nil {
			return err
		}
		r.Values = len(n.Params.Data())
	default:
		file, err := os.Open(filepath.Join(dir, weightsFile))
		if err != nil {
			return err
		}
		defer file.Close()
		buffer := make([]byte, 1<<20)
		if way == "keep" {
			info, err := file.Stat()
			if err != nil {
				return err
			}
			buffer = make([]byte, info.Size())
		}
		for {
			if _, err := io.ReadFull(file, buffer); err == io.EOF || err == io.ErrUnexpectedEOF {
				break
			} else if err != nil {
				return err
			}
		}
	}
	r.Wall = time.Since(start)
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		return err
	}
	r.CPU = time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	r.Peak = after.Maxrss << 10
	return json.NewEncoder(os.Stdout).Encode(r)
}

// inProcess runs loadOnce in a process of its own.
func inProcess(t testing.TB, way, dir string) loaded {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), loadEnv+"="+way+" "+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", way, err, stderr.Bytes())
	}
	var r loaded
	check(t, json.Unmarshal(out, &r))
	return r
}

// forget takes a file out of the page cache.
func forget(t testing.TB, path string) {
	t.Helper()
	file, err := os.Open(path)
	check(t, err)
	defer file.Close()
	check(t, unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// BenchmarkWeights loads the image tower of CLIP ViT-L/14 (304 M numbers), in turns with reading the
// bytes of its file into a small buffer and into memory of their size: from the page cache, and
// from the disk. x-read and x-keep are medians of the pairs; peak-x is the most memory of the whole
// process over the size of the parameters.
func BenchmarkWeights(b *testing.B) {
	for _, dtype := range []checkpoints.DType{checkpoints.F32, checkpoints.BF16, checkpoints.F16} {
		dir := b.TempDir()
		size := writeModel(b, dir, imageTower(224, 14, 1024, 24, 16, 768), dtype)
		for _, cold := range []bool{true, false} {
			b.Run(fmt.Sprintf("type=%s/cold=%v", dtype, cold), func(b *testing.B) {
				took := map[string][]loaded{}
				turn := func() {
					for _, way := range []string{"read", "keep", "open"} {
						if cold {
							forget(b, filepath.Join(dir, weightsFile))
						}
						took[way] = append(took[way], inProcess(b, way, dir))
					}
				}
				turn()
				clear(took) // it was to fill the page cache
				for b.Loop() {
					turn()
				}
				median := func(f func(i int) float64) float64 {
					values := make([]float64, len(took["open"]))
					for i := range values {
						values[i] = f(i)
					}
					slices.Sort(values)
					return values[len(values)/2]
				}
				for _, way := range []string{"read", "keep"} {
					b.ReportMetric(median(func(i int) float64 { return took["open"][i].Wall.Seconds() / took[way][i].Wall.Seconds() }), "x-"+way)
					b.ReportMetric(median(func(i int) float64 { return took["open"][i].CPU.Seconds() / took[way][i].CPU.Seconds() }), "cpu-x-"+way)
				}
				b.ReportMetric(float64(size)/1e9/median(func(i int) float64 { return took["open"][i].Wall.Seconds() }), "GB/s")
				b.ReportMetric(median(func(i int) float64 { return float64(took["open"][i].Peak) / float64(4*took["open"][i].Values) }), "peak-x")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
