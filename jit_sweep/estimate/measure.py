"""How fast the shapes of a planned sweep are on this machine. Free of torch: each shape is measured in a process of its own,
once, and remembered in the home's `probes.json`."""

import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from jit_sweep.errors import UserError
from jit_sweep.estimate.simulate import Estimate, estimate, largest_proposals
from jit_sweep.home import Home
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.lanes import NodeSize, lanes_held
from jit_sweep.plan.tuned_arms import still_to_come
from jit_sweep.spec.sweep import Resources, SweepSpec
from trainables.config.average import RAW
from trainables.config.diffusion import DiffusionConfig
from trainables.config.fields import Frozen, content_hash
from trainables.config.shape import SpeedShape, measured_as, speed_shape
from trainables.config.trial import TrialConfig
from trainables.training.measurement import Measured, ProbeRequest

MEASURE = (sys.executable, "-m", "trainables.training.probe")
TIMEOUT_S = 600.0
"""For one shape: compiling a large model takes two minutes."""
_CPU_INFO = Path("/proc/cpuinfo")


class NotMeasured(Exception):
    """Why a shape could not be measured, in one line."""


@dataclass(frozen=True)
class Machine:
    """Where probes are measured."""

    device: str
    """The name of what trials are trained on, such as `NVIDIA H100 80GB HBM3`."""
    cpus: int
    gpus: int


class CachedMeasurement(Frozen):
    """A measurement as `probes.json` keeps it."""

    request: ProbeRequest
    device: str
    measured: Measured


class MeasurementCache:
    """The measurements in a home, by shape, device and version of torch. What cannot be read of it is made anew."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._file = home.probes

    def all(self) -> dict[str, CachedMeasurement]:
        try:
            stored = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        rows = {key: _remembered(row) for key, row in stored.items()} if isinstance(stored, dict) else {}
        return {key: row for key, row in rows.items() if row is not None}

    def put(self, key: str, measurement: CachedMeasurement) -> None:
        """Remember at once: the next shape may take minutes, or an interrupt. UserError: the home cannot be written."""
        self._home.make()
        rows = {name: row.model_dump(mode="json") for name, row in {**self.all(), key: measurement}.items()}
        draft = self._file.with_suffix(f".{secrets.token_hex(4)}")
        draft.write_text(json.dumps(rows, indent=1))
        draft.replace(self._file)


@dataclass(frozen=True)
class Prober:
    """Measures the shapes that its memory does not hold."""

    memory: MeasurementCache
    machine: Machine
    tell: Callable[[str], None]
    """Called with a line before each measurement."""
    command: Sequence[str] = MEASURE
    timeout_s: float = TIMEOUT_S
    may_measure: bool = True

    def measured(self, wanted: Mapping[str, tuple[str, ProbeRequest]]) -> dict[str, Measured]:
        """Measurements by key; a request comes with words for its shape.

        UserError: shapes that cannot be measured here; the others are remembered. NotMeasured: some are unknown, and none may
        be measured.
        """
        known = {key: row.measured for key, row in self.memory.all().items() if key in wanted}
        missing = {key: asked for key, asked in wanted.items() if key not in known}
        if missing and not self.may_measure:
            raise NotMeasured(f"{len(missing)} of {len(wanted)} shapes are not measured")
        faults: list[str] = []
        for count, (key, (label, request)) in enumerate(missing.items(), start=1):
            self.tell(f"measuring shape {count} of {len(missing)}: {label}")
            try:
                known[key] = measured_by(self.command, request, timeout_s=self.timeout_s)
            except NotMeasured as error:
                faults.append(f"  {label}: {error}")
            else:
                self.memory.put(key, CachedMeasurement(request=request, device=self.machine.device, measured=known[key]))
        if faults:
            raise UserError("\n".join(["every shape of the sweep must be measured, and these were not:", *faults]))
        return known


def probe(plan: Plan, home: Home, *, compiled: bool, tell: Callable[[str], None]) -> Estimate:
    """What a plan will take by the speed of its shapes here; those not yet known are measured.

    `compiled`: measure compiled steps where the sweep has them; else eager ones, which are slower. UserError: a shape cannot be
    measured here.
    """
    machine = machine_of(plan.spec)
    return probed(plan, Prober(MeasurementCache(home), machine, tell), compiled=compiled)


def remembered(plan: Plan, home: Home) -> Estimate | None:
    """What a plan will take by what this home remembers alone; None where it does not know every shape, or not this machine."""
    try:
        prober = Prober(MeasurementCache(home), machine_of(plan.spec), lambda line: None, may_measure=False)
        return probed(plan, prober, compiled=True)
    except (NotMeasured, UserError):
        return None


def probed(plan: Plan, prober: Prober, *, compiled: bool) -> Estimate:
    """The estimate of a plan by what a prober measures or remembers. UserError: a shape cannot be measured."""
    entries = [*plan.entries, *still_to_come(plan), *largest_proposals(plan).values()]
    trials = {entry.trial_id: entry.trial for entry in entries}
    requests = [(entry, request_of(plan.spec, entry, compiled=compiled, trials=trials)) for entry in entries]
    keys = {entry.key: key_of(request, prober.machine) for entry, request in requests}
    wanted: dict[str, tuple[str, ProbeRequest]] = {}
    for entry, request in requests:
        wanted.setdefault(keys[entry.key], (entry.label, request))
    measured = prober.measured(wanted)
    lanes = lanes_of(plan.spec.resources, prober.machine, evaluator=plan.spec.evaluator)
    return estimate(plan, lambda entry: keys[entry.key], lambda entry: measured[keys[entry.key]], lanes=lanes)


def measured_by(command: Sequence[str], request: ProbeRequest, *, timeout_s: float) -> Measured:
    """The measurement that a probe process prints. NotMeasured: it fails, prints none, or takes longer than `timeout_s`."""
    try:
        done = subprocess.run(
            command, input=request.model_dump_json(), capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"a probe must answer within {timeout_s:g} s, and did not; try fewer images a batch") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["nothing"]
        raise NotMeasured(f"the probe ended with {done.returncode} and said: {lines[-1]}")
    try:
        return Measured.model_validate_json((done.stdout.strip().splitlines() or [""])[-1])
    except ValidationError:
        raise NotMeasured(f"a probe must print its measurement, got {done.stdout.strip()[-200:]!r}") from None


def request_of(
    spec: SweepSpec, entry: Entry, *, compiled: bool = True, trials: Mapping[str, TrialConfig] = MappingProxyType({})
) -> ProbeRequest:
    """What to measure for an entry: one worker's part, without what its speed does not depend on. `trials`: of the same plan,
    by id, among which may be what guides its samples."""
    trial, resources, named = entry.trial, spec.resources, entry.evaluation.guide
    same = {"seed": 0, "weights": RAW, "t_eps_sample": DiffusionConfig().t_eps_train}
    return ProbeRequest(
        trial=measured_as(trial, workers=resources.workers, compiled=compiled and trial.compile),
        evaluation=entry.evaluation.model_copy(update=same),
        guide=trials.get(named.trial) if named is not None else None,
        data=spec.data.address,
        holdout=spec.data.holdout,
        workers=resources.workers,
        threads=resources.threads,
        memory_bytes=resources.memory_bytes,
        micro_batch=resources.micro_batch,
        activation_checkpointing=resources.activation_checkpointing,
    )


def key_of(request: ProbeRequest, machine: Machine) -> str:
    """The hash that names a measurement: of the request without the data's address, the device and torch's version."""
    unread = {"data", "holdout", *(() if request.guide is not None else ("guide",))}  # older measurements know of none
    shape = request.model_dump(mode="json", exclude=unread)
    return content_hash({"shape": shape, "device": machine.device, "torch": version("torch")})


def speeds_here(spec: SweepSpec, home: Home) -> dict[SpeedShape, float]:
    """Images a second of training by a trial's shape, as probes have measured on this machine with as many workers and threads.

    Empty where the sweep wants a GPU and this machine has none.
    """
    try:
        device = machine_of(spec).device
    except UserError:
        return {}
    rows = [row for row in MeasurementCache(home).all().values() if row.device == device]
    lane = (spec.resources.workers, spec.resources.threads)
    return dict(_speed(row) for row in rows if (row.request.workers, row.request.threads) == lane)


def machine_of(spec: SweepSpec) -> Machine:
    """This machine. UserError: the sweep wants a GPU, and there is none."""
    names = _gpu_names()
    if spec.resources.gpus and not names:
        rule = f"`--probe` must run where the sweep's GPUs are, got gpus={spec.resources.gpus:g} on a machine without one"
        raise UserError(f"{rule}; run it there, or plan without --probe")
    return Machine(names[0] if spec.resources.gpus else _cpu_name(), cpus=os.cpu_count() or 1, gpus=len(names))


def lanes_of(resources: Resources, machine: Machine, *, evaluator: Resources | None = None) -> int:
    """Trials that run at once: `resources.concurrent`, else as many as this machine holds, at least one."""
    if resources.concurrent is not None:
        return resources.concurrent
    return max(1, lanes_held(resources, [NodeSize(cpus=machine.cpus, gpus=machine.gpus)], evaluator=evaluator))


def _speed(row: CachedMeasurement) -> tuple[SpeedShape, float]:
    """The shape of a whole trial, and its images a second over all workers: a probe measures one of them."""
    workers, trial = row.request.workers, row.request.trial
    whole = trial.model_copy(update={"batch_size": trial.batch_size * workers})
    return speed_shape(whole), row.measured.images_per_second * workers


def _remembered(row: Any) -> CachedMeasurement | None:
    try:
        return CachedMeasurement.model_validate(row)
    except ValidationError:
        return None


def _gpu_names() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    asked = [program, "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    return _lines(done.stdout.splitlines()) if done.returncode == 0 else []


def _cpu_name() -> str:
    lines = _CPU_INFO.read_text().splitlines() if _CPU_INFO.exists() else []
    named = _lines(line.partition(":")[2] for line in lines if line.startswith("model name"))
    return f"{named[0] if named else platform.machine()}, {os.cpu_count()} cores"


def _lines(texts: Iterable[str]) -> list[str]:
    return [text.strip() for text in texts if text.strip()]
