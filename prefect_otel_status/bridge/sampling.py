"""Whether a trace that the bridge plants is sampled, by the standard variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prefect_otel_status.settings import ConfigurationError

_ALWAYS = ("", "always_on", "parentbased_always_on")
_NEVER = ("always_off", "parentbased_always_off")
_RATIO = ("traceidratio", "parentbased_traceidratio")
_LOW_BITS = 2**64


def sampler_of(environ: Mapping[str, str]) -> Callable[[int], bool]:
    """A decision by trace id, the same that the SDK's sampler makes in a flow's process.

    Raises `ConfigurationError` for a sampler or an argument that nobody knows.
    """
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if name in _ALWAYS:
        return lambda trace_id: True
    if name in _NEVER:
        return lambda trace_id: False
    if name in _RATIO:
        bound = round(_ratio(environ.get("OTEL_TRACES_SAMPLER_ARG", "")) * _LOW_BITS)
        return lambda trace_id: trace_id % _LOW_BITS < bound
    raise ConfigurationError(
        f"Bad setting: OTEL_TRACES_SAMPLER: {name!r} is not known here, use one of "
        f"{', '.join((*_ALWAYS[1:], *_NEVER, *_RATIO))}."
    )


def _ratio(raw: str) -> float:
    try:
        ratio = float(raw or 1.0)
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        raise ConfigurationError(
            f"Bad setting: OTEL_TRACES_SAMPLER_ARG: {raw!r} is no ratio from 0 to 1."
        )
    return ratio
