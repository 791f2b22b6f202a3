"""What other tools say of the same programs, and what a reader of it would take for the cause.

Each tool has an environment of its own, with the torch of this package. In it, once per tool:

PYTHONPATH=src:benchmarks PEER/bin/python benchmarks/fault_peers.py ask torchmortem --half scored
python benchmarks/fault_peers.py table --half scored     # then, from this package's environment

How an answer is judged. A tool alarms where it says anything that it ranks above information. Its messages are taken worst
first, in its own order; the first names a cause if the words of `READS` are in it, and the reader takes the causes that stand
beside the words. The rule is meant to be kind: a message that says only what a symptom is ("vanishing gradient") is read as
every cause that the symptom could have in the words of this project's faults. A tool is asked where its interface can take the
program: one model, and for those that look before the first step (input, target) pairs with a loss function.
"""

import argparse
import contextlib
import hashlib
import importlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from fault_runs import RESULTS, RUNS, Built, append, half_of, happened, rows
from programs.catalogue import FAULTS, PROGRAMS, SOUND
from programs.program import Loop

ANSWERS = RESULTS / "faults-peers.jsonl"

LARGE = "exploding_gradient update_ratio.large plateau.large_steps oscillation loss_cliff"
SMALL = "update_ratio.small plateau.small_steps"
_UNTRAINED = "untrained_parameter unmoved_parameter foreign_optimizer unregistered_layers unreached_parameter never_steps"
_NOT_TRAINED = (
    r"never (changed|updated|received)|not (changed|updated|trained|in the optimizer)|no grad|unused|frozen|did not change"
    r"|missing from"
)
READS: tuple[tuple[str, str], ...] = (
    (r"nan|inf\b|infinite|non-?finite", "not_finite not_finite_data eps_underflow"),
    (r"zero_grad|accumulat", "stale_gradients missing_zero_grad"),
    (r"softmax|probabilit", "softmax_twice capped_loss"),
    (r"vanish|starv|no gradient signal", "vanishing_gradient gain_budget_low saturation"),
    (r"explod|diverg|too (high|large)|spike|oscillat|unstable", LARGE + " gain_budget_high"),
    (r"too (low|small)|learning rate.*(low|small)", SMALL),
    (r"saturat", "saturation vanishing_gradient"),
    (r"dead|always zero|zero activation", "dead_units dead_units.bias gain_budget_low"),
    (_NOT_TRAINED, _UNTRAINED + " unreached_parameter.detached zero_gradient"),
    (r"normali[sz]|scale|range", "input_scale target_scale gain_budget_high.input gain_budget_low.input"),
    (r"constant|same output|identical|symmetr|collapse", "identical_units constant_output constant_input flat_loss"),
    (r"imbalance", "class_imbalance"),
    (r"overlap|leakage between|duplicate", "split_overlap"),
    (r"batch (dependen|mix)|depends on other|cross-batch|independen", "batch_leakage"),
    (r"train mode|eval mode|training mode", "wrong_mode evaluation_mode"),
    (r"broadcast|shape", "target_broadcast"),
    (r"dropout", "heavy_dropout"),
)


def read(message: str) -> set[str]:
    """The causes that a reader takes from a message."""
    return {cause for words, causes in READS if re.search(words, message, re.IGNORECASE) for cause in causes.split()}


def _torchmortem(built: Built) -> Iterator[str]:
    mortem: Any = importlib.import_module("torchmortem")
    autopsy = mortem.Autopsy(built.model, optimizer=built.optimizer)
    with autopsy:
        _run(built, lambda loss: autopsy.step(loss=float(loss)))
    report = autopsy.get_report()
    if report is None:
        autopsy._run_analysis()
        report = autopsy.get_report()
    for finding in sorted(report.findings, key=lambda f: -int(f.severity)):
        if int(finding.severity) > 0:
            yield f"{finding.title}: {finding.summary}"


def _run(built: Built, seen: Callable[[Any], None]) -> None:
    program = built.program
    loop = Loop(loss_of=program.loss_of, clip=program.clip)
    batches = built.batches()
    for _ in range(min(program.steps, 200)):
        seen(program.body(built.model, built.optimizer, next(batches), loop).detach())
        if built.scheduler is not None:
            built.scheduler.step()


def _torchtest2(built: Built) -> Iterator[str]:
    tests: Any = importlib.import_module("torchtest2")
    inputs, targets = next(iter(built.train))[:2]
    report = tests.check_model(
        built.model, inputs, targets, loss_fn=built.program.loss, optimizer=built.optimizer, overfit_steps=100
    )
    for result in report.results:
        if result.status.name.upper() in ("FAILED", "FAIL", "WARNING", "WARN", "ERROR"):
            yield f"{result.name}: {result.message}"


def _torch_audit(built: Built) -> Iterator[str]:
    audit: Any = importlib.import_module("torch_audit")
    auditor = audit.Auditor(built.model, optimizer=built.optimizer, every_n_steps=20)
    auditor.audit_data(next(iter(built.train)))
    auditor.autopatch()
    _run(built, lambda loss: None)
    auditor.unpatch()
    found = auditor.finish().findings
    order = {"FATAL": 0, "ERROR": 1, "WARN": 2}
    for finding in sorted((f for f in found if f.severity.value in order), key=lambda f: order[f.severity.value]):
        yield f"{finding.rule_id}: {finding.message}"


def _preflight(built: Built) -> Iterator[str]:
    runner: Any = importlib.import_module("preflight.runner")
    config = {"val_dataloader": built.validation}
    results = runner.run_checks(built.train, built.model, built.program.loss, config)
    for result in sorted(results, key=lambda r: r.severity.value != "fatal"):
        if not result.passed and result.severity.value in ("fatal", "warn"):
            yield f"{result.name}: {result.message}"


def _torchdiag(built: Built) -> Iterator[str]:
    diag: Any = importlib.import_module("torchdiag")
    inputs, targets = next(iter(built.train))[:2]
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        diag.verify_step(built.model, built.optimizer, built.program.loss, inputs, targets)
        diag.check_gradients(built.model)
        diag.check_dead_neurons(built.model, inputs)
    yield from (line.strip() for line in told.getvalue().splitlines() if re.match(r"\s*(✗|⚠|❌|!)", line))


# How each is asked, and whether it looks at (input, target) pairs before the first step.
PEERS: dict[str, tuple[Callable[[Built], Iterator[str]], bool]] = {
    "torchmortem": (_torchmortem, False),
    "torchtest2": (_torchtest2, True),
    "torch-audit": (_torch_audit, False),
    "preflight-ml": (_preflight, True),
    "torchdiag": (_torchdiag, True),
}


def ask(peer: str, names: list[str]) -> None:
    """Appends what a tool says of the programs that it has not been asked about."""
    question, pairs = PEERS[peer]
    done = rows(ANSWERS)
    for name in names:
        program = PROGRAMS[name]
        if f"{peer}: {name}" in done:
            continue
        told: dict[str, Any] = {"name": f"{peer}: {name}", "peer": peer, "program": name, "said": [], "asked": True}
        built = Built(program)
        if isinstance(built.model, dict) or (pairs and program.loss is None):
            told["asked"] = False
        else:
            try:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    told["said"] = [message[:300] for message in question(built)][:8]
            except Exception as error:
                told["failed"] = f"{type(error).__name__}: {str(error)[:200]}"
        append(ANSWERS, told)


def table(names: list[str]) -> list[str]:
    """A line per tool: programs that fail and were detected, whose cause the first message names, and false alarms."""
    runs = rows(RUNS)
    lines = ["tool          asked  detected  cause first | sound asked  false alarms | could not look"]
    for peer in PEERS:
        answers = {row["program"]: row for row in rows(ANSWERS).values() if row["peer"] == peer and row["program"] in names}
        asked = {n: row for n, row in answers.items() if row["asked"]}
        bad = [n for n in asked if n in FAULTS and happened(n, runs) != "trained"]
        sound = [n for n in asked if n in SOUND and happened(n, runs) == "trained"]
        detected = sum(bool(asked[n]["said"]) for n in bad)
        right = sum(bool(asked[n]["said"]) and bool(read(asked[n]["said"][0]) & FAULTS[n].causes) for n in bad)
        alarms, failed = sum(bool(asked[n]["said"]) for n in sound), sum("failed" in row for row in asked.values())
        lines.append(f"{peer:13s} {len(bad):5d}  {detected:8d}  {right:11d} | {len(sound):11d}  {alarms:12d} | {failed:3d}")
    return lines


def main() -> None:
    """Asks a tool, or prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["ask", "table"])
    parser.add_argument("peer", nargs="?", choices=list(PEERS))
    parser.add_argument("--half", choices=["set", "scored", "both"], default="scored")
    parser.add_argument("--one-in", type=int, default=1, help="of the programs, by a hash of their names")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    chosen = (n for n in PROGRAMS if hashlib.sha256(n.encode()).digest()[1] % arguments.one_in == 0)
    names = [n for n in chosen if arguments.half in (half_of(n), "both")]
    if arguments.command == "table":
        print("\n".join(table(names)))
    elif arguments.peer is None:
        parser.error("ask needs the name of a tool")
    else:
        ask(arguments.peer, names)


if __name__ == "__main__":
    main()
