"""Placement groups that nobody holds any more. Ray keeps a dead driver's group when it was still waiting for its place."""

import logging

import ray
from ray.core.generated import gcs_pb2
from ray.util import placement_group_table
from ray.util.placement_group import PlacementGroup, remove_placement_group

from trainables.lane.namespace import NAMESPACE

_log = logging.getLogger(__name__)
_JOB_ID_HEX = 8
"""A placement group's id ends with the id of the job that made it."""


def live_groups() -> list[str]:
    """Ids of the groups that hold or wait for resources."""
    return [group for group, info in placement_group_table().items() if info["state"] != "REMOVED"]


def remove_ownerless() -> list[str]:
    """Remove this job's groups whose creator has died: Ray keeps them for as long as the job lives; their ids.

    A lane's group is made by Train's controller, which dies with the lane's owner.
    """
    accessor = ray._private.state.state._connect_and_get_accessor()
    tables = [gcs_pb2.PlacementGroupTableData.FromString(raw) for raw in accessor.get_placement_group_table()]
    nobody = b"\xff"
    ownerless = [
        table.placement_group_id.hex() for table in tables if table.creator_actor_dead and table.creator_actor_id.strip(nobody)
    ]
    own = ray.get_runtime_context().get_job_id()
    return remove([group for group in live_groups() if group in ownerless and group[-_JOB_ID_HEX:] == own])


def remove_orphans() -> list[str]:
    """Remove every group that a finished job of our namespace has left; their ids."""
    jobs = ray._private.worker.global_worker.gcs_client.get_all_job_info()
    dead = {job_id.hex() for job_id, job in jobs.items() if job.is_dead and job.config.ray_namespace == NAMESPACE}
    return remove([group for group in live_groups() if group[-_JOB_ID_HEX:] in dead])


def remove_own() -> list[str]:
    """Remove what is left of this job's groups; their ids."""
    own = ray.get_runtime_context().get_job_id()
    return remove([group for group in live_groups() if group[-_JOB_ID_HEX:] == own])


def remove(groups: list[str]) -> list[str]:
    """Remove groups by id."""
    for group in groups:
        _log.info("removing the placement group %s", group)
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group))))
    return groups
