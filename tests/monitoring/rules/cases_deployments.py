"""Cases of the alerts about how the runs of a deployment end."""

from __future__ import annotations

from prefect_otel_status.signals import (
    DECISION,
    GATE,
    GATE_RESULTS,
    LAST_SUCCESS,
    LEVEL,
    MESSAGES,
    STAGE,
    TEMPLATE,
)
from tests.monitoring.rules.case import Case, Fired
from tests.monitoring.rules.deployment import Deployment, Run, runs
from tests.monitoring.rules.series import Series, Value, counted, during, flat

NIGHTLY = Deployment()
QUERY = "?var-flow=deploy-model&var-deployment=nightly&var-environment=production"
STATUS = "?flow=deploy-model&deployment=nightly"
LABELS = {
    "cicd_pipeline_name": "deploy-model",
    "prefect_deployment_name": "nightly",
    "deployment_environment_name": "production",
}
WARNING = {**LABELS, "severity": "warning"}
CRITICAL = {**LABELS, "severity": "critical"}
INFO = {**LABELS, "severity": "info"}

ONE_SCRAPE = (39.9, 40.1)
RESTART = (49.9, 51.1)
TAKEOVER = (59.8, 61.5)
GAPS = (ONE_SCRAPE, RESTART, TAKEOVER)
"""The bridge keeps its counters over all of them. At the minutes 40, 50, 51, 60 and 61 the last
scrape has failed, or found nothing."""

ROBUST = ("missed scrape", "restart", "takeover")


# --- DeploymentFailing --------------------------------------------------------
FAILED = Fired(
    WARNING,
    summary="The latest run of deploy-model/nightly (production) failed",
    description=(
        "The latest run of deploy-model/nightly (production) ended badly at "
        "1970-01-01 00:20:00 +0000 UTC. This resolves when a run succeeds."
    ),
    dashboard=f"prefect-health{QUERY}",
    status=STATUS,
)
AD_HOC = Deployment(flow="clean up & go", name="", environment="")
FAILED_AD_HOC = Fired(
    {"cicd_pipeline_name": "clean up & go", "severity": "warning"},
    summary="The latest run of clean up & go failed",
    description=(
        "The latest run of clean up & go ended badly at 1970-01-01 00:20:00 +0000 UTC. "
        "This resolves when a run succeeds."
    ),
    dashboard="prefect-health?var-flow=clean+up+%26+go",
    status="?flow=clean+up+%26+go",
)

FAILING = (
    Case(
        "DeploymentFailing",
        "the latest run failed",
        NIGHTLY.ended(Run(5), Run(20, "failure")),
        at=(22, 30, 90),
        fired=(FAILED,),
    ),
    Case(
        "DeploymentFailing",
        "a missed scrape, a restart and a takeover do not resolve it, and no new alert begins",
        NIGHTLY.ended(Run(5), Run(20, "failure")),
        at=(40, 41, 50, 51, 52, 60, 61, 62, 63),
        fired=(FAILED,),
        away=GAPS,
    ),
    Case(
        "DeploymentFailing",
        "a run without a deployment and an environment",
        AD_HOC.ended(Run(20, "timeout")),
        at=(25,),
        fired=(FAILED_AD_HOC,),
    ),
    Case(
        "DeploymentFailing",
        "a good run resolves it at once, though the label of the bad one was there a minute ago",
        NIGHTLY.ended(Run(5, "failure"), Run(20)),
        at=(3, 21, 22, 30),
    ),
    Case(
        "DeploymentFailing",
        "a bad run that is followed by a good one at once",
        NIGHTLY.ended(Run(20.1, "failure"), Run(20.8)),
        at=(20, 21, 22, 23),
    ),
    Case(
        "DeploymentFailing",
        "a healthy deployment, whatever happens to the bridge",
        NIGHTLY.ended(Run(5, "failure"), Run(20)),
        at=(40, 41, 50, 51, 52, 60, 61, 62, 63),
        away=GAPS,
        covers=ROBUST,
    ),
    Case(
        "DeploymentFailing",
        "an old failure that a backfill tells of",
        NIGHTLY.ended(Run(20, "failure", counted=False)),
        at=(22, 30, 90),
        covers=("backfill",),
    ),
    Case(
        "DeploymentFailing",
        "a deployment that has not run yet",
        (*NIGHTLY.idle(), NIGHTLY.scheduled(flat(60))),
        at=(5, 30),
        covers=("new deployment",),
    ),
    Case(
        "DeploymentFailing",
        "a cancelled and a skipped run",
        NIGHTLY.ended(Run(5, "cancellation"), Run(20, "skip")),
        at=(10, 25),
    ),
)


# --- DeploymentErrorBudgetBurn ------------------------------------------------
def burned(share: str, over: str, labels: dict[str, str]) -> Fired:
    return Fired(
        labels,
        summary=f"deploy-model/nightly (production): {share} of its runs fail",
        description=(
            f"{share} of the runs of deploy-model/nightly (production) ended badly over the last "
            f"{over}: more than its objective allows, and it has not recovered since."
        ),
        dashboard=f"prefect-health{QUERY}",
        status=STATUS,
    )


PAGE = "hour, or over the last six hours"
TICKET = "day, or over the last three days"
EVERY_TWO = tuple(range(1, 180, 2))


def outage(start: float, end: float) -> tuple[Series, ...]:
    """A run every two minutes; those between START and END failed."""
    return NIGHTLY.ended(*(Run(m, "failure" if start <= m < end else "success") for m in EVERY_TWO))


HOURLY = tuple(range(30, 72 * 60, 60))

BURNING = (
    Case(
        "DeploymentErrorBudgetBurn",
        "an outage pages after half an hour of good runs",
        outage(30, 180),
        at=(90,),
        fired=(burned("100%", PAGE, CRITICAL), burned("66.67%", TICKET, WARNING)),
    ),
    Case(
        "DeploymentErrorBudgetBurn",
        "a deployment that recovered pages no more; the ticket stays",
        outage(60, 120),
        at=(150,),
        fired=(burned("40%", TICKET, WARNING),),
    ),
    Case(
        "DeploymentErrorBudgetBurn",
        "one of five hourly runs fails for days: a ticket, and no page",
        NIGHTLY.ended(*(Run(m, "failure" if m % 300 == 30 else "success") for m in HOURLY)),
        at=(70 * 60,),
        fired=(burned("20%", TICKET, WARNING),),
        scrape=299,
        evaluate="30m",
    ),
    Case(
        "DeploymentErrorBudgetBurn",
        "some failures are within the objective",
        NIGHTLY.ended(*(Run(m, "failure" if m == 61 else "success") for m in EVERY_TWO)),
        at=(62, 65, 90),
    ),
    Case(
        "DeploymentErrorBudgetBurn",
        "both of two runs failed, and a day later one more",
        NIGHTLY.ended(*runs(100, 200, 1640, result="failure")),
        at=(120, 210, 300, 1650, 1680),
        covers=("low traffic",),
        scrape=59,
        evaluate="10m",
    ),
    Case(
        "DeploymentErrorBudgetBurn",
        "the first three runs of a new deployment failed",
        NIGHTLY.ended(*runs(5, 7, 9, result="failure")),
        at=(10, 20, 60),
        covers=("new deployment",),
    ),
    Case(
        "DeploymentErrorBudgetBurn",
        "a healthy deployment, whatever happens to the bridge",
        outage(61, 62),
        at=(40, 41, 51, 52, 61, 62, 63, 65, 70, 90),
        away=GAPS,
        covers=ROBUST,
    ),
    Case(
        "DeploymentErrorBudgetBurn",
        "a backfill of runs that failed, of which none is counted",
        NIGHTLY.ended(*(Run(m, "failure", counted=False) for m in EVERY_TWO)),
        at=(30, 90),
        covers=("backfill",),
    ),
    Case(
        "DeploymentErrorBudgetBurn",
        "cancelled runs are no errors",
        NIGHTLY.ended(*(Run(m, "cancellation") for m in EVERY_TWO)),
        at=(90,),
    ),
)


# --- DeploymentNoSuccess ------------------------------------------------------
def unsuccessful(labels: dict[str, str], query: str, who: str, age: str) -> Fired:
    return Fired(
        labels,
        summary=f"{who} has not succeeded for {age}",
        description=(
            f"The last success of {who} was {age} ago. By its schedule it should have succeeded at "
            "least twice since."
        ),
        dashboard=f"prefect-health{query}",
        status=STATUS,
    )


EVERY_HOUR = NIGHTLY.scheduled(flat(60))
NO_SUCCESS = (
    Case(
        "DeploymentNoSuccess",
        "the last success was two intervals, a usual run and ten minutes ago",
        (*NIGHTLY.ended(*runs(30, 90), *runs(150, 210, result="failure")), EVERY_HOUR),
        at=(240,),
        fired=(unsuccessful(CRITICAL, QUERY, "deploy-model/nightly (production)", "2h 30m 0s"),),
        evaluate="5m",
    ),
    Case(
        "DeploymentNoSuccess",
        "a missed scrape, a restart and a takeover do not resolve it",
        (*NIGHTLY.ended(Run(5)), NIGHTLY.scheduled(flat(5))),
        at=(61,),
        fired=(unsuccessful(CRITICAL, QUERY, "deploy-model/nightly (production)", "56m 0s"),),
        away=GAPS,
    ),
    Case(
        "DeploymentNoSuccess",
        "it never succeeded since it was scheduled; nobody knows its environment",
        (*NIGHTLY.idle(), EVERY_HOUR),
        at=(160,),
        fired=(
            unsuccessful(
                {k: v for k, v in CRITICAL.items() if k != "deployment_environment_name"},
                QUERY.removesuffix("&var-environment=production"),
                "deploy-model/nightly",
                "2h 40m 0s",
            ),
        ),
        evaluate="5m",
    ),
    Case(
        "DeploymentNoSuccess",
        "not yet: one interval was missed",
        (*NIGHTLY.ended(*runs(30, 90), *runs(150, 210, result="failure")), EVERY_HOUR),
        at=(100, 180, 220),
        evaluate="5m",
    ),
    Case(
        "DeploymentNoSuccess",
        "its schedule is paused",
        (
            *NIGHTLY.ended(*runs(30, 90)),
            NIGHTLY.scheduled(during(0, 120, flat(60))),
        ),
        at=(180, 240, 300, 600),
        covers=("paused",),
        evaluate="5m",
    ),
    Case(
        "DeploymentNoSuccess",
        "it was resumed an hour ago, after it was paused for long",
        (
            *NIGHTLY.ended(*runs(30, 90)),
            NIGHTLY.scheduled(lambda minute: None if 120 <= minute < 480 else 60),
        ),
        at=(485, 490, 540),
        covers=("paused",),
        evaluate="5m",
    ),
    Case(
        "DeploymentNoSuccess",
        "it has no schedule",
        NIGHTLY.ended(*runs(30)),
        at=(240, 600),
        evaluate="5m",
    ),
    Case(
        "DeploymentNoSuccess",
        "a new deployment has time for its first runs",
        (*NIGHTLY.idle(), NIGHTLY.scheduled(during(200, 900, flat(60)))),
        at=(205, 210, 260, 320),
        covers=("new deployment",),
        evaluate="5m",
    ),
    Case(
        "DeploymentNoSuccess",
        "a backfill tells of a success of days ago",
        (*NIGHTLY.idle(), NIGHTLY.one(LAST_SUCCESS, flat(-400_000)), EVERY_HOUR),
        at=(5, 10, 120),
        covers=("backfill",),
        evaluate="5m",
    ),
    Case(
        "DeploymentNoSuccess",
        "it was weekly until ten minutes ago, and is hourly now",
        (
            *NIGHTLY.ended(*runs(30)),
            NIGHTLY.scheduled(lambda minute: 7 * 24 * 60 if minute < 600 else 60),
        ),
        at=(605, 610, 720),
        evaluate="5m",
    ),
    Case(
        "DeploymentNoSuccess",
        "a healthy deployment, whatever happens to the bridge",
        (*NIGHTLY.ended(*runs(20, 80, 140)), EVERY_HOUR),
        at=(40, 41, 50, 51, 52, 60, 61, 62, 63, 70),
        away=GAPS,
        covers=ROBUST,
    ),
)


# --- GateFailing --------------------------------------------------------------
def gate(passed: tuple[float, ...], failed: tuple[float, ...]) -> tuple[Series, ...]:
    """The decisions of a gate at some minutes."""
    return tuple(
        NIGHTLY.one(GATE_RESULTS, counted(minutes), {GATE: "accuracy", DECISION: decision})
        for decision, minutes in (("pass", passed), ("fail", failed))
    )


def refused(share: str) -> Fired:
    return Fired(
        {**WARNING, "prefect_status_gate_name": "accuracy"},
        summary=f"Gate accuracy of deploy-model/nightly (production) refuses {share}",
        description=(
            f"The gate accuracy of deploy-model/nightly (production) refused {share} of what it "
            "judged over the last six hours, or over the last three days where it judges seldom."
        ),
        dashboard=f"prefect-statuses{QUERY}",
        status=STATUS,
    )


DAY = 24 * 60.0
GATE_CASES = (
    Case(
        "GateFailing",
        "three of four within an hour",
        gate(passed=(10,), failed=(20, 30, 40)),
        at=(60,),
        fired=(refused("75%"),),
    ),
    Case(
        "GateFailing",
        "once a day, for three days",
        gate(passed=(), failed=(300, DAY + 300, 2 * DAY + 300)),
        at=(2 * DAY + 360,),
        fired=(refused("100%"),),
        scrape=299,
        evaluate="30m",
    ),
    Case(
        "GateFailing",
        "it refused the last three of many",
        gate(passed=tuple(range(5, 250, 10)), failed=(260, 270, 280)),
        at=(320, 330),
        evaluate="5m",
    ),
    Case(
        "GateFailing",
        "it refuses now and then",
        gate(passed=tuple(range(5, 300, 10)), failed=(50, 100, 150)),
        at=(60, 110, 155, 200),
    ),
    Case(
        "GateFailing",
        "it refused two of two",
        gate(passed=(), failed=(50, 100)),
        at=(60, 110, 200),
        covers=("low traffic", "new deployment"),
    ),
    Case(
        "GateFailing",
        "it has recovered: in the last hour it let more pass than not",
        gate(passed=(110, 120, 130), failed=(20, 30, 40, 50, 60)),
        at=(140,),
    ),
    Case(
        "GateFailing",
        "two refusals, whatever happens to the bridge",
        gate(passed=(), failed=(20, 30)),
        at=(40, 41, 51, 52, 61, 62, 63, 90),
        away=GAPS,
        covers=ROBUST,
    ),
)


# --- RollbackHappened ---------------------------------------------------------
def said(minutes: tuple[float, ...], stage: str, level: str) -> Series:
    """Messages of one template."""
    more = {STAGE: stage, LEVEL: level, TEMPLATE: "Rolled back to {live}"}
    return NIGHTLY.one(MESSAGES, counted(minutes), more)


ROLLBACKS = (
    Case(
        "RollbackHappened",
        "a message in the stage rollback",
        (said((20,), "rollback", "error"),),
        at=(21, 40),
        fired=(
            Fired(
                INFO,
                summary="deploy-model/nightly (production) rolled back",
                description=(
                    "Status messages of deploy-model/nightly (production) in the stage rollback "
                    "within the last 30 minutes: 1. Its status page has the last one."
                ),
                dashboard=f"prefect-delivery{QUERY}",
                status=STATUS,
            ),
        ),
    ),
    Case(
        "RollbackHappened",
        "other stages, and a rollback of more than half an hour ago",
        (said((20,), "rollback", "error"), said((20, 60), "promote", "info")),
        at=(5, 19, 51, 65),
    ),
    Case(
        "RollbackHappened",
        "an old rollback, whatever happens to the bridge and whatever a backfill tells",
        (said((5,), "rollback", "error"), *NIGHTLY.ended(Run(45, "failure", counted=False))),
        at=(40, 41, 51, 52, 61, 62, 63, 90),
        away=GAPS,
        covers=(*ROBUST, "backfill"),
    ),
)


# --- StatusErrorBurst ---------------------------------------------------------
def errors(value: Value) -> Series:
    more = {STAGE: "evaluate", LEVEL: "error", TEMPLATE: "Scoring {model} failed"}
    return NIGHTLY.one(MESSAGES, value, more)


def at_each(step: float, start: float, end: float) -> Value:
    """One more every STEP minutes from START to END."""
    return lambda minute: max(0, (min(minute, end) - start) // step)


BURSTS = (
    Case(
        "StatusErrorBurst",
        "twelve errors within some minutes",
        (errors(counted(300 + i / 2 for i in range(12))),),
        at=(308,),
        fired=(
            Fired(
                WARNING,
                summary="deploy-model/nightly (production) said 12 errors within 10 minutes",
                description=(
                    "Runs of deploy-model/nightly (production) said 12 status messages of level "
                    "error or critical within the last 10 minutes: more than five times the usual."
                ),
                dashboard=f"prefect-statuses{QUERY}",
                status=STATUS,
            ),
        ),
    ),
    Case(
        "StatusErrorBurst",
        "a deployment that always says some errors",
        (errors(at_each(0.5, 0, 3000)),),
        at=(1500, 1560),
        scrape=59,
        evaluate="10m",
    ),
    Case(
        "StatusErrorBurst",
        "five errors of a new deployment",
        (errors(counted((20, 21, 22, 23, 24))),),
        at=(22, 25, 30),
        covers=("low traffic", "new deployment"),
    ),
    Case(
        "StatusErrorBurst",
        "many warnings",
        (said(tuple(i / 2 for i in range(20, 80)), "evaluate", "warning"),),
        at=(20, 30, 40),
    ),
    Case(
        "StatusErrorBurst",
        "errors of long ago, whatever happens to the bridge",
        (errors(counted(1 + i / 10 for i in range(20))),),
        at=(40, 41, 51, 52, 61, 62, 63, 90),
        away=GAPS,
        covers=ROBUST,
    ),
)

CASES = (*FAILING, *BURNING, *NO_SUCCESS, *GATE_CASES, *ROLLBACKS, *BURSTS)
