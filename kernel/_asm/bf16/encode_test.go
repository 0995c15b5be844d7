package main

import (
	"bytes"
	"testing"
)

// TestEncode compares with what GNU as makes of the instruction beside it (binutils
// 2.38 and later know all of them).
func TestEncode(t *testing.T) {
	for text, tt := range map[string]struct{ got, want []byte }{
		"vdpbf16ps %zmm2,%zmm1,%zmm0":         {vdpbf16ps(0, 1, 2), []byte{0x62, 0xf2, 0x76, 0x48, 0x52, 0xc2}},
		"vdpbf16ps %zmm28,%zmm25,%zmm23":      {vdpbf16ps(23, 25, 28), []byte{0x62, 0x82, 0x36, 0x40, 0x52, 0xfc}},
		"vdpbf16ps %zmm9,%zmm17,%zmm10":       {vdpbf16ps(10, 17, 9), []byte{0x62, 0x52, 0x76, 0x40, 0x52, 0xd1}},
		"vcvtne2ps2bf16 %zmm2,%zmm1,%zmm0":    {vcvtne2ps2bf16(0, 1, 2), []byte{0x62, 0xf2, 0x77, 0x48, 0x72, 0xc2}},
		"vcvtne2ps2bf16 %zmm18,%zmm11,%zmm30": {vcvtne2ps2bf16(30, 11, 18), []byte{0x62, 0x22, 0x27, 0x48, 0x72, 0xf2}},
		"vcvtne2ps2bf16 %zmm8,%zmm31,%zmm8":   {vcvtne2ps2bf16(8, 31, 8), []byte{0x62, 0x52, 0x07, 0x40, 0x72, 0xc0}},
		"ldtilecfg (%rdi)":                    {ldtilecfg(rDI), []byte{0xc4, 0xe2, 0x78, 0x49, 0x07}},
		"ldtilecfg (%r9)":                     {ldtilecfg(r9), []byte{0xc4, 0xc2, 0x78, 0x49, 0x01}},
		"tilerelease":                         {tilerelease(), []byte{0xc4, 0xe2, 0x78, 0x49, 0xc0}},
		"tilezero %tmm0":                      {tilezero(0), []byte{0xc4, 0xe2, 0x7b, 0x49, 0xc0}},
		"tilezero %tmm3":                      {tilezero(3), []byte{0xc4, 0xe2, 0x7b, 0x49, 0xd8}},
		"tileloadd (%rsi,%rdx,1),%tmm4":       {tileloadd(4, rSI, rDX, 0), []byte{0xc4, 0xe2, 0x7b, 0x4b, 0x24, 0x16}},
		"tileloadd (%r8,%r15,1),%tmm7":        {tileloadd(7, r8, 15, 0), []byte{0xc4, 0x82, 0x7b, 0x4b, 0x3c, 0x38}},
		"tileloadd 0x40(%r10,%rcx,1),%tmm1":   {tileloadd(1, r10, rCX, 64), []byte{0xc4, 0xc2, 0x7b, 0x4b, 0x4c, 0x0a, 0x40}},
		"tilestored %tmm2,(%rsi,%rdx,1)":      {tilestored(2, rSI, rDX, 0), []byte{0xc4, 0xe2, 0x7a, 0x4b, 0x14, 0x16}},
		"tilestored %tmm3,0x40(%r10,%r11,1)":  {tilestored(3, r10, r11, 64), []byte{0xc4, 0x82, 0x7a, 0x4b, 0x5c, 0x1a, 0x40}},
		"tdpbf16ps %tmm6,%tmm4,%tmm0":         {tdpbf16ps(0, 4, 6), []byte{0xc4, 0xe2, 0x4a, 0x5c, 0xc4}},
		"tdpbf16ps %tmm7,%tmm5,%tmm3":         {tdpbf16ps(3, 5, 7), []byte{0xc4, 0xe2, 0x42, 0x5c, 0xdd}},
	} {
		if !bytes.Equal(tt.got, tt.want) {
			t.Errorf("%s: % x, want % x", text, tt.got, tt.want)
		}
	}
}
