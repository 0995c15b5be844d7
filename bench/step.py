#!/usr/bin/env python3
"""The demo's training step in PyTorch: the peer that `bench/step.sh` times beside ours.

Same architecture, batch, loss and optimiser as `train --data scenes` (preset "scenes"): convolutional stem with GELU,
two pre-norm blocks of width 96 on 8x8 tokens, bag-of-words text head, symmetric multi-positive InfoNCE, AdamW, global
norm clipping. Random pictures and captions: the arithmetic does not depend on them.

    OMP_WAIT_POLICY=passive python3 bench/step.py --threads 2 --steps 40

prints one line of JSON: {"images_per_second": ..., "step_ms": ..., "peak_mib": ...}
"""
import argparse
import json
import math
import resource
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        a = (q @ k.transpose(-1, -2) * (d // self.heads) ** -0.5).softmax(-1) @ v
        x = x + self.proj(a.transpose(1, 2).reshape(b, t, d))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Vision(nn.Module):
    def __init__(self, width=96, heads=4, depth=2):
        super().__init__()
        layers = [(3, 24, 2), (24, 48, 2), (48, 48, 1), (48, 96, 2), (96, 96, 1)]
        self.stem = nn.Sequential(*[m for i, o, s in layers for m in (nn.Conv2d(i, o, 3, s, 1), nn.GELU())])
        self.position = nn.Parameter(torch.randn(64, width) * 0.02)
        self.blocks = nn.Sequential(*[Block(width, heads, 2 * width) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, width)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2) + self.position
        return F.normalize(self.head(self.norm(self.blocks(x)).mean(1)), dim=-1)


class Text(nn.Module):
    def __init__(self, words=353, width=96):
        super().__init__()
        self.words, self.head = nn.Embedding(words, width), nn.Linear(width, width)

    def forward(self, ids):
        return F.normalize(self.head(self.words(ids).sum(1) / math.sqrt(ids.shape[1])), dim=-1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    vision, text = Vision(), Text()
    params = list(vision.parameters()) + list(text.parameters())
    optimizer = torch.optim.AdamW(params, lr=1.5e-3, betas=(0.9, 0.98), weight_decay=0.05)
    images = torch.randn(args.batch, 3, 64, 64)
    ids = torch.randint(0, 353, (args.batch, 8))
    labels = torch.randint(0, 24, (args.batch,))
    same = (labels[:, None] == labels[None, :]).float()
    target = same / same.sum(1, keepdim=True)

    def step():
        logits = vision(images) @ text(ids).T / 0.07
        loss = -((target * logits.log_softmax(1)).sum(1).mean() + (target * logits.T.log_softmax(1)).sum(1).mean()) / 2
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        return loss.item()

    for _ in range(5):
        step()
    begin = time.perf_counter()
    for _ in range(args.steps):
        step()
    seconds = time.perf_counter() - begin
    print(json.dumps({
        "images_per_second": args.batch * args.steps / seconds,
        "step_ms": 1000 * seconds / args.steps,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))


if __name__ == "__main__":
    main()
