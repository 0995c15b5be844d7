#!/usr/bin/env bash
# Exact top 10 of 28,000 x 384 for 1,000 queries in relsim and in NumPy, in turns: bash bench/search.sh [rounds] [threads]
# Needs python3 with numpy on OpenBLAS (Debian: python3-numpy and libopenblas0-pthread). Prints each pair and the median ratio.
# Both sides take the best of their repetitions within a round.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-7}
threads=${2:-$(nproc)}
python=${PYTHON:-python3}
bin=$(mktemp)
trap 'rm -f "$bin"' EXIT
CGO_ENABLED=0 go test -c -o "$bin" ./retrieval
for _ in $(seq "$rounds"); do
    ours=$("$bin" -test.run '^$' -test.bench "^BenchmarkSearchExact/queries=1000/threads=$threads\$" -test.benchtime 3x -test.count 3 |
        awk '/queries\/s/ { for (i = 1; i < NF; i++) if ($(i+1) == "queries/s" && $i > best) best = $i } END { print best }')
    peer=$(OMP_WAIT_POLICY=passive "$python" bench/search.py --threads "$threads" |
        sed -E 's/.*"queries_per_second": ([0-9.]+).*/\1/')
    awk -v a="$ours" -v b="$peer" 'BEGIN { printf "relsim %.0f queries/s  numpy %.0f queries/s  ratio %.2f\n", a, b, a / b }'
done | tee /dev/stderr | sed -E 's/.*ratio //' | sort -n |
    awk '{ v[NR] = $1 } END { printf "median ratio %.2f (%.2f to %.2f, %d pairs)\n", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2, v[1], v[NR], NR }'
