"""Programs with a mistake and sound ones: each is trained to its end, then the doctor is asked what is wrong.

python benchmarks/faults.py run                      # trains each and appends what happened to results/faults-runs.jsonl
python benchmarks/faults.py ask --half set           # check, and the run again under Monitor; evidence goes to --evidence
python benchmarks/faults.py remedies --half set      # trains each with its first remedy; to results/faults-remedies.jsonl
python benchmarks/faults.py score --half set         # the table; thresholds and rules were set on this half
python benchmarks/faults.py score --half scored      # the other half
python benchmarks/faults.py rates --half scored forum-scored  # how often each rule was right, onto the rules' pages

All of it can be stopped and started again. The programs are in `programs/`, one file per kind of task, each mistake an entry:
what it changes in the sound program, and which rules name the true cause. Another author wrote those in `programs/held_out/`,
with other nets, data and loops; they were scored whole once, then by halves twice, and rules are set on all of them now. Those
in `programs/unseen/` are a third author's, who had not read the rules, with kinds of task of their own. They were scored whole
once; since then a half of them may be looked at, told by a hash of the name, and the other half is the scored one. Those in
`programs/forum/` are small programs of the kinds that public reports of failed trainings describe, by a fourth author who had
not read the rules either. The same hash halves them: `--half forum-set`, `--half forum-scored`, `--half forum` for both.
"""

import argparse
import warnings
from pathlib import Path

import fault_runs
import fault_table
import torch
from programs.catalogue import PROGRAMS


def main() -> None:
    """Runs one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "ask", "remedies", "score", "rates"])
    halves = ["set", "scored", "forum-set", "forum-scored", "forum", "both"]
    parser.add_argument("--half", nargs="+", choices=halves, default=["both"])
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
    own = fault_runs.half_of(name)
    return half in (own, own.partition("-")[0], "both")


if __name__ == "__main__":
    main()
