#!/usr/bin/env bash
# Everything that must pass. Installs what it needs first; see usage below.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$root"
# shellcheck source=scripts/deps.sh
. scripts/deps.sh

# A step is a function step_NAME and its line here. The quick ones come first, so that a slip
# shows early.
names=(format lints docs tests bench loom valgrind)
declare -A about=(
    [format]="rustfmt finds nothing to change"
    [lints]="clippy on the library, the samples and all their tests, and every feature alone: no warning"
    [docs]="the documentation builds without a warning"
    [tests]="unit, property, integration, sample and documentation tests"
    [bench]="clippy and the tests of the benchmark programs"
    [loom]="models of the hand-overs between threads, every interleaving"
    [valgrind]="the tests of the wrapper and the loop under memcheck: no error, no leak"
)
quick=(format lints docs tests)

# Steps are called where errexit is off (their failure is an answer), so each command in them says
# itself what its failure means.

# The crates whose threads and unsafe code are worth the slow steps: where threads share state there are models, and what
# calls C runs under memcheck.
modelled_crates=(uv-sys-wrap rotor-fsm rotor-net)
memchecked_crates=(uv-sys-wrap rotor-fsm)

# Every wait in the tests is bounded, so these bounds are only for a bug in one that is not.
step_seconds_max=2400
program_seconds_max=900

usage() {
    cat <<'END'
usage: ./test.sh            run every step
       ./test.sh --quick    leave out the slow steps
       ./test.sh --list     name the steps
       ./test.sh STEP...    run these steps only
END
}

step_format() {
    cargo fmt --all --check
}

step_lints() {
    bounded cargo clippy --locked --all-targets --all-features -- -D warnings || return 1
    # Each feature by itself, and none.
    local features
    for features in "" fiber server rpc; do
        RUSTFLAGS="-D warnings" CARGO_TARGET_DIR="$target/features" \
            bounded cargo check --locked --quiet -p rotor-net --no-default-features --features "$features" || return 1
    done
}

step_docs() {
    RUSTDOCFLAGS="-D warnings" bounded cargo doc --locked --no-deps --all-features
}

step_tests() {
    bounded cargo test --locked --all-features --no-fail-fast
}

step_bench() {
    bounded cargo clippy --locked -p rotor-bench --all-targets -- -D warnings &&
        bounded cargo test --locked -p rotor-bench
}

# loom replaces the atomics of the whole build, hence a target directory of its own. Its models
# are slow unless optimised; linking them thoroughly as well would only cost time.
step_loom() {
    local crate before
    for crate in "${modelled_crates[@]}"; do
        before=$(passed)
        RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$target/loom" CARGO_PROFILE_RELEASE_LTO=off \
            CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
            bounded cargo test --locked --release --all-features -p "$crate" --lib loom || return 1
        # A filter that matches nothing passes; a step that checked nothing must not.
        if [ "$(passed)" -eq "$before" ]; then
            say "error: $crate has no loom model"
            return 1
        fi
    done
}

# Runs the test programs themselves: cargo would be checked too if it started them.
step_valgrind() {
    local found crate program dir
    found=$(cargo test --locked --all-features --no-run --message-format=json-render-diagnostics \
        "${memchecked_crates[@]/#/--package=}" |
        sed -n '/"profile":{[^}]*"test":true}/s/.*"manifest_path":"\([^"]*\)\/Cargo.toml".*"executable":"\([^"]*\)".*/\1\t\2/p') || return 1
    for crate in "${memchecked_crates[@]}"; do
        if ! grep -q "/$crate	" <<<"$found"; then
            say "error: cargo named no test program of $crate"
            return 1
        fi
    done
    while IFS=$'\t' read -r dir program; do
        case ${program##*/} in
        # Tests of what must not compile start compilers, which are not ours to check.
        compile_fail-* | trybuild-* | ui-*) continue ;;
        esac
        echo "memcheck: ${program##*/}"
        # The tests do less of the same when ROTOR_VALGRIND is set.
        (cd "$dir" && ROTOR_VALGRIND=1 bounded_to "$program_seconds_max" valgrind --quiet \
            --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,possible \
            --errors-for-leak-kinds=definite,possible --num-callers=30 --fair-sched=yes \
            --suppressions="$root/scripts/valgrind.supp" \
            "$program" --test-threads=1) || return 1
    done <<<"$found"
}

bounded() {
    bounded_to "$step_seconds_max" "$@"
}

# bounded_to SECONDS COMMAND...: ends the command with all it started when it takes too long, or
# when this script is interrupted. `timeout` makes a process group of its own for that, which the
# terminal's Ctrl-C does not reach; hence the trap.
bounded_to() {
    local status=0
    set -m
    timeout --kill-after=10 "$@" </dev/null &
    local child=$!
    set +m
    # shellcheck disable=SC2064
    trap "kill -TERM $child 2>/dev/null || true" INT TERM HUP
    wait "$child" || status=$?
    trap - INT TERM HUP
    if [ "$status" -eq 124 ]; then
        say "error: not done within $1 seconds: ${*:2}"
    fi
    return "$status"
}

# count WORD: adds up the numbers before it in the closing lines of all test programs so far.
count() {
    awk -v word="$1" '/^test result: / {
        for (i = 2; i <= NF; i++) if (index($i, word) == 1) sum += $(i - 1)
    } END { print sum + 0 }' "$log"
}

passed() {
    count passed
}

# run_step NAME: with a header, its output in the log, and the seconds it took.
run_step() {
    local status=0 start=$SECONDS
    echo
    echo "=== $1: ${about[$1]}"
    "step_$1" 2>&1 | tee -a "$log" || status=$?
    echo "=== $1: $((SECONDS - start)) s"
    return "$status"
}

steps=()
while [ $# -gt 0 ]; do
    case $1 in
    --quick) steps+=("${quick[@]}") ;;
    --list)
        for name in "${names[@]}"; do
            printf '%-10s %s\n' "$name" "${about[$name]}"
        done
        exit
        ;;
    -h | --help)
        usage
        exit
        ;;
    *)
        if [ -z "${about[$1]:-}" ]; then
            say "error: there is no step '$1'. The steps are: ${names[*]}"
            usage >&2
            exit 2
        fi
        steps+=("$1")
        ;;
    esac
    shift
done
[ ${#steps[@]} -gt 0 ] || steps=("${names[@]}")

want_cargo
want_rust_components
want_c_compiler
want_libclang
want_redis_tools
for name in "${steps[@]}"; do
    case $name in
    tests) want_strace ;;
    valgrind) want_valgrind ;;
    esac
done
install_missing

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
log=$(mktemp)
trap 'rm -f "$log"' EXIT

ran=()
for name in "${steps[@]}"; do
    if ! run_step "$name"; then
        echo
        echo "$(passed) passed, $(count failed) failed"
        echo "FAILED in the step '$name' ($SECONDS s). To run only that: ./test.sh $name"
        exit 1
    fi
    ran+=("$name")
done
echo
echo "$(passed) passed, $(count failed) failed"
echo "All is well: ran ${ran[*]} in $SECONDS s."
