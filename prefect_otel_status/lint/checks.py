"""What is wrong with a call."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from prefect_otel_status.lint.building import building_problems
from prefect_otel_status.lint.calls import Call
from prefect_otel_status.lint.expressions import choices, constant_text
from prefect_otel_status.lint.fields import field_problems
from prefect_otel_status.lint.finding import LONG_TEMPLATE, TIGHT_LOOP, Problem
from prefect_otel_status.lint.functions import STATUS
from prefect_otel_status.lint.rules import Rules
from prefect_otel_status.lint.vocabulary import level_problems, stage_problems

_IN_LOOP = (
    "status() speaks in every round of this loop; "
    "loop over track(items, '...'), or speak once after the loop"
)


def problems(call: Call, rules: Rules) -> Iterator[Problem]:
    """What RULES and common sense say against CALL."""
    for template in choices(call.template):
        yield from _template_problems(call, template, rules)
    for stage in choices(call.stage):
        yield from stage_problems(stage, rules.stages)
    for level in choices(call.option("level")):
        yield from level_problems(level, rules.levels)
    if call.is_repeated and call.function is STATUS:
        yield Problem(call.node, TIGHT_LOOP, _IN_LOOP)


def _template_problems(call: Call, node: ast.expr, rules: Rules) -> Iterator[Problem]:
    template = constant_text(node)
    if template is None:
        yield from building_problems(call, node)
    else:
        yield from _length_problems(node, len(template), rules.message_length)
        yield from field_problems(call, node, template)


def _length_problems(node: ast.expr, length: int, allowed: int) -> Iterator[Problem]:
    if length > allowed:
        message = (
            f"the template has {length} characters, {allowed} are allowed; "
            "shorten it and pass the details as keyword attributes"
        )
        yield Problem(node, LONG_TEMPLATE, message)
