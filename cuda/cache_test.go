package cuda

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCodeCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kernels")
	made := 0
	compile := func() ([]byte, error) {
		made++
		return []byte("code"), nil
	}
	var warnings []string
	get := func(parts ...string) {
		t.Helper()
		c := OpenCodeCache(dir, func(s string) { warnings = append(warnings, s) })
		if code, err := c.Code(parts, compile); err != nil || string(code) != "code" {
			t.Fatalf("%q, %v", code, err)
		}
	}
	get("source", "sm_80")
	get("source", "sm_80")
	if made != 1 {
		t.Errorf("made %d times, want once", made)
	}
	get("source", "sm_90")
	get("sources", "m_80") // the same bytes, otherwise divided
	if made != 3 || len(warnings) != 0 {
		t.Errorf("made %d times, want 3; warnings %q", made, warnings)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("files %v, %v", files, err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"a changed byte": append(whole[:len(whole)-1:len(whole)-1], 'x'), "a cut": whole[:len(whole)-2], "nothing": nil,
	} {
		for _, file := range files {
			if err := os.WriteFile(file, damaged, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		made, warnings = 0, nil
		get("source", "sm_80")
		get("source", "sm_90")
		get("source", "sm_80")
		if made != 2 || len(warnings) != 2 || !strings.Contains(warnings[0], "damaged") {
			t.Errorf("%s: made %d times, want twice; warnings %q", name, made, warnings)
		}
	}
}

func TestCodeCacheTrouble(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	var warnings []string
	c := OpenCodeCache(filepath.Join(file, "kernels"), func(s string) { warnings = append(warnings, s) }) // cannot be made
	for range 2 {
		if code, err := c.Code([]string{"a"}, func() ([]byte, error) { return []byte("b"), nil }); err != nil || string(code) != "b" {
			t.Fatalf("%q, %v", code, err)
		}
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "is not used") {
		t.Errorf("warnings %q, want one", warnings)
	}
	broken := errors.New("broken")
	if _, err := c.Code([]string{"a"}, func() ([]byte, error) { return nil, broken }); err != broken {
		t.Errorf("error %v, want that of the compiler", err)
	}
}
