"""A run on Slurm, whose workers dask-jobqueue asks for: each a Slurm job that does one of our jobs at a time.

On a login node, with words as for `circuitmark run`:

    pip install 'circuitmark[dask]' dask-jobqueue
    python configs/clusters/slurm_dask.py --config configs/default.yaml --out /shared/results
"""

from __future__ import annotations

import subprocess
import sys

from dask_jobqueue import SLURMCluster

WORKERS = 8


def cluster(**more: object) -> SLURMCluster:
    """Edit what your site calls things; leave out what is about GPUs where you use none."""
    return SLURMCluster(
        processes=1,
        cores=1,  # a job at a time on each worker
        job_cpu=4,  # for `--threads 4`
        memory="16GB",
        walltime="04:00:00",
        nanny=False,  # a nanny's workers may start no processes
        python=f"srun {sys.executable}",  # a step of its own hears of preemption, a batch shell does not
        worker_extra_args=["--memory-limit", "0", "--resources", "GPU=1"],
        job_extra_directives=["--gres=gpu:1", "--requeue", "--signal=TERM@60"],
        **more,
    )


if __name__ == "__main__":
    with cluster() as workers:
        workers.adapt(minimum_jobs=1, maximum_jobs=WORKERS)
        words = ["run", "--scheduler", workers.scheduler_address, "-j", str(WORKERS), *sys.argv[1:]]
        sys.exit(subprocess.call([sys.executable, "-m", "circuitmark", *words]))
