"""Registered models: their versions, the alias `champion`, and their files."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_ALREADY_EXISTS
from mlflow.store.entities import PagedList

from jit_sweep.errors import UserError
from jit_sweep.ledger.records import SweepRow
from jit_sweep.spec.uri import sqlite_path
from jit_sweep.tracking import client as mlflow_client
from jit_sweep.tracking import runs
from jit_sweep.tracking.client import answering, open_client, store_uri
from jit_sweep.tracking.translation import Variant

CHAMPION = "champion"
PREVIOUS = "previous-champion"
CROWNED = "champion_at."
"""Begins a version's tag for each time that it became the champion; its value says how."""
REFUSED = "not_champion"
"""A version's tag that says why it never became the champion."""
MOST_NAMES_SHOWN = 8
_PAGE = 1000
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_ADDRESS = re.compile(rf"(?P<name>{_NAME})(@(?P<alias>[A-Za-z][A-Za-z0-9_-]*)|/(?P<number>[1-9][0-9]*))?")


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    model: str
    number: int
    source: str
    """Address of its files, such as `runs:/RUN/PATH`."""
    tags: Mapping[str, str]
    created_at: float = 0.0
    """Seconds since the epoch."""


class Crowned(NamedTuple):
    """A version became the champion."""

    at: str
    """In UTC, ISO 8601."""
    version: int
    how: str


@dataclass(frozen=True)
class RegisteredModel:
    """A registered model."""

    name: str
    aliases: Mapping[str, int]
    versions: tuple[Version, ...]
    """The newest first."""

    @property
    def history(self) -> tuple[Crowned, ...]:
        """When which version became the champion, the earliest first."""
        found = [
            Crowned(tag.removeprefix(CROWNED), version.number, how)
            for version in self.versions
            for tag, how in version.tags.items()
            if tag.startswith(CROWNED)
        ]
        return tuple(sorted(found))


@dataclass(frozen=True)
class TrackedTrial:
    """A trial's run in MLflow, and what its sweep's run says of the code that trained it."""

    run_id: str
    code: Mapping[str, str]
    """Package versions, and the git commit where there is one."""


@dataclass(frozen=True)
class ModelStanding:
    """A model before a promotion: what the new version is compared with."""

    champion: Version | None
    latest: int
    """The highest version; 0 where there is none."""


class Promoted(NamedTuple):
    """The checkpoint that a version's weights were taken from."""

    trial_id: str
    images: int


class Registry:
    """The models registered at one tracking address, and the runs their files come from."""

    def __init__(self, tracking_uri: str) -> None:
        """UserError: there is no store at this address."""
        self._uri = tracking_uri
        with answering(tracking_uri):
            self._client = open_client(tracking_uri, create=False)

    def trial(self, sweep: SweepRow, wanted: Variant) -> TrackedTrial | None:
        """A trial's run; None where the sweep's event log has not reached MLflow so far."""
        with answering(self._uri):
            experiment_id = mlflow_client.experiment_id(self._client)
            sweep_runs = runs.find(self._client, experiment_id, sweep) if experiment_id is not None else None
        if sweep_runs is None or wanted not in sweep_runs.trials:
            return None
        named = {"mlflow.source.git.commit": "git_commit"}
        tags = sweep_runs.parent.tags
        code = {named.get(name, name.removeprefix("version.")): value for name, value in tags.items() if _tells_code(name)}
        return TrackedTrial(sweep_runs.trials[wanted].run_id, code)

    def standing(self, model: str) -> ModelStanding:
        """The champion, and the highest version."""
        with answering(self._uri):
            latest = max((version.number for version in _versions(self._client, model)), default=0)
            return ModelStanding(_find(self._client, model, CHAMPION), latest)

    def make_champion(
        self, model: str, *, run_id: str, path: str, files: Path, tags: Mapping[str, str], page: str, standing: ModelStanding
    ) -> Version:
        """Log a folder's files into a run, register them as a new version with this page, and give it the alias.

        The former champion gets the alias `previous-champion`. UserError: since `standing` was asked, somebody else has
        registered a version; of two at once the one whose version has the lower number is the champion.
        """
        with answering(self._uri):
            now = _find(self._client, model, CHAMPION)
            if _number(now) != _number(standing.champion) and _number(now) <= standing.latest:  # a newer one is met below
                rule = f"{model} must still have the champion that it was compared with"
                raise UserError(f"{rule}, got version {_number(now) or 'none'} since then; promote again")
            self._client.log_artifacts(run_id, str(files), path)
            _ensure_model(self._client, model)
            made = self._client.create_model_version(
                model, source_of(run_id, path), run_id=run_id, tags=dict(tags), description=page
            )
            number = int(made.version)
            if first := [one.number for one in _versions(self._client, model) if standing.latest < one.number < number]:
                self._client.set_model_version_tag(model, str(number), REFUSED, f"version {first[0]} was registered first")
                raise UserError(_too_late(model, first=first[0], mine=number))
            self._crown(model, number, former=standing.champion, how="promoted")
        return _version(made)

    def roll_back(self, model: str, *, to: int | None) -> tuple[Version, Version | None]:
        """Make an older version the champion again: the one with this number, else the previous champion.

        Returns it and the champion before. UserError: there is no such version, or it is the champion.
        """
        check_name(model)
        wanted = PREVIOUS if to is None else str(to)
        with answering(self._uri):
            target, former = _find(self._client, model, wanted), _find(self._client, model, CHAMPION)
            if target is None:
                raise UserError(_unknown(self._client, model, wanted))
            if former is not None and former.number == target.number:
                rule = f"a champion is rolled back to another version, and version {target.number} of {model} is it already"
                raise UserError(f"{rule}; name another")
            self._crown(model, target.number, former=former, how="rolled back to")
        return target, former

    def models(self) -> list[RegisteredModel]:
        """Every registered model with its versions, by name."""
        with answering(self._uri):
            names = sorted(str(model.name) for model in _pages(self._client.search_registered_models))
            return [_registered(self._client, name) for name in names]

    def model(self, name: str) -> RegisteredModel:
        """One registered model. UserError: there is none of this name."""
        check_name(name)
        with answering(self._uri):
            if not _versions(self._client, name):
                raise UserError(_unknown(self._client, name, CHAMPION))
            return _registered(self._client, name)

    def _crown(self, model: str, number: int, *, former: Version | None, how: str) -> None:
        """Give a version the alias, and keep when and how."""
        if former is not None:
            self._client.set_registered_model_alias(model, PREVIOUS, str(former.number))
        self._client.set_registered_model_alias(model, CHAMPION, str(number))
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self._client.set_model_version_tag(model, str(number), f"{CROWNED}{at}", how)
        page = self._client.get_model_version(model, str(number)).description or ""
        self._client.update_registered_model(model, f"# {model}: champion is version {number}\n\n{page}")


def _number(version: Version | None) -> int:
    """0 of none."""
    return version.number if version is not None else 0


def source_of(run_id: str, path: str) -> str:
    """The address of a run's files, as a version's source names it."""
    return f"runs:/{run_id}/{path}"


def check_name(model: str) -> str:
    """The name, or a UserError with the rule."""
    if not re.fullmatch(_NAME, model):
        rule = "a model's name must be letters, digits, `.`, `_` and `-`, at most 100, beginning with a letter or digit"
        raise UserError(f"{rule}, got {model!r}")
    return model


def load(model: str, *, tracking_uri: str, folder: Path) -> Path:
    """Copy a version's files below `folder`; returns where they are.

    `model` is NAME (its champion), NAME@ALIAS or NAME/VERSION. UserError: there is no such version, or its files are gone.
    """
    address = _ADDRESS.fullmatch(model)
    if address is None:
        raise UserError(f"a registered model must be named as NAME, NAME@ALIAS or NAME/VERSION, got {model!r}")
    name, version = address["name"], address["number"] or address["alias"] or CHAMPION
    with answering(tracking_uri):
        client = open_client(tracking_uri, create=False)
        registered = _find(client, name, version)
        if registered is None:
            raise UserError(_unknown(client, name, version))
    try:
        uri = store_uri(tracking_uri)
        return Path(download_artifacts(artifact_uri=registered.source, dst_path=str(folder), tracking_uri=uri))
    except (MlflowException, OSError) as error:
        rule = f"version {registered.number} of {name} must have its files, got none at {registered.source}"
        raise UserError(f"{rule} ({type(error).__name__}); promote again") from error


def promoted(tracking_uri: str) -> frozenset[Promoted]:
    """The checkpoints behind all versions of all models registered at this address. UserError: it does not answer."""
    file = sqlite_path(tracking_uri)
    if file is not None and not file.is_file():
        return frozenset()
    with answering(tracking_uri):
        versions = _pages(open_client(tracking_uri, create=False).search_model_versions)
        return frozenset(source for version in versions if (source := _promoted(version)) is not None)


def _pages(search: Callable[..., PagedList[Any]], **what: Any) -> Iterator[Any]:
    """All that a search of MLflow's finds."""
    token: str | None = None
    while True:
        page = search(max_results=_PAGE, page_token=token, **what)
        yield from page
        token = page.token
        if not token:
            return


def _versions(client: MlflowClient, model: str) -> list[Version]:
    """A model's versions, the newest first; none where there is no such model."""
    found = _pages(client.search_model_versions, filter_string=f"name = '{model}'")
    return sorted(map(_version, found), key=lambda version: -version.number)


def _registered(client: MlflowClient, name: str) -> RegisteredModel:
    aliases = {alias: int(number) for alias, number in client.get_registered_model(name).aliases.items()}
    return RegisteredModel(name, aliases, tuple(_versions(client, name)))


def _too_late(model: str, *, first: int, mine: int) -> str:
    rule = f"of two promotions at once the first becomes the champion of {model}, and version {first} was registered before"
    return f"{rule} this one, version {mine}; promote again, which compares with that"


def _find(client: MlflowClient, model: str, version: str) -> Version | None:
    """A version by number or alias."""
    try:
        if version.isdecimal():
            return _version(client.get_model_version(model, version))
        return _version(client.get_model_version_by_alias(model, version))
    except MlflowException as error:
        # MLflow reports an alias that a model does not have as an invalid parameter.
        if mlflow_client.missing(error) or mlflow_client.says(error, INVALID_PARAMETER_VALUE):
            return None
        raise


def _version(registered: ModelVersion) -> Version:
    name, number, source = str(registered.name), int(registered.version), str(registered.source)
    return Version(name, number, source, dict(registered.tags), (registered.creation_timestamp or 0) / 1000)


def _promoted(version: ModelVersion) -> Promoted | None:
    """None of a version that `promote` has not made."""
    tags = dict(version.tags)
    images = str(tags.get("images", ""))
    return Promoted(str(tags["trial"]), int(images)) if "trial" in tags and images.isdecimal() else None


def _ensure_model(client: MlflowClient, model: str) -> None:
    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if not mlflow_client.says(error, RESOURCE_ALREADY_EXISTS):
            raise


def _unknown(client: MlflowClient, model: str, version: str) -> str:
    names = sorted(str(known.name) for known in client.search_registered_models(max_results=100))
    if model in names:
        return f"the model {model} has no {version!r}; promoting from a sweep registers one"
    shown = ", ".join(names[:MOST_NAMES_SHOWN]) + (" and more" if len(names) > MOST_NAMES_SHOWN else "")
    return f"there is no model {model!r}; " + (f"there are {shown}" if names else "promoting from a sweep registers one")


def _tells_code(tag: str) -> bool:
    return tag.startswith("version.") or tag == "mlflow.source.git.commit"
