#!/bin/sh
# Installs what the Makefile's targets need: Debian packages, the musl target of Rust, an ordinary user for the tests.
# Quick and quiet when nothing is missing. Called by `make setup`; needs root or sudo only when something is missing.
set -eu

# Left of the colon: who needs it; the lab's only with the argument `lab`. `debootstrap` names the default archive and its releases' scripts.
packages="
build: gcc libc6-dev musl-tools
habuild image: mmdebstrap debootstrap uidmap gpgv ca-certificates
habuild boot: qemu-system-x86 qemu-utils ovmf
tests: mariadb-server-core mariadb-client-core postgresql redis-tools openssl git skopeo
tests: openssh-client dpkg-dev apt-utils gpg cpio squashfs-tools cryptsetup-bin gdisk fdisk dosfstools mtools util-linux
lab: ceph-mon ceph-mgr ceph-osd ceph-mds ceph-common iproute2
"
user=habuild-test

say() { echo "setup: $*"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "needs root for: $*" >&2
        say "run make setup once as root, or install sudo" >&2
        exit 3
    fi
}

install_packages() {
    command -v dpkg-query >/dev/null || { say "this is neither Debian nor Ubuntu: there is no dpkg-query" >&2; exit 3; }
    wanted=$(echo "$packages" | sed -e "$skip" -e 's/.*://' | tr '\n' ' ')
    installed=$(dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p')
    missing=""
    for package in $wanted; do
        echo "$installed" | grep -qxF "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "installing$missing"
    # PostgreSQL's package makes a database and starts a server on it, unless it is told not to when it is installed.
    as_root env DEBIAN_FRONTEND=noninteractive sh -eu -c '
        none=/etc/postgresql-common/createcluster.d/habuild-setup.conf
        case " $* " in *" postgresql "*)
            mkdir -p "${none%/*}"
            trap "rm -f $none" EXIT
            echo "create_main_cluster = false" >"$none" ;;
        esac
        apt-get update -q
        apt-get install -q -y --no-install-recommends "$@"' sh $missing
}

install_rust_target() {
    command -v cargo >/dev/null || { say "cargo is not installed: install Rust (rustup) first" >&2; exit 3; }
    target=x86_64-unknown-linux-musl
    [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || return 0
    command -v rustup >/dev/null || { say "Rust has no target $target, and there is no rustup to add it" >&2; exit 3; }
    say "adding Rust target $target"
    rustup -q target add "$target"
}

# The tests build as an ordinary user too. Its ids come after every range that others have.
make_user() {
    id "$user" >/dev/null 2>&1 || { say "making user $user"; as_root useradd --create-home --shell /bin/sh "$user"; }
    for kind in uid gid; do
        ! grep -q "^$user:[0-9]*:65536$" "/etc/sub$kind" 2>/dev/null || continue
        # Through cat: whether awk prints anything when the file is not there differs from awk to awk.
        first=$(cat "/etc/sub$kind" 2>/dev/null |
            awk -F: 'BEGIN { end = 524288 } $2 + $3 > end { end = $2 + $3 } END { print end }')
        say "giving user $user $kind""s $first to $((first + 65535))"
        as_root usermod "--add-sub${kind}s" "$first-$((first + 65535))" "$user"
    done
}

skip='/^lab:/d'
[ "${1:-}" != lab ] || skip=
install_packages
install_rust_target
case "${1:-}" in tests | lab) make_user ;; esac
