"""The short forms of the campaigns (tests/campaigns/short_forms.py), in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHORT_FORMS = Path(__file__).parent / "campaigns" / "short_forms.py"


@pytest.mark.slow
def test_short_forms_of_the_campaigns() -> None:
    # Their cases are forked. A fork of a process whose OpenMP threads have run, as those of other tests have, can hang.
    flags = ["-q", "--tb=short", "-p", "no:cacheprovider", str(SHORT_FORMS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "pytest", *flags], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
