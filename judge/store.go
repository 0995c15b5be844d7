package judge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"relsim/regular"
)

// Key is what an answer is kept under. The same key is never asked twice.
type Key struct {
	Model  string `json:"model"`  // asked for
	Prompt string `json:"prompt"` // version
	// First and Second are the SHA-256 of the files of both pictures as they are stored, in the order in which they are
	// shown.
	First  string `json:"first"`
	Second string `json:"second"`
	// Temperature, Detail and MaxSide are as in [Request] and [NewPicture]. A temperature that is left to the endpoint is
	// -1.
	Temperature float64 `json:"temperature"`
	Detail      string  `json:"detail,omitempty"`
	MaxSide     int     `json:"max_side"`
}

// Answer is one that an endpoint gave, a line of the store.
type Answer struct {
	Key
	AnsweredBy string `json:"answered_by,omitempty"` // the model, as the endpoint says
	// Text is the answer as it came, its first 16 KiB, and Raw all of what came with it, byte for byte, its first 64 KiB.
	Text    string `json:"text"`
	Refusal string `json:"refusal,omitempty"`
	Finish  string `json:"finish,omitempty"`
	ID      string `json:"id,omitempty"`
	// Score is nil where the text is no score; Failure says why.
	Score   *float64  `json:"score"`
	Failure string    `json:"failure,omitempty"`
	Usage   Usage     `json:"usage"`
	Tries   int       `json:"tries"`
	Seconds float64   `json:"seconds"` // of the last try
	When    time.Time `json:"when"`
	Raw     string    `json:"raw,omitempty"`
}

// Session is what one run of the judge was asked to do, a line of the store.
type Session struct {
	Endpoint   string    `json:"endpoint"`
	Model      string    `json:"model"`
	Prompt     string    `json:"prompt"`
	PromptText string    `json:"prompt_text"`
	Data       string    `json:"data"`
	Questions  int       `json:"questions"`
	When       time.Time `json:"when"`
}

// line is a line of the store: one of the two.
type line struct {
	Session *Session `json:"session,omitempty"`
	Answer  *Answer  `json:"answer,omitempty"`
}

const (
	maxText = 16 << 10 // bytes of an answer's text that are kept
	maxRaw  = 64 << 10 // the same of all that came
	maxLine = 1 << 20  // bytes of a line of the store
)

// Answers are those to some questions.
type Answers interface {
	Get(k Key) (Answer, bool)
}

// Kept are answers in memory, without their texts.
type Kept map[Key]Answer

// Get returns the answer to a question, if there is one.
func (a Kept) Get(k Key) (Answer, bool) {
	answer, ok := a[k]
	return answer, ok
}

// Store is a file of answers, JSON lines that are only ever added to. It is locked while it is open, and every answer is
// on the disk before the next one is added.
type Store struct {
	path    string
	mu      sync.Mutex
	file    *os.File
	size    int64
	lock    *flock.Flock
	answers Kept
	// Cut is the number of bytes of a line that was only begun when an earlier run ended; Open has cut them off.
	Cut int64
}

// OpenStore opens a store, and makes it where there is none.
func OpenStore(path string) (*Store, error) {
	fail := func(err error) (*Store, error) { return nil, fmt.Errorf("judge: open %s: %w", path, err) }
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fail(errors.New("not a regular file"))
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fail(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fail(err)
	}
	lock := flock.New(path + ".lock")
	held, err := lock.TryLock()
	if err != nil {
		return fail(err)
	}
	if !held {
		return fail(errors.New("another run is writing to it"))
	}
	s := &Store{path: path, lock: lock}
	if s.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		lock.Unlock()
		return fail(err)
	}
	if err := s.load(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// load reads the answers, and cuts off a line without an end.
func (s *Store) load() error {
	answers, whole, err := readAnswers(s.file, s.path)
	if err != nil {
		return err
	}
	size, err := s.file.Seek(0, io.SeekEnd)
	if err == nil && size > whole {
		s.Cut = size - whole
		err = s.file.Truncate(whole)
	}
	if err == nil {
		_, err = s.file.Seek(whole, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("judge: open %s: %w", s.path, err)
	}
	s.size, s.answers = whole, answers
	return nil
}

// ReadStore reads the answers of a store that may be in use. What of the last line is there yet is left out.
func ReadStore(path string) (Kept, error) {
	f, _, err := regular.Open(path)
	if err != nil {
		return nil, fmt.Errorf("judge: read %w", err)
	}
	defer f.Close()
	answers, _, err := readAnswers(f, path)
	return answers, err
}

// readAnswers reads lines up to the last line end, and returns how many bytes these have. Of two answers with one key the
// later counts. Texts are not kept.
func readAnswers(r io.Reader, name string) (answers Kept, whole int64, err error) {
	answers = make(Kept)
	in := bufio.NewReaderSize(r, maxLine)
	for n := 1; ; n++ {
		text, err := in.ReadSlice('\n')
		switch {
		case err == io.EOF:
			return answers, whole, nil
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, 0, fmt.Errorf("judge: %s:%d: a line of more than %d bytes", name, n, maxLine)
		case err != nil:
			return nil, 0, fmt.Errorf("judge: read %s: %w", name, err)
		}
		if len(bytes.TrimSpace(text)) > 0 {
			a, err := parseLine(text)
			if err != nil {
				return nil, 0, fmt.Errorf("judge: %s:%d: %w", name, n, err)
			}
			if a != nil {
				a.Text, a.Raw = "", ""
				answers[a.Key] = *a
			}
		}
		whole += int64(len(text))
	}
}

// parseLine reads a line; its answer is nil if it is that of a session.
func parseLine(text []byte) (*Answer, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, fmt.Errorf("not a line of the judge's answers: %w", err)
	}
	a := l.Answer
	switch {
	case (a == nil) == (l.Session == nil):
		return nil, errors.New(`not a line of the judge's answers: want one of "session" and "answer"`)
	case a == nil:
		return nil, nil
	case a.Model == "" || a.Prompt == "" || !isHash(a.First) || !isHash(a.Second):
		return nil, errors.New(`an answer without "model", "prompt" or the hashes "first" and "second"`)
	case (a.Score == nil) == (a.Failure == ""):
		return nil, errors.New(`want one of "score" and "failure"`)
	case a.Score != nil && !(*a.Score >= 0 && *a.Score <= MaxScore):
		return nil, fmt.Errorf("a score of %v, want 0 to %d", *a.Score, MaxScore)
	case a.Usage.Input < 0 || a.Usage.Output < 0 || a.Usage.Input > math.MaxInt32 || a.Usage.Output > math.MaxInt32:
		return nil, fmt.Errorf("a usage of %d and %d tokens", a.Usage.Input, a.Usage.Output)
	}
	return a, nil
}

// isHash reports whether s is a SHA-256 in hexadecimal digits.
func isHash(s string) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Get returns the answer to a question, if there is one. Its text is in the file only.
func (s *Store) Get(k Key) (Answer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.answers[k]
	return a, ok
}

// Add puts an answer on the disk.
func (s *Store) Add(a Answer) error {
	if len(a.Text) > maxText {
		a.Text = shortened(a.Text, maxText)
	}
	a.Refusal, a.Raw = shortened(a.Refusal, maxText), shortened(a.Raw, maxRaw)
	if err := s.write(line{Answer: &a}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a.Text, a.Raw = "", ""
	s.answers[a.Key] = a
	return nil
}

// Begin puts down what a run is asked to do.
func (s *Store) Begin(session Session) error { return s.write(line{Session: &session}) }

// write adds a line. If that fails, the file is what it was.
func (s *Store) write(l line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("judge: write %s: %w", s.path, err)
	}
	text = append(text, '\n')
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err = s.file.Write(text)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		// A line that is there by half is cut off: by the next to open the file, if not now.
		s.file.Truncate(s.size)
		s.file.Seek(s.size, io.SeekStart)
		return fmt.Errorf("judge: write %s: %w", s.path, err)
	}
	s.size += int64(len(text))
	return nil
}

// Len is the number of answers.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.answers)
}

// Close closes the file and gives the lock back.
func (s *Store) Close() error {
	err := s.file.Close()
	if unlockErr := s.lock.Unlock(); err == nil {
		err = unlockErr
	}
	return err
}
