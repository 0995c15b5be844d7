"""Writes the files of this folder: tensors of all types and layouts, as torch.save writes them, with their values beside.

Made with torch 1.13 (CPU), Python 3.11:  python3 make.py
"""
import collections
import json
import os
import pickle
import zipfile

import torch

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(1)


def ramp(dtype, *shape):
    n = 1
    for d in shape:
        n *= d
    x = torch.arange(n, dtype=torch.float64) - n // 3
    if dtype.is_floating_point:
        x = x / 4
    elif dtype == torch.bool:
        x = x % 2
    elif dtype == torch.uint8:
        x = x + n
    return x.to(dtype).reshape(shape)


base = ramp(torch.float32, 6, 4)
types = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "i64": torch.int64,
         "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8, "bool": torch.bool}
files = {
    # a state dict with the attribute _metadata, Parameters and buffers
    "module": torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.ReLU(), torch.nn.BatchNorm2d(3)).state_dict(),
    "types": {k: ramp(t, 3, 2) for k, t in types.items()},
    # windows of one storage: a transpose, every second column, a row, one element, nothing
    "views": collections.OrderedDict([("base", base), ("transposed", base.t()), ("columns", base[:, 1::2]), ("row", base[3]),
                                      ("scalar", base[2, 1]), ("empty", base[:0]), ("cube", base.view(2, 3, 4).permute(2, 0, 1))]),
    # a checkpoint of a training loop
    "nested": {"epoch": 3, "loss": 0.25, "name": "été", "big": 1 << 70, "none": None, "flags": [True, False], "model": {"w": torch.nn.Parameter(base), 7: base[0]},
               "list": [base[1], (base[2], "text")]},
}


def flat(name, v, out):
    if isinstance(v, torch.Tensor):
        out[name] = {"shape": list(v.shape), "dtype": str(v.dtype).removeprefix("torch."), "values": v.detach().double().flatten().tolist()}
    elif isinstance(v, dict):
        for k, x in v.items():
            flat(f"{name}.{k}" if name else str(k), x, out)
    elif isinstance(v, (list, tuple)):
        for i, x in enumerate(v):
            flat(f"{name}.{i}" if name else str(i), x, out)


golden = {}
for name, value in files.items():
    flat("", value, golden.setdefault(name, {}))
    torch.save(value, os.path.join(here, name + ".pth"))
    torch.save(value, os.path.join(here, name + ".legacy.pth"), _use_new_zipfile_serialization=False)
    torch.save(value, os.path.join(here, name + ".p4.pth"), pickle_protocol=4)
with open(os.path.join(here, "golden.json"), "w") as f:
    json.dump(golden, f)

# What must be refused.
torch.save(torch.nn.ReLU(), os.path.join(here, "refused.model.pth"))
torch.save(torch.nn.ReLU(), os.path.join(here, "refused.model.legacy.pth"), _use_new_zipfile_serialization=False)
torch.save({"x": torch.zeros(2, dtype=torch.complex64)}, os.path.join(here, "refused.complex.pth"))
torch.jit.script(torch.nn.ReLU()).save(os.path.join(here, "refused.script.pth"))


class Code:
    def __init__(self, f, *args):
        self.f, self.args = f, args

    def __reduce__(self):
        return self.f, self.args


for name, code in {"system": Code(os.system, "echo ran"), "eval": Code(eval, "1"), "getattr": Code(getattr, 1, "real")}.items():
    value = {"w": torch.ones(2), "x": code}
    torch.save(value, os.path.join(here, f"refused.{name}.pth"))
    torch.save(value, os.path.join(here, f"refused.{name}.legacy.pth"), _use_new_zipfile_serialization=False)

for name in list(os.listdir(here)):
    if name.endswith(".pth"):
        print(name, os.path.getsize(os.path.join(here, name)))
