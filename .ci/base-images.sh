#!/usr/bin/env bash
# Makes the images that Dockerfile and docker-compose.yaml start from, where no registry serves
# them: stand-ins under the same names, so that the very same two files are built and run.
#
# For each image: it is there already, nothing to do; `docker pull` brings it, good; otherwise a
# stand-in is made from Debian's packages (debootstrap) and, for rust, this machine's toolchain.
# A stand-in carries the label outhook.stand-in. Needs root, and Debian or a derivative of it.
set -euo pipefail
cd "$(dirname "$0")/.."

# The engine itself gives up soon on a registry that it cannot reach. This is for one that hangs
# later, and leaves time for a slow line.
PULL_TIMEOUT=${PULL_TIMEOUT:-300}

say() { printf 'base-images: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

work=
cleanup() { [ -z "$work" ] || rm -rf --one-file-system "$work"; }
trap cleanup EXIT

main() {
    local image
    for image in $(images_from_files); do
        if docker image inspect "$image" >/dev/null 2>&1; then
            say "$image: is there"
        elif timeout "$PULL_TIMEOUT" docker pull --quiet "$image" >/dev/null; then
            say "$image: pulled"
        else
            say "$image: no registry serves it, making a stand-in"
            need_root_tools
            case $image in
                rust:*) make_rust "$image" ;;
                redis:*) make_redis "$image" ;;
                *) die "do not know how to make $image" ;;
            esac
        fi
    done
}

# The names are read and not repeated here, so they cannot drift apart.
images_from_files() {
    awk 'toupper($1) == "FROM" && $2 != "scratch" { print $2 }' Dockerfile
    # Those with a variable are built here.
    awk '$1 == "image:" && $2 !~ /\$/ { print $2 }' docker-compose.yaml
}

need_root_tools() {
    [ "$(id -u)" = 0 ] || die "making a stand-in needs root"
    if ! command -v debootstrap >/dev/null; then
        command -v apt-get >/dev/null || die "making a stand-in needs debootstrap"
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
    fi
    work=${work:-$(mktemp -d)}
    mkdir -p "$work/debs"
}

# debian ROOT PACKAGES...: a small bookworm under ROOT.
debian() {
    local root=$1 packages
    shift
    packages=$(IFS=, && echo "$*")
    debootstrap --variant=minbase --cache-dir="$work/debs" --include="$packages" \
        bookworm "$root" >"$root.log" 2>&1 || { tail -n 30 "$root.log" >&2; die "debootstrap failed"; }
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}
}

# import ROOT IMAGE CHANGES...
import() {
    local root=$1 image=$2 change changes=()
    shift 2
    for change in "LABEL outhook.stand-in=true" "$@"; do
        changes+=(--change "$change")
    done
    tar -C "$root" -c . | docker import "${changes[@]}" - "$image" >/dev/null
    rm -rf --one-file-system "$root"
    say "$image: made"
}

make_rust() {
    local image=$1 root=$work/rust sysroot host version toolchain
    sysroot=$(rustc --print sysroot) || die "a stand-in for $image needs a Rust toolchain"
    host=$(rustc -vV | sed -n 's/^host: //p')
    version=$(rustc -V | cut -d' ' -f2)
    case $image in
        rust:"${version%.*}"-*) ;;
        *) say "$image: NOTE, this machine's toolchain is $version, so that is what it will hold" ;;
    esac

    debian "$root" ca-certificates gcc libc6-dev
    # What this machine trusts: crates may come through a proxy with a root of its own.
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    # Laid out as in the official image. Only what builds a program, not documentation and tools.
    toolchain=usr/local/rustup/toolchains/$version-$host
    mkdir -p "$root/$toolchain" "$root/usr/local/cargo/bin"
    tar -C "$sysroot" --exclude=lib/rustlib/src -c bin/cargo bin/rustc lib \
        | tar -C "$root/$toolchain" -x
    ln -s "/$toolchain"/bin/{cargo,rustc} "$root/usr/local/cargo/bin/"
    import "$root" "$image" \
        "ENV CARGO_HOME=/usr/local/cargo" "ENV RUSTUP_HOME=/usr/local/rustup" \
        "ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
        "CMD bash"
}

make_redis() {
    local image=$1 root=$work/redis
    debian "$root" redis-server
    # The official image's user has this number, and its volume belongs to it.
    mkdir "$root/data"
    chown 999:999 "$root/data"
    import "$root" "$image" "WORKDIR /data" "VOLUME /data" "EXPOSE 6379" 'CMD ["redis-server"]'
}

main
