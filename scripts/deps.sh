# shellcheck shell=bash
# What the scripts of this repository need from the machine, and how they get it.
#
# Sourced by test.sh, samples/run.sh and bench/run.sh. Each says what it wants (`want_…`) and then
# calls `install_missing`, which is quick and silent when all is there. What is missing comes from
# apt, as root or with sudo; where that cannot be, it is named with what it is for and where to get
# it, and the script ends with 1. Everything said here goes to standard error: standard output
# belongs to the program that is run.

missing_packages=() # Debian's names
missing_reasons=()  # a line of text for each

say() {
    echo "$*" >&2
}

# missing REASON PACKAGE...: notes what a probe did not find.
missing() {
    missing_reasons+=("$1")
    missing_packages+=("${@:2}")
}

# Cargo comes from rustup, which Debian's packages cannot stand in for: theirs is too old.
want_cargo() {
    if ! command -v cargo >/dev/null && [ -f "$HOME/.cargo/env" ]; then
        # shellcheck disable=SC1091
        . "$HOME/.cargo/env"
    fi
    if ! command -v cargo >/dev/null; then
        say "error: cargo is missing. Get it with rustup, from the Rust project: rustup.rs"
        exit 1
    fi
}

# rustup's minimal profile leaves them out.
want_rust_components() {
    local absent=()
    cargo fmt --version >/dev/null 2>&1 || absent+=(rustfmt)
    cargo clippy --version >/dev/null 2>&1 || absent+=(clippy)
    [ ${#absent[@]} -gt 0 ] || return 0
    say "Adding to the Rust toolchain: ${absent[*]}"
    if ! rustup component add "${absent[@]}" >&2; then
        say "error: ${absent[*]} missing. Get them with rustup, from the Rust project:"
        say "  rustup component add ${absent[*]}"
        exit 1
    fi
}

want_c_compiler() {
    command -v cc >/dev/null ||
        missing "gcc: a C compiler, for the libuv that is built in; from the distribution, or the GCC project" gcc
    if ! cc -E -include pthread.h -x c /dev/null >/dev/null 2>&1; then
        missing "libc6-dev: the C library's headers, for the libuv that is built in; from the distribution" libc6-dev
    fi
}

# The bindings to libuv are generated at build time by bindgen, which loads libclang when it runs.
want_libclang() {
    if ! libclang_is_there || ! clang_headers_are_there; then
        missing "libclang-dev: libclang and its headers, for the bindings to libuv; from the distribution, or the LLVM project" libclang-dev
    fi
}

# Looks where bindgen's loader (clang-sys) looks, for the names it takes.
libclang_is_there() {
    local -a places
    if [ -n "${LIBCLANG_PATH:-}" ]; then
        [ ! -f "$LIBCLANG_PATH" ] || return 0
        places=("$LIBCLANG_PATH")
    else
        local prefix
        prefix=$("${LLVM_CONFIG_PATH:-llvm-config}" --prefix 2>/dev/null) || prefix=/usr/local
        local -a more
        IFS=: read -r -a more <<<"${LD_LIBRARY_PATH:-}:${LIBRARY_PATH:-}"
        places=("$prefix"/lib "$prefix"/lib64 "${more[@]}"
            /usr/local/llvm*/lib* /usr/local/lib*/*/* /usr/local/lib*/* /usr/local/lib*
            /usr/lib*/*/* /usr/lib*/* /usr/lib*)
    fi
    local place file
    for place in "${places[@]}"; do
        for file in "$place"/libclang.so "$place"/libclang-*.so \
            "$place"/libclang.so.* "$place"/libclang-*.so.*; do
            [[ $file == *-cpp.* || ! -f $file ]] || return 0
        done
    done
    return 1
}

# libclang alone does not do: stddef.h and its like are the compiler's own, in a package of their own.
clang_headers_are_there() {
    # Who points at a libclang of their own is taken to know what belongs to it.
    [ -z "${LIBCLANG_PATH:-}" ] || return 0
    local header
    for header in /usr/lib*/llvm*/lib*/clang/*/include/stddef.h /usr/lib*/clang/*/include/stddef.h \
        /usr/local/lib*/clang/*/include/stddef.h /usr/local/llvm*/lib*/clang/*/include/stddef.h; do
        [ ! -f "$header" ] || return 0
    done
    local prefix
    prefix=$("${LLVM_CONFIG_PATH:-llvm-config}" --prefix 2>/dev/null) || return 1
    for header in "$prefix"/lib*/clang/*/include/stddef.h; do
        [ ! -f "$header" ] || return 0
    done
    return 1
}

want_redis_tools() {
    if ! command -v redis-cli >/dev/null || ! command -v redis-benchmark >/dev/null; then
        missing "redis-tools: redis-cli and redis-benchmark, for the tests of the kv sample; from the distribution, or the Redis project" redis-tools
    fi
}

# Without the C library's debug symbols memcheck refuses to start, so it is tried on something.
want_valgrind() {
    valgrind --quiet --error-exitcode=1 true >/dev/null 2>&1 ||
        missing "valgrind and libc6-dbg: to check the unsafe code; from the distribution, or the Valgrind project" valgrind libc6-dbg
}

want_strace() {
    command -v strace >/dev/null ||
        missing "strace: to count system calls; from the distribution, or the strace project" strace
}

# Installs what the probes missed, in one go, or says what to install and ends the script.
install_missing() {
    [ ${#missing_packages[@]} -gt 0 ] || return 0
    say "Missing on this machine:"
    printf '  %s\n' "${missing_reasons[@]}" >&2

    local -a as_root=()
    if ! command -v apt-get >/dev/null; then
        give_up "there is no apt-get here"
    elif [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || give_up "apt-get needs root, and there is no sudo here"
        as_root=(sudo)
        # Without a terminal nobody can type a password.
        [ -t 0 ] || as_root+=(-n)
    fi
    local -a apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q
        -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
    say "Installing with apt-get: ${missing_packages[*]}"
    # A list that cannot be refreshed may still be good enough to install from.
    "${apt[@]}" update >&2 || say "warning: apt-get update failed"
    "${apt[@]}" install -y --no-install-recommends "${missing_packages[@]}" >&2 ||
        give_up "apt-get could not install"
    missing_packages=()
    missing_reasons=()
}

give_up() {
    say "error: $1. Please install: ${missing_packages[*]} (see above what each is for and where it comes from), then run this again."
    exit 1
}
