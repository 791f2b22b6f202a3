"""The phase diagram of README: 425 short runs of a plain net of twelve layers on the digits, over budget and learning rate.

    cd benchmarks && trainability map phase_map:setup --runs 425 --steps 120 --dir results/phase-map    # restartable
    python benchmarks/phase_map.py        # what of it was predicted; docs/gallery/make.py takes the picture

Eleven layers of 32 units with ReLU and a head, no biases, He's weights, SGD with momentum 0.9 at rate 0.01, batches of 64,
at most 120 steps a run.
"""

import argparse
import itertools
from collections import Counter
from pathlib import Path

import torch
from random_programs import digits
from torch import nn

from trainability import Setup
from trainability.checking.phase_map import read_runs
from trainability.prescribe.phase_map import OUTCOMES, outcomes, phase_map

RESULTS = Path(__file__).parent / "results" / "phase-map"
DEPTH, WIDTH, STEPS = 12, 32, 120


def setup() -> Setup:
    """The net, its data and its optimizer; the same every time."""
    torch.manual_seed(0)
    sizes = [64, *[WIDTH] * (DEPTH - 1)]
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs, bias=False), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10, bias=False))
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    images, labels = digits()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).split(64)[:-1]
    return Setup(
        model=model,
        train_loader=[(images[some], labels[some]) for some in order],
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
        num_classes=10,
        planned_steps=STEPS,
    )


def main() -> None:
    """Print how many cells each prediction names, and what their runs did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=RESULTS)
    found = phase_map(setup(), steps=STEPS, seconds=300.0)
    ends = outcomes(read_runs(parser.parse_args().dir))
    counts = Counter((found.predicted(cell.budget, cell.lr), end) for cell, end in ends.items())
    print(f"{len(ends)} runs; rows: predicted, columns: what happened")
    print(f"{'':14}" + "".join(f"{end:>10}" for end in OUTCOMES))
    for said in (*OUTCOMES, None):
        row = "".join(f"{counts[said, end]:>10}" for end in OUTCOMES)
        print(f"{said or 'cannot tell':14}{row}")
    told = sum(count for (said, _), count in counts.items() if said is not None)
    right = sum(count for (said, end), count in counts.items() if said == end)
    trains = sum(count for (said, end), count in counts.items() if said and (said == "trained") == (end == "trained"))
    print(f"of {told} cells of which something is said, {right} have that outcome; trained or not is right of {trains}")


if __name__ == "__main__":
    main()
