"""What a stage is known by when its sweep file changes."""

from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple

from jit_sweep.spec.stages import GridStage, SearchStage, Stage, StageWord, word_of
from jit_sweep.spec.sweep import SweepSpec
from trainables.config.fields import content_hash

SOUGHT = {"start", "sampler", "options", "axes", "seed", "limits", "objectives"}
"""Keys of a search that say what it looks for, from where and how: with others its proposals would be others."""


class Place(NamedTuple):
    """A stage of a sweep file."""

    stage: int
    """From 0, in the file's order."""
    id: str
    """Its name, else its origin and content."""
    content: str
    """A hash: of a grid its axes, of an ablation its kind, of a search what `SOUGHT` names; equal FLOPs make another one."""
    word: StageWord
    """The key that it is written by."""

    @property
    def origin(self) -> Literal["grid", "search"]:
        """Whether its trials are known before anything starts, as an ablation's are too, or are proposed."""
        return "search" if self.word == "search" else "grid"


def places(spec: SweepSpec) -> tuple[Place, ...]:
    """The stages of a sweep file, in its order."""
    return tuple(_places(spec.stages))


def adopted(known: Collection[tuple[str, str, str]], now: Sequence[Place]) -> dict[str, str]:
    """The ids of stages that go on under another one, by the former: a stage that is named anew keeps its content.

    `known`: id, content and origin of what was planned before.
    """
    planned = {(name, content, "search" if origin == "search" else "grid") for name, content, origin in known}
    left, ids = sorted(item for item in planned if item[0] not in {place.id for place in now}), {item[0] for item in known}
    renamed: dict[str, str] = {}
    for place in now:
        former = (name for name, *same in left if name not in renamed and same == [place.content, place.origin])
        if place.id not in ids and (name := next(former, None)) is not None:
            renamed[name] = place.id
    return renamed


def _places(stages: tuple[Stage, ...]) -> Iterator[Place]:
    taken = {stage.name for stage in stages if stage.name is not None}
    for index, stage in enumerate(stages):
        content, word = _content(stage), word_of(stage)
        name = stage.name or _free(f"{word}-{content}", taken)
        taken.add(name)
        yield Place(index, name, content, word)


def _content(stage: Stage) -> str:
    if not isinstance(stage, SearchStage):
        asked = {"axes": sorted(stage.grid.axes)} if isinstance(stage, GridStage) else {"ablation": stage.ablation.kind}
        return content_hash(asked | ({"matched": "flops"} if stage.matched == "flops" else {}))[:8]
    return content_hash(stage.search.model_dump(mode="json", include=SOUGHT))[:8]


def _free(name: str, taken: set[str]) -> str:
    """The name, or with a number behind it where an equal stage has it."""
    names = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3)))
    return next(free for free in names if free not in taken)
