"""Read a run directory: its configuration, its losses, what the doctor found.

trainability train
python examples/read_run.py runs/digits-B-001
"""

import sys
from pathlib import Path

from trainability import read_run

run = read_run(Path(sys.argv[1]))
print(f"VGG-{run.config.model.config} on {run.data['name']}: {len(run.steps)} steps")
for row in run.evaluations:
    print(f"epoch {row['epoch']}  loss {row['train_loss']:.3f}  validation top-1 error {100 * row['val_top1_error']:.2f} %")
findings = (run.findings or {}).get("findings", [])
for finding in findings:
    print(f"{finding['severity']}: {finding['rule']}: {finding['seen']}")
