"""The public names, and what importing the package costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import prefect_otel_status


def modules_after(statement: str) -> list[str]:
    """The heavy modules that a new process has loaded after STATEMENT."""
    heavy = ("prefect", "opentelemetry.sdk", "pydantic", "prometheus_client", "msgspec")
    script = f"import sys\n{statement}\nprint(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.split()


def test_the_package_alone_loads_nothing_heavy() -> None:
    assert modules_after("import prefect_otel_status") == []


@pytest.mark.parametrize("module", ["plugin", "testing"])
def test_what_others_load_by_themselves_loads_nothing_heavy(module: str) -> None:
    assert modules_after(f"import prefect_otel_status.{module}") == []


@pytest.mark.parametrize("name", prefect_otel_status.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(prefect_otel_status, name)
    assert found.__name__ == name
    assert found.__doc__
    assert getattr(prefect_otel_status, name) is found


def test_the_public_names_are_those_that_have_a_home() -> None:
    assert sorted(prefect_otel_status._HOMES) == sorted(prefect_otel_status.__all__)
    assert set(prefect_otel_status.__all__) <= set(dir(prefect_otel_status))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError) as error:
        prefect_otel_status.states  # noqa: B018  # the look-up is what is tested
    assert str(error.value) == "module 'prefect_otel_status' has no attribute 'states'"


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert prefect_otel_status.__version__ == version("prefect-otel-status")
