#!/usr/bin/env bash
# Builds the release for Amazon Linux 2023 and puts it, with all that is installed with it, into
# s3-migration-ARCH.tar.gz with a .sha256. With --static it builds one that needs no C library of the
# machine, for any Linux, which packer/package.sh makes archives and .debs of.
#
#   packer/build-release.sh [--static] [--out FOLDER] [x86_64|aarch64 ...]
#   packer/build-release.sh [--static] --verify BINARY
#
# --verify builds nothing and looks at one binary, as is done with each that is built.
# Without an architecture it is the machine's own, which --static builds in any case: it writes the manual
# pages of all. Without --out the folder is dist, or dist/static.
#
# Amazon Linux 2023 has glibc 2.34 (https://docs.aws.amazon.com/linux/al2023/ug/core-glibc.html), older
# than most machines that build: zig links against exactly that one, and for either architecture, from
# anywhere. The same commit gives the same bytes wherever it is built with the same toolchain: no path
# of the machine, no time and no user goes in.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
glibc=2.34
# What zig links in for --static: lib/libc/musl/src/internal/version.h there.
musl=1.2.5
zig_version=0.15.2
zigbuild_version=0.24.1

fail() {
    printf 'build-release: %s\n' "$1" >&2
    exit 1
}

libc=gnu
out=
only_verified=
architectures=()
while [ $# -gt 0 ]; do
    case $1 in
        --out)
            [ $# -ge 2 ] || fail '--out needs a folder'
            out=$2
            shift
            ;;
        --verify)
            [ $# -ge 2 ] || fail '--verify needs a binary'
            only_verified=$2
            shift
            ;;
        --static) libc=musl ;;
        x86_64 | aarch64) architectures+=("$1") ;;
        *) fail "$1 is not understood; allowed: --static, --out FOLDER, --verify BINARY, x86_64, aarch64" ;;
    esac
    shift
done
own=$(uname -m)
[ ${#architectures[@]} -gt 0 ] || architectures=("$own")
if [ $libc = musl ]; then
    others=()
    for architecture in "${architectures[@]}"; do
        [ "$architecture" = "$own" ] || others+=("$architecture")
    done
    architectures=("$own" ${others[@]+"${others[@]}"})
    # Asked for now, not after an hour of building.
    command -v dpkg-deb > /dev/null || [ -n "$only_verified" ] || fail 'dpkg-deb is missing'
fi
if [ -z "$out" ]; then
    out=dist
    [ $libc = gnu ] || out=dist/static
fi

for needed in cargo python3 readelf strings sha256sum; do
    command -v "$needed" > /dev/null || fail "$needed is missing"
done

target_folder=${CARGO_TARGET_DIR:-$PWD/target}
mkdir -p "$target_folder"
target_folder=$(cd "$target_folder" && pwd)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustc --print sysroot)

# A release that starts where it should and tells nothing of who built it.
verify() {
    local binary=$1 place texts
    # Into a file first: a grep that has seen enough would end `strings`, and pipefail would make a
    # finding look like none.
    texts=$(mktemp)
    strings "$binary" > "$texts"
    for place in "$PWD" "$cargo_home" "$sysroot" "$target_folder" "$HOME/"; do
        if grep -Fqm 1 -- "$place" "$texts"; then
            rm "$texts"
            fail "$binary contains the path $place of this machine"
        fi
    done
    rm "$texts"
    "needs_$libc" "$binary"
}

needs_gnu() {
    local binary=$1 newest
    newest=$(readelf --version-info "$binary" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
    [ -n "$newest" ] || fail "$binary names no version of glibc"
    [ "$(printf '%s\n' "GLIBC_$glibc" "$newest" | sort -V | tail -n 1)" = "GLIBC_$glibc" ] ||
        fail "$binary needs $newest; Amazon Linux 2023 has $glibc"
    printf 'needs %s, contains no path of this machine\n' "$newest"
}

needs_musl() {
    local binary=$1 headers
    headers=$(readelf --wide --program-headers --dynamic "$binary") || fail "$binary is no program"
    # Neither a library nor the loader that would look for it.
    if grep -Eq 'INTERP|\(NEEDED\)' <<< "$headers"; then
        fail "$binary is not static"
    fi
    printf 'is static, contains no path of this machine\n'
}

if [ -n "$only_verified" ]; then
    verify "$only_verified"
    exit
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)

# Compiler and linker: both are Python packages, kept with the other tools of the tests.
tools=${S3_MIGRATION_TEST_CACHE:-$target_folder/tools}/zig-$zig_version-$zigbuild_version
if [ ! -e "$tools/complete" ]; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --no-input \
        "ziglang==$zig_version" "cargo-zigbuild==$zigbuild_version"
    touch "$tools/complete"
fi
export PATH="$tools/bin:$PATH"

# What panics and C's assertions would tell of the machine.
export RUSTFLAGS="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$sysroot=/rust \
--remap-path-prefix=$target_folder=/target"
export CFLAGS="-ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$target_folder=/target"
export CARGO_INCREMENTAL=0
# For what C compiles in as a date. Not the commit's: all C code would be compiled anew with each.
export SOURCE_DATE_EPOCH=0
committed=$(git log -1 --format=%ct)
version=$(sed -n '0,/^version = /s/^version = "\(.*\)"$/\1/p' Cargo.toml)

rust=$(rustc --version | cut -d ' ' -f 2)
# It names what LLVM's unwinder is used under, too.
rust_licence=$sysroot/share/doc/rust/COPYRIGHT-library.html

archive() {
    local architecture=$1 binary=$2 stage
    local name=s3-migration-$architecture.tar.gz
    stage=$(mktemp -d "$out/.stage.XXXXXX")
    packer/sbom.py --target "$triple" --binary "$binary" --version "$version" \
        --committed "$committed" --linked "rust-std=$rust" > "$out/.sbom"
    packer/notices.py "$out/.sbom" "rust-std=$rust_licence" > "$stage/THIRD-PARTY-NOTICES"
    rm "$out/.sbom"
    install -m 0755 "$binary" "$stage/s3-migration"
    install -m 0755 packer/install.sh packer/pages.sh "$stage/"
    install -m 0644 packer/amazon-cloudwatch-agent.json s3_migration_config.ini \
        s3_migration_ignore_list.txt LICENSE "$stage/"
    cp -R systemd "$stage/systemd"
    find "$stage/systemd" -type d -exec chmod 0755 {} + -o -type f -exec chmod 0644 {} +
    tar --create --sort=name --format=gnu --owner=0 --group=0 --numeric-owner \
        --mtime="@$committed" --directory="$stage" . | gzip -n -9 > "$out/$name"
    rm -rf "$stage"
    (cd "$out" && sha256sum "$name" > "$name.sha256" && cat "$name.sha256")
}

static=()
for architecture in "${architectures[@]}"; do
    triple=$architecture-unknown-linux-$libc
    target=$triple
    [ $libc = musl ] || target=$triple.$glibc
    if [ ! -d "$sysroot/lib/rustlib/$triple" ]; then
        rustup target add "$triple" || fail "Rust's library for $triple could not be added"
    fi
    cargo zigbuild --locked --profile dist --target "$target" --target-dir "$target_folder" \
        --bin s3-migration
    binary=$target_folder/$triple/dist/s3-migration
    verify "$binary"
    if [ "$architecture" = "$own" ]; then
        "$binary" --version
    fi
    if [ $libc = gnu ]; then
        archive "$architecture" "$binary"
    else
        static+=("$architecture=$binary")
    fi
done
if [ $libc = musl ]; then
    zig=$(echo "$tools"/lib/python3*/site-packages/ziglang)
    packer/package.sh --out "$out" --linked "rust-std=$rust=$rust_licence" \
        --linked "musl=$musl=$zig/lib/libc/musl/COPYRIGHT" \
        --linked "zig-compiler-rt=$zig_version=$zig/LICENSE" "${static[@]}"
fi
