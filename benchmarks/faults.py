"""Programs with a mistake and sound ones: each is trained to its end, then the doctor is asked what is wrong.

python benchmarks/faults.py run                      # trains each and appends what happened to results/faults-runs.jsonl
python benchmarks/faults.py ask --half set           # check, and the run again under Monitor; evidence goes to --evidence
python benchmarks/faults.py remedies --half set      # trains each with its first remedy; to results/faults-remedies.jsonl
python benchmarks/faults.py score --half set         # the table; thresholds and rules were set on this half
python benchmarks/faults.py score --half scored      # the other half
python benchmarks/faults.py rates --half scored      # how often each rule was right, onto the rules' pages

All of it can be stopped and started again. The programs are in `programs/`, one file per kind of task, each mistake an entry:
what it changes in the sound program, and which rules name the true cause. Those in `programs/held_out/`, `programs/unseen/` and
`programs/forum/` are of three further authors with nets, data and loops of their own, those in `programs/workshop/` of two
more; each set was scored whole once, before any rule was set on it. Those in `programs/mailbag/` are of another three, who
wrote after public reports of failed trainings and had not read the rules: half of them, by a hash of the name, were looked at
when rules were mended, and the other half is the scored one, which has been looked at since 27 November 2026, too. `--half
mailbag` asks for both. What nobody had looked at when it was scored last are scripts: `script_faults.py`.
"""

import argparse
import warnings
from pathlib import Path

import fault_runs
import fault_table
import torch
from programs.catalogue import MAILBAG, PROGRAMS


def main() -> None:
    """Runs one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "ask", "remedies", "score", "rates"])
    parser.add_argument("--half", nargs="+", choices=["set", "scored", "mailbag", "both"], default=["both"])
    parser.add_argument("--name", help="one program only")
    parser.add_argument("--evidence", type=Path, default=fault_runs.EVIDENCE)
    parser.add_argument("--wrong", action="store_true", help="score: also list what was said of each that went wrong")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    names = [n for n in PROGRAMS if any(_is_of(n, half) for half in arguments.half) and arguments.name in (None, n)]
    if arguments.command == "run":
        fault_runs.run(names)
    elif arguments.command == "ask":
        fault_runs.ask(names, arguments.evidence)
    elif arguments.command == "remedies":
        fault_table.try_remedies(names, arguments.evidence)
    elif arguments.command == "score":
        print("\n".join(fault_table.table(names, arguments.evidence, " and ".join(arguments.half), wrong=arguments.wrong)))
    else:
        fault_table.write_rates(names, arguments.evidence)


def _is_of(name: str, half: str) -> bool:
    return half in (fault_runs.half_of(name), "both") or (half == "mailbag" and name in MAILBAG)


if __name__ == "__main__":
    main()
