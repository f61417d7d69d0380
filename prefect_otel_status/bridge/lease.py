"""Who works: of several bridges on one store, the one that holds the lease.

No clocks are compared between machines. The holder counts a number up; one that
waits takes over when it has not changed for the lease's time by its own clock,
or at once where the holder is a dead process of the same machine.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from prefect_otel_status.bridge.tables import lease

_ROW = 1


class LeaseLostError(Exception):
    """Another bridge has taken over; nothing of this transaction may be kept."""


@dataclass(frozen=True)
class Identity:
    """A bridge, as others see it. `started` tells two processes with one number apart."""

    name: str
    host: str
    pid: int
    started: int


def this_process(name: str) -> Identity:
    """The identity of this process, called NAME."""
    pid = os.getpid()
    return Identity(name, f"{socket.gethostname()} {_pid_namespace()}", pid, started_at(pid) or 0)


def _pid_namespace() -> str:
    """Where this process's number means something: containers may share a host's name."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def started_at(pid: int) -> int | None:
    """When the process PID of this machine started, in ticks; None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return int(stat.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


class Lease:
    """Takes, keeps and gives back the lease. The methods are called in a transaction."""

    def __init__(
        self,
        identity: Identity,
        *,
        seconds: float,
        clock: Callable[[], float],
        alive: Callable[[int], int | None] = started_at,
    ) -> None:
        self._identity = identity
        self._seconds = seconds
        self._clock = clock
        self._alive = alive
        self._watched: tuple[str, int] | None = None
        self._since = 0.0

    def try_take(self, connection: Connection) -> bool:
        """Take the lease if it is free, given back, or its holder gone; tell whether it is ours."""
        query = select(lease).where(lease.c.id == _ROW).with_for_update()
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            return self._take_first(connection)
        if row["holder"] == self._identity.name or not row["holder"] or self._is_gone(row):
            connection.execute(
                update(lease).where(lease.c.id == _ROW).values(**self._values(row["beat"] + 1))
            )
            return True
        return self._has_waited(connection, row["holder"], row["beat"])

    def renew(self, connection: Connection) -> None:
        """Show that we live, and make this transaction fail if we no longer hold the lease."""
        changed = connection.execute(
            update(lease)
            .where(lease.c.id == _ROW, lease.c.holder == self._identity.name)
            .values(beat=lease.c.beat + 1)
        )
        if changed.rowcount != 1:
            raise LeaseLostError

    def give_back(self, connection: Connection) -> None:
        """Let another take it at once."""
        connection.execute(
            update(lease)
            .where(lease.c.id == _ROW, lease.c.holder == self._identity.name)
            .values(holder="", beat=lease.c.beat + 1)
        )

    def _take_first(self, connection: Connection) -> bool:
        try:
            with connection.begin_nested():
                connection.execute(insert(lease).values(id=_ROW, **self._values(0)))
        except IntegrityError:  # another was faster by a moment
            return False
        return True

    def _values(self, beat: int) -> dict[str, object]:
        me = self._identity
        return {
            "holder": me.name,
            "host": me.host,
            "pid": me.pid,
            "started": me.started,
            "beat": beat,
        }

    def _is_gone(self, row: object) -> bool:
        """Whether the holder is a process of this machine that is dead."""
        held = dict(row)  # type: ignore[call-overload]  # a mapping of the row
        # Where no start is known, as on machines without /proc, nothing can be said.
        if held["host"] != self._identity.host or not held["started"]:
            return False
        started = self._alive(held["pid"])
        return started is None or started != held["started"]

    def _has_waited(self, connection: Connection, holder: str, beat: int) -> bool:
        if self._watched != (holder, beat):
            self._watched, self._since = (holder, beat), self._clock()
            return False
        if self._clock() - self._since < self._seconds:
            return False
        taken = connection.execute(
            update(lease)
            .where(lease.c.id == _ROW, lease.c.holder == holder, lease.c.beat == beat)
            .values(**self._values(beat + 1))
        )
        return taken.rowcount == 1
