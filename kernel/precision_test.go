package kernel

import (
	"errors"
	"testing"
)

// TestTF32 reads the name of the precision that only GPUs have, and asks for it here.
func TestTF32(t *testing.T) {
	p, err := ParsePrecision("tf32")
	if p != TF32 || err != nil || p.String() != "tf32" {
		t.Errorf("%v, %v", p, err)
	}
	if err := CheckPrecision(TF32); !errors.Is(err, ErrTF32) {
		t.Errorf("error %v, want %v", err, ErrTF32)
	}
	defer func() {
		if recover() == nil {
			t.Error("a pool multiplies in tf32")
		}
	}()
	(*Pool)(nil).With(TF32)
}
