"""`validate` and `plan`: everything that can be known before anything is started."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from jit_sweep.cli import power
from jit_sweep.cli.edits import difference_lines, print_difference
from jit_sweep.cli.output import console, print_json
from jit_sweep.cli.tables import Column, cell_column, say, table_of
from jit_sweep.cli.token_shapes import print_token_rows, token_rows
from jit_sweep.errors import UserError
from jit_sweep.home import Home, on_this_machine
from jit_sweep.plan.budget_buys import Speeds, bought, budget_faults
from jit_sweep.plan.budget_remarks import soundness_remarks
from jit_sweep.plan.clamp_remarks import clamp_remarks
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.foundations import Foundation, earlier_flops, foundations
from jit_sweep.plan.images import change_since_prepared, with_prepared
from jit_sweep.plan.near_duplicates import near_duplicate_remarks
from jit_sweep.plan.plan import faults_beside, plan
from jit_sweep.plan.races import race_ranges
from jit_sweep.plan.sampling_remarks import sampling_remarks
from jit_sweep.plan.scheduler_remarks import remarks
from jit_sweep.plan.search import proposals, searches
from jit_sweep.plan.tuned_arms import still_to_come, tuning_costs
from jit_sweep.plan.waiting import waiting_lines
from jit_sweep.spec.read import UnsoundFile, read_spec
from jit_sweep.spec.stages import SearchSpec
from jit_sweep.spec.sweep import SweepSpec
from trainables.config.fields import counted
from trainables.config.trial import id_by_seed
from trainables.networks.cost import forward_flops, parameter_count, training_flops
from trainables.report import ExitCode

if TYPE_CHECKING:
    from jit_sweep.estimate.simulate import Estimate

MOST_ROWS = 200
"""Trials that the table shows."""


@dataclass(frozen=True)
class ProbeOptions:
    """How `plan` estimates what a sweep takes."""

    home: Home
    """Where measurements are remembered."""
    compiled: bool = True
    """Measure compiled steps where the sweep has them."""
    price: float | None = None
    """Of a device-hour, in any currency."""

    def estimate(self, plan: Plan) -> "Estimate":
        """UserError: a shape of the sweep cannot be measured here."""
        from jit_sweep.estimate.measure import probe  # it needs the ledger's records, which a plain plan does without

        return probe(plan, self.home, compiled=self.compiled, tell=console(stderr=True).print)


def planned(file: str, home: Home, *, probe: ProbeOptions | None = None) -> Plan:
    """A sweep file, resolved, on the prepared set of its images where the storage has it. `probe`: measure what it needs.

    UserError: whatever is wrong with it.
    """
    try:
        spec = on_this_machine(read_spec(file))
    except UnsoundFile as error:
        rest = error.found.rest and on_this_machine(error.found.rest)
        raise UserError("\n".join([str(error), *faults_beside(error.found._replace(rest=rest))])) from None
    return resolved(spec, home, source=file, probe=probe)


def resolved(spec: SweepSpec, home: Home, *, source: str, probe: ProbeOptions | None = None) -> Plan:
    """A sweep, resolved, on the prepared set of its images where the storage has it. UserError: it cannot be trained."""
    spec = _on_prepared_images(spec, home, source=source)
    promised = _promised(spec, home)
    found = plan(spec, source=source, speeds=_speeds(spec, home, probe, source=source), promised=promised)
    return found if found.data.is_prepared else _with_change(found, home)


def _speeds(spec: SweepSpec, home: Home, probe: ProbeOptions | None, *, source: str) -> Speeds | None:
    """What arms are matched by; None where that is no matter of speed."""
    if spec.budget.matched != "device_seconds":
        return None
    if probe is not None:
        return probe.estimate(plan(spec, source=source)).speeds
    from jit_sweep.estimate.measure import speeds_here  # it needs the ledger's records

    return speeds_here(spec, home)


def _promised(spec: SweepSpec, home: Home) -> dict[str, int]:
    """What the arms of a sweep that has been launched were given by the speeds of then: other probes change nothing of it."""
    locations = home.locations(spec)
    if spec.budget.matched != "device_seconds" or locations.lacks_ledger:
        return {}
    from jit_sweep.ledger.connect import open_engine  # starts SQL
    from jit_sweep.ledger.promised import promised_images
    from jit_sweep.ledger.reader import LedgerReader

    return promised_images(LedgerReader(open_engine(locations.ledger, create=False)), spec)


def _on_prepared_images(spec: SweepSpec, home: Home, *, source: str) -> SweepSpec:
    """UserError: a store does not answer, which to ask once more would double the wait."""
    try:
        return with_prepared(spec, home.locations(spec).storage)
    except TimeoutError as error:
        raise UserError(f"{source}: data: {error}") from None
    except (OSError, ValueError, ImportError):
        return spec  # the plan asks for the data again, and tells this beside what else is wrong


def _with_change(plan: Plan, home: Home) -> Plan:
    """With a warning where the images were prepared before, and have changed."""
    change = change_since_prepared(plan.spec.data, home.locations(plan.spec).storage)
    return plan.model_copy(update={"data": plan.data.model_copy(update={"warnings": (change,)})}) if change else plan


def check_affordable(plan: Plan, speeds: Speeds, *, source: str) -> None:
    """UserError: by these measured speeds the budget brings no trial to its end."""
    if faults := budget_faults(plan.spec, plan.whole, speeds):
        raise UserError("\n".join(f"{source}: {fault}" for fault in faults))


def validate(file: str, home: Home, *, as_json: bool) -> int:
    """Print the name and size of a sound sweep file. UserError: whatever is wrong with it."""
    plan = planned(file, home)
    proposed = sum(proposals(plan).values()) + len(still_to_come(plan))
    if as_json:
        row = {"name": plan.spec.name, "fingerprint": plan.fingerprint, "trials": len(plan.entries), "proposed": proposed}
        print_json("validate", [{**row, "remarks": soundness_remarks(plan)}])
    else:
        later = f" and {proposed} proposed later" if proposed else ""
        console().print(f"{file}: valid; sweep {plan.spec.name!r} has {len(plan.entries)} trials{later}")
        for line in soundness_remarks(plan):
            say(console(), line)
    return ExitCode.DONE


def show(file: str, home: Home, *, as_json: bool, probe: ProbeOptions | None = None, by_seeds: bool = False) -> int:
    """Print a sweep file's plan, what it will be able to tell, what it changes of what the home's ledger holds, and with
    `probe` what it takes. `by_seeds`: what other numbers of seeds could tell, too.

    UserError: whatever is wrong with it, or no measurement.
    """
    plan = planned(file, home, probe=probe)
    estimate = probe.estimate(plan) if probe is not None else None
    speeds = estimate.speeds if estimate is not None else {}
    check_affordable(plan, speeds, source=file)
    price = plan.spec.budget.price_per_gpu_hour if probe is None or probe.price is None else probe.price
    noise = power.known_noise(plan, home.locations(plan.spec))
    if as_json:
        probed = {}
        if probe is not None and estimate is not None:
            from jit_sweep.cli.estimate import estimate_json  # starts SQL

            probed = {"probe": estimate_json(estimate, price=price)}
        changed = difference_lines(plan, home.locations(plan.spec)) if plan.data.is_prepared else []
        tokens = token_rows(plan, ranked=probe is not None)
        facts = {**_json_facts(plan, speeds), "tokens": tokens, "power": power.power_rows(plan, noise)}
        print_json("plan", _json_rows(plan), **facts, changes=changed, **probed)
        return ExitCode.DONE
    screen = console()
    _print_plan(plan, screen, speeds)
    print_token_rows(token_rows(plan, ranked=probe is not None), screen)
    power.print_power(plan, noise, screen)
    if by_seeds:
        power.print_power_by_seeds(plan, noise, screen)
    if probe is not None and estimate is not None:
        from jit_sweep.cli.estimate import print_estimate

        print_estimate(estimate, screen, price=price)
    else:
        say(screen, _time_in_all(plan, home))
    if plan.data.is_prepared:
        print_difference(plan, home.locations(plan.spec))
    return ExitCode.DONE


def _time_in_all(plan: Plan, home: Home) -> str:
    """By the measurements that the home remembers."""
    if home.probes.exists():
        from jit_sweep.cli.estimate import in_all  # starts SQL, like what follows
        from jit_sweep.estimate.measure import remembered

        if (estimate := remembered(plan, home)) is not None:
            return f"time: {in_all(estimate)}, by the speed measured here"
    return "time: not measured here; --probe measures a few steps of each shape, and says how long all takes"


def _json_rows(plan: Plan) -> list[dict[str, Any]]:
    """The planned trials, then a row for each that a search will propose, and for each that an arm must be tuned or chosen
    for before."""
    later = [
        {"stage": stage, "origin": "search", "state": "proposed later", "from": search.start, "sampler": search.sampler}
        for stage, search in searches(plan.spec).items()
        for _ in range(proposals(plan)[stage])
    ]
    tuned = [
        {"stage": each.stage, "origin": each.origin, "state": _comes(each, plan), **each.arm, "seed": each.seed}
        for each in still_to_come(plan)
    ]
    return [*trial_rows(plan.entries, _earlier(plan)), *later, *tuned]


def _earlier(plan: Plan) -> dict[tuple[int, str], int]:
    return earlier_flops(plan.entries) if plan.spec.budget.count_earlier_stages else {}


def _foundations(plan: Plan) -> list[Foundation]:
    return foundations(plan.entries, is_counted=plan.spec.budget.count_earlier_stages)


def _comes(entry: Entry, plan: Plan) -> str:
    """How a trial comes about that is not planned yet."""
    return "planned later" if entry.stage in plan.waiting else "tuned later"


def _json_facts(plan: Plan, speeds: Speeds) -> dict[str, Any]:
    return {
        "name": plan.spec.name,
        "fingerprint": plan.fingerprint,
        "left_out": plan.left_out,
        "races": [each._asdict() for each in race_ranges(plan)],
        "tuning": [each._asdict() for each in tuning_costs(plan)],
        "foundations": [each._asdict() for each in _foundations(plan)],
        "choices": [choice.model_dump(mode="json") for choice in plan.choices],
        "scheduler": remarks(plan),
        "budget": bought(plan, speeds),
        "sampling": sampling_remarks(plan),
        "remarks": [*near_duplicate_remarks(plan), *soundness_remarks(plan)],
    }


def _print_plan(plan: Plan, screen: Console, speeds: Speeds) -> None:
    """The table of the planned trials, and a line for each thing that it does not show."""
    _print_table(plan, screen)
    for stage, count in plan.left_out.items():
        say(screen, f"{plan.spec.stage_title(stage)}: {counted(count, 'cell')} left out, above the grid's limits")
    for stage, search in searches(plan.spec).items():
        title, proposed = plan.spec.stage_title(stage), counted(proposals(plan)[stage], "trial")
        say(screen, f"{title}: {proposed} proposed later by {search.sampler} from the {_start(search)}")
    later = [
        *waiting_lines(plan),
        *((each.stage, each.line) for each in _foundations(plan)),
        *((each.stage, str(each)) for each in race_ranges(plan)),
        *((each.stage, str(each)) for each in tuning_costs(plan)),
    ]
    for stage, line in later:
        say(screen, f"{plan.spec.stage_title(stage)}: {line}")
    sound = (*clamp_remarks(plan), *near_duplicate_remarks(plan), *soundness_remarks(plan))
    for line in (*bought(plan, speeds), *remarks(plan), *sampling_remarks(plan), *sound):
        say(screen, line)


def trial_rows(entries: Iterable[Entry], earlier: Mapping[tuple[int, str], int]) -> Iterator[dict[str, Any]]:
    """Planned trials with what they cost; what the seeds of a cell share is worked out once. `earlier`: FLOPs of earlier stages
    that count in an arm's, by stage and label."""
    cells: dict[tuple[str, str], tuple[Callable[[int], str], dict[str, Any]]] = {}
    for entry in entries:
        cell = (entry.stage_id, entry.label)
        if cell not in cells:
            cells[cell] = id_by_seed(entry.trial), _cost_of(entry, earlier.get((entry.stage, entry.label), 0))
        id_of, cost = cells[cell]
        yield {
            "stage": entry.stage,
            "trial": id_of(entry.seed),
            "origin": entry.origin,
            **entry.arm,
            "seed": entry.seed,
            **cost,
        }


def _cost_of(entry: Entry, earlier: int) -> dict[str, Any]:
    """Of a trial, and FLOPs of earlier ones that count; what a trunk of pixels sees is no token."""
    trial, seen = entry.trial, entry.trial.grid**2
    patches = trial.model.sees_patches
    return {
        "parameters": parameter_count(trial),
        "tokens": seen if patches else None,
        "pixels": None if patches else seen,
        "class_tokens": trial.model.class_tokens if patches else 0,
        "token_dim": trial.token_dim if patches else None,
        "forward_gflops": forward_flops(trial) / 1e9,
        "images": entry.images,
        "train_tflops": training_flops(trial, images=entry.images) / 1e12,
        **({"earlier_tflops": earlier / 1e12} if earlier else {}),
        "evaluation": entry.evaluation.id,
    }


def _print_table(plan: Plan, screen: Console) -> None:
    entries, rows = plan.entries[:MOST_ROWS], list(trial_rows(plan.entries[:MOST_ROWS], _earlier(plan)))
    cells, common = cell_column([entry.arm for entry in entries])
    columns = [
        Column("stage", [str(entry.stage) for entry in entries], 5, right=True),
        Column("trial", [str(row["trial"]) for row in rows]),
        cells,
        Column("seed", [str(entry.seed) for entry in entries], right=True),
        Column("parameters", [f"{row['parameters']:,}" for row in rows], 2, right=True),
        Column("tokens", [_tokens(row) for row in rows], 3, right=True),
        Column("forward GFLOPs/image", [f"{row['forward_gflops']:.4g}" for row in rows], 4, right=True),
        Column("images", [f"{row['images']:,}" for row in rows], 1, right=True),
        Column(
            "training TFLOPs", [f"{row['train_tflops'] + row.get('earlier_tflops', 0.0):,.4g}" for row in rows], 2, right=True
        ),
    ]
    more = len(plan.entries) - len(entries)
    say(screen, f"sweep {plan.spec.name}{'' if more else common}")
    screen.print(table_of(columns, width=screen.width))
    if more:
        say(screen, f"and {more:,} more trials; --json has every one")


def _tokens(row: dict[str, Any]) -> str:
    """Those of an image and of its class; or the pixels, where the trunk sees these."""
    if row["tokens"] is None:
        return f"{row['pixels']} pixels"
    return f"{row['tokens']}+{row['class_tokens']}" if row["class_tokens"] else str(row["tokens"])


def _start(search: SearchSpec) -> str:
    return "best cell" if search.start == "best_cell" else "baseline"
