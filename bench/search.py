#!/usr/bin/env python3
"""Exact top-10 search in NumPy: the peer that `bench/search.sh` times beside ours.

A matrix product (NumPy's BLAS; Debian's libopenblas0-pthread makes it OpenBLAS), argpartition and a sort of the ten, as one
writes it by hand; the queries in blocks of the size that is fastest of three, since argpartition likes the cache.

    OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=2 python3 bench/search.py --threads 2 --repeat 3

prints one line of JSON: {"queries_per_second": ..., "search_ms": ..., "block": ..., "product_ms": ...}
"""
import argparse
import json
import os
import time

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--vectors", type=int, default=28000)
parser.add_argument("--width", type=int, default=384)
parser.add_argument("--queries", type=int, default=1000)
parser.add_argument("--top", type=int, default=10)
parser.add_argument("--repeat", type=int, default=3)
args = parser.parse_args()
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # read when NumPy is imported
    os.environ[name] = str(args.threads)
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import numpy as np  # noqa: E402

rng = np.random.default_rng(1)


def normalised(n):
    x = rng.standard_normal((n, args.width), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


vectors, queries = normalised(args.vectors), normalised(args.queries)


def search(block):
    found, values, product = [], [], 0.0
    for first in range(0, args.queries, block):
        begin = time.perf_counter()
        scores = queries[first:first + block] @ vectors.T
        product += time.perf_counter() - begin
        top = np.argpartition(scores, args.vectors - args.top, axis=1)[:, -args.top:]
        value = np.take_along_axis(scores, top, 1)
        order = np.argsort(-value, axis=1)
        found.append(np.take_along_axis(top, order, 1))
        values.append(np.take_along_axis(value, order, 1))
    return np.concatenate(found), np.concatenate(values), product


best = None
for block in (50, 200, 1000):
    search(block)
    for _ in range(args.repeat):
        begin = time.perf_counter()
        _, _, product = search(block)
        seconds = time.perf_counter() - begin
        if best is None or seconds < best[0]:
            best = seconds, block, product
print(json.dumps({
    "queries_per_second": args.queries / best[0],
    "search_ms": 1000 * best[0],
    "block": best[1],
    "product_ms": 1000 * best[2],
}))
