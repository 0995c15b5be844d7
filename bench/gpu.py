#!/usr/bin/env python3
"""The peer of `bench gpu`: the same work in PyTorch, on a GPU or, to try it out, on the processor.

    python3 gpu.py '{"kind": "gpu-model", ...}'

Like peer.py, which has to lie beside it, the script builds what the job describes, warms up and prints a line of JSON, and then
answers lines on standard input. "gpu-model" is an image tower that trains and embeds, each by PyTorch as it is ("eager") and by
torch.compile; a line is "run N MODE", such as "run 3 train-compile". "gpu-products" times products and attention, by events of
the device; a line is "run 1". Autocast to bfloat16, flash attention where the device has it, fused AdamW.
"""
import json
import math
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

from peer import fill, memory, values

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"


def wait():
    if ON_GPU:
        torch.cuda.synchronize()


def give_back():
    if ON_GPU:
        torch.cuda.empty_cache()


def attend(q, k, v):
    """Scaled dot-product attention; the fastest that there is. PyTorch 1 has none."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v)
    return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1) @ v


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

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(attend(q, k, v).transpose(1, 2).reshape(b, t, d))


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

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.proj = nn.Conv2d(3, c["width"], c["patch_size"], c["patch_size"], bias=not c.get("no_patch_bias"))

    def forward(self, x):
        return self.proj(x)


class Tower(nn.Module):
    """The image tower of an nn.Config with stem "patch" and pool "cls"."""

    def __init__(self, c, embed):
        super().__init__()
        if c["stem"] != "patch" or c["pool"] != "cls":
            raise ValueError("stem %r, pool %r: this script knows patch and cls" % (c["stem"], c["pool"]))
        eps = c["norm_eps"]
        self.patch_embed = PatchEmbed(c)
        self.cls_token = nn.Parameter(torch.empty(1, 1, c["width"]))
        self.pos_embed = nn.Parameter(torch.empty(1, (c["image_size"] // c["patch_size"]) ** 2 + 1, c["width"]))
        if c.get("input_norm"):
            self.input_norm = nn.LayerNorm(c["width"], eps=eps)
        self.blocks = nn.ModuleList([Block(c) for _ in range(c["layers"])])
        self.norm = nn.LayerNorm(c["width"], eps=eps)
        self.head = nn.Linear(c["width"], embed, bias=c.get("head") != "projection")

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1).to(x.dtype), x], 1) + self.pos_embed
        if hasattr(self, "input_norm"):
            x = self.input_norm(x)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x[:, 0])  # the norm works row by row: only the class rows need it
        return F.normalize(self.head(x).float(), dim=-1, eps=1e-12)


class Model(nn.Module):
    """The tower under the name that its parameters have on the other side."""

    def __init__(self, config):
        super().__init__()
        self.vision = Tower(config["vision"], config["embed_dim"])

    def forward(self, x):
        return self.vision(x)


def model(job):
    config, batch = job["config"], job["batch"]
    net = Model(config)
    parameters = fill(net)
    net = net.to(DEVICE)
    side = config["vision"]["image_size"]
    images = torch.from_numpy(values("images", batch * 3 * side * side, math.sqrt(3))).view(batch, 3, side, side).to(DEVICE)
    texts = F.normalize(torch.from_numpy(values("texts", batch * config["embed_dim"])).view(batch, -1), dim=-1, eps=1e-12).to(DEVICE)
    target = torch.arange(batch, device=DEVICE)
    decay, other = [], []
    for name, p in net.named_parameters():
        flat = p.ndim == 1 or name.endswith(("pos_embed", "cls_token"))
        (other if flat else decay).append(p)
    groups = [{"params": decay, "weight_decay": job["decay"]}, {"params": other, "weight_decay": 0.0}]
    how = {"fused": True} if ON_GPU else {"foreach": True}
    optimizer = torch.optim.AdamW(groups, lr=job["rate"], betas=tuple(job["betas"]), eps=job["eps"], **how)
    half = dict(device_type=DEVICE, dtype=torch.bfloat16, enabled=bool(job.get("bf16")))

    def trainer(forward):
        def one():
            with torch.autocast(**half):
                emb = forward(images)
                loss = F.cross_entropy((emb @ texts.T).float() / config["temperature"], target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(decay + other, job["clip"])
            optimizer.step()
            return loss

        return one

    def embedder(forward):
        def one():
            with torch.inference_mode(), torch.autocast(**half):
                return forward(images)

        return one

    modes, checks, failed = {}, {}, []
    embed = embedder(net)
    checks["embed"] = embed()[0].float().tolist()
    modes["embed-eager"] = embed
    train = trainer(net)
    checks["train"] = [train().item() for _ in range(job["steps"])]
    modes["train-eager"] = train
    for kind, make in (("train", trainer), ("embed", embedder)):
        try:
            compiled = make(torch.compile(net))
            for _ in range(2):
                compiled()
            wait()
            modes[kind + "-compile"] = compiled
        except Exception as e:  # whatever a compiler may raise
            failed.append("torch.compile, %s: %s: %s" % (kind, type(e).__name__, str(e).split("\n")[0][:200]))
        give_back()

    def run(n, mode):
        wait()
        begin = time.perf_counter()
        for _ in range(n):
            modes[mode]()
        wait()
        taken = time.perf_counter() - begin
        give_back()
        return {"seconds": taken}

    return run, {"parameters": parameters, "modes": sorted(modes), "checks": checks, "path": "; ".join(failed) or "all modes", "warned": failed}


def timed(f, n=10):
    """Seconds of one f, by events of the device, warm."""
    f()
    if not ON_GPU:
        begin = time.perf_counter()
        for _ in range(n):
            f()
        return (time.perf_counter() - begin) / n
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(n):
        f()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1e3 / n


def products(job):
    def one(n, mode):
        parts = []
        for m, k_out, k in job["shapes"]:
            x = torch.rand(m, k, device=DEVICE).mul_(2).sub_(1).bfloat16()
            w = torch.rand(k_out, k, device=DEVICE).mul_(2).sub_(1).bfloat16()
            taken = timed(lambda: F.linear(x, w))
            parts.append({"name": "linear (%d, %d) × (%d, %d)" % (m, k, k_out, k), "unit": "FLOP/s", "speed": 2.0 * m * k_out * k / taken})
            del x, w
        for b, t, h, d in job["heads"]:
            name = "attention, %d × %d tokens, %d heads of %d, " % (b, t, h, d)
            q, k, v = (torch.randn(b, h, t, d, device=DEVICE).bfloat16().requires_grad_() for _ in range(3))
            with torch.no_grad():
                parts.append({"name": name + "forward", "unit": "times/s", "speed": 1 / timed(lambda: attend(q, k, v))})
            out = attend(q, k, v)
            up = torch.randn_like(out)
            back = timed(lambda: torch.autograd.grad(out, (q, k, v), up, retain_graph=True))
            parts.append({"name": name + "backward", "unit": "times/s", "speed": 1 / back})
        give_back()
        return {"parts": parts}

    one(1, "")
    return one, {"path": "F.linear, scaled_dot_product_attention", "modes": []}


def main():
    job = json.loads(sys.argv[1])
    torch.manual_seed(0)
    if not ON_GPU:
        torch.set_num_threads(job.get("threads", 1))
    base = memory()
    run, ready = {"gpu-model": model, "gpu-products": products}[job["kind"]](job)
    versions = {"torch": torch.__version__, "device": torch.cuda.get_device_name() if ON_GPU else "the processor"}
    if ON_GPU:
        versions["CUDA"] = str(torch.version.cuda)
    print(json.dumps(dict(ready, base_bytes=base, versions=versions)), flush=True)
    for line in sys.stdin:
        words = line.split()
        print(json.dumps(run(int(words[1]), words[2] if len(words) > 2 else "")), flush=True)


if __name__ == "__main__":
    main()
