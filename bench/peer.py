#!/usr/bin/env python3
"""The peer of `bench`: the same work in PyTorch, NumPy and Pillow.

    python3 peer.py '{"kind": "step", ...}'

`bench --peer python3` starts this script once for each piece of work, in turn with its own. The script builds what the
job describes, warms up, prints one line of JSON ({"parameters", "check", "seconds", "path", "base_bytes"}), and then answers each
line "run N" on standard input with {"seconds", "cpu"} of N repetitions. It ends with its standard input.

Weights and inputs are a function of their name and position (`values`), the same as on the other side, so that `bench`
can hold the losses and embeddings of both sides ("check") against each other before it compares their speed.
"""
import json
import math
import os
import resource
import sys
import time


def memory():
    """Bytes resident now."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def hashes(name, n):
    """n 32-bit numbers: FNV-1a of the name, mixed with the position as MurmurHash3 ends."""
    import numpy as np

    seed = 2166136261
    for c in name.encode():
        seed = (seed ^ c) * 16777619 & 0xFFFFFFFF
    h = np.arange(n, dtype=np.uint32)
    h *= np.uint32(2654435761)
    h += np.uint32(seed)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h ^= h >> np.uint32(shift)
        h *= np.uint32(factor)
    h ^= h >> np.uint32(16)
    return h


def values(name, n, scale=1.0, offset=0.0):
    """n numbers, uniform in offset ± scale."""
    import numpy as np

    v = (hashes(name, n) >> np.uint32(8)).astype(np.float32)
    v *= np.float32(scale / (1 << 23))
    v += np.float32(offset - scale)
    return v


def fill(model):
    """Gives every parameter the values of its name; returns their number."""
    import torch

    total = 0
    with torch.no_grad():
        for name, p in model.named_parameters():
            n = p.numel()
            if p.ndim == 1:
                v = values(name, n, 0.1, 1) if name.endswith("weight") else values(name, n, 0.02)
            elif name.endswith(("token_embedding.weight", "pos_embed", "cls_token")):
                v = values(name, n, 0.05)
            else:
                v = values(name, n, 1 / math.sqrt(n / p.shape[0]))
            p.copy_(torch.from_numpy(v).view(p.shape))
            total += n
    return total


def build(config, vocab):
    """The two-tower model of an nn.Config, in modules named as its parameters are."""
    import torch
    import torch.nn as nn
    import torch.nn.functional as F

    def gelu(kind):
        if kind == "tanh":
            return lambda x: F.gelu(x, approximate="tanh")
        if kind == "quick":
            return lambda x: x * torch.sigmoid(1.702 * x)
        return F.gelu

    class Attention(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.heads = c["heads"]
            self.qkv, self.proj = nn.Linear(c["width"], 3 * c["width"]), nn.Linear(c["width"], c["width"])

        def forward(self, x, mask):
            b, t, d = x.shape
            q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
            a = (q * (d // self.heads) ** -0.5) @ k.transpose(-1, -2)
            if mask is not None:
                a = a + mask
            return self.proj((a.softmax(-1) @ v).transpose(1, 2).reshape(b, t, d))

    class MLP(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(c["width"], c["mlp"]), nn.Linear(c["mlp"], c["width"])
            self.gelu = gelu(c["gelu"])

        def forward(self, x):
            return self.fc2(self.gelu(self.fc1(x)))

    class Block(nn.Module):
        def __init__(self, c):
            super().__init__()
            eps = c["norm_eps"]
            self.norm1, self.attn = nn.LayerNorm(c["width"], eps=eps), Attention(c)
            self.norm2, self.mlp = nn.LayerNorm(c["width"], eps=eps), MLP(c)

        def forward(self, x, mask=None):
            x = x + self.attn(self.norm1(x), mask)
            return x + self.mlp(self.norm2(x))

    class PatchEmbed(nn.Module):
        def __init__(self, width, patch):
            super().__init__()
            self.proj = nn.Conv2d(3, width, patch, patch)

        def forward(self, x):
            return self.proj(x)

    class Vision(nn.Module):
        def __init__(self, c, embed):
            super().__init__()
            self.pool, self.gelu, side = c["pool"], gelu(c["gelu"]), c["image_size"]
            if c["stem"] == "patch":
                self.patch_embed = PatchEmbed(c["width"], c["patch_size"])
                side //= c["patch_size"]
            else:
                layers, channels = [], 3
                for conv in c["convs"]:
                    layers.append(nn.Conv2d(channels, conv["channels"], 3, conv["stride"], 1))
                    channels, side = conv["channels"], (side - 1) // conv["stride"] + 1
                self.stem = nn.ModuleList(layers)
            tokens = side * side
            if self.pool == "cls":
                self.cls_token = nn.Parameter(torch.empty(1, 1, c["width"]))
                tokens += 1
            self.pos_embed = nn.Parameter(torch.empty(1, tokens, c["width"]))
            self.blocks = nn.ModuleList([Block(c) for _ in range(c["layers"])])
            self.norm, self.head = nn.LayerNorm(c["width"], eps=c["norm_eps"]), nn.Linear(c["width"], embed)

        def forward(self, x):
            if hasattr(self, "patch_embed"):
                x = self.patch_embed(x)
            else:
                for conv in self.stem:
                    x = self.gelu(conv(x))
            x = x.flatten(2).transpose(1, 2)
            if self.pool == "cls":
                x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
            x = x + self.pos_embed
            for block in self.blocks:
                x = block(x)
            # The norm works row by row: only the class rows need it.
            x = self.norm(x[:, 0]) if self.pool == "cls" else self.norm(x).mean(1)
            return F.normalize(self.head(x), dim=-1, eps=1e-12)

    class Text(nn.Module):
        def __init__(self, c, embed):
            super().__init__()
            self.kind = c["kind"]
            self.token_embedding = nn.Embedding(vocab, c["width"])
            if self.kind == "transformer":
                if c["pool"] != "mean":
                    raise ValueError("text.pool %r: this script knows mean" % c["pool"])
                self.pos_embed = nn.Parameter(torch.empty(1, c["length"], c["width"]))
                self.blocks = nn.ModuleList([Block(c) for _ in range(c["layers"])])
                self.norm = nn.LayerNorm(c["width"], eps=c["norm_eps"])
            self.head = nn.Linear(c["width"], embed)

        def forward(self, ids, weights):
            x = self.token_embedding(ids)
            if self.kind == "bag":
                return F.normalize(self.head(x.sum(1) / math.sqrt(ids.shape[1])), dim=-1, eps=1e-12)
            x = x + self.pos_embed
            mask = (weights[:, None, None, :] == 0) * -1e9
            for block in self.blocks:
                x = block(x, mask)
            x = (self.norm(x) * weights[:, :, None]).sum(1) / weights.sum(1, keepdim=True)
            return F.normalize(self.head(x), dim=-1, eps=1e-12)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.vision, self.text = Vision(config["vision"], config["embed_dim"]), Text(config["text"], config["embed_dim"])

    return Model()


def seconds_of(run, least=0.2):
    """The time of one repetition, warm."""
    run()
    n, start = 0, time.perf_counter()
    while n == 0 or time.perf_counter() - start < least:
        run()
        n += 1
    return (time.perf_counter() - start) / n


def fastest_convolutions(params, path, gradients):
    """Sets path to the fastest of PyTorch's ways to convolve and names it: with oneDNN or without, either layout.

    A way whose gradients are not those of the plain one is not taken. oneDNN 2.6 has wrong ones on some processors.
    """
    import torch

    def vector():
        gradients()
        return torch.cat([p.grad.flatten() for p in params])

    images, best, wrong = path["images"], math.inf, ""
    for on in (False, True):
        for layout in (torch.contiguous_format, torch.channels_last):
            trial = {"oneDNN": on, "images": images.contiguous(memory_format=layout)}
            name = "%soneDNN, %s" % ("" if on else "no ", "channels last" if layout == torch.channels_last else "channels first")
            path.update(trial)
            now = vector()
            if best == math.inf:
                right = now
            if not (now - right).norm() <= 1e-3 * right.norm():
                wrong += "; %s: wrong gradients here" % name
                continue
            taken = seconds_of(gradients)
            if taken < best:
                best, chosen, fastest = taken, trial, name
    path.update(chosen)
    return fastest + wrong


def step(job):
    """A training step: forward, symmetric multi-positive InfoNCE, backward, clipping, AdamW; the batch is in memory."""
    import torch

    config, batch, words = job["config"], job["batch"], job["words"]
    model = build(config, job["vocab"])
    parameters = fill(model)
    side = config["vision"]["image_size"]
    images = torch.from_numpy(values("images", batch * 3 * side * side, math.sqrt(3))).view(batch, 3, side, side)
    ids = torch.from_numpy((hashes("ids", batch * words) % job["vocab"]).astype("int64")).view(batch, words)
    weights = torch.ones(batch, words)
    labels = torch.from_numpy((hashes("labels", batch) % job["labels"]).astype("int64"))
    same = (labels[:, None] == labels[None, :]).float()
    target = same / same.sum(1, keepdim=True)
    decay, other = [], []
    for name, p in model.named_parameters():
        flat = p.ndim == 1 or name.endswith(("pos_embed", "cls_token"))
        (other if flat else decay).append(p)
    groups = [{"params": decay, "weight_decay": job["decay"]}, {"params": other, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=job["rate"], betas=tuple(job["betas"]), eps=job["eps"], foreach=True)
    params = decay + other
    path = {"oneDNN": True, "images": images}

    def gradients():
        with torch.backends.mkldnn.flags(enabled=path["oneDNN"]):
            logits = model.vision(path["images"]) @ model.text(ids, weights).T / config["temperature"]
            rows, columns = (target * logits.log_softmax(1)).sum(1), (target * logits.T.log_softmax(1)).sum(1)
            loss = -(rows.mean() + columns.mean()) / 2
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        return loss

    def one():
        loss = gradients()
        torch.nn.utils.clip_grad_norm_(params, job["clip"])
        optimizer.step()
        return loss.item()

    name = "oneDNN"
    if config["vision"]["stem"] == "conv":
        name = fastest_convolutions(params, path, gradients)
    check = []
    for _ in range(job["steps"]):
        begin = time.perf_counter()
        check.append(one())
    taken = time.perf_counter() - begin
    return one, {"parameters": parameters, "check": check, "seconds": taken, "path": name}


def picture(name, size):
    """Pillow's way from a JPEG to the square that a network sees."""
    from PIL import Image

    im = Image.open(name).convert("RGB")
    w, h = im.size
    s = min(w, h)
    left, top = (w - s) // 2, (h - s) // 2
    return im.crop((left, top, left + s, top + s)).resize((size, size), Image.LANCZOS)


def to_tensor(im):
    """torchvision's ToTensor, which needs a package that is not everywhere."""
    import numpy as np
    import torch

    try:
        from torchvision.transforms.functional import to_tensor as convert

        return convert(im)
    except ImportError:
        return torch.from_numpy(np.array(im)).permute(2, 0, 1).contiguous().float().div(255)


def names(job):
    return [os.path.join(job["dir"], n) for n in sorted(os.listdir(job["dir"])) if n.endswith(".jpg")]


def embed(job):
    """Embeds the pictures of a folder: decoding in threads (Pillow lets go of the interpreter), the model meanwhile."""
    import torch
    from concurrent.futures import ThreadPoolExecutor

    config, batch = job["config"], job["batch"]
    model = build(config, job["vocab"]).eval()
    parameters = fill(model)
    files, size = names(job), config["vision"]["image_size"]
    mean, std = torch.tensor(job["mean"]).view(3, 1, 1), torch.tensor(job["std"]).view(3, 1, 1)
    pool = ThreadPoolExecutor(job["workers"])
    out = torch.empty(len(files), config["embed_dim"])

    def load(name):
        return to_tensor(picture(name, size)).sub_(mean).div_(std)

    def one():
        with torch.inference_mode():
            ahead = [pool.submit(load, f) for f in files[: 2 * batch]]
            for at in range(0, len(files), batch):
                images = torch.stack([f.result() for f in ahead[:batch]])
                ahead = ahead[batch:] + [pool.submit(load, f) for f in files[at + 2 * batch : at + 3 * batch]]
                out[at : at + batch] = model.vision(images)

    one()
    return one, {"parameters": parameters, "check": out[0].tolist(), "path": "%d threads decode" % job["workers"]}


def jpeg(job):
    """From JPEG files to (3, size, size) float32, 0 to 1, one after another."""
    import torch

    files, size = names(job), job["size"]
    if job.get("tensors"):
        from torchvision.io import ImageReadMode, decode_jpeg, read_file
        from torchvision.transforms.functional import InterpolationMode, resize

        def load(name):
            im = decode_jpeg(read_file(name), ImageReadMode.RGB)
            h, w = im.shape[1:]
            s = min(w, h)
            left, top = (w - s) // 2, (h - s) // 2
            im = im[:, top : top + s, left : left + s]
            return resize(im, [size, size], InterpolationMode.BICUBIC, antialias=True).float().div_(255)

        path = "decode_jpeg, resize(bicubic, antialias)"
    else:

        def load(name):
            return to_tensor(picture(name, size))

        path = "Pillow, Lanczos, ToTensor"

    def one():
        for name in files:
            load(name)

    with torch.inference_mode():
        first = load(files[0])
        one()
    return one, {"check": [first[c].mean().item() for c in range(3)], "path": path}


def search(job):
    """The best k of n vectors for m queries, exactly, in blocks of queries whose scores stay small."""
    import numpy as np

    n, m, dim, k = job["n"], job["queries"], job["dim"], job["k"]
    vectors, queries = values("vectors", n * dim).reshape(n, dim), values("queries", m * dim).reshape(m, dim)
    for x in (vectors, queries):
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    found = np.empty((m, k), np.int64)

    def run(block):
        for at in range(0, m, block):
            scores = queries[at : at + block] @ vectors.T
            best = np.argpartition(scores, n - k, axis=1)[:, n - k :]
            order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
            found[at : at + block] = np.take_along_axis(best, order, 1)

    block = min((64, 256, m), key=lambda b: seconds_of(lambda: run(b)))
    run(block)
    return lambda: run(block), {"check": [float(i) for i in found[0]], "path": "%d queries at a time" % block}


def main():
    job = json.loads(sys.argv[1])
    threads = job.get("threads", 1)
    if job["kind"] == "probe":
        versions = {}
        for name in ("torch", "numpy", "PIL", "torchvision"):
            try:
                versions[name] = __import__(name).__version__
            except ImportError as e:
                versions[name] = ""
                versions["error"] = versions.get("error") or str(e)
        print(json.dumps({"versions": versions}), flush=True)
        return
    if job["kind"] != "search":
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(0)
    else:
        import numpy  # noqa: F401
    base = memory()
    run, ready = {"step": step, "embed": embed, "jpeg": jpeg, "search": search}[job["kind"]](job)
    print(json.dumps(dict(ready, base_bytes=base)), flush=True)
    for line in sys.stdin:
        n = int(line.split()[1])
        begin, used = time.perf_counter(), cpu()
        for _ in range(n):
            run()
        print(json.dumps({"seconds": time.perf_counter() - begin, "cpu": cpu() - used}), flush=True)


if __name__ == "__main__":
    main()
