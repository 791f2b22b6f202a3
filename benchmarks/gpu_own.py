"""What the monitor costs in anybody's loop on a GPU: rows of `gpu.py`, which is the command."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor

EVERY, WARM = 50, 5
"""Steps of a window, of which the monitor samples one; steps before it that are not timed."""


class Writer(nn.Module):
    """A GPT of `depth` layers without dropout; logits (batch, length, 8192) of tokens (batch, length)."""

    def __init__(self, depth: int, width: int, length: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(8192, width), nn.Embedding(length, width)
        layers = (
            nn.TransformerEncoderLayer(width, width // 64, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.layers = nn.ModuleList(layers)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 8192)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, tokens: Tensor) -> Tensor:
        """Predict the next tokens."""
        x = self.tokens(tokens) + self.places.weight
        for layer in self.layers:
            x = layer(x, src_mask=self.mask, is_causal=True)
        return self.head(self.norm(x))


def writer() -> tuple[nn.Module, Tensor, Tensor]:
    """A GPT of the size of GPT-2's smallest, with 16 sequences of 512 tokens."""
    tokens = torch.randint(8192, (16, 513), device="cuda")
    return Writer(12, 768, 512).cuda(), tokens[:, :-1], tokens[:, 1:]


def classifier() -> tuple[nn.Module, Tensor, Tensor]:
    """Four convolutions, whose step takes as long as its operations are many, with 128 images of 32 pixels."""
    layers: list[nn.Module] = []
    for width, before in zip((64, 64, 128, 128), (3, 64, 64, 128), strict=True):
        layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10)).cuda()
    return model, torch.randn(128, 3, 32, 32, device="cuda"), torch.arange(128, device="cuda") % 10


def own_loop(make: Callable[[], tuple[nn.Module, Tensor, Tensor]], *, windows: int) -> dict[str, Any]:
    """Time windows of 50 steps of one fit, watched and left alone by turns, and each watched one over the two around it."""
    torch.manual_seed(0)
    model, inputs, targets = make()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    seconds, since = [], 0.0
    for number in range(2 * windows + 2):
        with tempfile.TemporaryDirectory() as folder:
            monitor = (
                Monitor(model, optimizer, EVERY, clip=1.0, run=Path(folder) / "run") if number % 2 == 0 and number else None
            )
            if monitor:
                monitor.__enter__()
            for step in range(WARM + EVERY):
                if step == WARM:  # its first step, which it samples, is over, and the next sampled one is to come
                    torch.cuda.synchronize()
                    since = time.perf_counter()
                with torch.autocast("cuda", torch.bfloat16):
                    outputs = model(inputs)
                loss = F.cross_entropy(outputs.float().flatten(0, -2), targets.flatten())
                loss.backward()
                if monitor:
                    monitor.after_backward(loss)
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            torch.cuda.synchronize()
            if number:  # the first warms up
                seconds.append(time.perf_counter() - since)
            if monitor:
                monitor.__exit__(None, None, None)
    around = [2 * seconds[i] / (seconds[i - 1] + seconds[i + 1]) for i in range(1, len(seconds) - 1, 2)]
    return {
        "milliseconds_per_step": 1000 * statistics.median(seconds[::2]) / EVERY,
        "watched_over_unwatched": statistics.quantiles(around, n=4),
        "windows": windows,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
