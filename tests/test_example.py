"""The parts of the example deployment: training, release, canary, and what the demo adds."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from examples.deploy_model import evaluation, faults, flow, training
from examples.deploy_model.canary import STEPS, answers, routed
from examples.deploy_model.lock import ReplayBusyError, lock_holder, replay_lock
from examples.deploy_model.release import Releases
from examples.deploy_model.scenario.folder import Folder, own_folder
from examples.deploy_model.scenario.plans import PLANS, Run
from examples.deploy_model.scenario.processes import DemoError, Process, stop_all, wait_until
from examples.deploy_model.training import Data
from prefect_otel_status import runtime
from prefect_otel_status.settings import Settings

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def data() -> Data:
    return training.load_data()


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    """Three versions, each of which is a model that only knows its name; none is linked."""
    releases = Releases(tmp_path)
    for version in ("v1", "v2", "v3"):
        releases.save(version, {"i am": version})
    return releases


@pytest.fixture
def untold() -> Iterator[None]:
    """Without telemetry, since it is the example's own doing that is tested."""
    before = runtime.get()
    runtime.use(runtime.Runtime(Settings(enabled=False)))
    yield
    runtime.use(before)


# --- training and evaluation -------------------------------------------------
def test_the_parts_of_the_data_are_the_same_each_time_and_share_nothing(data: Data) -> None:
    parts = (data.training, data.held_out, data.requests)
    again = training.load_data()

    assert [len(part) for part in parts] == [1078, 359, 360]
    assert (again.requests.pixels == data.requests.pixels).all()
    known = [{(row.tobytes(), digit) for row, digit in _rows(part)} for part in parts]
    assert not any(one & other for one, other in itertools.combinations(known, 2))


def _rows(images: training.Images) -> Iterator[tuple[object, int]]:
    return zip(images.pixels, images.digits, strict=True)


@pytest.mark.parametrize("model", ["svc", "forest", "logistic"])
def test_training_is_deterministic(data: Data, model: training.Model) -> None:
    first, second = (training.fit(model, data.training) for _ in range(2))
    assert (first.predict(data.requests.pixels) == second.predict(data.requests.pixels)).all()


def test_a_good_model_is_far_above_the_gate_and_a_weak_one_far_below(data: Data) -> None:
    threshold = 0.95
    for fault, passes in ((None, True), ("weak", False)):
        model = training.fit("svc", faults.training_images(fault, data.training))
        score = evaluation.accuracy(model, data.held_out)
        assert (score >= threshold) is passes
        assert abs(score - threshold) > 0.02


def test_the_share_of_right_answers(data: Data) -> None:
    few = data.requests.first(3)
    one_wrong = [few.digits[0], few.digits[1], few.digits[2] + 1]
    assert evaluation.share_right(one_wrong, few) == 0.6667


def test_answers_must_be_as_many_as_requests(data: Data) -> None:
    with pytest.raises(ValueError, match="longer"):
        evaluation.share_right([1], data.requests)


# --- release -----------------------------------------------------------------
def test_before_the_first_release_nothing_is_linked(tmp_path: Path) -> None:
    assert Releases(tmp_path).version_of("live") is None
    with pytest.raises(FileNotFoundError):
        Releases(tmp_path).load("live")


def test_a_release_is_promoted_and_the_version_before_is_kept(releases: Releases) -> None:
    for version, before in (("v1", None), ("v2", "v1")):
        releases.switch("candidate", version)
        assert releases.promote() == before
    assert releases.load("live") == {"i am": "v2"}
    assert (releases.home / "versions" / "v1").is_dir()


def test_a_roll_back_takes_the_candidate_to_what_is_live(releases: Releases) -> None:
    releases.switch("live", "v1")
    releases.switch("candidate", "v2")

    assert releases.roll_back() == "v1"
    assert releases.load("candidate") == releases.load("live") == {"i am": "v1"}


def test_a_roll_back_without_a_live_version_withdraws_the_candidate(releases: Releases) -> None:
    releases.switch("candidate", "v1")

    assert releases.roll_back() is None
    assert releases.version_of("candidate") is None
    assert releases.roll_back() is None


def test_a_reader_never_finds_a_link_missing_while_it_is_switched(releases: Releases) -> None:
    releases.switch("live", "v1")
    seen: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(releases.load("live")["i am"])

    reader = threading.Thread(target=_noting, args=(read, failures := []))
    reader.start()
    for version in itertools.islice(itertools.cycle(("v2", "v3")), 1_000):
        releases.switch("live", version)
    done.set()
    reader.join(10)

    assert failures == []
    assert seen
    assert seen <= {"v1", "v2", "v3"}
    assert {entry.name for entry in releases.home.iterdir()} == {"live", "versions"}


def _noting(call: object, failures: list[Exception]) -> None:
    try:
        call()  # type: ignore[operator]  # what a thread calls
    except Exception as error:
        failures.append(error)


def test_the_links_are_relative_so_that_a_home_can_be_moved(releases: Releases) -> None:
    releases.switch("live", "v1")
    moved = releases.home.rename(releases.home.with_name("moved"))
    assert Releases(moved).load("live") == {"i am": "v1"}


def test_a_version_that_was_never_saved_cannot_be_released(releases: Releases) -> None:
    releases.switch("live", "v1")
    with pytest.raises(FileNotFoundError, match="no version v9"):
        releases.switch("live", "v9")
    assert releases.version_of("live") == "v1"


def test_without_a_candidate_nothing_is_promoted(releases: Releases) -> None:
    with pytest.raises(FileNotFoundError, match="no candidate"):
        releases.promote()


def test_what_is_live_is_not_overwritten(releases: Releases) -> None:
    releases.switch("live", "v1")
    with pytest.raises(ValueError, match="v1 is live"):
        releases.save("v1", {"i am": "another"})
    assert releases.load("live") == {"i am": "v1"}


def test_a_model_that_cannot_be_saved_leaves_the_file_as_it_was(releases: Releases) -> None:
    releases.switch("candidate", "v1")
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        releases.save("v1", threading.Lock())
    assert releases.load("candidate") == {"i am": "v1"}


@pytest.mark.parametrize(
    "version", ["", ".", "..", "../v1", "/v1", "a/b", ".hidden", "v1\n", "v 1"]
)
def test_a_version_cannot_lead_out_of_its_folder(releases: Releases, version: str) -> None:
    with pytest.raises(ValueError, match="is no version"):
        releases.save(version, {})


# --- the canary --------------------------------------------------------------
def test_the_canary_takes_more_and_more_of_the_requests(data: Data) -> None:
    assert [len(routed(data.requests, share)) for share in STEPS] == [36, 180, 360]


def test_the_least_share_is_one_request(data: Data) -> None:
    assert len(routed(data.requests, 0.0001)) == 1


def test_requests_are_answered_one_by_one_as_the_model_answers_all(data: Data) -> None:
    model, few = training.fit("svc", data.training), data.requests.first(5)
    assert list(answers(model, few)) == model.predict(few.pixels).tolist()


def test_only_one_deployment_replays_at_a_time(tmp_path: Path) -> None:
    with replay_lock(tmp_path):
        assert lock_holder(tmp_path) == os.getpid()
        with pytest.raises(ReplayBusyError, match=r"holds canary\.lock"), replay_lock(tmp_path):
            pass
        assert lock_holder(tmp_path) == os.getpid()
    assert lock_holder(tmp_path) is None
    with replay_lock(tmp_path):
        pass


def test_nobody_holds_a_lock_that_was_never_taken(tmp_path: Path) -> None:
    assert lock_holder(tmp_path) is None


HOLD = """
import sys, time
from pathlib import Path
from examples.deploy_model.lock import replay_lock
with replay_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert lock_holder(tmp_path) == holder.pid
        os.kill(holder.pid, signal.SIGKILL)
    with replay_lock(tmp_path):
        assert lock_holder(tmp_path) == os.getpid()


@pytest.mark.parametrize(("attempt", "taken"), [(1, True), (2, False)])
def test_a_busy_lock_is_taken_in_the_first_attempt_only(
    tmp_path: Path, attempt: int, taken: bool
) -> None:
    with faults.lock_taken("busy", tmp_path, attempt=attempt):
        assert (lock_holder(tmp_path) is not None) is taken
    with faults.lock_taken(None, tmp_path, attempt=1):
        assert lock_holder(tmp_path) is None


@pytest.mark.usefixtures("untold")
@pytest.mark.parametrize(("fault", "passes"), [(None, True), ("weak", False)])
def test_the_canarys_gate_passes_a_good_model_and_stops_a_weak_one(
    tmp_path: Path, data: Data, fault: faults.Fault | None, passes: bool
) -> None:
    model = training.fit("svc", faults.training_images(fault, data.training))
    releases = Releases(tmp_path)
    releases.save("v1", model)
    releases.switch("candidate", "v1")

    assert flow.replay(tmp_path, STEPS[0], 0.95, None) is passes
    assert lock_holder(tmp_path) is None


# --- how a deployment ends ---------------------------------------------------
@pytest.mark.usefixtures("untold")
def test_the_end_of_a_deployment_is_its_state(releases: Releases) -> None:
    releases.switch("candidate", "v1")
    promoted = flow.promote(releases, "v1")
    releases.switch("candidate", "v2")
    rolled_back = flow.roll_back(releases, "v2")

    assert (promoted.name, promoted.message) == ("Completed", "Version v1 is live")
    assert (rolled_back.name, rolled_back.message) == ("Failed", "Version v2 missed a gate")
    assert releases.version_of("candidate") == releases.version_of("live") == "v1"


@pytest.mark.parametrize(("died", "candidate"), [("v2", "v1"), ("v3", "v2"), ("v1", "v2")])
def test_a_run_that_died_takes_only_its_own_candidate_with_it(
    releases: Releases, died: str, candidate: str
) -> None:
    releases.switch("live", "v1")
    releases.switch("candidate", "v2")
    run = SimpleNamespace(parameters={"version": died, "home": str(releases.home)})

    flow.withdraw(flow=None, flow_run=run, state=None)

    assert releases.version_of("candidate") == candidate
    assert releases.version_of("live") == "v1"


# --- the demo's own ----------------------------------------------------------
def started(folder: Path, code: str) -> Process:
    return Process("helper", ("-c", code), env=os.environ, folder=folder)


def test_stopping_a_process_stops_what_it_started(tmp_path: Path) -> None:
    sleep = "import time; time.sleep(60)"
    stubborn = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{sleep}'])"
    process = started(tmp_path, f"{stubborn}; print('up', flush=True); {sleep}")
    wait_until("Its start", process.log.read_text, seconds=20)

    stop_all([process])

    assert not process.is_group_alive()
    process.stop()


def test_waiting_ends_with_the_process_that_it_needs(tmp_path: Path) -> None:
    process = started(tmp_path, "print('no room'); raise SystemExit(3)")
    with pytest.raises(DemoError, match=r"The helper ended with exit code 3\.") as caught:
        wait_until("It", lambda: False, seconds=20, needs=[process])
    assert caught.value.tail() == "no room"


def test_waiting_has_an_end() -> None:
    with pytest.raises(DemoError, match=r"The dawn did not happen within 0 s\.") as caught:
        wait_until("The dawn", lambda: False, seconds=0)
    assert caught.value.tail() == ""


def test_last_words_are_the_last_before_the_kill() -> None:
    run = Run(PLANS[-1], "id", killed_at=5)
    assert run.last_words is None

    run.statuses = [{"timestamp": time} for time in (1, 4, 6, 7)]

    assert run.last_words == {"timestamp": 4}


def test_the_demos_folder_is_emptied_and_nobody_elses(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    demo = tmp_path / ".demo"
    (demo / "old" / "run").mkdir(parents=True)
    (demo / "link").symlink_to(kept)

    with own_folder(demo) as folder:
        assert list(folder.path.iterdir()) == []
        with pytest.raises(DemoError, match="Another demo is running"), own_folder(demo):
            pass
    assert kept.is_dir()
    with own_folder(demo):
        pass


def test_the_demos_processes_know_nothing_of_the_callers_setup(tmp_path: Path) -> None:
    caller = {"PATH": "/bin", "PREFECT_API_KEY": "k", "OTEL_SDK_DISABLED": "true", "HOME": "/h"}

    found = Folder(tmp_path).environment("http://127.0.0.1:1/api", caller)

    assert found.items() >= {("PATH", "/bin"), ("HOME", "/h"), ("PYTHONPATH", str(ROOT))}
    assert found["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
    assert not {"PREFECT_API_KEY", "OTEL_SDK_DISABLED"} & set(found)
