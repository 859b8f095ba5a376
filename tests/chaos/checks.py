"""What must hold after a disturbed sweep. Each check returns what is wrong, in words; nothing where all is well."""

import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import torch
from mlflow.entities import Run

from jit_sweep.doctor.replay import every_event, judged, replayed
from jit_sweep.ledger.event_records import EventKind, EventRow
from jit_sweep.ledger.records import AttemptRow, EntryState, SweepState
from jit_sweep.tracking.client import EXPERIMENT, open_client
from tests.chaos.disturb import Disturbed
from tests.chaos.disturbed_sweep import NAME
from tests.chaos.reference import BareVerdict, Reference
from trainables.report import Rung, Scored
from trainables.storage.checkpoint import Store

MOST_RUNS = 1000
DONE_EXITS = frozenset({0, 1})
"""Of a command that was not killed: done, or ended before its trials did."""
KILLED = 128 + signal.SIGKILL
"""Of a command that followed a job whose driver was killed."""


def all_trials_stand(sweep: Disturbed, reference: Reference) -> list[str]:
    """The sweep is done, and so is each trial: scored, or stopped early."""
    rows = sweep.reader.entries(NAME)
    wrong = [
        f"{row.trial_id} is {row.state}: {row.why}" for row in rows if row.state not in (EntryState.DONE, EntryState.PRUNED)
    ]
    if len(rows) != len(reference.plan.entries):
        wrong.append(f"{len(rows)} entries, planned {len(reference.plan.entries)}")
    if sweep.reader.sweep(NAME).state is not SweepState.DONE:
        wrong.append(f"the sweep is {sweep.reader.sweep(NAME).state}")
    return wrong


def commands_end_without_a_traceback(sweep: Disturbed, _: Reference) -> list[str]:
    """Commands that were not killed say in their own words how they ended."""
    known = DONE_EXITS | ({KILLED} if any(each.kill.kind == "driver" for each in sweep.struck) else set())
    wrong = [f"a command ended with {code}" for code in sweep.exits if code not in known]
    if sweep.exits[-1:] != [0]:
        wrong.append(f"the last command ended with {sweep.exits[-1:]}")
    said = sweep.said.read_text()
    if "Traceback" in said:
        wrong.append(f"a traceback: {said[said.index('Traceback') :][:2000]}")
    return wrong


def finished_trials_are_kept(sweep: Disturbed, _: Reference) -> list[str]:
    """A score that was there at a kill is there at the end, and nothing is trained once it is scored."""
    scores = set(map(repr, sweep.reader.scores(NAME)))
    lost = [score.trial_id for each in sweep.struck for score in each.scores if repr(score) not in scores]
    wrong = [f"the score of {trial_id} is gone or another" for trial_id in dict.fromkeys(lost)]
    scored: set[str] = set()
    for event in sweep.events:
        if event.kind is EventKind.SCORED:
            scored.add(event.trial_id or "")
        if event.kind in (EventKind.BEGUN, EventKind.PROGRESS) and event.trial_id in scored:
            wrong.append(f"{event.trial_id} is scored, and then: {event.kind} of attempt {event.attempt} (event {event.id})")
    last = [event for event in sweep.events if event.id > sweep.last_event and event.kind is not EventKind.FINISHED]
    return wrong + [f"the command on a finished sweep: {event.kind} (event {event.id})" for event in last]


def little_is_repeated(sweep: Disturbed, _: Reference) -> list[str]:
    """An attempt goes on from what its trial had last committed."""
    committed: defaultdict[str, int] = defaultdict(int)
    wrong = []
    for event in sweep.events:
        trial_id, images = event.trial_id or "", event.data.get("images", 0)
        if event.kind is EventKind.PHASE and images < committed[trial_id]:
            wrong.append(f"attempt {event.attempt} of {trial_id} begins at {images}, {committed[trial_id]} were committed")
        if event.kind is EventKind.COMMITTED:
            committed[trial_id] = max(committed[trial_id], images)
    return wrong


def weights_are_bit_identical(sweep: Disturbed, reference: Reference) -> list[str]:
    """Every trial that reached its end or the rung it was stopped at, with averages and the optimiser's state."""
    store, wrong = Store(sweep.world.storage), []
    for row in sweep.reader.entries(NAME):
        commit = store.latest(row.trial_id, most_images=row.images)
        wanted = row.images if row.state is EntryState.DONE else _stopped_at(sweep.reader.attempts(NAME), row.trial_id)
        if commit is None or commit.images != wanted:
            wrong.append(f"{row.trial_id} has its last checkpoint at {commit and commit.images}, should have {wanted}")
            continue
        found, whole = store.read(commit).tensors, reference.weights(row.trial_id, wanted)
        names = {part: tensors.keys() for part, tensors in found.items()}
        if names != {part: tensors.keys() for part, tensors in whole.items()}:
            wrong.append(f"{row.trial_id} has other tensors")
            continue
        differing = [
            f"{part}.{name}"
            for part, tensors in whole.items()
            for name, tensor in tensors.items()
            if not torch.equal(tensor, found[part][name])
        ]
        if differing:
            wrong.append(f"{row.trial_id} at {wanted} images differs in {len(differing)} tensors, such as {differing[0]}")
    return wrong


def decisions_are_kept(sweep: Disturbed, _: Reference) -> list[str]:
    """What the ledger had decided at a kill stands at the end, and the event log has each verdict once."""
    final = sweep.reader.verdicts(NAME)
    gone = [verdict for each in sweep.struck for verdict in each.verdicts if verdict not in final]
    told = Counter((each.race, each.verdict.racer, each.verdict.gate) for each in judged(every_event(sweep.reader, NAME)))
    wrong = [f"a verdict is gone or another: {verdict}" for verdict in dict.fromkeys(gone)]
    wrong += [f"judged {count} times: {key}" for key, count in told.items() if count > 1]
    if set(told) != {(verdict.race, verdict.racer, verdict.gate) for verdict in final}:
        wrong.append("the event log has other verdicts than the ledger")
    return wrong


def a_replay_decides_the_same(sweep: Disturbed, reference: Reference) -> list[str]:
    """The other events of the log give the same verdicts, in the same order."""
    events = every_event(sweep.reader, NAME)
    recorded, again = judged(events), replayed(events, reference.plan.spec.scheduler)
    return [] if recorded == again else [f"recorded {recorded}, replayed {again}"]


def decisions_are_those_of_an_undisturbed_run(sweep: Disturbed, reference: Reference) -> list[str]:
    """A synchronous scheduler on a fixed list."""
    verdicts = {BareVerdict(verdict.racer, verdict.gate, verdict.go_on) for verdict in sweep.reader.verdicts(NAME)}
    return [f"only one of both has {each}" for each in sorted(verdicts ^ reference.verdicts)]


def mlflow_has_every_point_once(sweep: Disturbed, _: Reference) -> list[str]:
    """One run for the sweep and one for each trial that began; in each series one point a step, and all of the ledger's."""
    runs = _runs(sweep)
    trials = [run for run in runs if run.data.tags["jit_sweep.kind"] == "trial"]
    begun = {attempt.trial_id for attempt in sweep.reader.attempts(NAME)}
    named = Counter(run.data.tags["trial"] for run in trials)
    wrong = [f"{count} runs of {trial}" for trial, count in named.items() if count > 1]
    if set(named) != begun or len(runs) != len(trials) + 1:
        wrong.append(f"{len(runs)} runs for {len(begun)} trials and the sweep")
    for run in trials:
        wrong += _wrong_points(sweep, run)
    return wrong


CHECKS: tuple[Callable[[Disturbed, Reference], list[str]], ...] = (
    all_trials_stand,
    commands_end_without_a_traceback,
    finished_trials_are_kept,
    little_is_repeated,
    weights_are_bit_identical,
    decisions_are_kept,
    a_replay_decides_the_same,
    decisions_are_those_of_an_undisturbed_run,
    mlflow_has_every_point_once,
)


def all_wrong(sweep: Disturbed, reference: Reference) -> dict[str, list[str]]:
    """What each check that fails has found."""
    found = {check.__name__: check(sweep, reference) for check in CHECKS}
    return {name: wrong for name, wrong in found.items() if wrong}


def _stopped_at(attempts: Sequence[AttemptRow], trial_id: str) -> int:
    return max(attempt.images for attempt in attempts if attempt.trial_id == trial_id)


def _runs(sweep: Disturbed) -> list[Run]:
    client = open_client(sweep.world.mlflow.url)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return [
        run
        for run in client.search_runs([experiment.experiment_id], max_results=MOST_RUNS)
        if run.data.tags["jit_sweep.identity"].endswith(_identity(sweep))
    ]


def _identity(sweep: Disturbed) -> str:
    """What tells this sweep from those of its name in other homes: when its ledger has it from."""
    return f"-{round(sweep.reader.sweep(NAME).created_at * 1000)}"


def _wrong_points(sweep: Disturbed, run: Run) -> list[str]:
    client, trial_id = open_client(sweep.world.mlflow.url), run.data.tags["trial"]
    wrong = []
    for metric in run.data.metrics:
        steps = Counter(point.step for point in client.get_metric_history(run.info.run_id, metric))
        wrong += [f"{trial_id}: {count} points of {metric} at {step}" for step, count in steps.items() if count > 1]
    told = [event for event in sweep.events if event.trial_id == trial_id]
    for name, value in _last_values(told).items():
        if run.data.metrics.get(name) != value:
            wrong.append(f"{trial_id}: {name} is {run.data.metrics.get(name)}, the ledger has {value}")
    return wrong


def _last_values(events: Sequence[EventRow]) -> dict[str, float]:
    """The last point of each series that the ledger gives."""
    last: dict[str, float] = {}
    for event in events:
        if event.kind is EventKind.RUNG:
            last |= {f"rung/{name}": value for name, value in Rung.model_validate(event.data).by_name.items()}
        if event.kind is EventKind.SCORED:
            last |= Scored.model_validate(event.data).by_name
    return last
