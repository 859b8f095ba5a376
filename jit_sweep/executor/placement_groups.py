"""Placement groups that nobody holds any more. Ray keeps a dead driver's group when it was still waiting for its place."""

import logging

import ray
from ray.util import placement_group_table
from ray.util.placement_group import PlacementGroup, remove_placement_group

from jit_sweep.executor import ray_internals
from trainables.lane.namespace import NAMESPACE

_log = logging.getLogger(__name__)


def live_groups() -> list[str]:
    """Ids of the groups that hold or wait for resources."""
    return [group for group, info in placement_group_table().items() if info["state"] != "REMOVED"]


def remove_ownerless() -> list[str]:
    """Remove this job's groups whose creator has died: Ray keeps them for as long as the job lives; their ids.

    A lane's group is made by Train's controller, which dies with the lane's owner.
    """
    ownerless = ray_internals.groups_of_dead_actors() & set(remains_of({own_job()}))
    return remove(sorted(ownerless))


def remove_orphans() -> list[str]:
    """Remove every group that a finished job of our namespace has left; their ids."""
    return remove(remains_of(ray_internals.ended_jobs(NAMESPACE)))


def remove_own() -> list[str]:
    """Remove what is left of this job's groups; their ids."""
    return remove(remains_of({own_job()}))


def remains_of(jobs: set[str]) -> list[str]:
    """Ids of the live groups that one of these jobs made."""
    return [group for group in live_groups() if ray_internals.job_of(group) in jobs]


def own_job() -> str:
    """The id of the job that this process is a part of."""
    job: str = ray.get_runtime_context().get_job_id()
    return job


def remove(groups: list[str]) -> list[str]:
    """Remove groups by id."""
    for group in groups:
        _log.info("removing the placement group %s", group)
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group))))
    return groups
