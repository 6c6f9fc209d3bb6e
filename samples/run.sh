#!/usr/bin/env bash
# Builds the samples in release mode and runs one; unless one is named, a demo of the file service and then the key-value
# server.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/deps.sh
. "$root/scripts/deps.sh"
# shellcheck source=scripts/build.sh
. "$root/scripts/build.sh"

usage() {
    cat <<'END'
usage: samples/run.sh                 show the file service at work, then run the kv sample until Ctrl-C
       samples/run.sh NAME [ARGS...]  build and run another sample
       samples/run.sh --list          name the samples
END
}

# The file that a sample starts in, if there is such a sample.
source_of() {
    local bin=$root/samples/src/bin file
    for file in "$bin/$1.rs" "$bin/$1/main.rs"; do
        if [ -f "$file" ]; then
            echo "$file"
            return
        fi
    done
    return 1
}

names() {
    local path name
    for path in "$root"/samples/src/bin/*; do
        name=$(basename "$path" .rs)
        if source_of "$name" >/dev/null; then
            echo "$name"
        fi
    done
}

# Each sample's line is the first line of its documentation.
list() {
    local name line
    names | while read -r name; do
        line=$(sed -n '1s|^//! *||p' "$(source_of "$name")")
        printf '%-20s %s\n' "$name" "$line"
    done
}

case ${1:-} in
--list)
    list
    exit
    ;;
-h | --help)
    usage
    exit
    ;;
esac

# Hyphens are easier to type.
name=${1:-kv}
name=${name//-/_}
if [[ $name == */* || $name == .* ]] || ! source_of "$name" >/dev/null; then
    say "error: there is no sample '$name'. The samples are: $(names | tr '\n' ' ')"
    usage >&2
    exit 2
fi

want_cargo
want_c_compiler
want_libclang
install_missing
# After that cargo's own line does.
if [ ! -x "${CARGO_TARGET_DIR:-$root/target}/release/$name" ]; then
    say "Building $name (the first time takes a minute or two)."
fi
program=$(build_program samples "$name")

if [ $# -eq 0 ]; then
    files=$(build_program samples files)
    say "Files over typed calls: a server and its client, on a directory that is gone afterwards."
    "$files" demo
    say "By itself: samples/run.sh files serve DIR, and from another terminal samples/run.sh files list"
    cat <<'END'

kv speaks the protocol of Redis. From another terminal (redis-cli is in the package redis-tools):
  redis-cli -p 6380 set greeting hello    and then    redis-cli -p 6380 get greeting
  redis-cli -p 6380                       for a prompt. Ctrl-C here ends the server.
END
fi
# In the place of this shell, so that signals reach the sample itself.
exec "$program" "${@:2}"
