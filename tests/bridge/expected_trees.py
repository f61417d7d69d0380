"""The trees of the recorded histories: what processes sent is in brackets."""

from __future__ import annotations

PROCESS_OWNS: dict[str, str] = {
    "background.foreign": """\
(in_the_background) ×2
""",
    "background.ours": """\
(in_the_background) ×2
""",
    "background.plain": """\
in_the_background: failure ValueError
in_the_background: success
""",
    "cached.ours": """\
(RUN cached)
  (cached_task) ×2
""",
    "cached.plain": """\
RUN cached: success
  cached_task: skip
  cached_task: success
""",
    "cancelled.foreign": """\
(RUN cancelled)
  (endless)
  (load)
""",
    "cancelled.ours": """\
(RUN cancelled)
  (evaluate)
    (endless)
  (load)
""",
    "cancelled.plain": """\
RUN cancelled: cancellation
  endless: error Crashed
  load: success
""",
    "corrected.ours": """\
(RUN corrected)
  (load)
""",
    "corrected.plain": """\
RUN corrected: success
  load: success
""",
    "crashed_exit.foreign": """\
(RUN crashed-exit)
  (leaves)
""",
    "crashed_exit.ours": """\
(RUN crashed-exit)
  (evaluate)
    (leaves)
""",
    "crashed_exit.plain": """\
RUN crashed-exit: error Crashed
  leaves: error Crashed
""",
    "crashed_sigterm.foreign": """\
(RUN crashed-sigterm)
  (load)
  (terminates)
""",
    "crashed_sigterm.ours": """\
(RUN crashed-sigterm)
  (evaluate)
    (terminates)
  (load)
""",
    "crashed_sigterm.plain": """\
RUN crashed-sigterm: error Crashed
  load: success
  terminates: error Crashed
""",
    "custom_names.ours": """\
(RUN custom-names)
  (RUN promoted)
    (scored_below)
  (RUN rejected)
    (load)
""",
    "custom_names.plain": """\
RUN custom-names: success
  RUN promoted: success
    scored_below: success
  RUN rejected: failure Rejected
    load: success
""",
    "failure.foreign": """\
(RUN failure)
  (broken)
  (load)
""",
    "failure.ours": """\
(RUN failure)
  (evaluate)
    (broken)
    (load)
""",
    "failure.plain": """\
RUN failure: failure ValueError
  broken: failure ValueError
  load: success
""",
    "heartbeats.plain": """\
RUN heartbeats: success
  load: success
""",
    "killed_by_hand.foreign": """\
(load) [its parent is missing]
""",
    "killed_by_hand.ours": """\
(load) [its parent is missing]
""",
    "killed_by_hand.plain": """\

""",
    "killed_served.foreign": """\
RUN killed-served: error Crashed, incomplete
  (load)
  killed_task: error abandoned, incomplete, abandoned
""",
    "killed_served.ours": """\
RUN killed-served: error Crashed, incomplete
  (load)
  evaluate: error, incomplete
  killed_task: error abandoned, incomplete, abandoned
""",
    "killed_served.plain": """\
RUN killed-served: error Crashed, incomplete
  killed_task: error abandoned, incomplete, abandoned
  load: success
""",
    "late.ours": """\
(RUN late)
  (load)
""",
    "late.plain": """\
RUN late: success
  load: success
""",
    "mapped.ours": """\
(RUN mapped)
  (evaluate)
    (step) ×20
""",
    "mapped.plain": """\
RUN mapped: success
  step: success ×20
""",
    "paused.ours": """\
(RUN paused)
  (load) ×2
""",
    "paused.plain": """\
RUN paused: success
  load: success ×2
""",
    "retried_by_hand.foreign": """\
(RUN retried-by-hand)
  (RUN retried-by-hand)
    (work)
  (work)
""",
    "retried_by_hand.ours": """\
(RUN retried-by-hand) ×2
  (work)
""",
    "retried_by_hand.plain": """\
RUN retried-by-hand: success
  ATTEMPT 1: failure
  ATTEMPT 2: success
  work: success ×2
""",
    "retried_flow.foreign": """\
(RUN retried-flow)
  (work) ×2
""",
    "retried_flow.ours": """\
(RUN retried-flow)
  (evaluate) ×2
    (work)
""",
    "retried_flow.plain": """\
RUN retried-flow: success
  ATTEMPT 1: failure
  ATTEMPT 2: success
  work: success ×2
""",
    "retried_task.foreign": """\
(RUN retried-task)
  (fails_twice)
""",
    "retried_task.ours": """\
(RUN retried-task)
  (fails_twice)
""",
    "retried_task.plain": """\
RUN retried-task: success
  fails_twice: success
""",
    "run_deployment.foreign": """\
(RUN calling)
  (RUN called)
    (step)
  (step)
""",
    "run_deployment.ours": """\
(RUN calling)
  (RUN called)
    (step)
  (step)
""",
    "run_deployment.plain": """\
RUN calling: success
  RUN called: success
    step: success
  step: success
""",
    "set_outside.ours": """\
(RUN set-outside)
  (load) ×2
""",
    "set_outside.plain": """\
RUN set-outside: success
  load: success ×2
""",
    "subflows.foreign": """\
(RUN subflows)
  (RUN middle)
    (RUN bottom)
      (step)
    (step)
  (step)
""",
    "subflows.ours": """\
(RUN subflows)
  (evaluate)
    (RUN middle)
      (RUN bottom)
        (step)
      (step)
    (step)
""",
    "subflows.plain": """\
RUN subflows: success
  RUN middle: success
    RUN bottom: success
      step: success
    step: success
  step: success
""",
    "success.foreign": """\
(RUN success)
  (load) ×2
  (score)
""",
    "success.ours": """\
(RUN success)
  (evaluate)
    (load)
    (score)
  (promote)
    (load)
""",
    "success.plain": """\
RUN success: success
  load: success ×2
  score: success
""",
    "suspended.foreign": """\
(RUN suspended) [its parent is missing]
  (load) ×2
(load) [its parent is missing]
""",
    "suspended.ours": """\
(RUN suspended)
  (load)
(RUN suspended)
  (load) ×2
""",
    "suspended.plain": """\
RUN suspended: success
  ATTEMPT 1
  ATTEMPT 2: success
  load: skip ×2
  load: success
""",
    "tasks_left_running.ours": """\
RUN tasks-left-running: error Crashed, incomplete
  (load)
  endless: error abandoned, incomplete, abandoned ×3
  evaluate: error, incomplete
""",
    "tasks_left_running.plain": """\
RUN tasks-left-running: error Crashed, incomplete
  endless: error abandoned, incomplete, abandoned ×3
  load: success
""",
    "timed_out_flow.ours": """\
(RUN timed-out-flow)
  (evaluate)
  (load)
""",
    "timed_out_flow.plain": """\
RUN timed-out-flow: timeout TimedOut
  load: success
""",
    "timed_out_task.foreign": """\
(RUN timed-out-task)
  (load)
  slow: timeout TimedOut
""",
    "timed_out_task.ours": """\
(RUN timed-out-task)
  (load)
  (slow)
""",
    "timed_out_task.plain": """\
RUN timed-out-task: timeout TimedOut
  load: success
  slow: timeout TimedOut
""",
}

BRIDGE_OWNS: dict[str, str] = {
    "background.ours": """\
(in_the_background) ×2
""",
    "cached.ours": """\
RUN cached: success
  (ATTEMPT 1)
    (cached_task) ×2
""",
    "cancelled.ours": """\
RUN cancelled: cancellation
  (ATTEMPT 1)
    (evaluate)
      (endless)
    (load)
""",
    "corrected.ours": """\
RUN corrected: success
  (ATTEMPT 1)
    (load)
""",
    "crashed_exit.ours": """\
RUN crashed-exit: error Crashed
  (ATTEMPT 1)
    (evaluate)
      (leaves)
""",
    "crashed_sigterm.ours": """\
RUN crashed-sigterm: error Crashed
  (ATTEMPT 1)
    (evaluate)
      (terminates)
    (load)
""",
    "custom_names.ours": """\
RUN custom-names: success
  (ATTEMPT 1)
    RUN promoted: success
      (ATTEMPT 1)
        (scored_below)
    RUN rejected: failure Rejected
      (ATTEMPT 1)
        (load)
""",
    "failure.ours": """\
RUN failure: failure ValueError
  (ATTEMPT 1)
    (evaluate)
      (broken)
      (load)
""",
    "killed_by_hand.ours": """\
(load) [its parent is missing]
""",
    "killed_served.ours": """\
RUN killed-served: error Crashed, incomplete
  ATTEMPT 1: error Crashed, incomplete
    (load)
    evaluate: error, incomplete
    killed_task: error abandoned, incomplete, abandoned
""",
    "late.ours": """\
RUN late: success
  (ATTEMPT 1)
    (load)
""",
    "mapped.ours": """\
RUN mapped: success
  (ATTEMPT 1)
    (evaluate)
      (step) ×20
""",
    "paused.ours": """\
RUN paused: success
  (ATTEMPT 1)
    (load) ×2
""",
    "retried_by_hand.ours": """\
RUN retried-by-hand: success
  (ATTEMPT 1)
    (work)
  (ATTEMPT 2)
    (work)
""",
    "retried_flow.ours": """\
RUN retried-flow: success
  (ATTEMPT 1)
    (evaluate) ×2
      (work)
""",
    "retried_task.ours": """\
RUN retried-task: success
  (ATTEMPT 1)
    (fails_twice)
""",
    "run_deployment.ours": """\
RUN calling: success
  (ATTEMPT 1)
    (step)
    RUN called: success
      (ATTEMPT 1)
        (step)
""",
    "set_outside.ours": """\
RUN set-outside: success
  (ATTEMPT 1)
    (load) ×2
""",
    "subflows.ours": """\
RUN subflows: success
  (ATTEMPT 1)
    (evaluate)
      (step)
    RUN middle: success
      (ATTEMPT 1)
        (step)
        RUN bottom: success
          (ATTEMPT 1)
            (step)
""",
    "success.ours": """\
RUN success: success
  (ATTEMPT 1)
    (evaluate)
      (load)
      (score)
    (promote)
      (load)
""",
    "suspended.ours": """\
RUN suspended: success
  (ATTEMPT 1)
    (load)
  (ATTEMPT 2)
    (load) ×2
""",
    "tasks_left_running.ours": """\
RUN tasks-left-running: error Crashed, incomplete
  ATTEMPT 1: error Crashed, incomplete
    (load)
    endless: error abandoned, incomplete, abandoned ×3
    evaluate: error, incomplete
""",
    "timed_out_flow.ours": """\
RUN timed-out-flow: timeout TimedOut
  (ATTEMPT 1)
    (evaluate)
    (load)
""",
    "timed_out_task.ours": """\
RUN timed-out-task: timeout TimedOut
  (ATTEMPT 1)
    (load)
    (slow)
""",
}
