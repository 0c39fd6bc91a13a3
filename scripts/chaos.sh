#!/usr/bin/env bash
# Replicas, Redis, endpoints and the paths between them fail at random under load, from a seed. In
# the end nothing may be lost, each repetition must have a cause that is proved, and nothing may be
# left in Redis. The tests make a short run of it; this makes longer ones.
#
#   scripts/chaos.sh [--seed N] [--seconds N] [--runs N] [--logs FOLDER]
#
# With several runs each has the next seed. The folder gets what each process of the last run
# wrote and asked of Redis, and the story of each message that came again.
set -euo pipefail
cd "$(dirname "$0")/.."

seed=$RANDOM seconds=180 runs=1
while [ $# -gt 0 ]; do
    case $1 in
        --seed) seed=${2:?a number} ;;
        --seconds) seconds=${2:?a number} ;;
        --runs) runs=${2:?a number} ;;
        --logs)
            mkdir -p "${2:?a folder}"
            OUTHOOK_CHAOS_LOGS=$(cd "$2" && pwd)
            export OUTHOOK_CHAOS_LOGS
            ;;
        *)
            echo "usage: scripts/chaos.sh [--seed N] [--seconds N] [--runs N] [--logs FOLDER]" >&2
            exit 2
            ;;
    esac
    shift 2
done
for ((n = 0; n < runs; n++)); do
    OUTHOOK_SEED=$((seed + n)) OUTHOOK_CHAOS_SECONDS=$seconds \
        cargo test --locked --test it -- --nocapture chaos::
done
