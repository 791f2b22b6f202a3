"""Write the doctor's records of a run into its directory and its sinks: for `train` and for any other loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.reading import chance_as_logged
from trainability.doctor.serial import to_plain
from trainability.training.record import FINDING_EVENTS, LAYERS, RunWriter
from trainability.training.rows import read_rows
from trainability.training.sinks import Sink


class DoctorLog:
    """Records sampled layers, diagnoses and findings; a finding gets a row in `findings.jsonl` when it first appears."""

    def __init__(self, record: RunWriter, sinks: Sequence[Sink]) -> None:
        """Read the earlier findings of a run that continues."""
        self.record, self.sinks = record, sinks
        self.known = {(row["rule"], row["severity"]) for row in read_rows(record.folder / FINDING_EVENTS)}

    def layers(self, step: int, layers: tuple[LayerStats, ...]) -> None:
        """Record the layers of a sampled step."""
        kept = [{key: value for key, value in to_plain(layer).items() if value is not None} for layer in layers]
        self.record.append(LAYERS, [{"step": step, **row} for row in kept])
        for sink in self.sinks:
            for layer in layers:
                sizes = {name: getattr(layer, name) for name in ("activation_rms", "gradient_rms", "update_ratio")}
                named = {f"{name}/{layer.name}": value for name, value in sizes.items() if value is not None}
                sink.scalars(step, named)
                for kind in ("weight", "gradient", "activation"):
                    if (shares := getattr(layer, f"{kind}_histogram")) is not None:
                        sink.histogram(step, f"{kind}/{layer.name}", shares)

    def diagnosed(self, step: int, diagnosis: Diagnosis, new: Sequence[Finding]) -> None:
        """Record a diagnosis and its new findings."""
        chance = chance_as_logged(diagnosis.evidence)
        self.record.write_findings(
            step=step, chance_loss=chance, **to_plain(dataclasses.replace(diagnosis, evidence=Evidence()))
        )
        unwritten = [finding for finding in new if (finding.rule, finding.severity) not in self.known]
        self.record.append(FINDING_EVENTS, [{"step": step, **to_plain(finding)} for finding in unwritten])
        self.known |= {(finding.rule, finding.severity) for finding in unwritten}
        for sink in self.sinks:
            for finding in new:
                text = f"{finding.severity}: {finding.seen}. {finding.remedy}"
                sink.text(step, f"finding/{finding.rule}", text, is_alert=finding.severity != "hint")
