"""The classic state handler, `fn(obj, old_state, new_state)`, and the states it is given."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable
from typing import Any

from prefect_otel_status.tally import Tally

Handler = Callable[[Any, "HandlerState", "HandlerState"], Any]


class Answer:
    """A yes or no that can be read and called: `state.is_running`, `state.is_running()`."""

    __slots__ = ("_value",)

    def __init__(self, value: bool) -> None:
        self._value = value

    def __bool__(self) -> bool:
        return self._value

    def __call__(self) -> bool:
        return self._value

    def __eq__(self, other: object) -> bool:
        return self._value == bool(other) if isinstance(other, (bool, Answer)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return repr(self._value)


class HandlerState:
    """A Prefect state whose `is_...` answer both ways; everything else is the state's own.

    There is none before a run's first state: then every `is_...` is false, and
    `name`, `type` and `message` are None.
    """

    def __init__(self, state: Any) -> None:
        self.state = state

    def __getattr__(self, name: str) -> Any:
        if name == "state" or name.startswith("__"):
            raise AttributeError(name)  # while it is copied or unpickled
        if name.startswith("is_"):
            return Answer(bool(getattr(self.state, name)()) if self.state is not None else False)
        if self.state is None and name in ("name", "type", "message", "id", "timestamp", "data"):
            return None
        return getattr(self.state, name)

    def __bool__(self) -> bool:
        return self.state is not None

    def __repr__(self) -> str:
        return f"HandlerState({self.state!r})"


def call_handler(
    handler: Handler, obj: Any, old_state: Any, new_state: Any, *, timeout: float, tally: Tally
) -> bool:
    """Call HANDLER with OBJ and its two states; tell whether it came back within TIMEOUT seconds.

    It runs in a copy of the current context on a thread of its own, so that one
    that hangs does not hold the run up for longer. What it raises is counted.
    """
    context = contextvars.copy_context()
    arguments = (obj, HandlerState(old_state), HandlerState(new_state))
    thread = threading.Thread(
        target=context.run,
        args=(_call, handler, arguments, tally),
        name="prefect-otel-status-handler",
        daemon=True,
    )
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        tally.failed("handler_timeout", TimeoutError(f"no answer after {timeout:g} s"))
        return False
    return True


def _call(handler: Handler, arguments: tuple[Any, Any, Any], tally: Tally) -> None:
    try:
        found = handler(*arguments)
        if inspect.isawaitable(found):
            asyncio.run(_wait_for(found))
    except BaseException as error:  # SystemExit among them: it is not the run that leaves
        tally.failed("handler", error)


async def _wait_for(awaitable: Any) -> None:
    await awaitable
