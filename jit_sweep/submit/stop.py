"""Stopping a sweep's jobs on a cluster, where its run does not hear the ledger."""

from ray.job_submission import JobSubmissionClient

from jit_sweep.errors import UserError
from jit_sweep.submit.address import parsed_address
from jit_sweep.submit.ray_jobs import check_answers, explained


def stop_jobs(sweep: str, *, address: str) -> None:
    """Signal every job that runs a sweep; it saves its trials. UserError: no cluster answers, or none of its jobs runs it."""
    target = parsed_address(address)
    with explained(target):
        check_answers(target)
        client = JobSubmissionClient(target.url)
        running = [
            job.submission_id
            for job in client.list_jobs()
            if job.submission_id and (job.metadata or {}).get("sweep") == sweep and not job.status.is_terminal()
        ]
        if not running:
            raise UserError(f"no job on {target.url} runs the sweep {sweep!r}; give the cluster that it was submitted to")
        for job_id in running:
            client.stop_job(job_id)
