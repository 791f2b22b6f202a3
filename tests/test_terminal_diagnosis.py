"""A diagnosis in a terminal says what the plain text says."""

import dataclasses
import io
import math

from rich.console import Console
from test_doctor_render import full_evidence

from trainability.doctor import Diagnosis, diagnose
from trainability.doctor.text import measured, named_layers
from trainability.terminal.diagnosis import print_diagnosis


def words(text: str) -> str:
    """Without line breaks, frames and indents."""
    return " ".join(text.replace("│", " ").split())


def both(diagnosis: Diagnosis) -> list[str]:
    out = io.StringIO()
    print_diagnosis(Console(file=out, width=200, color_system=None), diagnosis)
    return [words(str(diagnosis)), words(out.getvalue())]


def test_both_renderers_say_the_same() -> None:
    evidence = full_evidence()
    for seen in (evidence, dataclasses.replace(evidence, steps=(), samples=())):
        diagnosis = diagnose(seen)
        assert diagnosis.findings
        for text in both(diagnosis):
            assert diagnosis.verdict.upper() in text
            assert words(diagnosis.reason) in text
            for finding in diagnosis.findings:
                for part in (finding.rule, finding.seen, finding.cause, finding.remedy, finding.source):
                    assert words(part) in text
                assert words("; ".join(map(measured, finding.measurements))) in text
                assert words(named_layers(finding)) in text
                assert ", ".join(finding.explains) in text
            assert all(words(line) in text for line in diagnosis.not_checked)


def test_a_plateau_is_told_with_how_far_it_may_be_believed() -> None:
    evidence = dataclasses.replace(full_evidence(), steps=(), samples=())
    assert evidence.probe is not None
    few = {"batch_size": 2, "num_logits": 1000}
    for fields, said in (
        ({"plateau_steps": math.inf}, "predicted plateau: never ends"),
        ({"plateau_steps": 300.0}, "predicted plateau: about 300 steps at chance"),
        (
            {"plateau_steps": 300.0, **few},
            "predicted plateau: at least 300 steps at chance (2 images say little of 1000 classes)",
        ),
    ):
        probe = dataclasses.replace(evidence.probe, **fields)
        for text in both(diagnose(dataclasses.replace(evidence, probe=probe))):
            assert said in text
