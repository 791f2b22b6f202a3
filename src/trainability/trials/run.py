"""Run trials of the book: each run uses one core, runs are made in parallel on all cores, and all are resumable."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from trainability import config as configuration
from trainability import faults
from trainability.checking.run import check_config
from trainability.config import DataConfig, InitConfig, ModelConfig, OptimConfig, RunConfig, RunSettings
from trainability.doctor.error_line import error_line
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding
from trainability.doctor.rules.verdict import diagnose
from trainability.executors import results
from trainability.report.html import REPORT, write_report
from trainability.training import engine as engines
from trainability.training.evaluate import EvaluationOptions, evaluate_runs
from trainability.training.loop import fit
from trainability.training.parts import assemble
from trainability.training.record import RunWriter, environment, write_json
from trainability.training.run_monitor import diagnose_run
from trainability.training.same_run import identity
from trainability.trials.book import TRIALS
from trainability.trials.cost import run_seconds
from trainability.trials.judge import Numbers, Verdict, judge
from trainability.trials.measure import measure, measure_probe
from trainability.trials.photographs import photographs_among, probed_on_photographs
from trainability.trials.real_sets import pack_sets
from trainability.trials.scales import DESK_SETS, PERIOD, Scale, configure, in_sessions, scales_of
from trainability.trials.trial import Plan, Trial, Variant

ENDED = ("finished", "non-finite", "stopped")
PROBED_IMAGES, PROBED_CLASSES = 2000, 1000


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a trial, or the probe of one of its plans.

    Attributes:
        trial: id.
        scale: of the run; a probe is always at the log's own size.
        variant: as published or repaired; `None` for a probe.
        seed: of the run.
        plan: label of the plan to probe.
        on_photographs: probe it on photographs instead of generated images.
        places: as for `scales.configure`.
    """

    trial: str
    scale: Scale
    variant: Variant | None = None
    seed: int = 0
    plan: str | None = None
    on_photographs: bool = False
    places: Mapping[str, Path] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For a person: "caltech-1 as-run, seed 0"."""
        if self.plan is None:
            return f"{self.trial} {self.variant}, seed {self.seed}"
        return f"{self.trial}, probe {self.plan}" + (" on photographs" if self.on_photographs else "")

    @property
    def cost_seconds(self) -> float | None:
        """Seconds on one core; `None` if it needs a GPU."""
        return run_seconds(TRIALS[self.trial], self.scale)

    def place(self, root: Path) -> Path:
        """Where it writes to: a run directory, or a file for a probe."""
        # A probe is the same at every scale.
        folder = root / ("pocket" if self.plan is not None else self.scale) / self.trial
        if self.plan is None:
            return folder / f"{self.variant}-seed{self.seed}"
        return folder / f"probe-{self.plan}{'-photographs' if self.on_photographs else ''}.json"


@dataclass(frozen=True, kw_only=True)
class FinishedJob:
    """How a job ended: `was_there`, whether it had been made before; `problem`, one line if it failed."""

    job: Job
    seconds: float
    was_there: bool = False
    problem: str | None = None


def jobs_of(
    trials: Sequence[Trial], scale: Scale | None, variants: Sequence[Variant], *, places: Mapping[str, Path] | None = None
) -> list[Job]:
    """List the runs that trials need, including those of trials with which they are compared.

    Args:
        trials: of the book.
        scale: of the runs; `None` takes pocket, and desk too for a trial whose real set is available and small enough.
        variants: of each trial.
        places: as for `scales.configure`; if they include photographs, starts are probed on these, too.

    Raises:
        ValueError: no trial has runs at that scale.
    """
    places = dict(places or {})
    wanted = {trial.id: trial for trial in trials}
    for trial in trials:
        if trial.compared_with is not None:
            wanted.setdefault(trial.compared_with, TRIALS[trial.compared_with])
    jobs = []
    for trial in wanted.values():
        for on_photographs in (False, True) if photographs_among(places) is not None else (False,):
            jobs += [
                Job(trial=trial.id, scale="pocket", plan=plan.label, on_photographs=on_photographs, places=places)
                for plan in trial.plans
            ]
        for at in () if trial.plans else scales_of(trial, scale, places):
            jobs += [
                Job(trial=trial.id, scale=at, variant=variant, seed=seed, places=places)
                for seed in trial.seeds
                for variant in trial.variants
                if variant in variants or len(trial.variants) == 1
            ]
    if not jobs:
        raise ValueError(f"--scale {scale} has runs of the sets {', '.join(DESK_SETS)} only; these trials have others")
    return jobs


def replay(
    jobs: Sequence[Job],
    root: Path,
    *,
    executor: Callable[[], AbstractContextManager[Executor]],
    keep_weights: bool,
    on_finished: Callable[[FinishedJob], object],
) -> list[FinishedJob]:
    """Make runs in parallel, each on one core, so that their numbers do not depend on how many there are.

    Args:
        jobs: in the order in which they are started.
        root: folder of the book's runs; other machines see it under the same path.
        executor: opens the executor that makes them.
        keep_weights: keep every run's checkpoints.
        on_finished: called with every job as it ends.
    """
    pack_sets(_config_of(job).data for job in jobs if job.scale != "pocket" and not _has_ended(job.place(root)))
    work = {str(job.place(root)): (job, root.resolve(), keep_weights) for job in jobs}
    done = []
    with executor() as pool:
        for _, result in results(pool, _make, work):
            on_finished(result)
            done.append(result)
    return done


def processes_for_trials(num_processes: int | None) -> int:
    """Return how many runs to make at once: the given number, else one per core, or one if there is a GPU."""
    if num_processes is not None:
        return num_processes
    return 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))


def _make(work: tuple[Job, Path, bool]) -> FinishedJob:
    job, root, keep_weights = work
    begun = time.perf_counter()
    try:
        was_there = make(job, root, keep_weights=keep_weights)
    except ValueError as error:
        return FinishedJob(job=job, seconds=time.perf_counter() - begun, problem=str(error))
    except Exception as error:  # one failed run must not end the others
        return FinishedJob(job=job, seconds=time.perf_counter() - begun, problem=error_line(error))
    return FinishedJob(job=job, seconds=time.perf_counter() - begun, was_there=was_there)


def make(job: Job, root: Path, *, keep_weights: bool = False) -> bool:
    """Make a run or a probe, continue an interrupted one, or leave an existing one.

    Returns:
        Whether it existed.

    Raises:
        ValueError: the directory holds a run of another configuration, or the run cannot be made.
    """
    trial, place = TRIALS[job.trial], job.place(root)
    if job.plan is not None:
        plan = next(plan for plan in trial.plans if plan.label == job.plan)
        if place.is_file():
            _check_probe(place, plan)
            return True
        folder = photographs_among(job.places)
        diagnosis = probed_on_photographs(probe_config(plan), folder) if job.on_photographs and folder else None
        place.parent.mkdir(parents=True, exist_ok=True)
        made_on = environment(device=torch.device("cpu"), world_size=1)
        found = (diagnosis or check_config(probe_config(plan))).to_dict()
        write_json(place, {"plan": asdict(plan), "environment": made_on, **found})
        return False
    config = _config_of(job)
    if _has_ended(place):
        _check_same(place, config)
        return True
    for session in in_sessions(config, trial.sessions):
        if _train(replace(session, run=replace(session.run, dir=place)), place) != "finished":
            break
    write_report(place)
    if not keep_weights:
        # The book shows records; its weights would take gigabytes.
        shutil.rmtree(place / "checkpoints")
    return False


def _config_of(job: Job) -> RunConfig:
    assert job.variant is not None
    config = configure(TRIALS[job.trial], job.scale, job.variant, job.seed, places=job.places)
    return replace(config, run=replace(config.run, rehearse_seconds=None))  # the book reads runs to their end


def _has_ended(place: Path) -> bool:
    """Return whether all sessions of a run were made: its report is written after the last one."""
    path = place / "result.json"
    return path.is_file() and json.loads(path.read_text())["status"] in ENDED and (place / REPORT).is_file()


def _check_same(place: Path, config: RunConfig) -> None:
    """Refuse a run of another configuration, for instance from an older version of the book."""
    stored = configuration.from_toml(place / "config.toml")
    # The location of the images, and whether the start was rehearsed, do not change the run.
    data = replace(config.data, path=stored.data.path, cache=stored.data.cache)
    run = replace(config.run, dir=stored.run.dir, rehearse_seconds=stored.run.rehearse_seconds)
    given = replace(config, data=data, run=run)
    if changed := configuration.differences(stored, given):
        raise ValueError(f"{place} holds another run ({changed[0]}); move it away, or choose another --dir")


def _check_probe(place: Path, plan: Plan) -> None:
    """Refuse the probe of another plan."""
    try:
        stored = json.loads(place.read_text(encoding="utf-8"))["plan"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{place}: not the probe of a plan; the file was changed or damaged") from None
    if stored != asdict(plan):
        raise ValueError(f"{place} holds the probe of another plan ({stored}); move it away, or choose another --dir")


def _train(config: RunConfig, place: Path) -> str:
    """Train a session to its end, continuing from its checkpoint. Returns how it ended."""
    with engines.start(config.run) as engine:
        parts = faults.install(assemble(config, engine), config)
        record = RunWriter(place) if (place / "config.toml").exists() else RunWriter.create(place, config)
        loaded = parts.load_latest(record.checkpoints, parts.model, parts.optimizer, engine, identity(config))
        if loaded is not None and loaded.position.epoch > config.optim.epochs:
            return "finished"  # this session was made before the call was interrupted
        with record.held():
            status = fit(config, parts, record, engine=engine).status
            if status == "finished":
                evaluate_runs([place], EvaluationOptions(protocol="centre"), engine=engine)
        return status


def probe_config(plan: Plan) -> RunConfig:
    """Configure net D as the log had it on ImageNet: full width, 224 pixels, 1000 classes; generated photographs."""
    return RunConfig(
        model=ModelConfig(config="D", width=1.0),
        init=InitConfig(plan=plan.plan),
        data=DataConfig(
            name="synthetic",
            crop=224,
            num_classes=PROBED_CLASSES,
            num_images=PROBED_IMAGES,
            input=plan.input,  # type: ignore[arg-type]
        ),
        optim=OptimConfig(schedule="plateau"),
        run=RunSettings(period=PERIOD, rehearse_seconds=None),
    ).completed()


@dataclass(frozen=True, kw_only=True)
class Result:
    """A trial with the measurements of its runs, and the verdict.

    Attributes:
        trial: of the book.
        scale: of its runs.
        runs: numbers of every run that was made.
        verdict: on the trial.
        folders: run directories.
        probes: label of a plan -> diagnosis of its start, in plain containers.
        photographs: the same, on photographs.
        findings: current findings of the doctor on the records of a run, or of a probed plan by its label.
    """

    trial: Trial
    scale: Scale
    runs: dict[tuple[Variant, int], Numbers]
    verdict: Verdict
    folders: dict[tuple[Variant, int], Path]
    probes: dict[str, dict[str, Any]]
    photographs: dict[str, dict[str, Any]]
    findings: dict[tuple[Variant, int] | str, tuple[Finding, ...]]


def result_of(trial: Trial, scale: Scale, root: Path, problems: list[str] | None = None) -> Result:
    """Read the records of a trial's runs, and judge the trial; runs that were not made are left out.

    Args:
        trial: of the book.
        scale: of its runs.
        root: folder of the book's runs.
        problems: list that receives a line for each damaged run, which is then left out, too.

    Raises:
        ValueError: a run directory is damaged, and `problems` is None.
    """
    folders: dict[tuple[Variant, int], Path] = {}
    probes: dict[str, dict[str, Any]] = {}
    photographs: dict[str, dict[str, Any]] = {}
    findings: dict[tuple[Variant, int] | str, tuple[Finding, ...]] = {}
    for seed in trial.seeds if not trial.plans else ():
        for variant in trial.variants:
            place = Job(trial=trial.id, scale=scale, variant=variant, seed=seed).place(root)
            with _noting(problems, place):
                if _has_ended(place):
                    _check_same(place, configure(trial, scale, variant, seed))
                    folders[variant, seed] = place
    for plan, on_photographs in itertools.product(trial.plans, (False, True)):
        place = Job(trial=trial.id, scale=scale, plan=plan.label, on_photographs=on_photographs).place(root)
        with _noting(problems, place):
            if place.is_file():
                _check_probe(place, plan)
                diagnosis = json.loads(place.read_text(encoding="utf-8"))
                measure_probe(diagnosis)
                found = diagnose(Evidence.from_dict(diagnosis["evidence"])).findings
                (photographs if on_photographs else probes)[plan.label] = diagnosis
                if not on_photographs:
                    findings[plan.label] = found
    runs: dict[tuple[Variant, int], Numbers] = {}
    for (variant, seed), folder in folders.items():
        other = None
        if trial.compared_with is not None:
            other = Job(trial=trial.compared_with, scale=scale, variant=variant, seed=seed).place(root)
        with _noting(problems, folder):
            runs[variant, seed] = measure(folder, other)
            findings[variant, seed] = diagnose_run(folder).findings
    folders = {key: folder for key, folder in folders.items() if key in runs}
    if probes:
        runs["repaired", 0] = probe_numbers(probes)
    return Result(
        trial=trial,
        scale=scale,
        runs=runs,
        verdict=judge(trial, runs),
        folders=folders,
        probes=probes,
        photographs=photographs,
        findings=findings,
    )


@contextlib.contextmanager
def _noting(problems: list[str] | None, place: Path) -> Iterator[None]:
    """Add damaged runs to the list of problems and continue; without a list, raise."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        said = str(error) if isinstance(error, ValueError) else f"lacks {error}"
        line = said if str(place) in said else f"{place}: {said}; the file was changed or damaged"
        if problems is None:
            raise ValueError(line) from None
        problems.append(line)


def probe_numbers(probes: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    """Name the numbers of all plans of a trial: METRIC:LABEL, and for two plans their ratio, METRIC:LABEL/LABEL.

    Args:
        probes: label of the plan -> diagnosis of its start.
    """
    found = {label: measure_probe(diagnosis) for label, diagnosis in probes.items()}
    numbers = {f"{name}:{label}": value for label, values in found.items() for name, value in values.items()}
    for one, other in itertools.permutations(found, 2):
        for name, value in found[one].items():
            base = found[other][name]
            numbers[f"{name}:{one}/{other}"] = value / base if value is not None and base else None
    return numbers
