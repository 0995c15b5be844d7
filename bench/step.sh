#!/usr/bin/env bash
# The demo's training step in relsim and in PyTorch, in turns: bash bench/step.sh [rounds] [threads]
# Needs python3 with torch (Debian: python3-torch and libopenblas0-pthread). Prints each pair and the median ratio.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-7}
threads=${2:-$(nproc)}
python=${PYTHON:-python3}
bin=$(mktemp)
trap 'rm -f "$bin"' EXIT
CGO_ENABLED=0 go test -c -o "$bin" ./training
for _ in $(seq "$rounds"); do
    ours=$(cd training && "$bin" -test.run '^$' -test.bench "^BenchmarkStep/threads=$threads\$" -test.benchtime 40x |
        awk '/images\/s/ { for (i = 1; i < NF; i++) if ($(i+1) == "images/s") print $i }')
    peer=$(OMP_WAIT_POLICY=passive OMP_NUM_THREADS=$threads OPENBLAS_NUM_THREADS=$threads "$python" bench/step.py --threads "$threads" --steps 40 |
        sed -E 's/.*"images_per_second": ([0-9.]+).*/\1/')
    awk -v a="$ours" -v b="$peer" 'BEGIN { printf "relsim %.0f images/s  torch %.0f images/s  ratio %.2f\n", a, b, a / b }'
done | tee /dev/stderr | sed -E 's/.*ratio //' | sort -n |
    awk '{ v[NR] = $1 } END { printf "median ratio %.2f (%.2f to %.2f, %d pairs)\n", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2, v[1], v[NR], NR }'
