package judge

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

func answer(n int) Answer {
	score := float64(n % 11)
	hash := strings.Repeat(string("0123456789abcdef"[n%16]), 64)
	return Answer{Key: Key{Model: "m", Prompt: "relation-1", First: hash, Second: strings.Repeat("f", 64), MaxSide: 1024}, AnsweredBy: "m", Text: "<7>\n\u2028", Score: &score,
		Usage: Usage{100, 1}, Tries: 1, When: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "judge.jsonl")
	s, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Begin(Session{Endpoint: "https://host/v1", Model: "m", PromptText: "…"}); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := s.Add(answer(n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenStore(path); err == nil || !strings.Contains(err.Error(), "another run is writing to it") {
		t.Errorf("opened twice: %v", err)
	}
	failed := answer(1)
	failed.Score, failed.Failure, failed.Text = nil, FailureNoScore, strings.Repeat("x", 1<<20)
	failed.Refusal, failed.Raw = strings.Repeat("\x01", maxText), strings.Repeat("\x01", 1<<20) // six bytes each in JSON
	if err := s.Add(failed); err != nil {                                                       // the later answer counts
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check := func(answers Kept) {
		t.Helper()
		if len(answers) != 3 {
			t.Fatalf("%d answers, want 3", len(answers))
		}
		for n := range 3 {
			want := answer(n)
			if n == 1 {
				want = failed
			}
			want.Text, want.Raw = "", ""
			if got := answers[want.Key]; !reflect.DeepEqual(got, want) {
				t.Errorf("answer %d is %+v, want %+v", n, got, want)
			}
		}
	}
	answers, err := ReadStore(path)
	if err != nil {
		t.Fatal(err)
	}
	check(answers)
	// A line that was only begun is cut off, and what is added stands where it stood.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"answer":{"model":"m","pro`)
	f.Close()
	if answers, err = ReadStore(path); err != nil {
		t.Fatal(err)
	}
	check(answers)
	s, err = OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Cut != 27 || s.Len() != 3 {
		t.Errorf("%d bytes cut off, %d answers: want 27, 3", s.Cut, s.Len())
	}
	if err := s.Add(answer(1)); err != nil {
		t.Fatal(err)
	}
	if a, ok := s.Get(answer(1).Key); !ok || *a.Score != 1 {
		t.Errorf("%+v", a)
	}
	s.Close()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n != 6 || !bytes.HasSuffix(text, []byte("}\n")) || !bytes.Contains(text, []byte(`{"session":{"endpoint":"https://host/v1"`)) {
		t.Errorf("%d lines, want 6, of which the first is a session", n)
	}
	// A disk that takes nothing: the error names the file, and nothing is half there.
	s, err = OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	s.file.Close()
	if err := s.Add(answer(5)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("written to a closed file: %v", err)
	}
	if _, ok := s.Get(answer(5).Key); ok {
		t.Error("an answer that is not on the disk counts")
	}
	s.Close()
}

func TestStoreRefuses(t *testing.T) {
	dir := t.TempDir()
	good := `{"answer":{"model":"m","prompt":"p","first":"` + strings.Repeat("a", 64) + `","second":"` + strings.Repeat("b", 64) + `","score":7}}` + "\n"
	for _, tt := range []struct{ text, want string }{
		{good + "{}\n", `:2: not a line of the judge's answers: want one of`},
		{good + "\n" + "garbage\n", ":3: not a line"},
		{"[]\n", ":1: not a line"},
		{`{"answer":{"model":"m","prompt":"p","first":"a","second":"b","score":7}}` + "\n", `the hashes "first" and "second"`},
		{strings.Replace(good, "7", "11", 1), "a score of 11, want 0 to 10"},
		{strings.Replace(good, "7", "-1", 1), "a score of -1"},
		{strings.Replace(good, "7", "null", 1), `want one of "score" and "failure"`},
		{strings.Replace(good, `7`, `7,"usage":{"input":-1}`, 1), "a usage of -1"},
		{strings.Repeat("x", maxLine+1) + "\n", ":1: a line of more than"},
	} {
		path := filepath.Join(dir, "judge.jsonl")
		if err := os.WriteFile(path, []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(path); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "judge.jsonl") {
			t.Errorf("%.60q: %v, want %s", tt.text, err, tt.want)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != tt.text {
			t.Errorf("%.60q: the file was changed", tt.text)
		}
	}
	if _, err := OpenStore(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	if runtime.GOOS != "windows" {
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(filepath.Join(dir, "file", "judge.jsonl")); err == nil {
			t.Error("a file is taken for a folder")
		}
	}
}

// FuzzReadAnswers: whatever a store holds, what is read of it can be added and read again.
func FuzzReadAnswers(f *testing.F) {
	f.Add([]byte(`{"answer":{"model":"m","prompt":"p","first":"` + strings.Repeat("a", 64) + `","second":"` + strings.Repeat("b", 64) + `","score":7}}` + "\n"))
	f.Add([]byte(`{"session":{"model":"m"}}` + "\n\n{"))
	f.Add([]byte(`{"answer":{"model":"m","prompt":"p","first":"` + strings.Repeat("a", 64) + `","second":"` + strings.Repeat("b", 64) + `","failure":"refused"}}` + "\n{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		answers, whole, err := readAnswers(bytes.NewReader(data), "x")
		if err != nil {
			return
		}
		if whole > int64(len(data)) || whole > 0 && data[whole-1] != '\n' || bytes.IndexByte(data[whole:], '\n') >= 0 {
			t.Fatalf("%d bytes of %q are whole", whole, data)
		}
		path := filepath.Join(t.TempDir(), "judge.jsonl")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := OpenStore(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, a := range answers {
			if err := s.Add(a); err != nil {
				t.Fatal(err)
			}
		}
		again, err := ReadStore(path)
		if err != nil || !reflect.DeepEqual(again, answers) {
			t.Fatalf("%v, then %v, %v", answers, again, err)
		}
	})
}
