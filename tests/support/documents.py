"""The documentation's pages, the tables in them that the program writes, and the JSON schema that ships.

`python -m tests.support.documents` writes every generated part and the schema anew.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from jit_sweep.spec.json_schema import schema_text
from jit_sweep.spec.reference import sweep_file_markdown
from search_spaces.axes import AXES
from search_spaces.presets import OFFICIAL, PRESETS
from search_spaces.quantities import QUANTITIES
from tests.support.paths import TOP
from trainables.config.average import DecayEma
from trainables.config.network import ModelConfig
from trainables.config.optimiser import WarmupEpochs
from trainables.config.recipe import Recipe
from trainables.config.trunks import is_read
from trainables.evaluation.metrics.registry import METRICS, Samples

DOCS = TOP / "docs"
SCHEMA = TOP / "search_spaces" / "sweeps" / "sweep.schema.json"
FRONT = tuple(TOP / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"))
PAGES = (*FRONT, *sorted(DOCS.glob("*.md")), TOP / "deploy" / "README.md", TOP / "tests" / "bench" / "README.md")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def rows_of(page: Path, *, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its two head lines."""
    below = f"\n{page.read_text()}".partition(f"\n{heading}\n")[2]
    lines = re.search(r"(?:^\|.*\|$\n?)+", below, re.MULTILINE)
    assert lines is not None, f"{page.name} has no table below {heading!r}"
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[0].splitlines()[2:]]


def axes_table() -> str:
    return table(["axis", "what it varies"], ([f"`{axis.name}`", axis.about] for axis in AXES.values()))


def quantities_table() -> str:
    rows = ([f"`{quantity.name}`", quantity.unit, quantity.about] for quantity in QUANTITIES.values())
    return table(["quantity", "unit", "meaning"], rows)


def presets_table() -> str:
    heads = ["preset", "patch", "width", "depth", "heads", "class tokens", "prediction", "t-sampling", "batch size"]
    return table(heads, ([f"`{name}`", *_sizes(recipe.model), *_method(recipe)] for name, recipe in PRESETS.items()))


def official_table() -> str:
    heads = ["preset", "patch", "noise_scale", "warm-up", "averages", "attn_dropout", "proj_dropout"]
    return table(heads, ([f"`{name}`", *_official_cells(recipe)] for name, recipe in OFFICIAL.items()))


def _official_cells(recipe: Recipe) -> list[str]:
    model, averages = recipe.model, [f"{e.decay:g}" for e in recipe.ema if isinstance(e, DecayEma)]
    warmup = recipe.optimiser.warmup_images
    assert isinstance(warmup, WarmupEpochs)
    numbers = (model.patch_size, recipe.diffusion.noise_scale, f"{warmup.epochs:g} epochs", ", ".join(averages))
    return [str(cell) for cell in (*numbers, model.attn_dropout, model.proj_dropout)]


def _sizes(model: ModelConfig) -> list[str]:
    names = ("patch_size", "width", "depth", "heads", "class_tokens")
    return [str(getattr(model, name)) if is_read(name, trunk=model.trunk.kind) else "" for name in names]


def _method(recipe: Recipe) -> list[str]:
    return [recipe.diffusion.prediction, recipe.diffusion.t_sampling.kind, str(recipe.batch_size)]


def metrics_table() -> str:
    heads = ["metric", "better is", "unit", "needs", "decides verdicts", "meaning", "says nothing along"]
    better = {"minimize": "lower", "maximize": "higher"}
    rows = (
        [
            f"`{metric.name}`",
            better[metric.direction],
            metric.unit,
            "samples" if isinstance(metric.needs, Samples) else "the network",
            "yes" if metric.judges else "no",
            metric.about,
            ", ".join(f"`{axis}`" for axis in AXES if axis in metric.blind_to) or "-",
        ]
        for metric in METRICS.values()
    )
    return table(heads, rows)


GENERATED: dict[tuple[str, str], Callable[[], str]] = {
    ("axes.md", "axes"): axes_table,
    ("axes.md", "quantities"): quantities_table,
    ("axes.md", "presets"): presets_table,
    ("axes.md", "official"): official_table,
    ("metrics.md", "metrics"): metrics_table,
    ("sweep-file.md", "keys"): lambda: sweep_file_markdown().strip(),
}
"""What the program writes, by page and the name in its marks."""


def generated_part(page: str, name: str) -> str:
    """What stands between the marks of a generated part."""
    part = _marked(name).search((DOCS / page).read_text())
    assert part is not None, f"docs/{page} has no part {name}"
    return part[2].strip()


def write_generated() -> None:
    """Write every generated part and the schema anew."""
    SCHEMA.write_text(schema_text())
    for (page, name), write in GENERATED.items():
        file, text = DOCS / page, write()
        before, after = _marked(name).split(file.read_text())[0::4]
        file.write_text(f"{before}<!-- {name}: generated -->\n\n{text}\n\n<!-- end of {name} -->{after}")


def _marked(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: generated -->\n)(.*?)(<!-- end of {name} -->)", re.DOTALL)


if __name__ == "__main__":
    write_generated()
