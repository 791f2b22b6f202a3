"""A script that fails under `trainability run`: its own traceback, as Python prints it, and Python's exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = {
    "does not compile": "import torch\ndef setup(:\n    pass\n",
    "the model raises": (
        "import torch\nfrom torch import nn\nclass Bad(nn.Linear):\n    def forward(self, x):\n"
        "        raise ValueError('expected 3 channels')\n"
        "m = Bad(2, 2)\no = torch.optim.SGD(m.parameters(), lr=0.1)\nm(torch.ones(1, 2))\n"
    ),
    "an optimizer of nothing": "import torch\ndef f():\n    return torch.optim.SGD([], lr=0.1)\nf()\n",
    "the data raises, with a cause": (
        "import torch\nfrom torch.utils.data import DataLoader\nclass D:\n    def __len__(self):\n        return 8\n"
        "    def __getitem__(self, i):\n        try:\n            return {}['x']\n        except KeyError as e:\n"
        "            raise ValueError('no x') from e\nfor b in DataLoader(D(), batch_size=2):\n    pass\n"
    ),
    "backward raises": (
        "import torch\nfrom torch import nn\nm = nn.Linear(2, 2)\no = torch.optim.SGD(m.parameters(), lr=0.1)\n"
        "m(torch.ones(1, 2)).backward()\n"
    ),
    "without torch": "def f():\n    raise KeyError('x')\nf()\n",
}


def said(words: list[str], folder: Path) -> tuple[int, list[str]]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_traceback_and_the_exit_code_are_pythons_own(name: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPTS[name])
    code, expected = said(["train.py"], tmp_path)
    assert code == 1
    run = said(["-m", "trainability", "run", "train.py"], tmp_path)
    check = said(["-m", "trainability", "run", "--check", "train.py"], tmp_path)
    for code, lines in (run, check):
        assert code == 1
        missing = [line for line in expected if line not in lines and "site-packages" not in line and "^" not in line]
        assert [line for line in missing if not line.startswith("    return ")] == []
        places = [line for line in lines if line.startswith('  File "')]
        assert not [line for line in places if "trainability" in line.split('"')[1].split("/")]
        own = [line for line in places if str(tmp_path) in line]
        assert own == [line for line in expected if line.startswith('  File "') and str(tmp_path) in line]


def test_an_error_of_a_call_of_this_package_keeps_its_frames(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import torch, trainability\ntrainability.check(3, [])\n")
    code, lines = said(["-m", "trainability", "run", "--check", "train.py"], tmp_path)
    assert code == 1
    assert any("checking/check.py" in line for line in lines)
    assert lines[-2].startswith("ValueError: model is 3")  # before the line that says that nothing was seen


def test_a_script_that_ends_itself_keeps_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import sys, torch\nsys.exit('no data')\n")
    assert said(["-m", "trainability", "run", "--check", "train.py"], tmp_path)[0] == 1
    (tmp_path / "train.py").write_text("import torch\n")
    assert said(["-m", "trainability", "run", "--check", "train.py"], tmp_path)[0] == 2
