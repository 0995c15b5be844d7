"""Prints name and hash of each picture of a folder, as imagehash 4.3.2 computes them: its phash with hash_size 8 and
highfreq_factor 4, step by step, by the same calls of Pillow, SciPy and NumPy."""
import pathlib
import sys

import numpy
import scipy.fftpack
from PIL import Image


def phash(picture):
    grey = picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    rows = scipy.fftpack.dct(numpy.asarray(grey), axis=0)
    lowest = scipy.fftpack.dct(rows, axis=1)[:8, :8]
    bits = lowest > numpy.median(lowest)
    return "%016x" % int("".join("01"[int(bit)] for bit in bits.flatten()), 2)


for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    print(path.name, phash(Image.open(path)))
