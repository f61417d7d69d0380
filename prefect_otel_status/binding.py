"""`bind`: model, version, environment and others for everything below, in every process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import Token
from types import TracebackType
from typing import Any
from uuid import UUID

from prefect.context import FlowRunContext

from prefect_otel_status import runs, sanitize, signals
from prefect_otel_status import runtime as runtime_module
from prefect_otel_status.runs import RunHandle, prefect_run_now
from prefect_otel_status.runtime import Runtime


class bind:  # noqa: N801  (used like a function)
    """Attach ATTRIBUTES to everything said below: in this process and in those it starts.

    A context manager, or a plain call that lasts for the rest of the run::

        with bind(model="bert", version="3", environment="prod"):
            ...

    `model`, `version` and `environment` become `model.name`, `model.version`
    and `deployment.environment.name`; other names are kept. The environment is
    a label of every metric, the names in the setting `labels` are too, and the
    rest are attributes. Values that are None are left out. Run labels of
    Prefect carry them to the processes of tasks and subflows.
    """

    def __init__(self, **attributes: Any) -> None:
        self._token: Token[runs.Bound] | None = None
        self._labels: _Labels | None = None
        runtime = runtime_module.get()
        if runtime.enabled:
            runtime.guard("bind", lambda: self._bind(runtime, attributes))

    def __enter__(self) -> bind:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        labels, self._labels = self._labels, None
        if labels is not None:
            labels.restore()
        token, self._token = self._token, None
        if token is not None:
            with suppress(ValueError):  # left in another context, as generators are
                runs.unbind(token)

    async def __aenter__(self) -> bind:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _bind(self, runtime: Runtime, attributes: Mapping[str, Any]) -> None:
        values = attributes_of(attributes)
        scope = runtime.registry.scope()
        handle = scope.handle if scope is not None else None
        self._token = runs.bind(values, owner=handle)
        self._labels = _label(runtime, handle, values)


def attributes_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """ATTRIBUTES under the names they have on signals, frozen, without None."""
    return {
        signals.BOUND_NAMES.get(name, name): sanitize.freeze(value)
        for name, value in attributes.items()
        if value is not None
    }


def labels_of(runtime: Runtime, values: Mapping[str, Any]) -> dict[str, Any]:
    """VALUES as labels of a Prefect run: scalars only, safe, under our prefix."""
    clean = runtime.cleaner.attributes(values)
    return {
        f"{signals.BOUND_LABEL_PREFIX}{name}": value if not isinstance(value, tuple) else str(value)
        for name, value in clean.items()
    }


class _Labels:
    """Labels on Prefect's own object of a run, which it hands to the processes below."""

    def __init__(self, prefect_run: Any, labels: Mapping[str, Any]) -> None:
        self._run_labels = prefect_run.labels
        self._before = {name: self._run_labels.get(name) for name in labels}
        self._run_labels.update(labels)

    def restore(self) -> None:
        """Put back what was there before."""
        for name, value in self._before.items():
            if value is None:
                self._run_labels.pop(name, None)
            else:
                self._run_labels[name] = value


def _label(runtime: Runtime, handle: RunHandle | None, values: Mapping[str, Any]) -> _Labels | None:
    prefect_run, task_context, flow_context = prefect_run_now()
    if prefect_run is None or not values:
        return None
    if handle is not None:
        handle.last_bound.update(values)
    labels = labels_of(runtime, values)
    if task_context is None and flow_context is not None:
        # The server's copy, which a bridge reads, is written by a call of its own.
        _write_labels(runtime, prefect_run.id, labels)
    return _Labels(prefect_run, labels)


def _write_labels(runtime: Runtime, flow_run_id: UUID, labels: dict[str, Any]) -> None:
    def write() -> None:
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True, httpx_settings={"timeout": 5.0}) as client:
            client.update_flow_run_labels(flow_run_id, labels)

    runtime.background.submit("labels", write, None)


def inherit(call: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """CALL the client's `create_flow_run_from_deployment` with what is bound as labels."""
    runtime = runtime_module.get()
    runtime.guard("bind_deployment", lambda: kwargs.update(labels=_with_bound(runtime, kwargs)))
    return call(*args, **kwargs)


def _with_bound(runtime: Runtime, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    flow_context = FlowRunContext.get()
    flow_run = flow_context.flow_run if flow_context is not None else None
    bound = labels_of(runtime, {**runs.bound_of(flow_run), **runs.bound_now(None)})
    return {**bound, **(kwargs.get("labels") or {})}
