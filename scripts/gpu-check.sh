#!/usr/bin/env bash
# Checks relsim on a GPU: tests on the real driver, compute-sanitizer over the kernels, and measurements beside PyTorch, in less than
# nine minutes, without a network, and without building anything there.
#
#   bash scripts/gpu-check.sh build     where Go is: makes .gpu-check, test binaries and commands for linux/amd64
#   bash scripts/gpu-check.sh           where the GPU is: the checkout and .gpu-check, 64 MiB together, are all it takes
#
# OUT (default: gpu-check-out) gets report.md, report.json and log.txt. What is not installed (compute-sanitizer, a python3 with
# PyTorch) is NOT RUN, and the report says so. Each part has a time limit, and a part that fails loses nothing of the others. The
# exit status is 0 if all that could run passed.
#
# PYTHON names another python3. RELSIM_GPU_CHECK_SECONDS (520) bounds the whole. RELSIM_GPU_CHECK_TINY=1 tries the script out on a
# driver that runs on the host, which RELSIM_LIBCUDA names (go run ./.ci/fake DIR builds it): tiny sizes, and the tests of
# a few things.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=.gpu-check

build() {
    set -e
    rm -rf "$bin"
    mkdir -p "$bin"
    export CGO_ENABLED=0 GOOS=linux GOARCH=amd64
    for package in cuda graph optim; do
        go test -c -trimpath -ldflags '-s -w' -o "$bin/$package.test" "./$package"
    done
    go build -trimpath -ldflags '-s -w' -o "$bin/" ./cmd/bench ./cmd/train
    if [ -n "${RELSIM_GPU_CHECK_TINY:-}" ]; then
        gzip -1 "$bin"/* # they stay here
        return
    fi
    xz -T 0 "$bin"/*
    files=$(git ls-files -z | xargs -0 du -cb | tail -n 1 | cut -f 1)
    binaries=$(du -sb "$bin" | cut -f 1)
    printf '%s: %d MiB; with the checkout: %d MiB\n' "$bin" $((binaries >> 20)) $(((files + binaries) >> 20))
    if [ $((files + binaries)) -gt $((64 << 20)) ]; then
        echo "gpu-check: that is more than 64 MiB" >&2
        return 1
    fi
}

case ${1:-run} in
build)
    build
    exit
    ;;
run) ;;
*)
    echo "usage: bash scripts/gpu-check.sh [build|run]" >&2
    exit 2
    ;;
esac
if ! ls "$bin"/bench.* >/dev/null 2>&1; then
    echo "gpu-check: $bin is not there: run 'bash scripts/gpu-check.sh build' where Go is, and bring it along" >&2
    exit 2
fi

out=${OUT:-gpu-check-out}
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
root=$PWD
total=${RELSIM_GPU_CHECK_SECONDS:-520}
tiny=${RELSIM_GPU_CHECK_TINY:-}
work=$(mktemp -d)
bench=
cleanup() {
    if [ -n "$bench" ]; then
        kill "$bench" 2>/dev/null
    fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
SECONDS=0
unpack() {
    case $1 in
    *.gz) gzip -dc "$1" ;;
    *) xz -dc "$1" 2>/dev/null || python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)' "$1" ;;
    esac
}
for file in "$bin"/*.gz "$bin"/*.xz; do
    if [ -f "$file" ]; then
        name=$(basename "${file%.*}")
        unpack "$file" >"$work/$name" && chmod +x "$work/$name" || exit 1
    fi
done
checks=$work/checks
log=$out/log.txt
: >"$checks"
: >"$log"
export XDG_CACHE_HOME=$work/cache PYTHONUNBUFFERED=1
if [ -z "$tiny" ]; then
    export RELSIM_TEST_GPU=1 # the driver of this machine
    unset RELSIM_LIBCUDA RELSIM_LIBNVRTC RELSIM_LIBCUBLASLT
fi

# record NAME STATUS SECONDS NOTE adds a line to the report.
record() {
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$(printf '%s' "$4" | tr '\t\n' '  ' | cut -c 1-400)" >>"$checks"
    printf '%4d s  %s: %s  %s\n' "$SECONDS" "$1" "$2" "$4"
}

# part NAME LIMIT FOLDER COMMAND… runs a command within its time, and within what is left of all of it.
part() {
    local name=$1 limit=$2 folder=$3 begin=$SECONDS left=$((total - SECONDS)) status note own
    shift 3
    own=$(mktemp "$work/log.XXXXXX")
    if [ "$limit" -gt "$left" ]; then
        limit=$left
    fi
    if [ "$limit" -lt 1 ]; then
        record "$name" "not run" 0 "no time is left"
        return 1
    fi
    (cd "$folder" && exec timeout -k 5 "$limit" "$@") >"$own" 2>&1
    status=$?
    { printf '\n=== %s: status %d after %d s\n' "$name" "$status" $((SECONDS - begin)) && cat "$own"; } >>"$log"
    note=$(grep -c 'NOT RUN' "$own") || true
    if [ "$note" != 0 ]; then
        note="$note not run: $(grep -o 'NOT RUN.*' "$own" | sort -u | head -n 3 | tr '\n' ';')"
    else
        note=
    fi
    case $status in
    0) record "$name" passed $((SECONDS - begin)) "$note" ;;
    124 | 137) record "$name" ended $((SECONDS - begin)) "its limit of $limit s came first; $note" ;;
    *) record "$name" failed $((SECONDS - begin)) "status $status: $({ grep -E -- '--- FAIL|panic|[Ee]rror' "$own" || tail -n 1 "$own"; } | head -n 3 | tr '\n' ';')" ;;
    esac
    return $status
}

# planted NAME TOOL KERNEL FINDS runs a kernel that is wrong: the tool has to find it.
planted() {
    local name=$1 tool=$2 kernel=$3 finds=$4 own=$work/planted.log
    (cd cuda && RELSIM_PLANTED=$kernel timeout -k 5 40 "$sanitizer" --tool "$tool" "$work/cuda.test") >"$own" 2>&1
    { printf '\n=== %s\n' "$name" && cat "$own"; } >>"$log"
    if grep -qE "$finds" "$own"; then
        record "$name" passed 0 "it is found"
    else
        record "$name" failed 0 "$tool does not find it"
    fi
}

{ date -u && uname -a && nvidia-smi; } >>"$log" 2>&1
python=${PYTHON:-python3}
peer=()
if "$python" -c 'import torch' >"$work/torch.log" 2>&1; then
    peer=(--peer "$python")
else
    record "PyTorch" "not run" 0 "NOT RUN: $python has no torch: $(tail -n 1 "$work/torch.log")"
fi

# PyTorch compiles while tests run; measuring begins when they are done.
measure=(--out "$out" --rounds 5 --limit 60s --begin-when "$work/begin" "${peer[@]}")
if [ -n "$tiny" ]; then
    measure=(--out "$out" --rounds 1 --limit 60s --begin-when "$work/begin" --tiny "${peer[@]}")
fi
"$work/bench" gpu "${measure[@]}" >/dev/null 2>"$work/bench.log" &
bench=$!

if [ -n "$tiny" ]; then
    part "tests of cuda" 120 cuda "$work/cuda.test" -test.v -test.run 'TestPTX|TestLayouts|TestDevices'
    part "tests of graph" 200 graph "$work/graph.test" -test.v -test.run '^TestGPU$/^profile$'
else
    part "tests of cuda" 60 cuda "$work/cuda.test" -test.v
    part "tests of graph" 100 graph "$work/graph.test" -test.v -test.run '^TestGPU'
    part "tests of optim" 40 optim "$work/optim.test" -test.v -test.run '^TestGPU'
    part "training on scenes" 60 . "$work/train" --data scenes --device cuda --steps 20 --scenes-profiles 64 --no-twin --no-report \
        --save-every 0 --eval-every 0 --quiet --out "$work/run"
fi

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
if [ -n "$sanitizer" ] && [ -z "$tiny" ]; then
    planted "memcheck finds a planted write out of bounds" memcheck beyond 'Invalid __global__ write'
    planted "racecheck finds a planted race" racecheck sums_race 'RACECHECK SUMMARY: [1-9]|Race reported'
    # Both at once: they are slow, and the device has room for both. Without cublasLt, so that it is our kernels that multiply.
    ours='^TestGPU$/^(ops|ops_in_bf16|attention|convolutions|contrast)$'
    (
        checks=$work/checks.race
        part "racecheck of the kernels" 110 graph env RELSIM_LIBCUBLASLT=/nowhere "$sanitizer" --tool racecheck --error-exitcode 9 \
            "$work/graph.test" -test.run "$ours"
    ) &
    race=$!
    part "memcheck of the kernels" 110 graph env RELSIM_LIBCUBLASLT=/nowhere "$sanitizer" --tool memcheck --error-exitcode 9 \
        "$work/graph.test" -test.run "$ours"
    wait "$race"
    cat "$work/checks.race" >>"$checks"
else
    record "memcheck and racecheck" "not run" 0 "NOT RUN: compute-sanitizer is not there"
fi

touch "$work/begin"
begin=$SECONDS
while kill -0 "$bench" 2>/dev/null && [ "$SECONDS" -lt "$total" ]; do
    sleep 0.5
done
if kill -0 "$bench" 2>/dev/null; then
    kill "$bench"
    wait "$bench" 2>/dev/null
    record "measurements" ended $((SECONDS - begin)) "the limit of $total s for all came first; what was measured until then is there"
else
    wait "$bench"
    status=$?
    if [ "$status" = 0 ]; then
        record "measurements" passed $((SECONDS - begin)) ""
    else
        record "measurements" failed $((SECONDS - begin)) "status $status: $(tail -n 1 "$work/bench.log")"
    fi
fi
bench=
{ printf '\n=== measurements\n' && cat "$work/bench.log"; } >>"$log"
"$work/bench" gpu --out "$out" --render --checks "$checks" >/dev/null || exit 1
echo "$out/report.md"
if grep -qE $'\t(failed|ended)\t' "$checks"; then
    exit 1
fi
