#!/usr/bin/env bash
# The whole system, used as a user would: payments are asked for at the API, go through Redis and
# outhook, and must arrive at the receiver. Then things go wrong, one at a time.
#
#   scripts/smoke.sh           containers: builds the images and starts docker-compose.yaml
#   scripts/smoke.sh --local   processes: needs redis-server, curl and cargo, and no Docker
#
# Both take the same steps; they differ only in how a service is started and stopped. Nothing is
# shared with a system that runs already: own project, images, ports, files and password.
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
    work=$(mktemp -d "${TMPDIR:-/tmp}/outhook-smoke.XXXXXX")
    touch "$work"/{redis,receiver,webhook,api}.log
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    settings

    step "build ($backend)"
    "${backend}_build"
    step "start everything"
    "${backend}_up"
    # It takes the configuration of the service.
    outhook check || die "outhook check fails"
    payments_arrive
    failures_are_retried
    the_hopeless_is_kept
    the_gone_is_resumed
    redis_restarts
    sigterm_loses_nothing
    step "everything ends with 0"
    stop api
    stop webhook
    stop receiver
    stop redis
    printf '\nPASS: smoke test (%s), %s s\n' "$backend" "$SECONDS"
}

# What the services are started with; the rest is as docker-compose.yaml has it.
settings() {
    # Any character may be in a password; this one has those that break URLs and shells.
    # shellcheck disable=SC2016
    export REDIS_PASSWORD='sm@ke:/#?%20+$x "y'
    export OUTHOOK_LOG=info,outhook=debug
    # Enough for a slow machine to bring the receiver back before the last attempt.
    export OUTHOOK_MAX_ATTEMPTS=8 OUTHOOK_BACKOFF_BASE=500ms
    export RECEIVER_STATUS=200 RECEIVER_FAIL_RATE=0 RECEIVER_DELAY=0s
    export WEBHOOK_ADDRESS= API_PORT=0
}

payments_arrive() {
    step "payments arrive, byte for byte and once"
    publish payments 100
    wait_until 30 "100 deliveries" answered payments 200
    delivered_once payments
}

failures_are_retried() {
    step "a receiver that answers 500 gets everything later"
    RECEIVER_STATUS=500 restart receiver
    publish failing 5
    wait_until 60 "5 refused attempts" answered failing 500
    logged webhook 'status=500' 5 || die "the log does not show 5 failed attempts"
    [ -z "$(answers failing 200)" ] || die "a receiver that answers 500 accepted something"
    restart receiver
    wait_until 90 "5 deliveries by retry" answered failing 200
    delivered_once failing
}

the_hopeless_is_kept() {
    step "what cannot be delivered is kept as a dead letter, with its reason"
    dead_letters 0 || die "there are dead letters already"
    [ "$(redis PUBLISH payments 'not JSON')" = 1 ] || die "outhook does not listen"
    wait_until 10 "a dead letter for garbage" dead_letters 1
    RECEIVER_STATUS=410 restart receiver
    publish gone 1
    wait_until 60 "a dead letter for 410 Gone" dead_letters 2
    redis XRANGE '{outhook}:dead' - + >"$work/dead"
    # What an operator types, in the container of the service.
    outhook dead list --since 1h >"$work/listed"
    [ "$(grep -cE 'bad_json|gone' "$work/listed")" = 2 ] || die "outhook dead list does not show them"
    local line
    for line in bad_json 'not JSON' gone "$(sed 's/.*webhook-id=\([^ ]*\) .*/\1/' "$work/gone")"; do
        grep -qxF -- "$line" "$work/dead" || die "the dead letters do not hold: $line"
    done
}

the_gone_is_resumed() {
    step "after 410 its messages wait, until the operator resumes the endpoint"
    restart receiver
    publish held 5
    wait_until 10 "5 messages to wait in Redis" deferred 5
    outhook endpoints resume "$(endpoint)"
    wait_until 60 "5 deliveries after the resume" answered held 200
    delivered_once held
}

redis_restarts() {
    step "Redis restarts: outhook and the API find it again, the dead letters are still there"
    restart redis
    wait_until 30 "outhook to subscribe again" logged webhook "$(ready_line webhook)" 2
    publish after-redis 5
    wait_until 60 "5 deliveries after Redis restarted" answered after-redis 200
    dead_letters 2 || die "Redis lost the dead letters"
}

sigterm_loses_nothing() {
    step "SIGTERM in mid-load: all that outhook was given arrives, and it starts again"
    RECEIVER_DELAY=500ms restart receiver
    local before at_signal late
    before=$(deliveries)
    publish_until_nobody_listens "$before" &
    publisher=$!
    wait_until 90 "200 deliveries under load" deliveries_reach $((before + 200))
    at_signal=$(deliveries)
    stop webhook
    wait "$publisher" || die "the publisher never saw that outhook stopped to listen"

    logged webhook "drain: done" 1 || die "the log does not tell of the drain"
    accepted load
    late=$(($(deliveries) - at_signal))
    # Otherwise the signal did not come in mid-load, and this step has shown nothing.
    [ "$late" -ge 50 ] || die "only $late deliveries were left to do when SIGTERM came"
    echo "  $(grep -c . "$work/load") accepted, $late of them delivered after SIGTERM; exit code 0"

    # What was published while it drained waits in the stream for this start.
    start webhook
    wait_until 60 "all accepted messages at the receiver" answered load 200
    delivered_once load
    dead_letters 2 || die "the drain left dead letters"
    publish again 5
    wait_until 60 "5 deliveries after the start" answered again 200
}

# --------------------------------------------------------------------- what the steps are made of

step() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

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

# The log line that says that a service is there.
ready_line() {
    case $1 in
        # "Ready" over TCP, "now ready" on a socket.
        redis) echo "eady to accept connections" ;;
        receiver) echo "listen: on http://" ;;
        webhook) echo "ready: subscribed to payments" ;;
        api) echo "payment-api: on http://" ;;
    esac
}

# start SERVICE: and wait for it. Logs are appended to by each start.
start() {
    local ready starts
    ready=$(ready_line "$1")
    starts=$(grep -cF -- "$ready" "$work/$1.log" || true)
    "${backend}_start" "$1"
    wait_until 30 "$1 to start" logged "$1" "$ready" $((starts + 1))
}

# stop SERVICE: SIGTERM, and it must end with 0.
stop() {
    "${backend}_stop" "$1"
    rm "$work/$1.pid"
    [ "$exit_code" = 0 ] || die "$1 ended with $exit_code instead of 0"
}

restart() {
    stop "$1"
    start "$1"
}

# logged SERVICE TEXT TIMES: at least so often.
logged() { [ "$(grep -cF -- "$2" "$work/$1.log")" -ge "$3" ]; }

# publish NAME COUNT: asks the API for payments, which must all be heard by outhook.
publish() {
    request "$1" "$2" || die "the API does not answer"
    accepted "$1"
    [ "$(grep -c . "$work/$1")" = "$2" ] || die "outhook did not hear all of $2 payments"
}

# request NAME COUNT: the answers with their headers are appended to NAME.http.
request() {
    curl --silent --show-error --max-time 60 --include --write-out '\n' \
        "$api_url/payment?[1-$2]" >>"$work/$1.http"
}

# accepted NAME: writes to the file NAME what the receiver must print for each message that one
# subscriber heard.
accepted() {
    awk 'tolower($1) == "x-subscribers:" { subscribers = $2 + 0 }
        /^[{]"url":/ && subscribers == 1 {
            sub(/^.*"webhookId":"/, "POST /payments webhook-id=")
            sub(/","data":/, " ")
            sub(/}$/, "")
            print
        }' "$work/$1.http" >"$work/$1"
}

# Never runs far ahead of the receiver, or it would pile up more than a drain can deliver in its time.
# But it goes on asking: what is published while outhook drains is kept, and not delivered yet.
publish_until_nobody_listens() {
    local sent=$1 waits=0 deadline=$((SECONDS + 120))
    until grep -qi '^x-subscribers: 0' "$work/load.http" 2>/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        if [ $((sent - $(deliveries))) -lt 300 ]; then
            request load 25
            sent=$((sent + 25))
        elif [ $((waits += 1)) -lt 10 ]; then
            sleep 0.05
        else
            request load 1
            sent=$((sent + 1)) waits=0
        fi
    done
}

deliveries() { grep -c '^200 POST ' "$work/receiver.log" || true; }
deliveries_reach() { [ "$(deliveries)" -ge "$1" ]; }

# answers NAME STATUS: what the receiver printed about these messages, if it gave that answer.
answers() { sed -n "s/^$2 //p" "$work/receiver.log" | grep -xF -f "$work/$1" | sort; }
# answered NAME STATUS: each of them at least once.
answered() { answers "$1" "$2" | uniq | cmp -s - <(sort "$work/$1"); }
delivered_once() { answers "$1" 200 | diff - <(sort "$work/$1") || die "not once each, see above"; }

deferred() { [ "$(redis LLEN "{outhook}:backlog:$(endpoint)")" = "$1" ]; }
# The endpoint as the webhooks name it.
endpoint() { sed -n '/^{"url":"/{s///;s/".*//p;q;}' "$work/payments.http"; }
outhook() { "${backend}_outhook" "$@"; }
dead_letters() { [ "$(redis XLEN '{outhook}:dead')" = "$1" ]; }
redis() { "${backend}_redis_cli" "$@"; }

finish() {
    local code=$? service
    trap - EXIT
    set +e
    if [ "$code" -ne 0 ]; then
        for service in redis api receiver webhook; do
            printf '\n---- %s: the last lines\n' "$service"
            tail -n 100 "$work/$service.log"
        done >&2
        printf '\nFAILED: smoke test (%s), see FAIL above the logs\n' "$backend" >&2
    fi
    [ -z "${publisher-}" ] || kill "$publisher" 2>/dev/null
    "${backend}_clean_up"
    rm -rf "$work"
    exit "$code"
}

# --------------------------------------------------------------------------------- as containers

project=outhook-smoke-$$

compose_build() {
    docker info >/dev/null 2>&1 || die "no Docker engine answers; try scripts/smoke.sh --local"
    if [ -z "${COMPOSE-}" ]; then
        COMPOSE=docker-compose
        ! docker compose version >/dev/null 2>&1 || COMPOSE="docker compose"
    fi
    export OUTHOOK_TAG=$project
    dc build || die "the images do not build (no registry? .ci/base-images.sh)"
}

# A tool of two words is meant to be split.
# shellcheck disable=SC2086
dc() { $COMPOSE -p "$project" "$@"; }

# By label, as `ps` of docker-compose takes a second.
container() {
    docker ps --all --quiet --filter "label=com.docker.compose.project=$project" \
        --filter "label=com.docker.compose.service=$1"
}
inspect() { docker inspect --format "$2" "$(container "$1")"; }
healthy() { [ "$(inspect "$1" '{{.State.Health.Status}}')" = healthy ]; }

compose_up() {
    # As a user does; depends_on brings the order.
    dc up --detach --no-build
    local service size
    for service in redis receiver webhook api; do
        follow "$service"
        wait_until 30 "$service to start" logged "$service" "$(ready_line "$service")" 1
        [ "$service" = receiver ] || wait_until 30 "$service to be healthy" healthy "$service"
        [ "$(inspect "$service" '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}')" \
            = "true [ALL] [no-new-privileges:true]" ] || die "$service is not locked down"
        ! docker top "$(container "$service")" -eo pid,uid | grep ' 0$' || die "$service runs as root"
    done
    [ "$(docker image inspect --format '{{.Config.Healthcheck.Test}} {{.Config.User}}' "outhook:$OUTHOOK_TAG")" \
        = "[CMD /outhook check] 65534:65534" ] || die "the image has no health check or is for root"
    size=$(docker image inspect --format '{{.Size}}' "outhook:$OUTHOOK_TAG")
    [ "$size" -lt 8500000 ] || die "the image has $size bytes, 8.5 MB are allowed"
    api_url=http://$(dc port api 8000)
    [[ $api_url = http://127.0.0.1:* ]] || die "the API is on $api_url, not on the loopback address"
    echo "  healthy, locked down; the image has $size bytes"
}

compose_start() {
    dc up --detach --no-build --no-deps --force-recreate "$1" >/dev/null 2>&1 || die "cannot start $1"
    follow "$1"
}

# Logs are collected while they are written: they go with the container.
follow() {
    docker logs --follow "$(container "$1")" >>"$work/$1.log" 2>&1 &
    echo $! >"$work/$1.pid"
}

compose_stop() {
    # SIGTERM, and SIGKILL after stop_grace_period.
    docker stop "$(container "$1")" >/dev/null
    exit_code=$(inspect "$1" '{{.State.ExitCode}}')
    # Until the log is read to its end.
    wait "$(cat "$work/$1.pid")" || true
}

compose_redis_cli() { docker exec "$(container redis)" redis-cli "$@"; }

compose_outhook() { dc exec -T webhook outhook "$@"; }

compose_clean_up() {
    [ -n "${OUTHOOK_TAG-}" ] || return
    dc down --volumes --timeout 5 >/dev/null 2>&1
    # Without pruning, so that the next build finds its layers.
    docker rmi --no-prune outhook{,-receiver,-payment-api}:"$OUTHOOK_TAG" >/dev/null 2>&1
}

# ----------------------------------------------------------------------------------- as processes

local_build() {
    local tool
    for tool in redis-server redis-cli curl cargo; do
        command -v "$tool" >/dev/null || die "$tool is missing (scripts/test.sh installs redis-server)"
    done
    cargo build --locked --bin outhook --example payment-api
    bin=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug
    # The names that outhook knows them by, and redis-cli.
    export OUTHOOK_REDIS_PASSWORD=$REDIS_PASSWORD REDISCLI_AUTH=$REDIS_PASSWORD
    export REDIS_ADDRESS=unix://$work/redis.sock
}

local_up() {
    receiver_port=0
    start redis
    start receiver
    receiver_port=$(sed -n 's/^listen: on http:.*:\([0-9]*\)$/\1/p' "$work/receiver.log")
    export WEBHOOK_ADDRESS=http://127.0.0.1:$receiver_port/payments
    start webhook
    start api
    api_url=$(sed -n 's/^payment-api: on \(http:[^,]*\),.*/\1/p' "$work/api.log")
    ! OUTHOOK_REDIS_PASSWORD=wrong "$bin/outhook" check || die "outhook check takes a wrong password"
    BIND=${api_url#http://} "$bin/examples/payment-api" --health || die "payment-api --health fails"
}

local_start() {
    local service=$1
    case $service in
        redis)
            set -- redis-server --port 0 --unixsocket "$work/redis.sock" --dir "$work" \
                --appendonly yes --requirepass "$REDIS_PASSWORD"
            ;;
        receiver)
            set -- env OUTHOOK_STATUS="$RECEIVER_STATUS" OUTHOOK_DELAY="$RECEIVER_DELAY" \
                "$bin/outhook" listen --bind "127.0.0.1:$receiver_port"
            ;;
        # The receiver is on loopback, where the address guard lets nothing lead.
        webhook) set -- "$bin/outhook" serve --allow-cidr 127.0.0.0/8 ;;
        api) set -- env BIND=127.0.0.1:0 "$bin/examples/payment-api" ;;
    esac
    "$@" >>"$work/$service.log" 2>&1 &
    echo $! >"$work/$service.pid"
}

local_stop() {
    local pid
    pid=$(cat "$work/$1.pid")
    kill -TERM "$pid" || die "$1 has ended by itself"
    # stop_grace_period
    wait_until 15 "$1 to end" ended "$pid"
    exit_code=0
    wait "$pid" || exit_code=$?
}

ended() { ! kill -0 "$1" 2>/dev/null; }

local_redis_cli() { redis-cli -s "$work/redis.sock" "$@"; }

local_outhook() { "$bin/outhook" "$@"; }

local_clean_up() {
    # shellcheck disable=SC2046
    kill -KILL $(cat "$work"/*.pid 2>/dev/null) 2>/dev/null
}

main "$@"
