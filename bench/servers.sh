# shellcheck shell=bash
# Starts and stops the servers that are measured, each by its own process id, and nothing else.
# Sourced by bench/run.sh, with `work` set to a directory for output.
#
# With two cores or more the servers get one and the load another, so that neither disturbs the
# other and a server is always fed by the same kind of client.

server_pid=0   # of the server started last
server_addr="" # where it listens
running=()     # process ids of all that still run

server_core=()
load_core=()
if command -v taskset >/dev/null && [ "$(nproc)" -ge 2 ]; then
    server_core=(taskset -c 1)
    load_core=(taskset -c 0)
fi

fail() {
    say "error: $*"
    exit 1
}

on_load_core() {
    "${load_core[@]}" "$@"
}

# start_server COMMAND...: returns when it has said where it listens.
start_server() {
    local output
    # shellcheck disable=SC2154
    output=$(mktemp "$work/server.XXXXXX")
    "${server_core[@]}" "$@" >"$output" 2>&1 &
    server_pid=$!
    running+=("$server_pid")
    wait_for grep -q '^listening on ' "$output" || fail "$* does not listen: $(head -c 500 "$output")"
    server_addr=$(sed -n 's/^listening on //p' "$output")
}

# A redis-server of our own, on a port that was free a moment ago, keeping nothing on disk.
start_redis() {
    local port=$((20000 + RANDOM % 10000))
    "${server_core[@]}" "$1" --bind 127.0.0.1 --port "$port" --save "" --appendonly no \
        --dir "$work" >"$work/redis.log" 2>&1 &
    server_pid=$!
    running+=("$server_pid")
    wait_for redis_answers "$port" || fail "redis-server does not listen: $(tail -n 3 "$work/redis.log")"
    # shellcheck disable=SC2034
    server_addr=127.0.0.1:$port
}

# Asks who answers, too: another server may have had the port before ours.
redis_answers() {
    redis-cli -p "$1" info server 2>/dev/null | grep -q "^process_id:$server_pid\b"
}

# The program of redis-server. Debian's redis-tools has the same program under another name, and
# it goes by the name that it is called with; so the package redis-server, which would start a
# service, is not needed.
redis_server() {
    local program
    if program=$(command -v redis-server); then
        echo "$program"
    elif program=$(command -v redis-check-rdb); then
        ln -sf "$program" "$work/redis-server"
        echo "$work/redis-server"
    else
        fail "redis-server is missing; it is in the distribution's package redis-server, from the Redis project"
    fi
}

# Ends the server started last and waits for it.
stop_server() {
    stop "$server_pid"
}

stop_all_servers() {
    local pid
    for pid in "${running[@]}"; do
        stop "$pid"
    done
}

stop() {
    local pid kept=()
    kill -TERM "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
    for pid in "${running[@]}"; do
        [ "$pid" = "$1" ] || kept+=("$pid")
    done
    running=("${kept[@]}")
}

# wait_for COMMAND...: until it succeeds; gives up after 30 seconds.
wait_for() {
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        if "$@"; then
            return
        fi
        sleep 0.1
    done
    return 1
}

# User and system time of a process and the threads it has or had, in clock ticks.
cpu_ticks() {
    # The name, in parentheses, may hold anything; the fields are counted from behind it.
    sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

need_descriptors() {
    ulimit -Sn hard 2>/dev/null || true
    [ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge "$1" ] ||
        fail "this needs $1 file descriptors, and the limit is $(ulimit -n)"
}
