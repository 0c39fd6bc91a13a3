#!/usr/bin/env bash
# The whole system, used as a user would: payments are asked for at the API, go through Redis and
# outhook, and must arrive at the receiver. Then everything goes wrong, one thing at a time.
#
#   scripts/smoke.sh           containers: builds the images and starts docker-compose.yaml
#   scripts/smoke.sh --local   processes: needs redis-server and cargo, and no Docker
#
# Both run the same steps and assertions below; they differ only in how a service is started and
# stopped. Nothing is shared with a system that runs already: own project, ports, files, password.
# COMPOSE="docker compose" (or docker-compose) chooses the tool; otherwise what is there is used.
set -euo pipefail
cd "$(dirname "$0")/.."

# ------------------------------------------------------------------------------------ the steps

main() {
    case ${1-} in
        "") backend=compose ;;
        --local) backend=local ;;
        *) die "usage: scripts/smoke.sh [--local]" ;;
    esac
    settings
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    step "start everything ($backend)"
    "${backend}_build"
    "${backend}_start"
    log_has webhook "ready: subscribed to payments" 1 30
    "${backend}_check_running"

    payments_arrive
    failures_are_retried
    the_hopeless_is_kept
    redis_may_restart
    sigterm_loses_nothing
    it_starts_again

    printf '\nPASS: smoke test (%s), %s s\n' "$backend" "$SECONDS"
}

# What outhook and the receiver are started with. The rest is as docker-compose.yaml has it.
settings() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/outhook-smoke.XXXXXX")
    mkdir "$work/answers" "$work/redis"
    touch "$work"/{redis,api,receiver,webhook}.log
    # Any character may be in a password, and this one has those that break URLs and shells.
    # shellcheck disable=SC2016
    export REDIS_PASSWORD='sm@ke:/#?%20+$x "y'
    export OUTHOOK_LOG=info,outhook=debug
    # Enough for a slow machine to bring the receiver back before the last attempt.
    export OUTHOOK_MAX_ATTEMPTS=8 OUTHOOK_BACKOFF_BASE=500ms
    export WEBHOOK_ADDRESS=
    receiver_settings
    receiver_starts=0
    publisher=
    api_url=
    webhook_exit=
}

payments_arrive() {
    step "payments arrive, byte for byte and once"
    publish first 1
    wait_until 10 "the first delivery" arrived first
    publish many 100
    wait_until 30 "100 deliveries" arrived many
    arrived_once many
}

failures_are_retried() {
    step "a receiver that answers 500 gets everything later"
    restart_receiver RECEIVER_STATUS=500
    publish failing 5
    wait_until 20 "5 refused attempts" refused failing 500
    if [ "$(times failing 200 | grep -vc '^0 ')" -ne 0 ]; then
        die "a receiver that answers 500 cannot have accepted anything"
    fi
    restart_receiver
    wait_until 60 "5 deliveries by retry" arrived failing
    arrived_once failing
    grep -q 'failed id=.* status=500' "$work/webhook.log" || die "the log shows no failed attempt"
}

the_hopeless_is_kept() {
    step "what cannot be delivered is kept as a dead letter, with its reason"
    [ "$(redis XLEN '{outhook}:dead')" = 0 ] || die "there are dead letters already"
    [ "$(redis PUBLISH payments 'not JSON')" = 1 ] || die "outhook does not listen"
    wait_until 10 "a dead letter for garbage" dead_letters 1
    restart_receiver RECEIVER_STATUS=410
    publish gone 1
    wait_until 20 "a dead letter for 410 Gone" dead_letters 2
    redis XRANGE '{outhook}:dead' - + >"$work/dead"
    local expected
    for expected in bad_json 'not JSON' gone "$(cut -d' ' -f1 "$work/gone")"; do
        grep -qxF "$expected" "$work/dead" || die "the dead letters do not hold $expected"
    done
    restart_receiver
}

redis_may_restart() {
    step "Redis restarts: outhook and the API find it again, and dead letters are still there"
    "${backend}_restart_redis"
    log_has webhook "ready: subscribed to payments" 2 30
    publish after-redis 5
    wait_until 10 "deliveries after Redis restarted" arrived after-redis
    dead_letters 2 || die "Redis lost the dead letters"
}

sigterm_loses_nothing() {
    step "SIGTERM in mid-load: all that outhook was given arrives"
    restart_receiver RECEIVER_DELAY=500ms
    local before at_signal
    before=$(deliveries)
    publish_until_nobody_listens load "$before" &
    publisher=$!
    wait_until 60 "200 deliveries under load" deliveries_at_least $((before + 200))
    at_signal=$(deliveries)
    "${backend}_stop_webhook"
    wait "$publisher" || die "the publisher never saw that outhook stopped to listen"
    publisher=

    [ "$webhook_exit" = 0 ] || die "outhook ended with $webhook_exit instead of 0"
    log_has webhook "drain: begins" 1 5
    log_has webhook "drain: done" 1 5
    heard load
    local accepted late
    accepted=$(wc -l <"$work/load")
    wait_until 10 "all $accepted accepted messages at the receiver" arrived load
    arrived_once load
    dead_letters 2 || die "the drain left dead letters"
    late=$(($(deliveries) - at_signal))
    # Otherwise the signal did not come in mid-load, and this step has shown nothing.
    [ "$late" -ge 50 ] || die "only $late deliveries were left to do when SIGTERM came"
    echo "  $((accepted)) accepted, of which $late delivered after SIGTERM; exit code 0"
}

it_starts_again() {
    step "outhook starts again"
    "${backend}_start_webhook"
    log_has webhook "ready: subscribed to payments" 3 30
    publish again 5
    wait_until 20 "deliveries after the start" arrived again
}

# ---------------------------------------------------------------------- what the steps are made of

step() { printf '\n== %s\n' "$*"; }

die() {
    printf 'FAIL: %s\n' "$*" >&2
    exit 1
}

# wait_until SECONDS WHAT COMMAND...: until the command succeeds.
wait_until() {
    local seconds=$1 what=$2 deadline=$((SECONDS + $1))
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || die "waited $seconds s for: $what"
        sleep 0.1
    done
}

# publish NAME COUNT: asks the API for payments, which must all be heard by outhook.
publish() {
    request "$1" "$2" 1 || die "the API does not answer"
    heard "$1"
    local heard
    heard=$(wc -l <"$work/$1")
    [ "$heard" -eq "$2" ] || die "of $2 payments ($1), $((heard)) were heard by one subscriber"
}

# request NAME COUNT FIRST: an answer with its headers goes to answers/NAME-NUMBER.
request() {
    curl --silent --show-error --max-time 60 --include --output "$work/answers/$1-#1" \
        "$api_url/payment?[$3-$(($3 + $2 - 1))]"
}

# heard NAME: writes `id data` of each answer with `x-subscribers: 1` to the file NAME.
heard() {
    find "$work/answers" -name "$1-*" -exec awk '
        { sub(/\r$/, "") }
        FNR == 1 { status = $2; subscribers = "" }
        tolower($1) == "x-subscribers:" { subscribers = $2 }
        /^[{]"url"/ && status == 200 && subscribers == 1 {
            id = data = $0
            sub(/^.*"webhookId":"/, "", id)
            sub(/".*$/, "", id)
            sub(/^.*"data":/, "", data)
            sub(/}$/, "", data)
            print id, data
        }' {} + >"$work/$1"
}

# Publishes until the subscriber has gone. Never runs far ahead of the receiver, or a fast machine
# would pile up more than a drain can deliver in its time.
publish_until_nobody_listens() {
    local name=$1 before=$2 batch=25 most_ahead=300 sent=0 deadline=$((SECONDS + 90))
    while [ "$SECONDS" -lt "$deadline" ]; do
        if [ $((sent + before - $(deliveries))) -ge "$most_ahead" ]; then
            sleep 0.05
            continue
        fi
        request "$name" "$batch" $((sent + 1))
        sent=$((sent + batch))
        ! grep -qi '^x-subscribers: 0' "$work/answers/$name-$sent" || return 0
    done
    return 1
}

deliveries() { grep -c '^200 POST ' "$work/receiver.log" || true; }
deliveries_at_least() { [ "$(deliveries)" -ge "$1" ]; }

# times NAME STATUS: for each message, how often the receiver answered it with that status.
times() {
    awk -v status="$2" '
        NR == FNR {
            id = $1; sub(/^[^ ]* /, "")
            want[status " POST /payments webhook-id=" id " " $0] = 0
            next
        }
        $0 in want { want[$0]++ }
        END { for (line in want) print want[line], line }' "$work/$1" "$work/receiver.log"
}

arrived() { refused "$1" 200; }
refused() { ! times "$1" "$2" | grep -q '^0 '; }

arrived_once() {
    if times "$1" 200 | grep -v '^1 ' >&2; then
        die "the messages above ($1) were delivered more than once"
    fi
}

dead_letters() { [ "$(redis XLEN '{outhook}:dead')" = "$1" ]; }

redis() { REDISCLI_AUTH=$REDIS_PASSWORD "${backend}_redis_cli" "$@"; }

# log_has SERVICE TEXT TIMES SECONDS
log_has() { wait_until "$4" "'$2' in the log of $1, $3 times" log_count "$1" "$2" "$3"; }
log_count() { [ "$(grep -cF -- "$2" "$work/$1.log")" -ge "$3" ]; }

# restart_receiver [VARIABLE=VALUE]: one that answers 200 at once, but for what is said.
restart_receiver() {
    "${backend}_stop_receiver"
    receiver_settings "$@"
    "${backend}_start_receiver"
    receiver_is_up
}

receiver_settings() {
    export RECEIVER_STATUS=200 RECEIVER_FAIL_RATE=0 RECEIVER_DELAY=0s
    [ $# -eq 0 ] || export "${1?}"
}

receiver_is_up() {
    "${backend}_follow" receiver
    receiver_starts=$((receiver_starts + 1))
    log_has receiver "listen: on http://" "$receiver_starts" 20
}

finish() {
    local code=$?
    trap - EXIT
    set +e
    if [ "$code" -ne 0 ]; then
        "${backend}_logs" >&2
        printf '\nFAILED: smoke test (%s), see FAIL above the logs\n' "$backend" >&2
    fi
    [ -z "$publisher" ] || kill "$publisher" 2>/dev/null
    "${backend}_stop"
    rm -rf "$work"
    exit "$code"
}

# --------------------------------------------------------------------------------- as containers

compose_build() {
    docker info >/dev/null 2>&1 || die "no Docker engine answers; try scripts/smoke.sh --local"
    if [ -z "${COMPOSE-}" ]; then
        if docker compose version >/dev/null 2>&1; then
            COMPOSE="docker compose"
        elif command -v docker-compose >/dev/null; then
            COMPOSE=docker-compose
        else
            die "neither 'docker compose' nor 'docker-compose' is there; try scripts/smoke.sh --local"
        fi
    fi
    project=outhook-smoke-$$
    export OUTHOOK_TAG=smoke-$$ API_PORT=0
    # The receiver and the webhook are one image; building it once is enough.
    dc build webhook api || die "the images do not build (no registry? .ci/base-images.sh)"
}

# A tool of two words is meant to be split.
# shellcheck disable=SC2086
dc() { $COMPOSE -f docker-compose.yaml -p "$project" "$@"; }

container() { dc ps -q "$1"; }

compose_start() {
    # Returns when the conditions of depends_on are met: all but the API are up and healthy.
    dc up -d --no-build
    receiver_is_up
    compose_follow webhook
    local address
    address=$(dc port api 8000)
    case $address in
        127.0.0.1:*) api_url=http://$address ;;
        *) die "the API is published at '$address', not on the loopback address" ;;
    esac
    wait_until 30 "all health checks" compose_healthy
}

compose_healthy() {
    local service
    for service in redis webhook api; do
        [ "$(inspect "$service" '{{.State.Health.Status}}')" = healthy ] || return 1
    done
}

inspect() { docker inspect --format "$2" "$(container "$1")"; }

# Logs are collected while they are written: they go with the container. `logs --follow` ends
# with it, having read everything.
compose_follow() {
    docker logs --follow "$(container "$1")" >>"$work/$1.log" 2>&1 &
    echo $! >"$work/$1.follower"
}

all_read() { wait "$(cat "$work/$1.follower")" || true; }

compose_check_running() {
    local size service
    size=$(docker image inspect --format '{{.Size}}' "outhook:$OUTHOOK_TAG")
    [ "$size" -lt 8000000 ] || die "the image has $size bytes, 8 MB are allowed"
    echo "  the image has $size bytes"
    for service in redis receiver webhook api; do
        [ "$(inspect "$service" '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}')" \
            = "true [ALL] [no-new-privileges:true]" ] || die "$service is not locked down"
        ! docker top "$(container "$service")" -eo pid,uid | awk 'NR > 1 && $2 == 0' | grep . \
            || die "$service runs as root"
    done
    [ "$(docker image inspect --format '{{.Config.Healthcheck.Test}} {{.Config.User}}' "outhook:$OUTHOOK_TAG")" \
        = "[CMD /outhook check] 65534:65534" ] || die "the image has no health check or is for root"
    echo "  healthy, non-root, read-only, no capabilities, no new privileges"
}

compose_stop_receiver() {
    docker stop "$(container receiver)" >/dev/null
    all_read receiver
}

compose_start_receiver() { recreate receiver; }

recreate() { dc up -d --no-build --no-deps --force-recreate "$1" >/dev/null 2>&1 || die "cannot start $1"; }

compose_stop_webhook() {
    local id
    id=$(container webhook)
    # SIGTERM, and SIGKILL after stop_grace_period.
    docker stop "$id" >/dev/null
    webhook_exit=$(docker inspect --format '{{.State.ExitCode}}' "$id")
    all_read webhook
}

compose_start_webhook() {
    recreate webhook
    compose_follow webhook
}

compose_restart_redis() { dc restart redis >/dev/null 2>&1; }

# REDISCLI_AUTH is set inside as well.
compose_redis_cli() { docker exec "$(container redis)" redis-cli "$@"; }

compose_logs() {
    [ -n "${project-}" ] || return 0
    dc ps
    dc logs --no-color --tail=60 redis api
    show_logs receiver webhook
}

show_logs() {
    local service
    for service in "$@"; do
        printf '\n---- %s: the last lines\n' "$service"
        tail -n 100 "$work/$service.log"
    done
}

compose_stop() {
    [ -n "${project-}" ] || return 0
    dc down --volumes --remove-orphans --timeout 5 >/dev/null 2>&1
    # Without pruning, so that the next build finds its layers.
    docker rmi --no-prune "outhook:$OUTHOOK_TAG" "outhook-payment-api:$OUTHOOK_TAG" >/dev/null 2>&1
}

# ----------------------------------------------------------------------------------- as processes

local_build() {
    local tool
    for tool in redis-server redis-cli curl cargo; do
        command -v "$tool" >/dev/null || die "$tool is missing (scripts/test.sh installs redis-server)"
    done
    cargo build --locked --bin outhook --example payment-api
    bin=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug
    export REDIS_ADDRESS=unix://$work/redis.sock
    receiver_port=0
}

local_start() {
    start_redis
    local_start_receiver
    receiver_is_up
    receiver_port=$(sed -n 's/^listen: on http:.*:\([0-9]*\).*/\1/p' "$work/receiver.log" | head -n 1)
    export WEBHOOK_ADDRESS=http://127.0.0.1:$receiver_port/payments
    local_start_webhook
    log_has webhook "ready: subscribed to payments" 1 20
    BIND=127.0.0.1:0 "$bin/examples/payment-api" >>"$work/api.log" 2>&1 &
    echo $! >"$work/api.pid"
    log_has api "on http://" 1 20
    api_url=$(sed -n 's/^payment-api: on \(http:[^,]*\),.*/\1/p' "$work/api.log")
}

start_redis() {
    redis-server --port 0 --unixsocket "$work/redis.sock" --dir "$work/redis" --appendonly yes \
        --requirepass "$REDIS_PASSWORD" >>"$work/redis.log" 2>&1 &
    echo $! >"$work/redis.pid"
    wait_until 20 "redis-server" redis_answers
}

redis_answers() { [ "$(redis PING 2>/dev/null)" = PONG ]; }

local_redis_cli() { redis-cli -s "$work/redis.sock" "$@"; }

local_check_running() {
    OUTHOOK_REDIS_PASSWORD=$REDIS_PASSWORD "$bin/outhook" check || die "outhook check fails"
    BIND=${api_url#http://} "$bin/examples/payment-api" --health || die "payment-api --health fails"
    if OUTHOOK_REDIS_PASSWORD=wrong "$bin/outhook" check 2>/dev/null; then
        die "outhook check is content with a wrong password"
    fi
}

local_start_receiver() {
    OUTHOOK_STATUS=$RECEIVER_STATUS OUTHOOK_FAIL_RATE=$RECEIVER_FAIL_RATE OUTHOOK_DELAY=$RECEIVER_DELAY \
        "$bin/outhook" listen --bind "127.0.0.1:$receiver_port" >>"$work/receiver.log" 2>&1 &
    echo $! >"$work/receiver.pid"
}

local_start_webhook() {
    OUTHOOK_REDIS_PASSWORD=$REDIS_PASSWORD "$bin/outhook" serve >>"$work/webhook.log" 2>&1 &
    echo $! >"$work/webhook.pid"
}

local_follow() { :; }

local_stop_receiver() { end receiver 10; }

local_stop_webhook() {
    local pid
    pid=$(cat "$work/webhook.pid")
    end webhook 15
    webhook_exit=0
    wait "$pid" || webhook_exit=$?
}

local_restart_redis() {
    end redis 15
    start_redis
}

# end SERVICE SECONDS: SIGTERM, and SIGKILL when it is still there, as `docker stop` does.
end() {
    local pid deadline=$((SECONDS + $2))
    pid=$(cat "$work/$1.pid" 2>/dev/null) || return 0
    rm "$work/$1.pid"
    kill -TERM "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            echo "  $1 did not end within $2 s: killed"
            kill -KILL "$pid" 2>/dev/null
            break
        fi
        sleep 0.05
    done
}

local_logs() { show_logs redis api receiver webhook; }

local_stop() {
    local service
    for service in api webhook receiver redis; do
        end "$service" 2
    done
}

main "$@"
