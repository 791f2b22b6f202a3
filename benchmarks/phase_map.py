"""Two phase diagrams on the digits, over budget and learning rate: a plain net of twelve layers (README), and VGG-B.

    cd benchmarks && trainability map phase_map:setup --runs 425 --steps 120 --dir results/phase-map    # restartable
    cd benchmarks && trainability map phase_map:vgg --runs 60 --steps 300 --dir results/phase-map-vgg
    python benchmarks/phase_map.py        # what of it was predicted; docs/gallery/make.py takes the picture
    python benchmarks/phase_map.py --net vgg

The plain net: eleven layers of 32 units with ReLU and a head, no biases, He's weights, SGD with momentum 0.9 at rate 0.01,
batches of 64, at most 120 steps a run. VGG-B: a sixteenth of its width, images of 32 pixels, dropout 0.5, He's weights, SGD
with momentum 0.9 and decay 5e-4 at rate 0.01, batches of 32, at most 300 steps a run.
"""

import argparse
import itertools
from collections import Counter
from pathlib import Path

import torch
from random_programs import digits
from torch import nn
from torch.nn import functional as F

from trainability import Setup, init_
from trainability.checking.phase_map import read_runs
from trainability.models.vgg import build_vgg
from trainability.prescribe.phase_map import OUTCOMES, outcomes, phase_map
from trainability.prescribe.short_run import ShortRun, short_run

RESULTS = Path(__file__).parent / "results"
DEPTH, WIDTH, STEPS = 12, 32, 120
VGG_STEPS = 300


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


def vgg() -> Setup:
    """VGG-B, its data and its optimizer; the same every time."""
    torch.manual_seed(0)
    model = init_(build_vgg("B", num_classes=10, crop=32, width=1 / 16), "he", seed=0)
    images, labels = digits()
    large = F.interpolate(images.view(-1, 1, 8, 8), size=32, mode="bilinear").expand(-1, 3, -1, -1).contiguous()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).split(32)[:-1]
    return Setup(
        model=model,
        train_loader=[(large[some], labels[some]) for some in order],
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4),
        num_classes=10,
        planned_steps=VGG_STEPS,
    )


# The program, the steps of a run, and where its runs are.
NETS = {"plain": (setup, STEPS, RESULTS / "phase-map"), "vgg": (vgg, VGG_STEPS, RESULTS / "phase-map-vgg")}


def without_dropout(budget: float, lr: float) -> ShortRun:
    """A cell of VGG-B's map, with dropout 0."""
    setup = vgg()
    assert setup.whole_model is not None
    for module in setup.whole_model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    borders = phase_map(setup, steps=VGG_STEPS, seconds=0.001)
    return short_run(setup, decades=budget - borders.budget, lr=lr, steps=VGG_STEPS, chance=borders.chance)


def main() -> None:
    """Print how many cells each prediction names, and what their runs did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=NETS, default="plain")
    parser.add_argument("--dir", type=Path, help="of the runs; where they are committed if it is not given")
    parser.add_argument("--cells", action="store_true", help="also what was said of each run, and what it did")
    parser.add_argument("--without-dropout", nargs=2, type=float, metavar=("BUDGET", "LR"), help="one run of vgg, instead")
    options = parser.parse_args()
    if options.without_dropout:
        print(without_dropout(*options.without_dropout))
        return
    program, steps, folder = NETS[options.net]
    found = phase_map(program(), steps=steps, seconds=300.0)
    runs = read_runs(options.dir or folder)
    ends = outcomes(runs)
    counts = Counter((found.predicted(cell.budget, cell.lr), end) for cell, end in ends.items())
    print(f"{len(ends)} runs; rows: predicted, columns: what happened")
    print(f"{'':14}" + "".join(f"{end:>10}" for end in OUTCOMES))
    for said in (*OUTCOMES, None):
        row = "".join(f"{counts[said, end]:>10}" for end in OUTCOMES)
        print(f"{said or 'cannot tell':14}{row}")
    for cell, end in sorted(ends.items(), key=lambda pair: (pair[0].budget, pair[0].lr)):
        if options.cells:
            print(f"{cell.name}: predicted {found.told(cell.budget, cell.lr)}; {end}, left {runs[cell].left_chance_step}")
    told = sum(count for (said, _), count in counts.items() if said is not None)
    right = sum(count for (said, end), count in counts.items() if said == end)
    trains = sum(count for (said, end), count in counts.items() if said and (said == "trained") == (end == "trained"))
    print(f"of {told} cells of which something is said, {right} have that outcome; trained or not is right of {trains}")


if __name__ == "__main__":
    main()
