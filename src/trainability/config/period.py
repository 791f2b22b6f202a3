"""Techniques with the month and place of their first publication, and the configurations that use them.

The trials of the public training log use nothing published after September 2014. `run.period` applies such a limit to any run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from trainability.config.fields import RunConfig


@dataclass(frozen=True, kw_only=True)
class Technique:
    """A technique and when it was first published.

    Attributes:
        month: year and month of its first public version, as in "2014-09".
        source: where it was published.
        flag: the field that turns it on, without dashes.
        is_used: whether a configuration uses it.
    """

    month: str
    source: str
    flag: str
    is_used: Callable[[RunConfig], bool]


def schemes(plan: str) -> set[str]:
    """List the initialisation schemes of a plan without checking it: `xavier:4,normal=0.01` has two."""
    return {re.split(r"[=:]", part.strip())[0] for part in plan.split(",")}


def _plan(*names: str) -> Callable[[RunConfig], bool]:
    return lambda config: bool(schemes(config.init.plan) & set(names))


TECHNIQUES: dict[str, Technique] = {
    "momentum": Technique(
        month="1986-10",
        source="Rumelhart, Hinton and Williams, Nature 323",
        flag="optim.momentum",
        is_used=lambda config: config.optim.momentum > 0,
    ),
    "weight decay": Technique(
        month="1991-12",
        source="Krogh and Hertz, NIPS 1991",
        flag="optim.weight-decay",
        is_used=lambda config: config.optim.weight_decay > 0,
    ),
    "initialisation by fan-in": Technique(
        month="1998-01",
        source="LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998",
        flag="init.plan",
        is_used=_plan("lecun"),
    ),
    "Glorot initialisation": Technique(
        month="2010-05",
        source="Glorot and Bengio, AISTATS 2010",
        flag="init.plan",
        is_used=_plan("xavier", "xavier-normal"),
    ),
    "dropout": Technique(
        month="2012-07",
        source="Hinton et al., arXiv 1207.0580",
        flag="model.dropout",
        is_used=lambda config: config.model.dropout > 0,
    ),
    "clipping of the gradient's norm": Technique(
        month="2012-11",
        source="Pascanu, Mikolov and Bengio, arXiv 1211.5063",
        flag="optim.clip",
        is_used=lambda config: config.optim.clip is not None,
    ),
    "local response normalisation": Technique(
        month="2012-12",
        source="Krizhevsky, Sutskever and Hinton, NIPS 2012",
        flag="model.config",
        is_used=lambda config: config.model.config == "A-LRN",
    ),
    "shift of colours along their principal axes": Technique(
        month="2012-12",
        source="Krizhevsky, Sutskever and Hinton, NIPS 2012",
        flag="data.colour-shift",
        is_used=lambda config: config.data.colour_shift,
    ),
    "drop of the learning rate at a plateau": Technique(
        month="2012-12",
        source="Krizhevsky, Sutskever and Hinton, NIPS 2012",
        flag="optim.schedule",
        is_used=lambda config: config.optim.schedule == "plateau",
    ),
    "Nesterov's momentum for deep nets": Technique(
        month="2013-06",
        source="Sutskever, Martens, Dahl and Hinton, ICML 2013",
        flag="optim.nesterov",
        is_used=lambda config: config.optim.nesterov,
    ),
    "orthogonal initialisation": Technique(
        month="2013-12",
        source="Saxe, McClelland and Ganguli, arXiv 1312.6120",
        flag="init.plan",
        is_used=_plan("orthogonal"),
    ),
    "1x1 convolutions": Technique(
        month="2013-12",
        source="Lin, Chen and Yan, arXiv 1312.4400",
        flag="model.config",
        is_used=lambda config: config.model.config == "C",
    ),
    "VGG": Technique(
        month="2014-09",
        source="Simonyan and Zisserman, arXiv 1409.1556",
        flag="model.config",
        is_used=lambda config: True,
    ),
    "scale jitter": Technique(
        month="2014-09",
        source="Simonyan and Zisserman, arXiv 1409.1556, section 3.1",
        flag="data.jitter",
        is_used=lambda config: config.data.jitter is not None,
    ),
    "start from a trained shallower net": Technique(
        month="2014-09",
        source="Simonyan and Zisserman, arXiv 1409.1556, section 3.1",
        flag="init.from",
        is_used=lambda config: config.init.from_ is not None,
    ),
    "He initialisation": Technique(
        month="2015-02",
        source="He, Zhang, Ren and Sun, arXiv 1502.01852",
        flag="init.plan",
        is_used=_plan("he", "he-uniform"),
    ),
    "warm-up of the learning rate": Technique(
        month="2015-12",
        source="He, Zhang, Ren and Sun, arXiv 1512.03385, section 4.2",
        flag="optim.warmup-steps",
        is_used=lambda config: config.optim.warmup_steps > 0,
    ),
    "cosine schedule": Technique(
        month="2016-08",
        source="Loshchilov and Hutter, arXiv 1608.03983",
        flag="optim.schedule",
        is_used=lambda config: config.optim.schedule == "cosine",
    ),
    "training in bfloat16": Technique(
        month="2019-05",
        source="Kalamkar et al., arXiv 1905.12322",
        flag="run.precision",
        is_used=lambda config: config.run.precision == "bf16",
    ),
    "training in TensorFloat-32": Technique(
        month="2020-05",
        source="NVIDIA A100 Tensor Core GPU Architecture, whitepaper",
        flag="run.precision",
        is_used=lambda config: config.run.precision == "tf32",
    ),
}


def check_period(config: RunConfig) -> None:
    """Refuse techniques that were published after the month of `run.period`.

    Raises:
        ValueError: gives the technique, when and where it was published, and the field that uses it.
    """
    period = config.run.period
    if period is None:
        return
    for name, technique in TECHNIQUES.items():
        if technique.month > period and technique.is_used(config):
            value = _value(config, technique.flag)
            raise ValueError(
                f"run.period is {period}; {name} was published in {technique.month} ({technique.source}), "
                f"and {technique.flag} {value} uses it"
            )


def _value(config: RunConfig, flag: str) -> object:
    section, name = flag.split(".")
    part = getattr(config, section)
    field = name.replace("-", "_")
    return getattr(part, field if hasattr(part, field) else f"{field}_")
