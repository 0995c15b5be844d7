"""Writes the narrow AlexNet of ../alex as torchvision and LPIPS publish theirs. Made with torch 1.13:  python3 make.py"""
import collections
import json
import os
import struct

import torch

here = os.path.dirname(os.path.abspath(__file__))
raw = open(os.path.join(here, "../alex/model.safetensors"), "rb").read()
n = struct.unpack("<Q", raw[:8])[0]
tensors = {}
for name, t in json.loads(raw[8:8 + n]).items():
    if name != "__metadata__":
        a, b = t["data_offsets"]
        tensors[name] = torch.frombuffer(bytearray(raw[8 + n + a:8 + n + b]), dtype=torch.float32).reshape(t["shape"]).clone()

# torchvision: parameters, the classifier too; the older layout.
net = collections.OrderedDict((k, torch.nn.Parameter(v)) for k, v in tensors.items() if k.startswith("features."))
net["classifier.1.weight"] = torch.nn.Parameter(torch.zeros(3, 4))
net["classifier.1.bias"] = torch.nn.Parameter(torch.zeros(3))
torch.save(net, os.path.join(here, "alexnet-0.pth"), _use_new_zipfile_serialization=False)
# LPIPS: the head alone.
torch.save(collections.OrderedDict((k, v) for k, v in tensors.items() if k.startswith("lin")), os.path.join(here, "alex.pth"))
