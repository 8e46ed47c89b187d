#!/bin/sh
# From a worker to a job over HTTP v2, with nothing but curl and sed.
#
# Usage: GROVE_SERVER=http://127.0.0.1:8487 sh client.sh
# The worker is a simulated one, so the job opens but leads nowhere.
set -eu

api=${GROVE_SERVER:-http://127.0.0.1:8487}/api/v2
worker=0190a1b2-0000-7000-8000-000000000001

# Makes a call; a problem (RFC 9457) goes to stderr and ends the script.
call() {
    method=$1 path=$2
    shift 2
    answer=$(curl -sS -X "$method" -w '\n%{http_code}' -H 'Content-Type: application/json' "$@" "$api$path")
    status=${answer##*
}
    answer=${answer%
*}
    case $status in
    2??) printf '%s\n' "$answer" ;;
    *)
        printf '%s %s: %s\n' "$method" "$path" "$answer" >&2
        return 1
        ;;
    esac
}

# The state of a resource: the first field of that name.
state() {
    sed 's/^\([^}]*"state":"[a-z_]*"\).*/\1/' | sed 's/.*"state":"\([a-z_]*\)"/\1/'
}

# Asks until a resource is in that state: each call answers at the next change of state, or after 10 seconds.
wait_for() {
    while :; do
        seen=$(call GET "$1?wait=10s" | state)
        case $seen in
        "$2") return ;;
        waiting | prepare | maintenance) ;;
        *) echo "$1 is ${seen:-unknown}, not $2" >&2 && exit 1 ;;
        esac
    done
}

# A worker registers, and is taken to idle.
call PUT "/workers/$worker" -d '{
    "driver": "simulated",
    "capabilities": { "board": "rpi4", "uart": "2" }
}' >/dev/null
call POST "/workers/$worker/state" -d '{"state": "idle"}' >/dev/null
wait_for "/workers/$worker" idle
echo "worker $worker is idle"

# A request. Sent again with the same key, it is not made twice.
request=$(call POST /requests -H "Idempotency-Key: client-$$" -d '{
    "wants": ["board=rpi4", "uart=2.."],
    "for": "10m"
}' | sed 's/^{"id":\([0-9]*\).*/\1/')
echo "request $request waits"

wait_for "/requests/$request" in_progress
echo "request $request runs"

# The way in; without a key of our own, the farm has made a pair.
job=$(call GET "/jobs/$request")
port=$(printf '%s' "$job" | sed 's/.*"port":\([0-9]*\).*/\1/')
user=$(printf '%s' "$job" | sed 's/.*"user":"\([^"]*\)".*/\1/')
host=$(printf '%s' "$job" | sed 's/.*"access":{"host":"\([^"]*\)".*/\1/')
key=$(mktemp)
trap 'rm -f "$key"' EXIT
printf '%s' "$job" | sed -n 's/.*"private_key":"\([^"]*\)".*/\1/p' | sed 's/\\n/\n/g' >"$key"
[ -s "$key" ] || { echo "the job has no private key" >&2; exit 1; }
echo "ssh -p $port -i KEY $user@$host"

# The board goes back.
echo "request $request is $(call POST "/requests/$request/close" -d '{"reason": "the example is over"}' | state)"
