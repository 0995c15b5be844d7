#!/bin/sh
# Counts the instructions that kernels execute on arm64, on the tiers generic and neon,
# under qemu-aarch64. It needs that (Debian: qemu-user) and gcc, and takes minutes.
#
#	sh kernel/_asm/neon/count.sh
#
# A count is the difference of two runs of a benchmark, so that what else the program
# does falls out, to about 0.05 instructions per element. It says nothing of the time
# an instruction takes.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gcc -O2 -shared -fPIC -o "$work/count.so" _asm/neon/testdata/count.c
CGO_ENABLED=0 GOARCH=arm64 go test -c -o "$work/kernel.test" .

# executed TIER BENCHMARK CALLS
executed() {
	GOGC=off GOMAXPROCS=1 RELSIM_KERNEL=$1 qemu-aarch64 -plugin "$work/count.so" "$work/kernel.test" \
		-test.run '^$' -test.bench "$2" -test.benchtime "$3x" 2>&1 >"$work/out" | sed -n 's/^executed //p'
	grep -q ns/op "$work/out"
}

# compare NAME BENCHMARK CALLS UNITS: instructions per unit; TIER stands for the tier
compare() {
	for tier in generic neon; do
		bench=$(echo "$2" | sed "s/TIER/$tier/")
		few=$(executed "$tier" "$bench" 1)
		many=$(executed "$tier" "$bench" $((1 + $3)))
		echo "$few $many"
	done | awk -v name="$1" -v n="$(($3 * $4))" '
		{ c[NR] = ($2 - $1) / n }
		END { printf "%-34s %9.2f %9.2f %7.1f\n", name, c[1], c[2], c[1] / c[2] }'
}

printf '%-34s %9s %9s %7s\n' 'instructions per multiply-add' generic neon ratio
gemm() { # OP SHAPE CALLS MULTIPLY-ADDS
	compare "$1 $2" "^BenchmarkGemm\$/^tier=TIER\$/^op=$1\$/^shape=$2\$" "$3" "$4"
}
gemm square 512x512x512 1 $((512 * 512 * 512))
gemm scores 64x64x24 300 $((64 * 64 * 24))
gemm mix-grad 64x24x64 300 $((64 * 24 * 64))
gemm mix-ViT 197x64x197 20 $((197 * 64 * 197))
gemm conv-dw 48x216x16384 1 $((48 * 216 * 16384))

printf '\n%-34s %9s %9s %7s\n' 'instructions per element' generic neon ratio
for kernel in Add Axpy Scale Exp Sum SumSquares ColSum/cols=256 \
	GELU/kind=gelu GELUGrad/kind=gelu GELU/kind=gelu_tanh GELUGrad/kind=gelu_tanh \
	Softmax/cols=64 Softmax/cols=257 LayerNorm/cols=192 LayerNormGrad/cols=192 \
	L2Normalize/cols=256 Dropout AdamW; do
	compare "$kernel" "^BenchmarkRows\$/^kernel=$(echo "$kernel" | sed 's|/|$/^|')\$/^tier=TIER\$" 20 131072
done
