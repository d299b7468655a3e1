"""Writes by_pytorch.json beside this file: what torch.optim makes of a small problem, in doubles.

Run once, with PyTorch: python tests/data/optimizers/by_pytorch.py. The suite reads the numbers, and needs no PyTorch.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch

STEPS = 300
KEPT = (0, 1, 2, 3, 10, 50, 100, 200, 299, 300)
"""Steps before which weights are kept; the last is after the last step."""


def problem():
    """Inputs (8, 4), labels (8,) and weights: ŷ = aᵀ B x with a (3,) and B (3, 4)."""
    x = np.sin(1.0 + np.arange(32.0)).reshape(8, 4)
    y = np.cos(2.0 * np.arange(8.0))
    start = {
        "a": 0.3 * np.cos(np.arange(3.0)),
        "B": 0.4 * np.sin(0.7 * np.arange(12.0)).reshape(3, 4),
    }
    return x, y, start


def warm_up_and_cosine(step):
    """From 0 to 0.05 over 50 steps on half a cosine, and down to 0 at step 300 on another."""
    if step < 50:
        return 0.05 * (1 - math.cos(math.pi * step / 50)) / 2
    return 0.05 * (1 + math.cos(math.pi * (step - 50) / 250)) / 2


CASES = {
    "descent": (torch.optim.SGD, {"lr": 0.05}),
    "momentum": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.9}),
    "decay": (torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.03}),
    "nesterov_decay": (
        torch.optim.SGD,
        {"lr": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
    ),
    # So slow that it does not arrive: around a minimum such short memories amplify rounding a million times.
    "adam": (torch.optim.Adam, {"lr": 0.001, "betas": (0.8, 0.95), "eps": 1e-6}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    "adamw_clipped": (
        torch.optim.AdamW,
        {"lr": 0.01, "weight_decay": 0.1, "clip": 0.1},
    ),
    "clipped": (torch.optim.SGD, {"lr": 0.1, "clip": 0.2}),
    "clipped_momentum_decay": (
        torch.optim.SGD,
        {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.02, "clip": 0.1},
    ),
    "cosine": (torch.optim.SGD, {"lr": 1.0, "schedule": True, "momentum": 0.9}),
    "adam_cosine": (torch.optim.Adam, {"lr": 1.0, "schedule": True}),
    # Halves of a cosine by PyTorch's own schedule, without the warm-up.
    "cosine_annealing": (torch.optim.SGD, {"lr": 0.05, "annealing": True}),
}


def run(kind, options):
    """The loss of every tenth step, and the kept weights."""
    x, y, start = problem()
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    weights = {
        name: torch.nn.Parameter(torch.from_numpy(value.copy()))
        for name, value in start.items()
    }
    options = dict(options)
    clip = options.pop("clip", None)
    scheduled, annealed = options.pop("schedule", None), options.pop("annealing", None)
    optimizer = kind(weights.values(), **options)
    schedule = None
    if scheduled:
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up_and_cosine)
    if annealed:
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)

    losses, kept = [], {}
    for step in range(STEPS + 1):
        if step in KEPT:
            kept[step] = {n: w.detach().numpy().tolist() for n, w in weights.items()}
        optimizer.zero_grad()
        loss = ((x @ weights["B"].T @ weights["a"] - y) ** 2).mean()
        if step == STEPS:
            break
        loss.backward()
        if step % 10 == 0:
            losses.append(loss.item())
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(weights.values(), clip)
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return {"loss": losses, "weights": kept}


if __name__ == "__main__":
    results = {name: run(*case) for name, case in CASES.items()}
    text = json.dumps({"torch": torch.__version__, "cases": results})
    Path(__file__).with_suffix(".json").write_text(text)
