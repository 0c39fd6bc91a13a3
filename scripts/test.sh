#!/usr/bin/env bash
# Runs all tests, after installing what they need beside Rust: a redis-server on the PATH, which
# the tests start for themselves on sockets of their own, and openssl for certificates. Arguments go to `cargo test`.
#
#   REDIS_SERVER=path scripts/test.sh    tests with this server: Redis 6.2 or newer, or Valkey
#
# Where each version comes from is said in CONTRIBUTING.md.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
    printf 'test.sh: %s\n' "$*" >&2
    exit 1
}

if ! command -v redis-server >/dev/null || ! command -v redis-cli >/dev/null || ! command -v openssl >/dev/null; then
    help="the tests need redis-server and redis-cli 7.0 or newer, and openssl (Debian, Ubuntu: redis-server openssl; macOS: brew install redis openssl)"
    command -v apt-get >/dev/null || die "$help"
    if [ "$(id -u)" = 0 ]; then
        root=(env)
    elif sudo -n true 2>/dev/null; then
        root=(sudo -n)
    else
        die "$help"
    fi
    echo "test.sh: installing redis-server and openssl"
    "${root[@]}" apt-get update -qq
    # The run level keeps the package from starting a server of its own, where init scripts do that.
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends redis-server redis-tools openssl >/dev/null
fi

if [ -n "${REDIS_SERVER:-}" ]; then
    version=$("$REDIS_SERVER" --version) || die "REDIS_SERVER=$REDIS_SERVER: it must be a redis-server or valkey-server"
    export REDIS_SERVER
    echo "test.sh: $version"
fi

exec cargo test --locked "$@"
