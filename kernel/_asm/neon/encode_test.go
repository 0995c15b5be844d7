package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestEncode compares with what the GNU assembler 2.40 gives.
func TestEncode(t *testing.T) {
	type pair struct {
		word uint32
		text string
	}
	of := func(word uint32, text string) pair { return pair{word, text} }
	for _, tt := range []struct {
		got  pair
		word uint32
		text string
	}{
		{of(encode(fadd, 1, 2, 3)), 0x4e23d441, "fadd v1.4s, v2.4s, v3.4s"},
		{of(encode(fsub, 31, 30, 29)), 0x4ebdd7df, "fsub v31.4s, v30.4s, v29.4s"},
		{of(encode(fmul, 0, 16, 8)), 0x6e28de00, "fmul v0.4s, v16.4s, v8.4s"},
		{of(encode(fdiv, 7, 9, 11)), 0x6e2bfd27, "fdiv v7.4s, v9.4s, v11.4s"},
		{of(encode(fmax, 1, 2, 3)), 0x4e23f441, "fmax v1.4s, v2.4s, v3.4s"},
		{of(encode(fmin, 1, 2, 3)), 0x4ea3f441, "fmin v1.4s, v2.4s, v3.4s"},
		{of(encode(fmla, 21, 10, 5)), 0x4e25cd55, "fmla v21.4s, v10.4s, v5.4s"},
		{of(encode(fmls, 21, 10, 5)), 0x4ea5cd55, "fmls v21.4s, v10.4s, v5.4s"},
		{of(encode(faddp, 1, 2, 3)), 0x6e23d441, "faddp v1.4s, v2.4s, v3.4s"},
		{of(encode(fadd64, 1, 2, 3)), 0x4e63d441, "fadd v1.2d, v2.2d, v3.2d"},
		{of(encode(fmla64, 1, 2, 3)), 0x4e63cc41, "fmla v1.2d, v2.2d, v3.2d"},
		{of(encode(fabs, 5, 26)), 0x4ea0fb45, "fabs v5.4s, v26.4s"},
		{of(encode(fneg, 5, 26)), 0x6ea0fb45, "fneg v5.4s, v26.4s"},
		{of(encode(fsqrt, 5, 26)), 0x6ea1fb45, "fsqrt v5.4s, v26.4s"},
		{of(encode(frintn, 5, 26)), 0x4e218b45, "frintn v5.4s, v26.4s"},
		{of(encode(fcvtzs, 5, 26)), 0x4ea1bb45, "fcvtzs v5.4s, v26.4s"},
		{of(encode(fcvtl, 5, 26)), 0x0e617b45, "fcvtl v5.2d, v26.2s"},
		{of(encode(fcvtl2, 5, 26)), 0x4e617b45, "fcvtl2 v5.2d, v26.4s"},
		{of(encode(fmaxv, 5, 26)), 0x6e30fb45, "fmaxv s5, v26.4s"},
		{of(encode(faddps, 5, 26)), 0x7e30db45, "faddp s5, v26.2s"},
		{of(encode(faddp64, 5, 26)), 0x7e70db45, "faddp d5, v26.2d"},
		{of(encode(mul, 1, 2, 3)), 0x4ea39c41, "mul v1.4s, v2.4s, v3.4s"},
		{of(encode(cmhs, 1, 2, 3)), 0x6ea33c41, "cmhs v1.4s, v2.4s, v3.4s"},
		{of(fmlaLane(1, 2, 3, 0)), 0x4f831041, "fmla v1.4s, v2.4s, v3.s[0]"},
		{of(fmlaLane(23, 24, 27, 1)), 0x4fbb1317, "fmla v23.4s, v24.4s, v27.s[1]"},
		{of(fmlaLane(1, 2, 28, 2)), 0x4f9c1841, "fmla v1.4s, v2.4s, v28.s[2]"},
		{of(fmlaLane(31, 31, 31, 3)), 0x4fbf1bff, "fmla v31.4s, v31.4s, v31.s[3]"},
		{of(sshr(4, 5, 1)), 0x4f3f04a4, "sshr v4.4s, v5.4s, #1"},
		{of(sshr(4, 5, 31)), 0x4f2104a4, "sshr v4.4s, v5.4s, #31"},
		{of(ldrQ(3, 20, 4)), 0x3ce46a83, "ldr q3, [x20, x4]"},
		{of(strQ(31, 0, 26)), 0x3cba681f, "str q31, [x0, x26]"},
	} {
		if tt.got != (pair{tt.word, tt.text}) {
			t.Errorf("got %08x %s, want %08x %s", tt.got.word, tt.got.text, tt.word, tt.text)
		}
	}
}

// words returns the words of the generated assembly and the instructions that the
// comments name.
func words(t *testing.T) (ws []uint32, texts []string) {
	t.Helper()
	asm, _, err := generate("kernel")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`WORD \$(0x[0-9a-f]{8}) // (.*)`).FindAllSubmatch(asm, -1) {
		w, err := strconv.ParseUint(string(m[1]), 0, 32)
		if err != nil {
			t.Fatal(err)
		}
		ws, texts = append(ws, uint32(w)), append(texts, string(m[2]))
	}
	if n := bytes.Count(asm, []byte("WORD")); n != len(ws) || n == 0 {
		t.Fatalf("%d words, %d of them with a comment", n, len(ws))
	}
	return ws, texts
}

// TestWordsAssembled assembles the comment of every word with the GNU assembler.
func TestWordsAssembled(t *testing.T) {
	as, err := exec.LookPath("aarch64-linux-gnu-as")
	if err != nil {
		t.Skip("NOT RUN: there is no aarch64-linux-gnu-as (Debian: binutils-aarch64-linux-gnu)")
	}
	ws, texts := words(t)
	dir := t.TempDir()
	source, object, raw := filepath.Join(dir, "a.s"), filepath.Join(dir, "a.o"), filepath.Join(dir, "a.bin")
	if err := os.WriteFile(source, []byte(strings.Join(texts, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{as, "-o", object, source}, {strings.TrimSuffix(as, "as") + "objcopy", "-O", "binary", "-j", ".text", object, raw}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	code, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(code) != 4*len(ws) {
		t.Fatalf("%d bytes for %d words", len(code), len(ws))
	}
	for i, w := range ws {
		if want := binary.LittleEndian.Uint32(code[4*i:]); w != want {
			t.Errorf("%s: %08x, want %08x", texts[i], w, want)
		}
	}
}

// TestEncodePanics asks for what no instruction can have.
func TestEncodePanics(t *testing.T) {
	for name, f := range map[string]func(){
		"register": func() { encode(fadd, 32, 0, 0) },
		"operands": func() { encode(fabs, 0, 0, 0) },
		"lane":     func() { fmlaLane(0, 0, 0, 4) },
		"shift":    func() { sshr(0, 0, 33) },
		"index":    func() { ldrQ(0, 0, 31) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
