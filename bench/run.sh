#!/usr/bin/env bash
# Measures what this library costs and says PASS or FAIL for each limit; see usage below.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/deps.sh
. "$root/scripts/deps.sh"
# shellcheck source=scripts/build.sh
. "$root/scripts/build.sh"
# shellcheck source=bench/servers.sh
. "$root/bench/servers.sh"

usage() {
    cat <<'END'
usage: bench/run.sh NAME...
  echo       instructions and system calls per echoed message, against straight libuv
  idle       resident bytes per idle connection, against straight libuv and tokio
  messages   messages per second into a busy loop, against tokio's mpsc
  deadlines  nanoseconds to arm and to move a deadline, a million live
  kv         CPU per request of the kv sample, against redis-server
  server     10,000 connections active on two workers, clients that are killed, a drain under load
  fibers     a fiber's switch, life and memory, and echo on fibers against enum machines
  rpc        CPU per typed call, against a server by hand, tarpc and tonic
  all        all of them
Ends with 1 if a limit is missed. Do nothing else on the machine meanwhile.
END
}

# The limits that are promised.
echo_ratio_max=1.35
echo_syscall_difference_max=0.01
idle_bytes_max=512
idle_connections=9000
declare -A messages_ratio_min=([1]=4 [4]=20) # by the number of senders
deadline_move_ns_max=25
deadline_arm_ns_max=30
kv_ratio_max=1.0
fiber_echo_ratio_max=1.05
fiber_parked_bytes_max=4608 # a page, and what the loop keeps of a machine

failed=()

# verdict NAME CONDITION TEXT: CONDITION is an awk expression.
verdict() {
    if awk "BEGIN { exit !($2) }"; then
        echo "PASS $1: $3"
    else
        echo "FAIL $1: $3"
        failed+=("$1")
    fi
}

# calc EXPRESSION [FORMAT]
calc() {
    awk "BEGIN { printf \"${2:-%.2f}\", $1 }"
}

median() {
    sort -n | awk '{ value[NR] = $1 } END { print value[int(NR / 2) + 1] }'
}

# What is asked of a server whose instructions or system calls are counted: a function, told how much.
exercise=echo_messages
# Each server is run with few and with many messages, and the difference taken, so that start-up,
# accepting and shutting down cancel out.
few=20000
many=120000

measure_echo() {
    want_valgrind
    want_strace
    install_missing
    local ours theirs mine yours timed
    load=$(build_program bench load)
    ours=$(build_program samples echo)
    theirs=$(build_program bench echo_libuv)

    echo "Echo of 64 bytes over 64 connections, $((many - few)) messages:"
    count_instructions "$ours"
    mine=$result
    count_instructions "$theirs"
    yours=$result
    # Our sample moves a deadline with each message; for the record, libuv doing the same.
    count_instructions "$theirs" --idle-ms 300000
    timed=$result
    echo "  user-space instructions per message: echo sample $mine, straight libuv $yours (moving a uv_timer too: $timed)"
    verdict echo-instructions "$mine <= $echo_ratio_max * $yours" \
        "$(calc "$mine / $yours" %.3f) times straight libuv, at most $echo_ratio_max"

    count_syscalls "$ours"
    mine=$result
    count_syscalls "$theirs"
    yours=$result
    echo "  system calls per message: echo sample $mine, straight libuv $yours"
    verdict echo-syscalls "$mine <= (1 + $echo_syscall_difference_max) * $yours" \
        "$mine, straight libuv $yours"
}

# count_instructions SERVER...: per message, into `result`. (Not printed: servers that a subshell
# started could not be stopped from here.)
count_instructions() {
    local count total=()
    for count in $few $many; do
        start_server valgrind --quiet --tool=callgrind --callgrind-out-file="$work/callgrind" "$@"
        "$exercise" "$count"
        stop_server
        total+=("$(awk '/^(totals|summary):/ { print $2; exit }' "$work/callgrind")")
    done
    result=$(calc "(${total[1]} - ${total[0]}) / ($many - $few)" %.1f)
}

# count_syscalls SERVER...: per message, into `result`.
count_syscalls() {
    local count total=()
    for count in $few $many; do
        # strace -D traces from a grandchild, so that the process we started is the server.
        rm -f "$work/strace"
        start_server strace -D -f -c -U calls,name -o "$work/strace" "$@"
        "$exercise" "$count"
        stop_server
        wait_for grep -sq total "$work/strace" || fail "strace left no summary"
        total+=("$(awk '/total/ { print $1 }' "$work/strace")")
    done
    result=$(calc "(${total[1]} - ${total[0]}) / ($many - $few)" %.4f)
}

echo_messages() {
    on_load_core "$load" echo --addr "$server_addr" --connections 64 --bytes 64 --messages "$1" >"$work/load" ||
        fail "the load generator gave up"
}

measure_idle() {
    local sample libuv tokio ours
    load=$(build_program bench load)
    sample=$(build_program samples echo)
    libuv=$(build_program bench echo_libuv)
    tokio=$(build_program bench echo_tokio)
    need_descriptors $((idle_connections + 500))
    echo "Resident bytes per idle connection, $idle_connections connections:"
    weigh "echo sample, a deadline each" "$sample"
    ours=$result
    weigh "straight libuv, no deadline" "$libuv"
    weigh "straight libuv, a uv_timer each" "$libuv" --idle-ms 300000
    weigh "tokio tuned for memory, no deadline" "$tokio"
    weigh "tokio tuned for memory, a timeout each" "$tokio" --idle-ms 300000
    verdict idle "$ours <= $idle_bytes_max" "$ours bytes, at most $idle_bytes_max"
}

# weigh LABEL SERVER...: bytes per connection, printed and into `result`.
weigh() {
    start_server "${@:2}"
    on_load_core "$load" idle --addr "$server_addr" --pid "$server_pid" --connections "$idle_connections" >"$work/load" ||
        fail "the load generator gave up"
    stop_server
    result=$(sed 's/.*, \([0-9]*\) bytes each.*/\1/' "$work/load")
    echo "  $1: $result"
}

measure_messages() {
    local program senders ratio least
    program=$(build_program bench messages)
    echo "Messages from other threads into a busy loop:"
    "$program" | tee "$work/messages" | sed 's/^/  /'
    for senders in 1 4; do
        least=${messages_ratio_min[$senders]}
        ratio=$(awk -v senders="$senders" '$2 == senders { rate[$3] = $4 }
            END { printf "%.2f", rate["rotor"] / rate["tokio"] }' "$work/messages")
        verdict "messages-from-$senders" "$ratio >= $least" "$ratio times tokio's mpsc, at least $least"
    done
}

measure_deadlines() {
    local program arm move
    program=$(build_program bench deadlines)
    echo "A deadline with a million live:"
    "$program" | tee "$work/deadlines" | sed 's/^/  /'
    arm=$(awk '$1 == "arm" { print $2 }' "$work/deadlines")
    move=$(awk '$1 == "move" { print $2 }' "$work/deadlines")
    verdict deadline-move "$move <= $deadline_move_ns_max" "$move ns, at most $deadline_move_ns_max"
    verdict deadline-arm "$arm <= $deadline_arm_ns_max" "$arm ns, at most $deadline_arm_ns_max"
}

# Both servers run from the start, so that they share whatever the machine does; the one that is
# not measured sleeps.
measure_kv() {
    want_redis_tools
    install_missing
    local kv redis round name
    kv=$(build_program samples kv)
    redis=$(redis_server)
    start_server "$kv" --listen 127.0.0.1:0
    local -A pid=([kv]=$server_pid) port=([kv]=${server_addr##*:})
    start_redis "$redis"
    pid[redis]=$server_pid
    port[redis]=${server_addr##*:}
    echo "CPU per request of kv and $("$redis" --version | awk '{ print $1, $3 }'), redis-benchmark -P 16 -c 50 -n 1000000 -t get,set:"
    for round in 1 2 3; do
        for name in kv redis; do
            cpu_per_request "${pid[$name]}" "${port[$name]}" >>"$work/$name"
            echo "  round $round: $name $(tail -n 1 "$work/$name") ns"
        done
    done
    stop_all_servers
    local ours theirs
    ours=$(median <"$work/kv")
    theirs=$(median <"$work/redis")
    verdict kv "$ours <= $kv_ratio_max * $theirs" \
        "median $ours ns, redis-server $theirs ns, ratio $(calc "$ours / $theirs"), at most $kv_ratio_max"
}

# cpu_per_request PID PORT: user and system nanoseconds that the server spent on a request.
cpu_per_request() {
    local before after requests=2000000
    before=$(cpu_ticks "$1")
    on_load_core redis-benchmark -p "$2" -P 16 -c 50 -n 1000000 -t get,set -q >"$work/benchmark" ||
        fail "redis-benchmark failed: $(tail -n 1 "$work/benchmark")"
    after=$(cpu_ticks "$1")
    calc "($after - $before) * 1000000000 / $(getconf CLK_TCK) / $requests" '%.0f\n'
}

# The program starts a server and clients as processes of its own, and says PASS or FAIL itself.
measure_server() {
    local program
    program=$(build_program bench server)
    need_descriptors 10300
    echo "The server, two workers, replies of 64 bytes:"
    "$program" measure || failed+=(server)
}

measure_fibers() {
    local program machine fiber bytes count
    program=$(build_program bench fibers)
    echo "Fibers, against the bare coroutine and the enum machine that does the same:"
    "$program" | tee "$work/fibers" | sed 's/^/  /'
    for count in 10000 100000; do
        bytes=$(awk -v count="$count" '$1 == "parked" && $2 == count { print $4 }' "$work/fibers")
        verdict "fibers-parked-$count" "$bytes <= $fiber_parked_bytes_max" "$bytes bytes each, at most $fiber_parked_bytes_max"
    done
    machine=$(awk '$1 == "echo" && $2 == "machine" { print $3 }' "$work/fibers")
    fiber=$(awk '$1 == "echo" && $2 == "fiber" { print $3 }' "$work/fibers")
    verdict fibers-echo "$fiber <= $fiber_echo_ratio_max * $machine" \
        "$fiber ns of CPU per message, enum machine $machine ns, ratio $(calc "$fiber / $machine" %.3f), at most $fiber_echo_ratio_max"
    want_valgrind
    install_missing
    load=$(build_program bench load)
    count_instructions "$program" serve --as machine
    machine=$result
    count_instructions "$program" serve --as fiber
    echo "  user-space instructions per message: fiber $result, enum machine $machine"
}

# The program starts servers and clients as processes of their own, and says PASS or FAIL itself.
measure_rpc() {
    local program system shape exercise=rpc_calls
    program=$(build_program bench rpc)
    echo "Typed calls, requests and replies of 40 bytes:"
    "$program" measure || failed+=(rpc)
    want_valgrind
    install_missing
    for shape in "1 64" "64 1"; do
        for system in by-hand rotor; do
            count_instructions "$program" serve --as "$system"
            echo "  user-space instructions per call, connections x in flight ${shape/ / x }: $system $result"
        done
    done
}

# Of measure_rpc's `program`, `system` and `shape`.
rpc_calls() {
    # shellcheck disable=SC2154
    on_load_core "$program" load --as "$system" --addr "$server_addr" --calls "$1" \
        --connections "${shape% *}" --in-flight "${shape#* }" >"$work/load" ||
        fail "the client gave up"
}

[ $# -gt 0 ] || set -- --help
names=(echo idle messages deadlines kv server fibers rpc)
case $1 in
-h | --help)
    usage
    exit
    ;;
all) set -- "${names[@]}" ;;
esac
for name in "$@"; do
    if [[ " ${names[*]} " != *" $name "* ]]; then
        say "error: there is no benchmark '$name'"
        usage >&2
        exit 2
    fi
done

want_cargo
want_c_compiler
want_libclang
install_missing
# Only errors: the numbers are what is wanted here.
export CARGO_TERM_QUIET=true
work=$(mktemp -d)
trap 'stop_all_servers; rm -rf "$work"' EXIT

for name in "$@"; do
    "measure_$name"
    echo
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "Missed: ${failed[*]}"
    exit 1
fi
