"""Cases of the alerts about runs that go on, or should."""

from __future__ import annotations

from prefect_otel_status.signals import (
    ERROR_TYPE,
    LAST_MESSAGE,
    LAST_STATUS,
    LEVEL,
    OLDEST_ACTIVE_START,
    RUN_ERRORS,
    RUNS_LATE,
    STAGE,
    STATE_NAME,
    STATE_TYPE,
    TEMPLATE,
    TRANSITIONS,
)
from tests.monitoring.rules.case import Case, Fired
from tests.monitoring.rules.cases_deployments import (
    GAPS,
    NIGHTLY,
    QUERY,
    ROBUST,
    STATUS,
    WARNING,
)
from tests.monitoring.rules.deployment import MINUTE
from tests.monitoring.rules.series import Series, Value, counted, during, flat

WHO = "deploy-model/nightly (production)"
USUAL = NIGHTLY.took(500, (1, 2, 3, 4))
"""Its runs take 500 s. That is in the bucket to 600 s, and three times its p95 are 29m 15s."""

STAGES = (*NIGHTLY.stage_took("train", 500, 1, 2, 3), *NIGHTLY.stage_took("load", 5, 1, 2, 3))


def executing(number: Value) -> tuple[Series, ...]:
    """So many runs execute."""
    return NIGHTLY.active(executing=number)


def said(minute: float, stage: str, end: float = 1000) -> tuple[Series, ...]:
    """The last status of the active runs was at MINUTE in STAGE; they end at END."""
    at = during(minute, end, flat(minute * MINUTE))
    words = {STAGE: stage, LEVEL: "info", TEMPLATE: "Training {model}"}
    return (
        NIGHTLY.one(LAST_MESSAGE, at),
        NIGHTLY.one(LAST_STATUS, during(minute, 1000, flat(minute * MINUTE)), words),
    )


def silent(age: str) -> Fired:
    return Fired(
        WARNING,
        summary=f"A run of {WHO} has been silent for {age}",
        description=(
            f"An active run of {WHO} said its last status {age} ago: more than three times what "
            "its stage usually takes. Its status page has its last words."
        ),
        dashboard=f"prefect-statuses{QUERY}",
        status=STATUS,
    )


ONE_RUN = executing(during(10, 1000, flat(1), 0))

SILENT = (
    Case(
        "RunSilent",
        "three times what the stage train takes",
        (*STAGES, *ONE_RUN, *said(12, "train")),
        at=(45,),
        fired=(silent("33m 0s"),),
    ),
    Case(
        "RunSilent",
        "a quick stage has ten minutes",
        (*STAGES, *ONE_RUN, *said(12, "load")),
        at=(26,),
        fired=(silent("14m 0s"),),
    ),
    Case(
        "RunSilent",
        "a missed scrape, a restart and a takeover do not resolve it",
        (*STAGES, *ONE_RUN, *said(12, "load")),
        at=(61,),
        fired=(silent("49m 0s"),),
        away=GAPS,
    ),
    Case(
        "RunSilent",
        "without stages, three times what the run takes",
        (*USUAL, *ONE_RUN, *said(12, "")),
        at=(45,),
        fired=(silent("33m 0s"),),
    ),
    Case(
        "RunSilent",
        "within three times of what is usual",
        (*STAGES, *ONE_RUN, *said(12, "train")),
        at=(20, 30, 40),
    ),
    Case(
        "RunSilent",
        "of two runs nobody knows which is silent: the longest stage counts",
        (*STAGES, *executing(flat(2)), *said(12, "load")),
        at=(26, 40),
    ),
    Case(
        "RunSilent",
        "the run has ended",
        (*STAGES, *executing(during(10, 41, flat(1), 0)), *said(12, "train", end=41)),
        at=(42, 43, 44, 60),
    ),
    Case(
        "RunSilent",
        "the run waits for an approval",
        (
            *STAGES,
            *NIGHTLY.active(pending=during(10, 1000, flat(1), 0)),
            *said(12, "train"),
        ),
        at=(45, 90),
        covers=("paused",),
    ),
    Case(
        "RunSilent",
        "nobody knows yet what is usual",
        (*ONE_RUN, *said(12, "train")),
        at=(45, 90),
        covers=("new deployment",),
    ),
    Case(
        "RunSilent",
        "a run that speaks every ten minutes, whatever happens to the bridge",
        (
            *STAGES,
            *ONE_RUN,
            NIGHTLY.one(LAST_MESSAGE, lambda minute: minute // 10 * 10 * MINUTE),
        ),
        at=(40, 41, 50, 51, 52, 60, 61, 62, 63, 90),
        away=GAPS,
        covers=ROBUST,
    ),
)


# --- RunStuck -----------------------------------------------------------------
def started(minute: float, end: float = 1000) -> Series:
    """The oldest active run started at MINUTE, and ends at END."""
    return NIGHTLY.one(OLDEST_ACTIVE_START, during(minute, end, flat(minute * MINUTE)))


def stuck(age: str) -> Fired:
    return Fired(
        WARNING,
        summary=f"A run of {WHO} has gone on for {age}",
        description=(
            f"The oldest active run of {WHO} started {age} ago. That is more than three times as "
            "long as 95 % of its successful runs take."
        ),
        dashboard=f"prefect-health{QUERY}",
        status=STATUS,
    )


STUCK = (
    Case(
        "RunStuck",
        "three times what its runs take",
        (*USUAL, *ONE_RUN, started(10)),
        at=(45,),
        fired=(stuck("35m 0s"),),
    ),
    Case(
        "RunStuck",
        "a missed scrape, a restart and a takeover do not resolve it",
        (*NIGHTLY.took(5, (1, 2, 3)), *ONE_RUN, started(10)),
        at=(61,),
        fired=(stuck("51m 0s"),),
        away=GAPS,
    ),
    Case(
        "RunStuck",
        "a quick flow has ten minutes",
        (*NIGHTLY.took(5, (1, 2, 3)), *ONE_RUN, started(10)),
        at=(23,),
        fired=(stuck("13m 0s"),),
    ),
    Case(
        "RunStuck",
        "within three times of what is usual",
        (*USUAL, *ONE_RUN, started(10)),
        at=(12, 30, 39),
    ),
    Case(
        "RunStuck",
        "it has ended",
        (*USUAL, *executing(during(10, 39, flat(1), 0)), started(10, end=39)),
        at=(40, 41, 42, 60),
    ),
    Case(
        "RunStuck",
        "nobody knows yet what is usual",
        (*ONE_RUN, started(10)),
        at=(45, 120),
        covers=("new deployment",),
    ),
    Case(
        "RunStuck",
        "the run waits for an approval",
        (*USUAL, *NIGHTLY.active(pending=flat(1)), started(10)),
        at=(45, 120),
        covers=("paused",),
    ),
    Case(
        "RunStuck",
        "runs of usual length, whatever happens to the bridge",
        (
            *USUAL,
            *ONE_RUN,
            NIGHTLY.one(OLDEST_ACTIVE_START, lambda minute: minute // 10 * 10 * MINUTE),
        ),
        at=(40, 41, 50, 51, 52, 60, 61, 62, 63, 90),
        away=GAPS,
        covers=ROBUST,
    ),
)


# --- RunsLate -----------------------------------------------------------------
def late(number: Value) -> Series:
    return NIGHTLY.one(RUNS_LATE, number)


LATE = Fired(
    WARNING,
    summary=f"Late runs of {WHO}: 3",
    description=(
        f"Runs of {WHO} that should have started and have not: 3. Some have been late for more "
        "than five minutes: nobody picks them up, or a concurrency limit holds them."
    ),
    dashboard=f"prefect-workers{QUERY}",
    status=STATUS,
)

RUNS_LATE_CASES = (
    Case(
        "RunsLate",
        "three are late",
        (late(during(10, 1000, flat(3), 0)),),
        at=(16, 30),
        fired=(LATE,),
    ),
    Case(
        "RunsLate",
        "a missed scrape, a restart and a takeover do not resolve it",
        (late(during(10, 1000, flat(3), 0)),),
        at=(40, 41, 50, 51, 52, 60, 61, 62, 63),
        fired=(LATE,),
        away=GAPS,
    ),
    Case(
        "RunsLate",
        "late for three minutes, again and again",
        (late(lambda minute: 2 if minute % 10 < 3 else 0),),
        at=(2, 13, 23, 60),
        covers=("low traffic",),
    ),
    Case(
        "RunsLate",
        "none is late, whatever happens to the bridge, and what is paused is not late",
        NIGHTLY.idle(),
        at=(40, 41, 50, 51, 52, 60, 61, 62, 63),
        away=GAPS,
        covers=(*ROBUST, "paused", "new deployment"),
    ),
)


# --- RunsCrashing -------------------------------------------------------------
def changed(state_type: str, state_name: str, *minutes: float) -> Series:
    states = {STATE_TYPE: state_type, STATE_NAME: state_name}
    return NIGHTLY.one(TRANSITIONS, counted(minutes), states)


def crashed(*minutes: float) -> Series:
    return changed("CRASHED", "Crashed", *minutes)


def vanished(*minutes: float) -> Series:
    return NIGHTLY.one(RUN_ERRORS, counted(minutes), {ERROR_TYPE: "HeartbeatLost"})


CRASHES = (
    Case(
        "RunsCrashing",
        "two crashed and one vanished within an hour",
        (crashed(70, 90), vanished(100)),
        at=(105,),
        fired=(
            Fired(
                WARNING,
                summary=f"3 runs of {WHO} crashed within an hour",
                description=(
                    f"3 runs of {WHO} crashed or vanished within the last hour. That is rarely the "
                    "flow's own code: look for memory, evictions, lost machines."
                ),
                dashboard=f"prefect-health{QUERY}",
                status=STATUS,
            ),
        ),
    ),
    Case(
        "RunsCrashing",
        "two within an hour, and some that failed by themselves",
        (
            crashed(10, 75, 100),
            changed("FAILED", "Failed", 70, 80, 90),
            NIGHTLY.one(RUN_ERRORS, counted((70, 80, 90)), {ERROR_TYPE: "ValueError"}),
        ),
        at=(12, 74, 105, 160),
        covers=("low traffic", "new deployment"),
    ),
    Case(
        "RunsCrashing",
        "two crashes, whatever happens to the bridge",
        (crashed(20, 30), vanished()),
        at=(40, 41, 51, 52, 61, 62, 63, 70),
        away=GAPS,
        covers=ROBUST,
    ),
)


# --- QueueBacklog -------------------------------------------------------------
def waiting(number: Value) -> tuple[Series, ...]:
    return NIGHTLY.active(pending=number)


BACKLOG = Fired(
    WARNING,
    summary=f"12 runs of {WHO} wait",
    description=(
        f"For the last ten minutes at least 12 runs of {WHO} have been waiting for a worker, a "
        "concurrency limit or an approval."
    ),
    dashboard=f"prefect-workers{QUERY}",
    status=STATUS,
)

BACKLOGS = (
    Case(
        "QueueBacklog",
        "twelve wait for long",
        waiting(during(10, 1000, flat(12), 0)),
        at=(26, 30),
        fired=(BACKLOG,),
    ),
    Case(
        "QueueBacklog",
        "a missed scrape, a restart and a takeover do not resolve it",
        waiting(during(10, 1000, flat(12), 0)),
        at=(40, 41, 50, 51, 52, 60, 61, 62, 63),
        fired=(BACKLOG,),
        away=GAPS,
    ),
    Case(
        "QueueBacklog",
        "a burst that is worked off within ten minutes",
        waiting(during(10, 20, flat(40), 2)),
        at=(15, 20, 25, 30),
    ),
    Case(
        "QueueBacklog",
        "some always wait, whatever happens to the bridge",
        waiting(flat(4)),
        at=(40, 41, 50, 51, 52, 60, 61, 62, 63),
        away=GAPS,
        covers=(*ROBUST, "low traffic"),
    ),
)

CASES = (*SILENT, *STUCK, *RUNS_LATE_CASES, *CRASHES, *BACKLOGS)
