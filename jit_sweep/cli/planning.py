"""`validate` and `plan`: everything that can be known before anything is started."""

from typing import Any

from rich.table import Table

from jit_sweep.cli.output import console, print_json
from jit_sweep.home import on_this_machine
from jit_sweep.plan import Entry, Plan, plan, proposals, searches
from jit_sweep.read_spec import read_spec
from jit_sweep.stages import Range, SearchSpec
from trainables.clamp import clamped_share
from trainables.config import DiffusionConfig
from trainables.cost import forward_flops, parameter_count, training_flops


def planned(file: str) -> Plan:
    """A sweep file, resolved. UserError: whatever is wrong with it."""
    return plan(on_this_machine(read_spec(file)), source=file)


def validate(file: str, *, as_json: bool) -> int:
    found = planned(file)
    proposed = sum(proposals(found).values())
    if as_json:
        row = {"name": found.spec.name, "fingerprint": found.fingerprint, "trials": len(found.entries), "proposed": proposed}
        print_json("validate", [row])
    else:
        later = f" and {proposed} proposed later" if proposed else ""
        console().print(f"{file}: valid; sweep {found.spec.name!r} has {len(found.entries)} trials{later}")
    return 0


def show(file: str, *, as_json: bool) -> int:
    found = planned(file)
    rows = [entry_row(entry) for entry in found.entries]
    later = [
        {"stage": stage, "origin": "search", "state": "proposed later", "from": search.start, "sampler": search.sampler}
        for stage, search in searches(found.spec).items()
        for _ in range(proposals(found)[stage])
    ]
    if as_json:
        print_json("plan", rows + later, name=found.spec.name, fingerprint=found.fingerprint)
        return 0
    screen = console()
    screen.print(_table(found, rows))
    for stage, search in searches(found.spec).items():
        screen.print(
            f"stage {stage}: {proposals(found)[stage]} trials proposed later by {search.sampler} from the {_words(search)}"
        )
    for line in clamp_notes(found):
        screen.print(line)
    return 0


def entry_row(entry: Entry) -> dict[str, Any]:
    """A planned trial with what it costs."""
    trial = entry.trial
    return {
        "stage": entry.stage,
        "trial": entry.trial_id,
        "origin": entry.origin,
        **entry.arm,
        "seed": entry.seed,
        "parameters": parameter_count(trial),
        "tokens": trial.grid**2,
        "class_tokens": trial.model.class_tokens,
        "token_dim": trial.token_dim,
        "forward_gflops": forward_flops(trial) / 1e9,
        "images": entry.images,
        "train_tflops": training_flops(trial, images=entry.images) / 1e12,
        "evaluation": entry.evaluation.id,
    }


def _table(found: Plan, rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, title=f"sweep {found.spec.name}", title_justify="left")
    for heading in (
        "stage",
        "trial",
        "cell",
        "seed",
        "parameters",
        "tokens",
        "forward GFLOPs/image",
        "images",
        "training TFLOPs",
    ):
        table.add_column(heading, justify="left" if heading in ("trial", "cell") else "right", no_wrap=True)
    for entry, row in zip(found.entries, rows, strict=True):
        tokens = f"{row['tokens']}+{row['class_tokens']}" if row["class_tokens"] else str(row["tokens"])
        costs = (f"{row['forward_gflops']:.4g}", f"{row['images']:,}", f"{row['train_tflops']:,.4g}")
        table.add_row(str(entry.stage), entry.trial_id, entry.label, str(entry.seed), f"{row['parameters']:,}", tokens, *costs)
    return table


def _words(search: SearchSpec) -> str:
    return "best cell" if search.start == "best_cell" else "baseline"


def clamp_notes(found: Plan) -> list[str]:
    """For a clamp axis: what share of the training samples each value touches, in each kind of cell of the plan."""
    touched = [entry.trial.diffusion for entry in found.entries if "t_eps_train" in entry.arm]
    for search in searches(found.spec).values():
        space = search.axes.get("t_eps_train", ())
        values = (space.low, space.high) if isinstance(space, Range) else space
        touched += [found.baseline.diffusion.model_copy(update={"t_eps_train": value}) for value in values]
    return list(dict.fromkeys(_clamp_note(diffusion) for diffusion in touched))


def _clamp_note(diffusion: DiffusionConfig) -> str:
    sampling = ", ".join(f"{key}={value}" for key, value in diffusion.t_sampling.model_dump().items() if key != "kind")
    where = f"{diffusion.prediction}-prediction, {diffusion.loss}-loss, {diffusion.t_sampling.kind}({sampling})"
    return f"t_eps_train={diffusion.t_eps_train:g} touches {clamped_share(diffusion):.2g} of the samples under {where}"
