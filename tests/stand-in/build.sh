#!/bin/sh
# Builds a bundle of the stand-in's: `cfg` (Harbor 1.1, what the default image holds), `yml` (2.15) or `yml-before` (2.14), into
# target/stand-in/NAME.tgz. Quick when nothing changed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out="$root/target/stand-in"
mkdir -p "$out"
cd "$here"

# What a bundle is made of: the program, and the files of its own.
inputs() {
    find src Cargo.toml Cargo.lock build.sh registry.sql "$1" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum |
        sha256sum | cut -d' ' -f1
}
current() { [ -f "$out/$1.tgz" ] && [ "$(cat "$out/$1.stamp" 2>/dev/null)" = "$(inputs "$2")" ]; }
case "$1" in cfg) files=files ;; yml | yml-before) files=yml ;; *) echo "usage: build.sh cfg|yml|yml-before" >&2; exit 2 ;; esac
! current "$1" "$files" || exit 0

# Of Debian's packages, or of Ubuntu's where Debian's archive does not answer.
tree() {
    name=$1 packages=$2
    [ ! -f "$out/$name.tar" ] || return 0
    for release in bookworm:debian noble:ubuntu; do
        if SOURCE_DATE_EPOCH=1496275200 mmdebstrap --quiet --variant=extract --format=tar --include="$packages" \
            --components=main,universe --keyring="$root/layers/base/keys/${release#*:}.gpg" \
            "${release%:*}" "$out/$name.new" 2>"$out/$name.log"; then
            mv "$out/$name.new" "$out/$name.tar"
            return 0
        fi
    done
    cat "$out/$name.log" >&2
    echo "stand-in: no archive gave $packages" >&2
    exit 4
}
echo "stand-in: building its bundle $1 (once)"
tree web nginx,docker-registry
case "$1" in
cfg) tree mariadb mariadb-server-core ;;
# A shell: initdb starts its programs with one.
yml | yml-before) tree data postgresql,redis-server,dash ;;
esac

target=x86_64-unknown-linux-musl
CARGO_TARGET_DIR="$out/build" CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo" \
    cargo build --quiet --release --locked --target $target
bin="$out/build/$target/release"
"$bin/stand-in-bundle" "$1" "$bin/stand-in-core" "$out" "$here/$files" "$out/$1.tgz"
inputs "$files" > "$out/$1.stamp"
