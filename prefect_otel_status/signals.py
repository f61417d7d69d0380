"""Every name this project sends: spans, events, attributes, metrics, labels.

Nothing else in the package spells a telemetry name. The reference page, the
dashboards and the alert rules are generated from this module, so that none of
them can name a signal that does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

SCOPE = "prefect_otel_status"
"""The instrumentation scope of everything that we create ourselves."""

PREFECT_SCOPE = "prefect"
"""The instrumentation scope of Prefect's own spans, which we use and mend."""

OTHER = "__other__"
"""The label value that stands for all values beyond a label's budget."""

TRACEPARENT_LABEL = "__OTEL_TRACEPARENT"
"""The run label in which Prefect keeps a run's span context."""

BOUND_LABEL_PREFIX = "prefect_status.bound."
"""Run labels with this prefix carry `bind` values between processes."""

PREFECT_EVENT = "prefect-otel-status.statuses"
"""The Prefect event that holds a batch of status messages."""
PROBE_EVENT = "prefect-otel-doctor.probe"
"""What `doctor` sends to see that events are kept. No bridge reads it: it is about no run."""


HOOK_NAME = "prefect_otel_status"
"""By this name Prefect logs that it runs our hook; those lines are filtered out."""


class Kind(Enum):
    """What a metric is, in OpenTelemetry's words."""

    COUNTER = "counter"
    UP_DOWN_COUNTER = "up-down counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Attribute:
    """An attribute of a span, event or log record; also the name of a label."""

    name: str
    description: str

    @property
    def label(self) -> str:
        """The attribute as a Prometheus label name."""
        return self.name.replace(".", "_")


@dataclass(frozen=True)
class SpanName:
    """A kind of span: its name (`<x>` is filled in), span kind and meaning."""

    name: str
    kind: str
    description: str


@dataclass(frozen=True)
class EventName:
    """A kind of event, on a span or as a log record."""

    name: str
    description: str


@dataclass(frozen=True)
class Metric:
    """A metric: OpenTelemetry name, kind, unit, labels and meaning.

    `bridge_only` marks those that flow processes do not send.
    """

    name: str
    kind: Kind
    unit: str
    labels: tuple[Attribute, ...]
    description: str
    bridge_only: bool = False

    @property
    def prometheus_name(self) -> str:
        """The name the OpenTelemetry exporter for Prometheus would give it."""
        base = self.name.replace(".", "_") + _unit_suffix(self)
        return base + ("_total" if self.kind is Kind.COUNTER else "")

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of its labels, as Prometheus writes them, in order."""
        return tuple(label.label for label in self.labels)


def _unit_suffix(metric: Metric) -> str:
    if metric.unit == "s":
        return "_seconds"
    if metric.unit == "By":
        return "_bytes"
    if metric.unit == "1" and metric.kind is Kind.GAUGE:
        return "_ratio"
    return ""


# --- attributes: the CI/CD conventions where one exists ----------------------
PIPELINE_NAME = Attribute("cicd.pipeline.name", "Name of the flow.")
RUN_ID = Attribute("cicd.pipeline.run.id", "Id of the flow run.")
RUN_URL = Attribute("cicd.pipeline.run.url.full", "Address of the flow run in Prefect's UI.")
RUN_STATE = Attribute(
    "cicd.pipeline.run.state", "`pending`, `executing` or `finalizing`: where the flow run is."
)
RESULT = Attribute(
    "cicd.pipeline.result",
    "How the flow run ended: `success`, `failure`, `error`, `timeout`, `cancellation`, `skip`.",
)
TASK_NAME = Attribute("cicd.pipeline.task.name", "Name of the task.")
TASK_RUN_ID = Attribute("cicd.pipeline.task.run.id", "Id of the task run.")
TASK_RUN_URL = Attribute(
    "cicd.pipeline.task.run.url.full", "Address of the task run in Prefect's UI."
)
TASK_RESULT = Attribute(
    "cicd.pipeline.task.run.result", "How the task run ended; the values of `cicd.pipeline.result`."
)
ERROR_TYPE = Attribute(
    "error.type", "Class of the exception, or name of the state that says the failure."
)
ENVIRONMENT = Attribute("deployment.environment.name", "Environment: bound, or from the settings.")

# --- attributes: Prefect's own, kept as they are -----------------------------
PREFECT_RUN_ID = Attribute("prefect.run.id", "Id of the flow or task run (Prefect's own).")
PREFECT_RUN_NAME = Attribute("prefect.run.name", "Name of the flow or task run (Prefect's own).")
PREFECT_RUN_TYPE = Attribute("prefect.run.type", "`flow` or `task` (Prefect's own).")
DEPLOYMENT = Attribute("prefect.deployment.name", "Name of the deployment, if the run has one.")
STATE_TYPE = Attribute("prefect.state.type", "Type of the state, such as `COMPLETED`.")
STATE_NAME = Attribute("prefect.state.name", "Name of the state, such as `Cached`.")
STATE_MESSAGE = Attribute("prefect.state.message", "Message of the state.")
STATE_ID = Attribute("prefect.state.id", "Id of the state.")

# --- attributes: ours, where no convention exists ----------------------------
MESSAGE = Attribute("prefect_status.message", "The status message, filled in.")
TEMPLATE = Attribute(
    "prefect_status.template", "The message before it was filled in: the low-cardinality name."
)
STAGE = Attribute("prefect_status.stage", "The stage that the run is in.")
LEVEL = Attribute("prefect_status.level", "`debug`, `info`, `warning`, `error` or `critical`.")
PROGRESS = Attribute("prefect_status.progress", "Progress from 0 to 1.")
SEQUENCE = Attribute("prefect_status.sequence", "Number of the status within its run and attempt.")
ATTEMPT = Attribute("prefect_status.attempt", "Attempt of the run; the first is 1.")
FLAGS = Attribute(
    "prefect_status.flags", "What was odd: `missing_field`, `unknown_stage`, `long_message`, ..."
)
EVENTS_DROPPED = Attribute(
    "prefect_status.events.dropped",
    "Statuses that were left out of the span because it had too many; never first, last, errors.",
)
INCOMPLETE = Attribute(
    "prefect_status.incomplete", "True where the process left before Prefect ended the span."
)
GATE = Attribute("prefect_status.gate.name", "Name of the evaluation gate.")
DECISION = Attribute("prefect_status.gate.decision", "`pass` or `fail`.")
GATE_SCORE = Attribute("prefect_status.gate.score", "The score that was judged.")
GATE_THRESHOLD = Attribute("prefect_status.gate.threshold", "The threshold it was judged against.")
MODEL_NAME = Attribute("model.name", "Name of the model: `bind(model=...)`.")
MODEL_VERSION = Attribute("model.version", "Version of the model: `bind(version=...)`.")
RATE = Attribute("prefect_status.track.rate", "Items a second, by `track`.")
REMAINING = Attribute("prefect_status.track.remaining", "Seconds that remain, by `track`.")
DONE = Attribute("prefect_status.track.done", "Items that are done, by `track`.")
TOTAL = Attribute("prefect_status.track.total", "Items in all, by `track`.")
REASON = Attribute("prefect_status.reason", "Why something was dropped, flagged or failed.")
SILENCE = Attribute(
    "prefect_status.silence", "Seconds between the last status and the end, where a process died."
)
ABANDONED = Attribute(
    "prefect_status.abandoned", "True for a task that was left running under a flow that ended."
)
INFERRED = Attribute(
    "prefect_status.inferred", "True where heartbeats stopped and nobody reported the end."
)
SYNTHETIC = Attribute(
    "user_agent.synthetic.type", "`test` on what `doctor` sends to see that it arrives; no run's."
)
QUEUE_SECONDS = Attribute(
    "prefect_status.queue", "Seconds between the expected and the actual start of the run."
)
PATH = Attribute(
    "prefect_status.path", "How the bridge first saw an event: `websocket`, `sweep`, `reconcile`."
)
OUTCOME = Attribute(
    "prefect_status.outcome",
    "What became of a request: `delivered`, `partial`, `retried`, `set_aside`.",
)
WORK_POOL = Attribute("prefect.work_pool.name", "Name of the work pool.")
WORKER_STATE = Attribute(
    "cicd.worker.state", "`available` or `offline`, by the worker's heartbeats."
)
METRIC = Attribute("prefect_status.metric", "The metric whose label went over its budget.")

# --- attributes of evaluations, by the GenAI conventions ---------------------
EVALUATION_NAME = Attribute("gen_ai.evaluation.name", "Name of the evaluation.")
EVALUATION_SCORE = Attribute("gen_ai.evaluation.score.value", "The score.")
EVALUATION_LABEL = Attribute("gen_ai.evaluation.score.label", "`pass` or `fail`.")

BOUND_NAMES = {
    "environment": ENVIRONMENT.name,
    "model": MODEL_NAME.name,
    "version": MODEL_VERSION.name,
}
"""Short names in `bind` and the attributes that they stand for."""

# --- spans -------------------------------------------------------------------
RUN_SPAN = SpanName(
    "RUN <flow>",
    "SERVER",
    "A flow run, made by its process, or by the bridge where no process did or could.",
)
ATTEMPT_SPAN = SpanName(
    "ATTEMPT <n>",
    "INTERNAL",
    "What one process did of a flow run, where the bridge owns the root.",
)
CORRECTION_SPAN = SpanName(
    "CORRECTION",
    "INTERNAL",
    "A final state that came after the run's span was frozen, with a link to that span.",
)
TASK_SPAN = SpanName("<task>", "INTERNAL", "A task run.")
STAGE_SPAN = SpanName("<stage>", "INTERNAL", "A stage; sent as soon as it closes.")
LATE_SPAN = SpanName(
    "STATUS", "INTERNAL", "Holds a status that was said after its run's span had ended."
)

# --- events ------------------------------------------------------------------
STATUS_EVENT = EventName(
    "<event or template>",
    "A status message: `event=` where given, else its template. On the span and as a log event.",
)
TRANSITION_EVENT = EventName("prefect_status.transition", "A change of state, as a log event.")
EVALUATION_EVENT = EventName(
    "gen_ai.evaluation.result", "The result of a gate, as a log event, when `gen_ai.*` is bound."
)

# --- metrics -----------------------------------------------------------------
_OF_RUN = (PIPELINE_NAME, DEPLOYMENT, ENVIRONMENT)

RUN_DURATION = Metric(
    "cicd.pipeline.run.duration",
    Kind.HISTOGRAM,
    "s",
    (*_OF_RUN, RUN_STATE, RESULT, ERROR_TYPE),
    "Duration of flow runs.",
)
RUN_ERRORS = Metric(
    "cicd.pipeline.run.errors",
    Kind.COUNTER,
    "{error}",
    (*_OF_RUN, ERROR_TYPE),
    "Flow runs that failed, crashed or timed out.",
)
MESSAGES = Metric(
    "prefect_status.messages",
    Kind.COUNTER,
    "{message}",
    (*_OF_RUN, STAGE, LEVEL, TEMPLATE),
    "Status messages.",
)
STAGE_DURATION = Metric(
    "prefect_status.stage.duration",
    Kind.HISTOGRAM,
    "s",
    (*_OF_RUN, STAGE, RESULT),
    "Duration of stages.",
)
GATE_RESULTS = Metric(
    "prefect_status.gate.results",
    Kind.COUNTER,
    "{result}",
    (*_OF_RUN, GATE, DECISION),
    "Decisions of evaluation gates.",
)
GATE_SCORE_VALUE = Metric(
    "prefect_status.gate.score",
    Kind.GAUGE,
    "",
    (*_OF_RUN, GATE),
    "Latest score at an evaluation gate.",
)
GATE_THRESHOLD_VALUE = Metric(
    "prefect_status.gate.threshold",
    Kind.GAUGE,
    "",
    (*_OF_RUN, GATE),
    "Threshold that the latest score at an evaluation gate was judged against.",
    bridge_only=True,
)
PROGRESS_RATIO = Metric(
    "prefect_status.progress",
    Kind.GAUGE,
    "1",
    (*_OF_RUN, STAGE),
    "Latest progress, from 0 to 1.",
)
LAST_MESSAGE = Metric(
    "prefect_status.last_message.timestamp",
    Kind.GAUGE,
    "s",
    _OF_RUN,
    "Time of the latest status message, in seconds since 1970.",
)
TRANSITIONS = Metric(
    "prefect.flow_run.transitions",
    Kind.COUNTER,
    "{transition}",
    (*_OF_RUN, STATE_TYPE, STATE_NAME),
    "Changes of state of flow runs.",
)
TASK_DURATION = Metric(
    "prefect.task_run.duration",
    Kind.HISTOGRAM,
    "s",
    (*_OF_RUN, TASK_NAME, TASK_RESULT),
    "Duration of task runs.",
)
TASK_RETRIES = Metric(
    "prefect.task_run.retries",
    Kind.COUNTER,
    "{retry}",
    (*_OF_RUN, TASK_NAME),
    "Retries of task runs.",
)
RUN_ACTIVE = Metric(
    "cicd.pipeline.run.active",
    Kind.UP_DOWN_COUNTER,
    "{run}",
    (*_OF_RUN, RUN_STATE),
    "Flow runs that have not ended, by where they are.",
    bridge_only=True,
)
WORKER_COUNT = Metric(
    "cicd.worker.count",
    Kind.UP_DOWN_COUNTER,
    "{worker}",
    (WORK_POOL, WORKER_STATE),
    "Workers of each work pool.",
    bridge_only=True,
)
QUEUE_DURATION = Metric(
    "prefect.flow_run.queue.duration",
    Kind.HISTOGRAM,
    "s",
    _OF_RUN,
    "Time between the expected and the actual start of flow runs.",
    bridge_only=True,
)
RUNS_LATE = Metric(
    "prefect.flow_run.late",
    Kind.GAUGE,
    "{run}",
    _OF_RUN,
    "Flow runs that should have started and have not.",
    bridge_only=True,
)
OLDEST_ACTIVE_START = Metric(
    "prefect.deployment.oldest_active_start.timestamp",
    Kind.GAUGE,
    "s",
    _OF_RUN,
    "Start of the oldest flow run that has not ended, in seconds since 1970.",
    bridge_only=True,
)
LAST_SUCCESS = Metric(
    "prefect.deployment.last_success.timestamp",
    Kind.GAUGE,
    "s",
    _OF_RUN,
    "End of the latest flow run that completed, in seconds since 1970.",
    bridge_only=True,
)
LAST_RUN = Metric(
    "prefect.deployment.last_run.timestamp",
    Kind.GAUGE,
    "s",
    (*_OF_RUN, RESULT),
    "End of the latest flow run, in seconds since 1970, with its result. One series a deployment.",
    bridge_only=True,
)
LAST_STATUS = Metric(
    "prefect.deployment.last_status.timestamp",
    Kind.GAUGE,
    "s",
    (*_OF_RUN, STAGE, LEVEL, TEMPLATE),
    "Time of the latest status message, in seconds since 1970, with what it was. "
    "One series a deployment.",
    bridge_only=True,
)
EXPECTED_INTERVAL = Metric(
    "prefect.deployment.expected_interval",
    Kind.GAUGE,
    "s",
    (PIPELINE_NAME, DEPLOYMENT),
    "Time between two runs by the deployment's schedules.",
    bridge_only=True,
)
DEPLOYMENT_INFO = Metric(
    "prefect.deployment.info",
    Kind.GAUGE,
    "",
    (*_OF_RUN, MODEL_NAME, MODEL_VERSION),
    "1, with the model and version that the deployment's latest completed run bound.",
    bridge_only=True,
)
BRIDGE_EVENTS = Metric(
    "prefect_status.bridge.events",
    Kind.COUNTER,
    "{event}",
    (PATH,),
    "Events of Prefect that were new to the bridge, by the way on which they first came.",
    bridge_only=True,
)
BRIDGE_MISSED = Metric(
    "prefect_status.bridge.missed",
    Kind.COUNTER,
    "{event}",
    (),
    "Events that the websocket should have brought, and only the sweep found.",
    bridge_only=True,
)
BRIDGE_GAPS = Metric(
    "prefect_status.bridge.status_gaps",
    Kind.COUNTER,
    "{message}",
    (),
    "Status messages that are missing by their numbers.",
    bridge_only=True,
)
BRIDGE_BAD_EVENTS = Metric(
    "prefect_status.bridge.bad_events",
    Kind.COUNTER,
    "{event}",
    (REASON,),
    "Events that could not be read, by what was wrong; they were passed over.",
    bridge_only=True,
)
BRIDGE_SPANS = Metric(
    "prefect_status.bridge.spans",
    Kind.COUNTER,
    "{span}",
    (),
    "Spans that the bridge made.",
    bridge_only=True,
)
BRIDGE_EXPORTS = Metric(
    "prefect_status.bridge.exports",
    Kind.COUNTER,
    "{item}",
    (OUTCOME,),
    "Spans and log events by what became of their export.",
    bridge_only=True,
)
BRIDGE_DROPS = Metric(
    "prefect_status.bridge.drops",
    Kind.COUNTER,
    "{item}",
    (REASON,),
    "Spans and log events that were dropped, by reason.",
    bridge_only=True,
)
BRIDGE_OVERFLOW = Metric(
    "prefect_status.bridge.overflow",
    Kind.COUNTER,
    "{value}",
    (METRIC,),
    "Label values counted under `__other__`, by metric.",
    bridge_only=True,
)
BRIDGE_REDACTIONS = Metric(
    "prefect_status.bridge.redactions",
    Kind.COUNTER,
    "{secret}",
    (REASON,),
    "Secrets that were taken out of text, by kind.",
    bridge_only=True,
)
BRIDGE_OUTBOX_ITEMS = Metric(
    "prefect_status.bridge.outbox.items",
    Kind.GAUGE,
    "{item}",
    (),
    "Spans and log events that wait for the receiver's confirmation.",
    bridge_only=True,
)
BRIDGE_OUTBOX_SIZE = Metric(
    "prefect_status.bridge.outbox.size",
    Kind.GAUGE,
    "By",
    (),
    "Bytes of what waits.",
    bridge_only=True,
)
BRIDGE_OUTBOX_AGE = Metric(
    "prefect_status.bridge.outbox.age",
    Kind.GAUGE,
    "s",
    (),
    "Age of the oldest that waits.",
    bridge_only=True,
)
BRIDGE_SET_ASIDE = Metric(
    "prefect_status.bridge.outbox.set_aside",
    Kind.GAUGE,
    "{item}",
    (),
    "Spans and log events that the receiver refused, kept aside.",
    bridge_only=True,
)
BRIDGE_LAG = Metric(
    "prefect_status.bridge.lag",
    Kind.GAUGE,
    "s",
    (),
    "Time since the last complete sweep of Prefect's history.",
    bridge_only=True,
)
BRIDGE_CONNECTED = Metric(
    "prefect_status.bridge.websocket.connected",
    Kind.GAUGE,
    "",
    (),
    "1 while the websocket is connected; without it statuses show after the next sweep.",
    bridge_only=True,
)
BRIDGE_STORE_SIZE = Metric(
    "prefect_status.bridge.store.size",
    Kind.GAUGE,
    "By",
    (),
    "Bytes of the store.",
    bridge_only=True,
)
BRIDGE_HISTORY_GAP = Metric(
    "prefect_status.bridge.history_gap",
    Kind.COUNTER,
    "s",
    (),
    "Time for which the server no longer had events when the bridge came back.",
    bridge_only=True,
)
PROCESS_DROPS = Metric(
    "prefect_status.process.drops",
    Kind.COUNTER,
    "{record}",
    (REASON,),
    "What this process could not pass on, by reason.",
)
PROCESS_FLAGS = Metric(
    "prefect_status.process.flags",
    Kind.COUNTER,
    "{message}",
    (REASON,),
    "Status messages that were odd and kept, by what was odd.",
)
PROCESS_FAILURES = Metric(
    "prefect_status.process.failures",
    Kind.COUNTER,
    "{failure}",
    (REASON,),
    "Failures of our own that were kept away from the flow, by place.",
)
PROCESS_OVERFLOW = Metric(
    "prefect_status.process.overflow",
    Kind.COUNTER,
    "{value}",
    (METRIC,),
    "Label values counted under `__other__`, by metric.",
)
PROCESS_REDACTIONS = Metric(
    "prefect_status.process.redactions",
    Kind.COUNTER,
    "{secret}",
    (REASON,),
    "Secrets that were taken out of text, by kind.",
)

DURATION_BOUNDS = (
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    *(120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0),
)
"""Upper bounds of the duration histograms, in seconds: 0.1 s to 24 h."""


def declared(kind: type) -> list[object]:
    """All signals of a KIND (`Metric`, `Attribute`, ...) declared in this module, in order."""
    return [value for value in globals().values() if type(value) is kind]
