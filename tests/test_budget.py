"""Budgets of distinct label values."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_otel_status.budget import LabelBudgets
from prefect_otel_status.signals import OTHER


class Overflows:
    """Counts calls."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def test_the_first_values_pass_and_the_rest_are_folded() -> None:
    overflows = Overflows()
    budgets = LabelBudgets(2, on_overflow=overflows)
    found = [budgets.admit("stage", value) for value in ("a", "b", "c", "a", "d", "b")]
    assert found == ["a", "b", OTHER, "a", OTHER, "b"]
    assert overflows.count == 2


def test_every_label_has_a_budget_of_its_own() -> None:
    budgets = LabelBudgets(1, on_overflow=Overflows())
    found = [budgets.admit("stage", "a"), budgets.admit("model", "b"), budgets.admit("stage", "b")]
    assert found == ["a", "b", OTHER]


@settings(deadline=None)
@given(
    values=st.lists(st.tuples(st.sampled_from("xyz"), st.text(max_size=2))), limit=st.integers(1, 5)
)
def test_totals_stay_exact_and_values_few(values: list[tuple[str, str]], limit: int) -> None:
    overflows = Overflows()
    budgets = LabelBudgets(limit, on_overflow=overflows)
    counted = Counter((label, budgets.admit(label, value)) for label, value in values)
    assert counted.total() == len(values)
    assert overflows.count == sum(n for (_, value), n in counted.items() if value == OTHER)
    for label in "xyz":
        shown = {value for name, value in counted if name == label}
        assert len(shown) <= limit + 1
        _assert_shown_values_are_counted_in_full(values, counted, label)


def _assert_shown_values_are_counted_in_full(
    values: list[tuple[str, str]], counted: Counter[tuple[str, str]], label: str
) -> None:
    shown = {value for name, value in counted if name == label} - {OTHER}
    assert {value: counted[label, value] for value in shown} == {
        value: values.count((label, value)) for value in shown
    }


def test_a_million_values_keep_no_more_than_the_budget() -> None:
    overflows = Overflows()
    budgets = LabelBudgets(200, on_overflow=overflows)
    found = Counter(budgets.admit("template", f"t{number}") for number in range(1_000_000))
    assert len(found) == 201
    assert found[OTHER] == overflows.count == 999_800
