package lpips

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"relsim/checkpoints"
	"relsim/kernel"
	"relsim/torchfile"
)

// Open reads a net and its head, and tells from the tensors which net it is. A path is a
// file, or a folder whose files (.safetensors, .pth, .pt, .bin) are looked through; net and
// head may be in one file or in two. The names of files do not matter, those of tensors do:
//
//	features.0.weight …                    torchvision's (alexnet-owt-*.pth, vgg16-*.pth, squeezenet1_1-*.pth); classifiers are left alone
//	lin0.model.1.weight …                  LPIPS's head (weights/v0.1/alex.pth, vgg.pth, squeeze.pth)
//	net.slice1.0.weight …, lins.0.model.1.weight …   the same in a whole LPIPS model
//
// The numbers of channels are taken from the shapes; a head belongs to the net whose
// channels it has. It errs, and says what was found, if there is no such net with its head, or several.
func Open(paths ...string) (*Net, error) { return OpenKind("", paths...) }

// OpenKind is [Open] for one kind of net; others are passed by, or refused if there are no more.
func OpenKind(kind Kind, paths ...string) (*Net, error) {
	if kind != "" && nets[kind] == nil {
		return nil, fmt.Errorf("lpips: open: no net %q: want alex, vgg or squeeze", kind)
	}
	sources, broken, err := sources(paths)
	defer func() {
		for _, s := range sources {
			s.close()
		}
	}()
	var n *Net
	if err == nil {
		n, err = assemble(kind, sources, broken)
	}
	if err != nil {
		what := strings.Join(paths, ", ")
		if kind != "" {
			what += ": " + string(kind)
		}
		return nil, fmt.Errorf("lpips: open %s: %w", what, err)
	}
	return n, nil
}

// source is an open file of tensors.
type source struct {
	path  string
	names map[string]string // of the tensors in the file, by the names of this package

	// By the names of the file.
	shape   func(name string) []int
	float32 func(name string) ([]float32, []int, error)
	close   func() error
}

// sources opens the files. Files of a folder that cannot be read are told in broken.
func sources(paths []string) (list []*source, broken []error, err error) {
	if len(paths) == 0 {
		return nil, nil, errors.New("no path")
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return list, nil, err
		}
		if !info.IsDir() {
			s, err := openSource(path)
			if err != nil {
				return list, nil, err
			}
			list = append(list, s)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return list, nil, err
		}
		some := false
		for _, e := range entries {
			if !isTensorFile(e.Name()) || e.IsDir() {
				continue
			}
			some = true
			if s, err := openSource(filepath.Join(path, e.Name())); err != nil {
				broken = append(broken, err)
			} else {
				list = append(list, s)
			}
		}
		if !some {
			return list, nil, fmt.Errorf("no file of tensors (.safetensors, .pth, .pt, .bin) in the folder %s", path)
		}
	}
	return list, broken, nil
}

func isTensorFile(name string) bool {
	switch filepath.Ext(name) {
	case ".safetensors", ".pth", ".pt", ".bin":
		return true
	}
	return false
}

// openSource opens a file: safetensors by its name, and otherwise one of PyTorch.
func openSource(path string) (*source, error) {
	s := &source{path: path}
	var names []string
	if filepath.Ext(path) == ".safetensors" {
		f, err := checkpoints.Open(path)
		if err != nil {
			return nil, err
		}
		names, s.close, s.float32 = f.Names(), f.Close, f.Float32
		s.shape = func(name string) []int {
			info, _ := f.Info(name)
			return info.Shape
		}
	} else {
		f, err := torchfile.Open(path)
		if err != nil {
			return nil, err
		}
		names, s.close, s.float32 = f.Names(), f.Close, f.Float32
		s.shape = func(name string) []int {
			info, _ := f.Info(name)
			return info.Shape
		}
	}
	if err := s.index(names); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

var (
	sliceName = regexp.MustCompile(`^net\.slice[0-9]+\.([0-9]+\..*)$`)
	linsName  = regexp.MustCompile(`^lins\.([0-9]+)\.(model\.1\.weight)$`)
	headName  = regexp.MustCompile(`^lin[0-9]+\.model\.1\.weight$`)
)

// index gives the tensors of nets and heads their names. A whole LPIPS model has its head
// twice, as lin0 and as lins.0.
func (s *source) index(names []string) error {
	s.names = map[string]string{}
	for _, name := range names {
		to := strings.TrimPrefix(name, "module.")
		if m := sliceName.FindStringSubmatch(to); m != nil {
			to = "features." + m[1]
		}
		if m := linsName.FindStringSubmatch(to); m != nil {
			to = "lin" + m[1] + "." + m[2]
		} else if !strings.HasPrefix(to, "features.") && !headName.MatchString(to) {
			continue
		}
		if other, ok := s.names[to]; ok {
			if headName.MatchString(to) && slices.Equal(s.shape(other), s.shape(name)) {
				continue
			}
			return fmt.Errorf("%s: tensors %q and %q are both %s", s.path, other, name, to)
		}
		s.names[to] = name
	}
	return nil
}

// shapeOf is the shape of a tensor by its name here, nil if there is none.
func (s *source) shapeOf(name string) []int {
	if in, ok := s.names[name]; ok {
		return s.shape(in)
	}
	return nil
}

// head lists the channels of the head's layers, nil if the file has none.
func (s *source) head() ([]int, error) {
	count := 0
	for name := range s.names {
		if headName.MatchString(name) {
			count++
		}
	}
	var channels []int
	for k := range count {
		shape := s.shapeOf(linName(k))
		switch {
		case shape == nil:
			return nil, fmt.Errorf("%s: the head has %d layers but no %s", s.path, count, linName(k))
		case len(shape) != 4 || shape[0] != 1 || shape[1] < 1 || shape[2] != 1 || shape[3] != 1:
			return nil, fmt.Errorf("%s: %s is %v, want [1 C 1 1]", s.path, linName(k), shape)
		}
		channels = append(channels, shape[1])
	}
	return channels, nil
}

// hasNet says that the file has features of any net.
func (s *source) hasNet() bool {
	for name := range s.names {
		if strings.HasPrefix(name, "features.") {
			return true
		}
	}
	return false
}

// looksLike guesses the net by what only it has.
func (s *source) looksLike() Kind {
	first := s.shapeOf("features.0.weight")
	switch {
	case s.names["features.3.squeeze.weight"] != "":
		return Squeeze
	case len(first) == 4 && first[2] == 11:
		return Alex
	}
	return VGG
}

// net checks the features against the table of a kind, and gives the channels of the taps.
func (s *source) net(kind Kind) ([]int, error) {
	var taps []int
	need := func(name string, want ...int) ([]int, error) { // 0: any size but zero
		shape := s.shapeOf(name)
		if shape == nil {
			return nil, fmt.Errorf("%s has no %s, which %s has", s.path, name, kind)
		}
		fits := len(shape) == len(want)
		for i := 0; fits && i < len(want); i++ {
			fits = shape[i] > 0 && (want[i] == 0 || shape[i] == want[i])
		}
		if !fits {
			text := strings.ReplaceAll(fmt.Sprint(want), "0", "C")
			return nil, fmt.Errorf("%s: %s is %v, want %s for %s", s.path, name, shape, text, kind)
		}
		return shape, nil
	}
	c := 3
	for _, l := range nets[kind] {
		in, out := c, 0
		for i, v := range l.convolutions() {
			shape, err := need(v.name+".weight", 0, in, v.k, v.k)
			if err == nil {
				_, err = need(v.name+".bias", shape[0])
			}
			if err != nil {
				return nil, err
			}
			if l.stage == fire && i == 0 {
				in = shape[0]
			} else {
				out += shape[0]
			}
		}
		if out > 0 {
			c = out
		}
		if l.tap {
			taps = append(taps, c)
		}
	}
	return taps, nil
}

// candidate is a net and a head that fit.
type candidate struct {
	kind      Kind
	taps      []int
	net, head *source
}

func (c candidate) String() string {
	if c.net == c.head {
		return fmt.Sprintf("%s in %s", c.kind, c.net.path)
	}
	return fmt.Sprintf("%s in %s with %s", c.kind, c.net.path, c.head.path)
}

// assemble finds the one net of the kind (any, if it is "") with its head, and reads them.
func assemble(kind Kind, list []*source, broken []error) (*Net, error) {
	var found []candidate
	var notes []string // what there is, for the message
	var alone []candidate
	for _, s := range list {
		channels, err := s.head()
		if err != nil {
			notes = append(notes, err.Error())
		} else if channels != nil {
			notes = append(notes, fmt.Sprintf("a head of %v channels in %s", channels, s.path))
		}
		if !s.hasNet() {
			continue
		}
		is := s.looksLike()
		taps, err := s.net(is)
		if err != nil {
			notes = append(notes, err.Error())
			continue
		}
		if kind != "" && is != kind {
			notes = append(notes, fmt.Sprintf("%s in %s", is, s.path))
			continue
		}
		alone = append(alone, candidate{kind: is, taps: taps, net: s})
		for _, h := range list {
			if channels, err := h.head(); err == nil && slices.Equal(channels, taps) {
				found = append(found, candidate{is, taps, s, h})
			}
		}
	}
	for _, err := range broken {
		notes = append(notes, err.Error())
	}
	there := "nothing of LPIPS"
	if len(notes) > 0 {
		there = strings.Join(notes, "; ")
	}
	switch {
	case len(found) > 1:
		names := make([]string, len(found))
		for i, c := range found {
			names[i] = c.String()
		}
		return nil, fmt.Errorf("several nets with a head: %s: name one", strings.Join(names, "; "))
	case len(found) == 1:
		return load(found[0])
	case len(alone) > 0:
		c := alone[0]
		return nil, fmt.Errorf("the features of %s are in %s, but no head for their %v channels: want %s … %s, which are in LPIPS's weights/v0.1/%s.pth; found: %s",
			c.kind, c.net.path, c.taps, linName(0), linName(len(c.taps)-1), c.kind, there)
	}
	return nil, fmt.Errorf("no features of %s: want features.0.weight …, which are in torchvision's file of the net; found: %s", orAny(kind), there)
}

func orAny(kind Kind) string {
	if kind == "" {
		return "alex, vgg or squeeze"
	}
	return string(kind)
}

// load reads the weights.
func load(c candidate) (*Net, error) {
	n := &Net{kind: c.kind, taps: c.taps, weights: map[string]tensor{}, files: []string{c.net.path}}
	if c.head != c.net {
		n.files = append(n.files, c.head.path)
	}
	read := func(s *source, name string) error {
		in := s.names[name]
		values, shape, err := s.float32(in)
		if err != nil {
			return err
		}
		if !kernel.AllFinite(values) {
			return fmt.Errorf("%s: %s has values that are not finite", s.path, in)
		}
		n.weights[name] = tensor{shape, values}
		return nil
	}
	for _, l := range nets[c.kind] {
		for _, v := range l.convolutions() {
			if err := errors.Join(read(c.net, v.name+".weight"), read(c.net, v.name+".bias")); err != nil {
				return nil, err
			}
		}
	}
	for k, channels := range c.taps {
		name := linName(k)
		if err := read(c.head, name); err != nil {
			return nil, err
		}
		n.weights[name] = tensor{[]int{channels}, n.weights[name].data}
	}
	return n, nil
}
