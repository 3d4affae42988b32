#!/usr/bin/env bash
# Packs binaries for download: an archive and a .deb for each, an SBOM for each of these (*.cdx.json: what
# is linked into it), and SHA256SUMS over all files.
#
#   packer/package.sh [--out FOLDER] [--fast] [--linked NAME=VERSION=FILE ...] ARCH=BINARY ...
#
# packer/build-release.sh --static builds the binaries and calls this. The first one must run here: it
# writes the manual pages and the completions of all. --fast hardly compresses, for the tests. --linked
# names what is linked in and is no crate, with the file of its licence. The same commit and binaries give
# the same bytes.
#
# The package's maintainer is whoever publishes it: DEBFULLNAME and DEBEMAIL, as for Debian's own tools.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 022
export LC_ALL=C

fail() {
    printf 'package: %s\n' "$1" >&2
    exit 1
}

out=dist/static
level=9
# One thread: xz cuts the data into other blocks with several, and so with other machines.
export DPKG_DEB_THREADS_MAX=1
compression=(-Zxz)
linked=()
notices=()
binaries=()
while [ $# -gt 0 ]; do
    case $1 in
        --out | --linked)
            [ $# -ge 2 ] || fail "$1 needs a value"
            if [ "$1" = --out ]; then
                out=$2
            else
                linked+=(--linked "${2%=*}")
                notices+=("${2%%=*}=${2##*=}")
            fi
            shift
            ;;
        --fast)
            level=1
            compression=(-Zgzip -z1)
            ;;
        x86_64=* | aarch64=*)
            [ -f "${1#*=}" ] || fail "${1#*=} is no file"
            binaries+=("$1")
            ;;
        *) fail "$1 is not understood; allowed: --out FOLDER, --fast, --linked NAME=VERSION=FILE, x86_64=BINARY, aarch64=BINARY" ;;
    esac
    shift
done
[ ${#binaries[@]} -gt 0 ] || fail 'no binary is named'
for needed in cargo dpkg-deb python3 sha256sum; do
    command -v "$needed" > /dev/null || fail "$needed is missing"
done

mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
version=$(sed -n '0,/^version = /s/^version = "\(.*\)"$/\1/p' Cargo.toml)
# For Debian a hyphen begins its own revision, and 1.0~rc comes before 1.0.
debian_version=${version/-/\~}-1
# A package must name an address, and example.org is nobody's (RFC 2606).
maintainer="${DEBFULLNAME:-The s3-migration authors} <${DEBEMAIL:-s3-migration@example.org}>"
committed=$(git log -1 --format=%ct)
made=()

packer/pages.sh "${binaries[0]#*=}" "$work/share" ||
    fail "${binaries[0]#*=} does not run here, and it writes the manual pages"

# What the archive and the .deb have in common, below a prefix such as /usr.
tree() {
    local binary=$1 prefix=$2 folder
    local doc=$prefix/share/doc/s3-migration
    install -D -m 0755 "$binary" "$prefix/bin/s3-migration"
    cp -R "$work/share" "$prefix/share"
    install -D -m 0644 -t "$prefix/lib/systemd/system" systemd/*.service systemd/*.timer
    install -D -m 0644 -t "$prefix/lib/sysusers.d" systemd/sysusers.d/*
    for folder in sysctl.d modules-load.d; do
        install -D -m 0644 -t "$doc/examples/$folder" systemd/"$folder"/*
    done
    install -m 0644 "$work/s3-migration.cdx.json" "$work/THIRD-PARTY-NOTICES" "$doc/"
}

archive() {
    local architecture=$1 binary=$2
    local name=s3-migration-$version-$architecture-linux
    local doc=$work/$name/share/doc/s3-migration
    tree "$binary" "$work/$name"
    install -m 0644 LICENSE CHANGELOG.md "$doc/"
    install -m 0644 s3_migration_config.ini s3_migration_ignore_list.txt "$doc/examples/"
    install -D -m 0644 -t "$doc/examples/logrotate.d" systemd/logrotate.d/*
    tar --create --sort=name --format=gnu --owner=0 --group=0 --numeric-owner \
        --mtime="@$committed" --directory="$work" "$name" | gzip -n "-$level" > "$out/$name.tar.gz"
    rm -r "${work:?}/$name"
    finished "$name.tar.gz"
}

package() {
    local architecture=$1 binary=$2
    local name=s3-migration_${debian_version}_$architecture.deb
    local root=$work/deb
    local doc=$root/usr/share/doc/s3-migration
    tree "$binary" "$root/usr"
    sed -i 's|/usr/local/bin/|/usr/bin/|' "$root"/usr/lib/systemd/system/*.service
    find "$root/usr/share/man" -name '*.1' -exec gzip -n -9 {} +
    mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
    install -D -m 0644 -t "$root/etc/s3-migration" \
        s3_migration_config.ini s3_migration_ignore_list.txt
    install -D -m 0644 -t "$root/etc/logrotate.d" systemd/logrotate.d/*
    install -D -m 0644 packer/debian/lintian-overrides "$root/usr/share/lintian/overrides/s3-migration"
    {
        cat packer/debian/copyright
        sed '1,/^Copyright/d' LICENSE | sed '1d; s/^$/./; s/^/ /'
    } > "$doc/copyright"
    gzip -n -9 < CHANGELOG.md > "$doc/changelog.gz"
    printf 's3-migration (%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' \
        "$debian_version" "$maintainer" "$(date -u -R -d "@$committed")" |
        gzip -n -9 > "$doc/changelog.Debian.gz"
    control "$root" "$architecture"
    find "$root" -exec touch -h -d "@$committed" {} +
    SOURCE_DATE_EPOCH=$committed dpkg-deb --root-owner-group "${compression[@]}" --build \
        "$root" "$out/$name" > /dev/null
    rm -r "$root"
    finished "$name"
}

# What dpkg reads: the description, the files that an operator may change, sums, scripts.
control() {
    local root=$1 architecture=$2
    install -d -m 0755 "$root/DEBIAN"
    (cd "$root" && find etc -type f | sort | sed 's|^|/|') > "$root/DEBIAN/conffiles"
    (cd "$root" && find usr -type f | sort | xargs -d '\n' md5sum) > "$root/DEBIAN/md5sums"
    install -m 0755 packer/debian/postinst packer/debian/prerm packer/debian/postrm "$root/DEBIAN/"
    cat > "$root/DEBIAN/control" <<END
Package: s3-migration
Version: $debian_version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du -sk --apparent-size --exclude DEBIAN "$root" | cut -f 1)
Recommends: ca-certificates
Suggests: logrotate, systemd
Section: net
Priority: optional
Description: migrates objects between S3 buckets, and proves it
 Moves objects between S3 buckets, including pairs that S3 replication cannot
 connect: two partitions, two accounts, or an S3-compatible store and S3. It
 runs unattended for days, continues where it was interrupted, and proves at
 the end what arrived.
END
}

# Each artefact has an SBOM of its own.
finished() {
    cp "$work/s3-migration.cdx.json" "$out/$1.cdx.json"
    made+=("$1" "$1.cdx.json")
}

for given in "${binaries[@]}"; do
    architecture=${given%%=*}
    binary=${given#*=}
    packer/sbom.py --target "$architecture-unknown-linux-musl" --binary "$binary" \
        --version "$version" --committed "$committed" ${linked[@]+"${linked[@]}"} \
        > "$work/s3-migration.cdx.json"
    packer/notices.py "$work/s3-migration.cdx.json" ${notices[@]+"${notices[@]}"} \
        > "$work/THIRD-PARTY-NOTICES"
    archive "$architecture" "$binary"
    case $architecture in
        x86_64) package amd64 "$binary" ;;
        aarch64) package arm64 "$binary" ;;
    esac
done
(cd "$out" && printf '%s\n' "${made[@]}" | sort | xargs -d '\n' sha256sum > SHA256SUMS)
cat "$out/SHA256SUMS"
[ -n "${DEBEMAIL:-}" ] ||
    echo 'the maintainer of the .debs is no real address: set DEBFULLNAME and DEBEMAIL to publish them' >&2
