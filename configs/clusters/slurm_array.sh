#!/bin/bash
# A run on Slurm without Dask: eight processes share a results folder that all of them see, and each takes jobs
# that no other one is at. One that is preempted leaves its checkpoint there; who ends last writes the report.
#
#     sbatch configs/clusters/slurm_array.sh --config configs/default.yaml --out /shared/results
#
#SBATCH --job-name=circuitmark
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@60

exec srun circuitmark run --threads "$SLURM_CPUS_PER_TASK" "$@"
