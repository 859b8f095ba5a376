"""The sweep that is disturbed: twelve trials of less than a second each, halved twice by the whole cohort."""

from pathlib import Path

from tests.support.sweep_files import write_sweep_of_few_images

NAME = "disturbed"
AXES = {"prediction": ["x", "v", "eps"], "t_sampling": ["logit_normal", "uniform"], "learning_rate": [1e-3, 3e-3]}
SCHEDULER = {"kind": "halving", "mode": "synchronous", "reduction": 2, "first_rung": {"images": 240}, "s_train": 0.0}
EVALUATION = {"n": 8, "sampler": "euler", "steps": 2, "t_eps_sample": 0.05}
RESOURCES = {"cpus": 1, "concurrent": 2, "checkpoint_interval_s": 0.2}


def write_disturbed(folder: Path, *, seed: int, storage: str, tracking: str) -> str:
    """Its file. A synchronous scheduler decides by what was measured and by nothing else, so that kills change no decision.

    seed: the trials' own; sweeps of other seeds share no trial, and so may share a storage.
    """
    return write_sweep_of_few_images(
        folder,
        name=NAME,
        stages=[{"grid": {"axes": AXES, "seeds": [seed], "contrasts": []}}],
        evaluation=EVALUATION,
        budget={"images_per_trial": 960},
        scheduler=SCHEDULER,
        resources=RESOURCES,
        storage=storage,
        tracking=tracking,
    )
