#!/bin/bash
# A run over SSH: a scheduler here, a worker on each host named, on which circuitmark is installed at the same path.
#
#     HOSTS="one two" configs/clusters/ssh.sh --config configs/default.yaml --out results
#
# Whoever reaches the scheduler's port can run code on the workers: keep it within a network that you trust.
set -eu

address="tcp://$(hostname -f):8786"
trap 'kill $(jobs -p) 2>/dev/null' EXIT
dask scheduler --port 8786 --no-dashboard &
for host in $HOSTS; do
    ssh -tt "$host" "$(command -v dask)" worker "$address" --nthreads 1 --no-nanny --memory-limit 0 </dev/null &
done
circuitmark run --scheduler "$address" "$@"
