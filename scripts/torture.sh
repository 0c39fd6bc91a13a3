#!/usr/bin/env bash
# Replicas, endpoints and Redis fail at random under load, from a seed; at the end nothing may be
# lost. The tests run a short form of it; this is the long one.
#
#   scripts/torture.sh [--seed N] [--seconds N] [--replicas N]
set -euo pipefail
cd "$(dirname "$0")/.."

export OUTHOOK_TORTURE_SEED=$RANDOM OUTHOOK_TORTURE_SECONDS=180 OUTHOOK_TORTURE_REPLICAS=3
while [ $# -gt 0 ]; do
    case $1 in
        --seed) OUTHOOK_TORTURE_SEED=${2:?a number} ;;
        --seconds) OUTHOOK_TORTURE_SECONDS=${2:?a number} ;;
        --replicas) OUTHOOK_TORTURE_REPLICAS=${2:?a number} ;;
        *)
            echo "usage: scripts/torture.sh [--seed N] [--seconds N] [--replicas N]" >&2
            exit 2
            ;;
    esac
    shift 2
done
exec cargo test --locked --test it -- --nocapture torture::nothing_is_lost_while_everything_fails
