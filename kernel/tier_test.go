package kernel

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestChooseTier(t *testing.T) {
	all := []Tier{Generic, AVX2, AVX512}
	arm := []Tier{Generic, NEON}
	for _, tt := range []struct {
		name string
		have []Tier
		want Tier
		err  string
	}{
		{"", all, AVX512, ""},
		{"", all[:1], Generic, ""},
		{"generic", all, Generic, ""},
		{"avx2", all, AVX2, ""},
		{"avx512", all, AVX512, ""},
		{"avx512", all[:2], noTier, "kernel: RELSIM_KERNEL=avx512: this build or processor has only generic, avx2"},
		{"avx2", all[:1], noTier, "kernel: RELSIM_KERNEL=avx2: this build or processor has only generic"},
		{"", arm, NEON, ""},
		{"neon", arm, NEON, ""},
		{"generic", arm, Generic, ""},
		{"avx2", arm, noTier, "kernel: RELSIM_KERNEL=avx2: this build or processor has only generic, neon"},
		{"neon", all, noTier, "kernel: RELSIM_KERNEL=neon: this build or processor has only generic, avx2, avx512"},
		{"AVX2", all, noTier, "kernel: RELSIM_KERNEL=AVX2: unknown tier; this build and processor have generic, avx2, avx512"},
	} {
		got, err := chooseTier(tt.name, tt.have)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != tt.want || text != tt.err {
			t.Errorf("chooseTier(%q, %v) = %v, %q, want %v, %q", tt.name, tt.have, got, text, tt.want, tt.err)
		}
	}
}

func TestSetTier(t *testing.T) {
	before := Active()
	for _, tier := range Tiers() {
		restore, err := SetTier(tier)
		if err != nil {
			t.Fatal(err)
		}
		if Active() != tier {
			t.Errorf("Active() = %v, want %v", Active(), tier)
		}
		restore()
	}
	if Active() != before {
		t.Errorf("Active() = %v after restoring, want %v", Active(), before)
	}
	if _, err := SetTier(numTiers); err == nil {
		t.Error("SetTier of a tier that does not exist: no error")
	}
}

// TestTiersDispatch checks that each tier with assembly brings its own micro-kernel.
func TestTiersDispatch(t *testing.T) {
	seen := map[*microKernel]bool{}
	eachTier(t, func(t *testing.T) {
		u := microKernels.get()
		if seen[u] {
			t.Error("the tier has the matrix product of the one below")
		}
		seen[u] = true
	})
}

// TestTierEnv runs this test binary again with the variable set: every tier that is
// there has to be chosen, and any other has to end the first kernel with the error.
// KERNEL_TEST_EXEC names the emulator that the binary needs, as in go test -exec.
func TestTierEnv(t *testing.T) {
	if os.Getenv("KERNEL_TIER_CHILD") != "" {
		x := []float32{2}
		Gemm(nil, false, false, 1, 1, 1, x, 1, x, 1, make([]float32, 1), 1, false)
		if err := Init(); err != nil {
			t.Fatalf("a kernel ran, though Init reports %v", err)
		}
		t.Log("tier in use: " + Active().String())
		return
	}
	for _, name := range []string{"generic", "avx2", "avx512", "avx512bf16", "amx", "neon", "sse9"} {
		args := []string{os.Args[0], "-test.run=^TestTierEnv$", "-test.v"}
		if emulator := os.Getenv("KERNEL_TEST_EXEC"); emulator != "" {
			args = append([]string{emulator}, args...)
		}
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "KERNEL_TIER_CHILD=1", TierEnv+"="+name)
		out, err := cmd.CombinedOutput()
		there := slices.ContainsFunc(Tiers(), func(tier Tier) bool { return tier.String() == name })
		switch {
		case there && (err != nil || !strings.Contains(string(out), "tier in use: "+name)):
			t.Errorf("%s=%s: %v\n%s", TierEnv, name, err, out)
		case !there && (err == nil || !strings.Contains(string(out), "kernel: "+TierEnv+"="+name)):
			t.Errorf("%s=%s, which is not there on %s: %v\n%s", TierEnv, name, runtime.GOARCH, err, out)
		}
	}
}
