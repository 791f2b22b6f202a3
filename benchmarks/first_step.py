"""How much the log's first steps ask for, at the log's own size: the loss's first-order fall in one clipped step.

    OMP_NUM_THREADS=1 python benchmarks/first_step.py --photographs DATA/imagenet-1000    # five minutes of one core a state
    python benchmarks/first_step.py --table

A step of length lr * min(|g|, clip) along the gradient lowers the loss by lr * min(|g|, clip) * |g|, if the loss were a plane.
Where that is many nats, the step overshoots. The norm is that of the mean gradient over 16, 32, 64 and 128 photographs at full
width, 224 pixels and 1,000 classes, dropout off: of few images it is larger, since their noise has not averaged out.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from torch.nn import functional as F

from trainability.initialization import InitPlan, apply
from trainability.models.vgg import build_vgg
from trainability.trials.photographs import load_photographs

RESULTS = Path(__file__).parent / "results" / "first_step.jsonl"
LR = 0.01
STATES = {
    "A, 3 May": ("A", "xavier:4,normal=0.1,xavier:3", 1.0),
    "B, 3 May": ("B", "xavier:4,normal=0.1,xavier:3", 1.0),
    "B, 7 May": ("B", "xavier:8,normal=0.1,xavier:3", 1.0),
    "D, 11 May": ("D", "xavier:11,normal=0.1,xavier:3", 0.7),
    "D, 2 June": ("D", "xavier:4,normal=0.1:5,xavier", 1.0),
    "C, 11 May": ("C", "xavier:11,normal=0.1,xavier:3", 1.0),
    "D, 19 May": ("D", "xavier:3,normal=0.1:2,xavier", 1.0),
}
SIZES = (16, 32, 64, 128)
MICRO = 8


def first_step(net: str, plan: str, clip: float, photographs: Path) -> dict[str, object]:
    """Loss and gradient norm of growing batches of photographs."""
    data = load_photographs(photographs, crop=224)
    torch.manual_seed(0)
    with torch.device("meta"):
        model = build_vgg(net, num_classes=1000, crop=224, width=1.0, dropout=0.0)
    model = model.to_empty(device="cpu")
    apply(InitPlan.parse(plan), model, seed=0)
    images = torch.stack([data.train.images[number] for number in range(max(SIZES))]).float()
    images = ((images - data.mean) / data.std).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    norms: dict[int, float] = {}
    total = 0.0
    for start in range(0, max(SIZES), MICRO):
        loss = F.cross_entropy(model(images[start : start + MICRO]), data.train.labels[start : start + MICRO], reduction="sum")
        loss.backward()
        total += loss.item()
        if (seen := start + MICRO) in SIZES:
            square = sum(p.grad.double().square().sum().item() for p in model.parameters() if p.grad is not None)
            norms[seen] = math.sqrt(square) / seen
    falls = {size: LR * min(norm, clip) * norm for size, norm in norms.items()}
    return {"loss": total / max(SIZES), "norms": norms, "falls": falls, "clip": clip, "lr": LR}


def main() -> None:
    """Measure what has not been measured, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photographs", type=Path, help="folder of ImageNet, one of each class is enough")
    parser.add_argument("--table", action="store_true", help="print what was measured, and measure nothing")
    options = parser.parse_args()
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []
    if not options.table:
        torch.set_num_threads(1)
        for state, (net, plan, clip) in STATES.items():
            if state not in {row["state"] for row in rows}:
                row = {"state": state, "net": net, "plan": plan, **first_step(net, plan, clip, options.photographs)}
                with RESULTS.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                rows.append(json.loads(json.dumps(row)))
    print("| state | loss | " + " | ".join(f"norm, {size} images" for size in SIZES) + " | fall of a step, nats |")
    print("|---|---|" + "---|" * len(SIZES) + "---|")
    for row in rows:
        norms = " | ".join(f"{row['norms'][str(size)]:.3g}" for size in SIZES)
        print(f"| {row['state']} | {row['loss']:.3g} | {norms} | {row['falls'][str(max(SIZES))]:.3g} |")


if __name__ == "__main__":
    main()
