"""`trainability explain` and `trainability.explain`."""

import pytest

import trainability
from trainability.cli import program as cli
from trainability.doctor import RULES


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(["explain", *arguments])
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


def test_a_rule_is_explained_the_same_way_in_the_terminal_and_in_python(capsys):
    code, out, err = said(capsys, "gain_budget_low")
    assert (code, err) == (0, "")
    assert out.strip() == trainability.explain("gain_budget_low")
    assert out.startswith("gain_budget_low: ")


def test_without_a_name_every_rule_is_listed(capsys):
    code, out, err = said(capsys)
    assert (code, err) == (0, "")
    assert all(rule in out for rule in RULES)


def test_a_wrong_name_is_one_line_with_the_nearest_name(capsys):
    code, out, err = said(capsys, "gain_budget_lo")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'gain_budget_lo'" in err
    assert "gain_budget_low?" in err


def test_of_a_code_only_its_own_items_are_shown(capsys):
    code, out, err = said(capsys, "shuffled_labels.noise_alone")
    assert (code, err) == (0, "")
    assert out.strip() == trainability.explain("shuffled_labels.noise_alone")
    assert out.startswith("shuffled_labels.noise_alone: ")
    assert "`noise_alone`" in out
    assert "`collated`" not in out
    assert "trainability explain shuffled_labels\n" in out
    whole = trainability.explain("shuffled_labels")
    assert "`collated`" in whole
    assert trainability.explain("wrong_mode.training").startswith("wrong_mode: ")  # of which no item tells alone
    code, out, err = said(capsys, "shuffled_labels.nonsense")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'nonsense'" in err
    assert "noise_alone" in err
