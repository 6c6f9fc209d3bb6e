# shellcheck shell=bash
# Builds one program and says where it is, wherever cargo is told to put it.
# Sourced by samples/run.sh and bench/run.sh, with `root` set to the top of the repository.

# build_program CRATE_DIRECTORY NAME: builds in release mode, prints the program's path.
build_program() {
    # shellcheck disable=SC2154
    cargo build --locked --release --manifest-path "$root/$1/Cargo.toml" --bin "$2" \
        --message-format=json-render-diagnostics |
        sed -n "/\"name\":\"$2\"/s/.*\"executable\":\"\([^\"]*\)\".*/\1/p"
}
