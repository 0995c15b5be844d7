package checkpoints

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// snapshot is a checkpoint whose every value is step.
func snapshot(step int) Snapshot {
	values := make([]float32, 1000)
	for i := range values {
		values[i] = float32(step)
	}
	return Snapshot{
		Model:     []Tensor{FromFloat32("weight", []int{10, 100}, values)},
		Optimizer: []Tensor{FromFloat32("m.weight", []int{1000}, values), FromFloat32("v.weight", []int{1000}, values)},
		State:     json.RawMessage(fmt.Sprintf(`{"step":%d}`, step)),
		Config:    json.RawMessage(`{"seed":1}`),
		Files:     map[string][]byte{"vocabulary.json": []byte(`["a"]`)},
	}
}

// checkWhole fails the test unless dir holds snapshot(step).
func checkWhole(t *testing.T, dir string, step int) {
	t.Helper()
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := snapshot(step); !reflect.DeepEqual(*got, want) {
		t.Fatalf("%s does not hold step %d: state %s", dir, step, got.State)
	}
}

func save(t *testing.T, run string, step int) string {
	t.Helper()
	dir, err := Save(run, step, snapshot(step))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// entries are the names in the checkpoints folder of a run.
func entries(t *testing.T, run string) []string {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(run, "checkpoints"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestSaveAndLoad(t *testing.T) {
	run := filepath.Join(t.TempDir(), "runs", "a")
	dir := save(t, run, 1234)
	if want := filepath.Join(run, "checkpoints", "step-00001234"); dir != want {
		t.Errorf("folder %s, want %s", dir, want)
	}
	checkWhole(t, dir, 1234)
	checkWhole(t, run, 1234)
	if got, want := entries(t, run), []string{"latest", "step-00001234"}; !slices.Equal(got, want) {
		t.Errorf("entries %v, want %v", got, want)
	}
	if b, err := os.ReadFile(filepath.Join(run, "checkpoints", "latest")); string(b) != "step-00001234\n" {
		t.Errorf("latest %q, %v", b, err)
	}
}

func TestSaveTheLeast(t *testing.T) {
	run := t.TempDir()
	want := Snapshot{Model: []Tensor{FromFloat32("w", []int{}, []float32{1})}, Files: map[string][]byte{}}
	if _, err := Save(run, 0, want); err != nil {
		t.Fatal(err)
	}
	got, err := Load(run)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("%+v, want %+v", *got, want)
	}
}

func TestSaveAgainReplaces(t *testing.T) {
	run := t.TempDir()
	dir := save(t, run, 7)
	if _, err := Save(run, 7, snapshot(8)); err != nil {
		t.Fatal(err)
	}
	checkWhole(t, dir, 8)
	if got, want := entries(t, run), []string{"latest", "step-00000007"}; !slices.Equal(got, want) {
		t.Errorf("entries %v, want %v", got, want)
	}
}

// A process that was killed between the two renames of a replacement: the next
// Save puts the old folder back, whatever step it writes itself.
func TestInterruptedReplacement(t *testing.T) {
	run := t.TempDir()
	dir := save(t, run, 7)
	if err := os.Rename(dir, filepath.Join(run, "checkpoints", replacedPrefix+filepath.Base(dir))); err != nil {
		t.Fatal(err)
	}
	save(t, run, 8)
	checkWhole(t, dir, 7)
	checkWhole(t, run, 8)
}

func TestReplaceDirByRename(t *testing.T) {
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	for _, dir := range []string{a, b} {
		if err := writeSnapshot(dir, snapshot(len(dir))); err != nil {
			t.Fatal(err)
		}
	}
	if err := renameOver(a, b); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(root)
	if err != nil || len(list) != 1 || list[0].Name() != "b" {
		t.Errorf("left are %v, %v", list, err)
	}
}

func TestSaveRefuses(t *testing.T) {
	for want, s := range map[string]Snapshot{
		"state.json: not JSON":                {State: json.RawMessage("{")},
		"config.json: not JSON":               {Config: json.RawMessage("x")},
		`"../a": not a name of its own`:       {Files: map[string][]byte{"../a": nil}},
		`"a/b": not a name of its own`:        {Files: map[string][]byte{"a/b": nil}},
		`".a": not a name of its own`:         {Files: map[string][]byte{".a": nil}},
		`"state.json": not a name of its own`: {Files: map[string][]byte{"state.json": nil}},
		"model.safetensors: tensor":           {Model: []Tensor{{Name: "a", DType: "F8"}}},
	} {
		run := t.TempDir()
		if _, err := Save(run, 1, s); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "save step 1 of") {
			t.Errorf("error %v, want %q", err, want)
		}
		if got := entries(t, run); len(got) != 0 {
			t.Errorf("left behind: %v", got)
		}
	}
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Save(blocked, 1, snapshot(1)); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a run folder that is a file: %v", err)
	}
}

func TestResolve(t *testing.T) {
	run := t.TempDir()
	if _, err := Resolve(run); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("empty run: %v", err)
	}
	for _, f := range []func(string) (string, error){Latest, func(run string) (string, error) { dir, _, err := Best(run); return dir, err }} {
		if _, err := f(filepath.Join(run, "none")); !errors.Is(err, ErrNoCheckpoint) {
			t.Errorf("no run: %v", err)
		}
	}
	if _, err := Resolve(filepath.Join(run, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing path: %v", err)
	}
	var dirs []string
	for step := 10; step <= 30; step += 10 {
		dirs = append(dirs, save(t, run, step))
	}
	root := filepath.Join(run, "checkpoints")
	check := func(path, want string) {
		t.Helper()
		if got, err := Resolve(path); err != nil || got != want {
			t.Errorf("%s: %s (%v), want %s", path, got, err, want)
		}
	}
	check(run, dirs[2])
	if _, err := Resolve(filepath.Join(run, "best")); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("none marked best: %v", err)
	}
	if err := MarkBest(run, dirs[1], 0.71); err != nil {
		t.Fatal(err)
	}
	if dir, score, err := Best(run); dir != dirs[1] || score != 0.71 || err != nil {
		t.Errorf("best %s %v, %v", dir, score, err)
	}
	check(run, dirs[1])
	check(root, dirs[1])
	check(run+"/", dirs[1])
	check(dirs[0], dirs[0])
	check(dirs[0]+"/", dirs[0])
	for _, parent := range []string{run, root} {
		check(filepath.Join(parent, "best"), dirs[1])
		check(filepath.Join(parent, "latest"), dirs[2])
		check(filepath.Join(parent, "step-00000010"), dirs[0])
	}
	if _, err := Resolve(filepath.Join(run, "step-00000011")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing step: %v", err)
	}
	if dir, err := Latest(run); err != nil || dir != dirs[2] {
		t.Errorf("latest %s, %v", dir, err)
	}

	// Markers whose folder is gone give way to what is there.
	for _, dir := range dirs[1:] {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	check(run, dirs[0])
	if _, _, err := Best(run); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("best is gone: %v", err)
	}
	for text, want := range map[string]string{"": "is empty", "../../etc 1": "names", "step-x": "names", "step-00000010 x": "score", "step-00000010": "no step and score"} {
		if err := os.WriteFile(filepath.Join(root, "best"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Resolve(run); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("marker %q: %v, want %q", text, err, want)
		}
	}
	file := filepath.Join(run, "notes.txt")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Resolve(file); err == nil || !strings.Contains(err.Error(), "neither a run folder nor a checkpoint") {
		t.Errorf("a file: %v", err)
	}
}

func TestMarkBestRefuses(t *testing.T) {
	run := t.TempDir()
	dir := save(t, run, 1)
	if err := MarkBest(run, dir, math.NaN()); err == nil {
		t.Error("a score that is not a number is accepted")
	}
	if err := MarkBest(run, filepath.Join(run, "checkpoints", "step-00000002"), 1); err == nil {
		t.Error("a step that is not there is accepted")
	}
}

func TestPrune(t *testing.T) {
	run := t.TempDir()
	if err := Prune(run, 1); err != nil {
		t.Errorf("run without checkpoints: %v", err)
	}
	for step := 1; step <= 6; step++ {
		dir := save(t, run, step)
		if step == 2 {
			if err := MarkBest(run, dir, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	leftover := filepath.Join(run, "checkpoints", ".tmp-step-00000009")
	if err := os.MkdirAll(leftover, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Prune(run, 2); err != nil {
		t.Fatal(err)
	}
	if got, want := entries(t, run), []string{"best", "latest", "step-00000002", "step-00000005", "step-00000006"}; !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
	// A run that went back to an older step keeps the one it stands on.
	if err := writeMarker(filepath.Join(run, "checkpoints"), "latest", "step-00000005"); err != nil {
		t.Fatal(err)
	}
	if err := Prune(run, 1); err != nil {
		t.Fatal(err)
	}
	if got, want := entries(t, run), []string{"best", "latest", "step-00000002", "step-00000005", "step-00000006"}; !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
	if err := Prune(run, 0); err == nil {
		t.Error("keep 0 is accepted")
	}
}

// Steps of more than eight digits sort as numbers.
func TestOrderOfSteps(t *testing.T) {
	run := t.TempDir()
	for _, step := range []int{99_999_999, 100_000_000} {
		save(t, run, step)
	}
	if err := os.Remove(filepath.Join(run, "checkpoints", "latest")); err != nil {
		t.Fatal(err)
	}
	if dir, err := Latest(run); err != nil || filepath.Base(dir) != "step-100000000" {
		t.Errorf("latest %s, %v", dir, err)
	}
}

func TestHalfWrittenIsIgnored(t *testing.T) {
	run := t.TempDir()
	save(t, run, 1)
	half := filepath.Join(run, "checkpoints", ".tmp-step-00000002")
	if err := os.MkdirAll(half, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "model.safetensors"), []byte("half"), 0o666); err != nil {
		t.Fatal(err)
	}
	checkWhole(t, run, 1)
	save(t, run, 2)
	checkWhole(t, run, 2)
	if got, want := entries(t, run), []string{"latest", "step-00000001", "step-00000002"}; !slices.Equal(got, want) {
		t.Errorf("entries %v, want %v", got, want)
	}
}

func TestLoadErrors(t *testing.T) {
	run := t.TempDir()
	dir := save(t, run, 1)
	for name, content := range map[string]string{"state.json": "{", "optimizer.safetensors": "short", "model.safetensors": "short"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(run); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("broken %s: %v", name, err)
		}
		save(t, run, 1)
	}
}

// fullDisk is a file that takes a number of bytes.
type fullDisk struct {
	file
	left *int
}

func (f fullDisk) Write(b []byte) (int, error) {
	if len(b) > *f.left {
		return 0, syscall.ENOSPC
	}
	*f.left -= len(b)
	return f.file.Write(b)
}

// A disk that runs full at any byte leaves the checkpoint before as it was.
func TestFullDisk(t *testing.T) {
	run := t.TempDir()
	save(t, run, 1)
	before := entries(t, run)
	whole := create
	t.Cleanup(func() { create = whole })
	failed := 0
	for room := 0; ; room += 500 {
		left := room
		create = func(path string) (file, error) {
			f, err := whole(path)
			return fullDisk{f, &left}, err
		}
		_, err := Save(run, 2, snapshot(2))
		if err == nil {
			break
		}
		failed++
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "checkpoints: save step 2 of "+run) {
			t.Fatalf("with room for %d bytes: %v", room, err)
		}
		// Room may end at the marker: then the new step is there, and not the latest.
		got := slices.DeleteFunc(entries(t, run), func(name string) bool { return name == "step-00000002" })
		if !slices.Equal(got, before) {
			t.Fatalf("with room for %d bytes: entries %v, want %v", room, got, before)
		}
		checkWhole(t, run, 1)
	}
	if failed < 20 {
		t.Errorf("only %d saves failed", failed)
	}
	checkWhole(t, run, 2)
}

// Write leaves the old file when it fails.
func TestWriteIsAtomic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	if err := Write(path, snapshot(1).Model, nil); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := create
	t.Cleanup(func() { create = whole })
	left := 100
	create = func(path string) (file, error) {
		f, err := whole(path)
		return fullDisk{f, &left}, err
	}
	if err := Write(path, snapshot(2).Model, nil); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("full disk: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || !slices.Equal(got, want) {
		t.Errorf("the old file changed, %v", err)
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != 1 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

const killedEnv = "RELSIM_TEST_SAVE_UNTIL_KILLED"

// TestMain makes the test binary a process that saves until it is killed.
func TestMain(m *testing.M) {
	if run := os.Getenv(killedEnv); run != "" {
		step := 0
		if dir, err := Latest(run); err == nil {
			step, _ = stepOf(filepath.Base(dir))
		}
		for {
			step++
			again := step - step%2 // every other one replaces the one before
			_, err := Save(run, again, snapshot(again))
			if err == nil {
				err = Prune(run, 2)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

// Whenever a process is killed, its latest checkpoint is whole, and the next
// process goes on from it.
func TestKill(t *testing.T) {
	run := t.TempDir()
	last := 0
	for round := range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killedEnv+"="+run)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(60+7*round) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatalf("the process ended by itself: %v", err)
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("the process ended by itself: %v", cmd.ProcessState)
		}
		dir, err := Latest(run)
		if errors.Is(err, ErrNoCheckpoint) && last == 0 {
			continue // killed before the first one
		}
		if err != nil {
			t.Fatal(err)
		}
		step, _ := stepOf(filepath.Base(dir))
		if step < last {
			t.Fatalf("step %d after %d", step, last)
		}
		checkWhole(t, dir, step)
		last = step
	}
	if last == 0 {
		t.Error("no checkpoint was saved in any round")
	}
}

func TestAssign(t *testing.T) {
	tensors := []Tensor{
		FromFloat32("a", []int{2}, []float32{1, 2}),
		FromFloat32("b", []int{1, 2}, []float32{3, 4}),
		{Name: "h", DType: BF16, Shape: []int{}, Data: []byte{0x80, 0x3f}},
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := Write(path, tensors, nil); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	from := map[string]func([]Target) error{
		"file":   func(dst []Target) error { return Assign(dst, f) },
		"memory": func(dst []Target) error { return AssignTensors(dst, "model.safetensors", tensors) },
	}
	for source, assign := range from {
		t.Run(source, func(t *testing.T) {
			a, b, h := make([]float32, 2), make([]float32, 2), make([]float32, 1)
			dst := []Target{{"b", []int{1, 2}, b}, {"a", []int{2}, a}, {"h", nil, h}}
			if err := assign(dst); err != nil {
				t.Fatal(err)
			}
			if got, want := slices.Concat(a, b, h), []float32{1, 2, 3, 4, 1}; !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
			clear(a)
			err := assign([]Target{{"a", []int{2}, a}, {"b", []int{2}, b}, {"c", []int{1}, h}, {"d", nil, h}})
			const want = "checkpoints: assign model.safetensors: of 4 tensors asked for: 2 missing (c, d); 1 unexpected (h); 1 different (b: [1 2] in the checkpoint, [2] asked for)"
			if err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
			if a[0] != 0 {
				t.Error("a target was written though others do not fit")
			}
		})
	}
	ints := []Tensor{{Name: "ids", DType: I32, Shape: []int{1}, Data: make([]byte, 4)}}
	err = AssignTensors([]Target{{"ids", []int{1}, make([]float32, 1)}}, "x", ints)
	if err == nil || !strings.Contains(err.Error(), "ids: type I32 in the checkpoint, floating point asked for") {
		t.Errorf("integers: %v", err)
	}
	if err := AssignTensors(nil, "x", append(ints, ints...)); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("two of a name: %v", err)
	}
	many := make([]Target, 20)
	for i := range many {
		many[i] = Target{Name: fmt.Sprintf("t%02d", i), Shape: []int{0}}
	}
	if err := AssignTensors(many, "x", nil); err == nil || !strings.Contains(err.Error(), "20 missing (t00, t01, t02, t03, t04, t05, t06, t07 and 12 more)") {
		t.Errorf("many missing: %v", err)
	}
}
