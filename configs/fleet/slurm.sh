#!/bin/bash
# A night with its fleet as one SLURM job: the first node coordinates, every node downloads.
#
#   sbatch --export=ALL,JOBS=/shared/jobs.jsonl configs/fleet/slurm.sh
#
# When the time is over SLURM sends TERM five minutes before the end: nothing more is submitted, and what is paid for is
# harvested. The same command goes on. Run directory and environment must be on storage that all nodes mount.
#SBATCH --job-name=engine
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@300
set -euo pipefail

JOBS=${JOBS:?the job lines, on storage that all nodes mount}
source "${VENV:-/shared/engine/.venv}/bin/activate"

# One token for this job alone: whoever has it can run programs on these nodes.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

# The key is for the coordinator alone; what srun starts does not see it.
key=${SEGMIND_API_KEY:?}
unset SEGMIND_API_KEY

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
port=$((20000 + SLURM_JOB_ID % 20000))

srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
  ray start --head --port="$port" --include-dashboard=false --num-cpus=1 --block &
for _ in {1..60}; do ray status --address="$head:$port" > /dev/null 2>&1 && break; sleep 2; done
for node in "${nodes[@]:1}"; do
  srun --nodes=1 --ntasks=1 --nodelist="$node" --overlap \
    ray start --address="$head:$port" --num-cpus=1 --block &
done

SEGMIND_API_KEY=$key engine run "$JOBS" --fleet "$head:$port" &
engine=$!
trap 'kill -TERM "$engine"' TERM
wait "$engine" || wait "$engine"      # a trapped signal ends the first wait, and the harvest is waited for
code=$?
kill $(jobs -p) 2> /dev/null || true
exit "$code"
