#!/bin/sh
# Builds target/stand-in/cfg.tgz, the stand-in's bundle. Quick when nothing changed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out="$root/target/stand-in"
mkdir -p "$out"
cd "$here"

inputs=$(find . -type f ! -path './target/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
if [ -f "$out/cfg.tgz" ] && [ "$(cat "$out/cfg.stamp" 2>/dev/null)" = "$inputs" ]; then
    exit 0
fi

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
echo "stand-in: building its bundle (once)"
tree web nginx,docker-registry
tree mariadb mariadb-server-core

target=x86_64-unknown-linux-musl
CARGO_TARGET_DIR="$out/build" CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo" \
    cargo build --quiet --release --locked --target $target
bin="$out/build/$target/release"
"$bin/stand-in-bundle" "$bin/stand-in-core" "$out" "$here/files" "$out/cfg.tgz"
echo "$inputs" > "$out/cfg.stamp"
