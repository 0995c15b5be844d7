"""Writes the NumPy files of this folder: python3 make_numpy.py (NumPy 1.24.2)."""

import io
import numpy as np

rng = np.random.default_rng(7)
n, dim = 5, 3
x = rng.standard_normal((n, dim))
ids = np.array(["a1b2", "c3", "ünï", "名前", "e"])
captions = np.array(["{Subject} growing", "", "two 🙂 faces", "x", "a longer caption than the others"])
urls = np.array(["https://example.org/%d" % i for i in range(n)])
for name, kind in (("f2", "<f2"), ("f4", "<f4"), ("f8", "<f8"), ("f4_big", ">f4"), ("f2_big", ">f2")):
    np.save(name + ".npy", x.astype(kind))
np.save("fortran.npy", np.asfortranarray(x.astype("<f4")))
np.savez_compressed(  # as the authors of the paper save theirs
    "paper.npz", embeddings=x.astype("<f4"), image_ids=ids, captions=captions, url_links=urls, model_type="clip")
np.savez("stored.npz", embeddings=x.astype("<f4"), image_ids=ids, captions=captions, url_links=urls)
np.savez_compressed(  # no link was ever appended, ids are numbers, captions are bytes
    "odd.npz", embeddings=x.astype("<f2"), image_ids=np.arange(-2, 3, dtype="<i2"), url_links=np.array([]),
    captions=np.array([b"a", b"bc", b"", b"d", b"e"]))
np.savez("big.npz", embeddings=x.astype(">f8"), image_ids=ids.astype(">U4"), captions=np.arange(5, dtype=">u4"))
np.savez("objects.npz", embeddings=x.astype("<f4"), image_ids=ids.astype(object))
np.savez("object_vectors.npz", embeddings=np.array([[1, 2, 3], [1]], dtype=object), image_ids=ids[:2])
np.save("one_dimension.npy", x[0].astype("<f4"))
np.save("integers.npy", np.arange(6).reshape(2, 3))
np.save("records.npy", np.zeros(3, dtype=[("a", "<f4"), ("b", "<i4")]))
with open("version2.npy", "wb") as f:
    np.lib.format.write_array(f, x.astype("<f4"), version=(2, 0))
with open("version3.npy", "wb") as f:
    np.lib.format.write_array(f, x.astype("<f4"), version=(3, 0))
x.astype("<f8").tofile("values.f8")  # the numbers themselves
