package checkpoints

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Names of the files of a checkpoint and of the folder that holds them.
const (
	modelFile     = "model.safetensors"
	optimizerFile = "optimizer.safetensors"
	stateFile     = "state.json"
	configFile    = "config.json"

	folderName = "checkpoints"
	stepPrefix = "step-"
	latestFile = "latest"
	bestFile   = "best"

	tempPrefix     = ".tmp-"      // what is being written or removed
	replacedPrefix = ".replaced-" // what makes room for its successor
)

// maxSideFile bounds a file of a checkpoint that is read as a whole.
const maxSideFile = 1 << 30

// ErrNoCheckpoint says that a run has no checkpoint yet.
var ErrNoCheckpoint = errors.New("no checkpoint")

// Snapshot is what a checkpoint holds. Only Model is needed.
type Snapshot struct {
	Model     []Tensor
	Optimizer []Tensor        // nil: no file
	State     json.RawMessage // step, position of the loader, …; nil: no file
	Config    json.RawMessage // what the run was started with; nil: no file
	Files     map[string][]byte
}

// Save writes a checkpoint of a run and returns its folder,
// run/checkpoints/step-<8 digits>. A folder of the same step is replaced.
//
// All is written into a folder beside, synced, and renamed; then `latest` moves.
// After an error, be it a full disk, the checkpoints before are as they were.
// What an interrupted Save has left behind is removed first.
func Save(run string, step int, s Snapshot) (dir string, err error) {
	if step < 0 {
		panic(fmt.Sprintf("checkpoints: Save: step %d", step))
	}
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("checkpoints: save step %d of %s: %w", step, run, err)
	}
	root := filepath.Join(run, folderName)
	if err := os.MkdirAll(root, 0o777); err != nil {
		return fail(err)
	}
	if err := clean(root); err != nil {
		return fail(err)
	}
	name := fmt.Sprintf("%s%08d", stepPrefix, step)
	beside := filepath.Join(root, tempPrefix+name)
	if err := writeSnapshot(beside, s); err != nil {
		return fail(errors.Join(err, os.RemoveAll(beside)))
	}
	dir = filepath.Join(root, name)
	if err := replaceDir(beside, dir); err != nil {
		return fail(errors.Join(err, os.RemoveAll(beside)))
	}
	if err := syncDir(root); err != nil {
		return fail(err)
	}
	if err := writeMarker(root, latestFile, name); err != nil {
		return fail(err)
	}
	return dir, nil
}

// replaceDir moves the folder beside to dir. A folder that is there already is
// removed. Where the system cannot exchange two folders in one go, the old one
// has another name for a moment, and clean puts it back after an interrupt.
func replaceDir(beside, dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return os.Rename(beside, dir)
	}
	if exchange(beside, dir) == nil {
		return os.RemoveAll(beside)
	}
	return renameOver(beside, dir)
}

// renameOver is replaceDir in two steps.
func renameOver(beside, dir string) error {
	old := filepath.Join(filepath.Dir(dir), replacedPrefix+filepath.Base(dir))
	if err := os.Rename(dir, old); err != nil {
		return err
	}
	if err := os.Rename(beside, dir); err != nil {
		return errors.Join(err, os.Rename(old, dir))
	}
	return os.RemoveAll(old)
}

func writeSnapshot(dir string, s Snapshot) error {
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	bytesOf := func(b []byte) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		}
	}
	files := map[string]func(io.Writer) error{
		modelFile: func(w io.Writer) error { return encode(w, s.Model, map[string]string{"format": "pt"}) },
	}
	if s.Optimizer != nil {
		files[optimizerFile] = func(w io.Writer) error { return encode(w, s.Optimizer, map[string]string{"format": "pt"}) }
	}
	for name, doc := range map[string]json.RawMessage{stateFile: s.State, configFile: s.Config} {
		if doc == nil {
			continue
		}
		if !json.Valid(doc) {
			return fmt.Errorf("%s: not JSON", name)
		}
		files[name] = bytesOf(doc)
	}
	for name, b := range s.Files {
		if !filepath.IsLocal(name) || filepath.Base(name) != name || strings.HasPrefix(name, ".") || isOwnFile(name) {
			return fmt.Errorf("file %q: not a name of its own", name)
		}
		files[name] = bytesOf(b)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := writeFile(filepath.Join(dir, name), files[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return syncDir(dir)
}

func isOwnFile(name string) bool {
	return name == modelFile || name == optimizerFile || name == stateFile || name == configFile
}

// Load reads a checkpoint; path is anything that [Resolve] takes.
func Load(path string) (*Snapshot, error) {
	dir, err := Resolve(path)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Snapshot, error) {
		return nil, fmt.Errorf("checkpoints: load %s: %w", dir, err)
	}
	var s Snapshot
	if s.Model, err = readTensors(filepath.Join(dir, modelFile)); err != nil {
		return fail(err)
	}
	s.Optimizer, err = readTensors(filepath.Join(dir, optimizerFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fail(err)
	}
	s.Files = make(map[string][]byte)
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || strings.HasPrefix(name, ".") || name == modelFile || name == optimizerFile {
			continue
		}
		b, err := readBounded(filepath.Join(dir, name), maxSideFile)
		if err != nil {
			return fail(err)
		}
		switch name {
		case stateFile, configFile:
			if !json.Valid(b) {
				return fail(fmt.Errorf("%s: not JSON", name))
			}
			if name == stateFile {
				s.State = b
			} else {
				s.Config = b
			}
		default:
			s.Files[name] = b
		}
	}
	return &s, nil
}

func readTensors(path string) ([]Tensor, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tensors := make([]Tensor, 0, len(f.names))
	for _, name := range f.names {
		t, err := f.Tensor(name)
		if err != nil {
			return nil, err
		}
		tensors = append(tensors, t)
	}
	return tensors, nil
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return b, err
}

// Resolve returns the folder of a checkpoint. The path may be
//
//   - a run folder, or its checkpoints folder: the checkpoint marked best, or the
//     latest one if none is;
//   - the folder of a checkpoint: itself;
//   - "best", "latest" or the name of a step inside a run or checkpoints folder,
//     such as runs/a/latest or runs/a/step-00001200.
//
// The error wraps [ErrNoCheckpoint] if the folder is there and has none.
func Resolve(path string) (string, error) {
	dir, err := resolve(path)
	if err != nil {
		return "", fmt.Errorf("checkpoints: resolve %s: %w", path, err)
	}
	return dir, nil
}

func resolve(path string) (string, error) {
	if isCheckpoint(path) {
		return filepath.Clean(path), nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		root := rootOf(path)
		if name, _, err := readBest(root); err != nil {
			return "", err
		} else if name != "" {
			if dir := filepath.Join(root, name); isCheckpoint(dir) {
				return dir, nil
			}
		}
		return latest(root)
	}
	parent, base := filepath.Split(filepath.Clean(path))
	root := rootOf(filepath.Clean(parent))
	switch _, isStep := stepOf(base); {
	case base == latestFile:
		return latest(root)
	case base == bestFile:
		name, _, err := readBest(root)
		if err != nil {
			return "", err
		}
		if dir := filepath.Join(root, name); name != "" && isCheckpoint(dir) {
			return dir, nil
		}
		return "", fmt.Errorf("%w is marked best", ErrNoCheckpoint)
	case isStep && isCheckpoint(filepath.Join(root, base)):
		return filepath.Join(root, base), nil
	}
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	return "", errors.New("neither a run folder nor a checkpoint")
}

// rootOf is the checkpoints folder of a run folder, or the folder itself.
func rootOf(path string) string {
	if root := filepath.Join(path, folderName); isDir(root) {
		return root
	}
	return path
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isCheckpoint(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, modelFile))
	return err == nil && info.Mode().IsRegular()
}

// Latest returns the folder of the newest checkpoint of a run: the one to resume
// from. The error wraps [ErrNoCheckpoint] if there is none, be it that the run
// folder is not there.
func Latest(run string) (string, error) {
	dir, err := latest(rootOf(run))
	if err != nil {
		return "", fmt.Errorf("checkpoints: latest of %s: %w", run, err)
	}
	return dir, nil
}

// latest follows the marker, or takes the highest step if the marker is missing
// or its folder is gone.
func latest(root string) (string, error) {
	fields, err := readMarker(root, latestFile)
	if err != nil {
		return "", err
	}
	if len(fields) > 0 {
		if dir := filepath.Join(root, fields[0]); isCheckpoint(dir) {
			return dir, nil
		}
	}
	names, err := list(root)
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", ErrNoCheckpoint
	}
	return filepath.Join(root, names[0]), nil
}

// MarkBest marks a checkpoint of a run as the best one so far, with its score.
func MarkBest(run, dir string, score float64) error {
	root := filepath.Join(run, folderName)
	name := filepath.Base(dir)
	if _, ok := stepOf(name); !ok || !isCheckpoint(filepath.Join(root, name)) {
		return fmt.Errorf("checkpoints: mark best of %s: %s is not a checkpoint of it", run, dir)
	}
	if math.IsNaN(score) {
		return fmt.Errorf("checkpoints: mark best of %s: %s: score is not a number", run, name)
	}
	if err := writeMarker(root, bestFile, name+" "+strconv.FormatFloat(score, 'g', -1, 64)); err != nil {
		return fmt.Errorf("checkpoints: mark best of %s: %w", run, err)
	}
	return nil
}

// Best returns the checkpoint of a run that is marked best, and its score. The
// error wraps [ErrNoCheckpoint] if none is.
func Best(run string) (dir string, score float64, err error) {
	root := rootOf(run)
	name, score, err := readBest(root)
	if err == nil && (name == "" || !isCheckpoint(filepath.Join(root, name))) {
		err = ErrNoCheckpoint
	}
	if err != nil {
		return "", 0, fmt.Errorf("checkpoints: best of %s: %w", run, err)
	}
	return filepath.Join(root, name), score, nil
}

func readBest(root string) (name string, score float64, err error) {
	fields, err := readMarker(root, bestFile)
	if err != nil || len(fields) == 0 {
		return "", 0, err
	}
	if len(fields) != 2 {
		return "", 0, fmt.Errorf("%s holds no step and score", filepath.Join(root, bestFile))
	}
	if score, err = strconv.ParseFloat(fields[1], 64); err != nil {
		return "", 0, fmt.Errorf("%s: score: %w", filepath.Join(root, bestFile), err)
	}
	return fields[0], score, nil
}

func writeMarker(root, marker, text string) error {
	return WriteFile(filepath.Join(root, marker), func(w io.Writer) error {
		_, err := io.WriteString(w, text+"\n")
		return err
	})
}

// readMarker returns the words of a marker, the first of them the name of a
// step; none if the marker is not there.
func readMarker(root, marker string) ([]string, error) {
	path := filepath.Join(root, marker)
	b, err := readBounded(path, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(b))
	if len(fields) == 0 {
		return nil, fmt.Errorf("%s is empty, want the name of a checkpoint", path)
	}
	if _, ok := stepOf(fields[0]); !ok {
		return nil, fmt.Errorf("%s names %q, want a checkpoint such as %s00001200", path, fields[0], stepPrefix)
	}
	return fields, nil
}

// stepOf reads the number from the name of a checkpoint's folder.
func stepOf(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, stepPrefix)
	if !ok || len(digits) < 8 || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	step, err := strconv.Atoi(digits)
	return step, err == nil
}

// list returns the names of the whole checkpoints, the newest first.
func list(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, ok := stepOf(e.Name()); ok && isCheckpoint(filepath.Join(root, e.Name())) {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		stepA, _ := stepOf(a)
		stepB, _ := stepOf(b)
		return stepB - stepA
	})
	return names, nil
}

// clean removes what an interrupted Save or Prune has left behind. A checkpoint
// whose successor did not arrive comes back.
func clean(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name(), replacedPrefix); ok {
			old, dir := filepath.Join(root, e.Name()), filepath.Join(root, name)
			if isCheckpoint(dir) {
				err = os.RemoveAll(old)
			} else {
				err = os.Rename(old, dir)
			}
			if err != nil {
				return err
			}
		}
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if err := os.RemoveAll(filepath.Join(root, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Prune removes checkpoints of a run: it keeps the newest ones, keep of them, and
// those marked latest and best. It also removes what an interrupt has left
// behind.
func Prune(run string, keep int) error {
	if keep < 1 {
		return fmt.Errorf("checkpoints: prune %s: keep %d, want 1 or more", run, keep)
	}
	root := filepath.Join(run, folderName)
	if !isDir(root) {
		return nil
	}
	fail := func(err error) error { return fmt.Errorf("checkpoints: prune %s: %w", run, err) }
	if err := clean(root); err != nil {
		return fail(err)
	}
	names, err := list(root)
	if err != nil {
		return fail(err)
	}
	var marked []string
	for _, marker := range []string{latestFile, bestFile} {
		fields, err := readMarker(root, marker)
		if err != nil {
			return fail(err)
		}
		marked = append(marked, fields...)
	}
	for _, name := range names[min(keep, len(names)):] {
		if slices.Contains(marked, name) {
			continue
		}
		// Renamed first: half a checkpoint must not look like one.
		gone := filepath.Join(root, tempPrefix+name)
		if err := os.Rename(filepath.Join(root, name), gone); err != nil {
			return fail(err)
		}
		if err := os.RemoveAll(gone); err != nil {
			return fail(err)
		}
	}
	return nil
}
