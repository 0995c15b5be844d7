#!/usr/bin/env bash
# JPEG to CHW float on one core, in relsim and in Python, in turns: bash bench/jpeg.sh [rounds] [folder of pictures]
# Needs python3 with Pillow, torch and torchvision (Debian: python3-torchvision). Prints each pair and the median ratios.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-7}
pictures=${2:-}
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "$pictures" ]; then
    pictures=$work/pictures
    "$python" bench/jpeg.py --make 16 "$pictures"
fi
pictures=$(cd "$pictures" && pwd)
CGO_ENABLED=0 go test -c -o "$work/test" ./dataloader
ours() { # decoder
    (cd dataloader && RELSIM_BENCH_JPEG=$pictures GOMAXPROCS=1 "$work/test" -test.run '^$' -test.bench "^BenchmarkTensors/jpeg=$1\$" -test.benchtime 10x) |
        awk '/ms\/picture/ { for (i = 1; i < NF; i++) if ($(i+1) == "ms/picture") print $i }'
}
peer() { # library
    OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 "$python" bench/jpeg.py --how "$1" --rounds 5 "$pictures"/*.jpg | sed -E 's/.*"ms": ([0-9.]+).*/\1/'
}
for pair in go:pillow go:torchvision turbo:torchvision; do
    for _ in $(seq "$rounds"); do
        a=$(ours "${pair%:*}")
        b=$(peer "${pair#*:}")
        [ -n "$a" ] || { echo "NOT RUN: ${pair%:*}" >&2; break; }
        awk -v p="$pair" -v a="$a" -v b="$b" 'BEGIN { printf "%s %.2f ms  %.2f ms  ratio %.2f\n", p, a, b, b / a }'
    done | tee /dev/stderr | sed -E 's/.*ratio //' | sort -n |
        awk -v p="$pair" '{ v[NR] = $1 } END { if (NR) printf "%s median ratio %.2f (%.2f to %.2f, %d pairs)\n", p, NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2, v[1], v[NR], NR }'
done
