#!/usr/bin/env python3
"""JPEG files to normalised CHW float tensors in Python: the peers that `bench/jpeg.sh` times beside ours, on one core.

    OMP_WAIT_POLICY=passive python3 bench/jpeg.py --how pillow --size 224 --rounds 5 FILE...

pillow       Pillow: decode, convert to RGB, cut the middle square, resize (Lanczos); torchvision's ToTensor and Normalize
torchvision  its tensors: read_file, decode_jpeg, centre crop, Resize(antialias=True) (bilinear, its only filter besides
             bicubic), Normalize

Prints one line of JSON: {"how": ..., "ms": milliseconds per picture, "pictures": ...}. --make N writes N pictures of
640x480, quality 85, chroma 4:2:0, to the folder that is given instead of files.
"""
import argparse
import json
import os
import time

import numpy as np
from PIL import Image

MEAN, STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]


def make(folder, n):
    """Fractal light and colours with a little noise: as many coefficients as a photograph has."""
    rng = np.random.default_rng(1)

    def fractal(h, w):
        fy, fx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]
        f = np.sqrt(fy * fy + fx * fx)
        f[0, 0] = 1
        z = np.fft.irfft2((rng.normal(size=f.shape) + 1j * rng.normal(size=f.shape)) / f**1.15, s=(h, w))
        return (z - z.mean()) / z.std()

    os.makedirs(folder, exist_ok=True)
    for i in range(n):
        light = fractal(480, 640) * 45 + 120
        picture = np.stack([light + fractal(480, 640) * k for k in (12, 8, 14)], -1)
        picture += rng.normal(size=picture.shape) * 1.5
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(f"{folder}/{i}.jpg", quality=85)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--how", choices=["pillow", "torchvision"], default="pillow")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--make", type=int)
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    if args.make:
        make(args.files[0], args.make)
        return

    import torch
    import torchvision.io
    import torchvision.transforms as transforms

    torch.set_num_threads(1)
    to_tensor, normalize = transforms.ToTensor(), transforms.Normalize(MEAN, STD)
    resize = transforms.Resize(args.size, antialias=True)

    def pillow(path):
        picture = Image.open(path).convert("RGB")
        w, h = picture.size
        side = min(w, h)
        left, top = (w - side) // 2, (h - side) // 2
        picture = picture.crop((left, top, left + side, top + side)).resize((args.size, args.size), Image.LANCZOS)
        return normalize(to_tensor(picture))

    def torchvision_tensor(path):
        picture = torchvision.io.decode_jpeg(torchvision.io.read_file(path), torchvision.io.ImageReadMode.RGB)
        picture = transforms.functional.center_crop(picture, min(picture.shape[1:]))
        return normalize(resize(picture).float().div(255))

    work = {"pillow": pillow, "torchvision": torchvision_tensor}[args.how]
    for path in args.files:  # warm
        work(path)
    begin = time.perf_counter()
    for _ in range(args.rounds):
        for path in args.files:
            work(path)
    ms = (time.perf_counter() - begin) / args.rounds / len(args.files) * 1e3
    print(json.dumps({"how": args.how, "ms": ms, "pictures": len(args.files)}))


if __name__ == "__main__":
    main()
