#!/usr/bin/env bash
# Installs s3-migration on Amazon Linux 2023, from the folder that this file is in: the unpacked
# s3-migration-ARCH.tar.gz. Run by root, at the first start of a plain machine or when an image is
# made; it may be run again, to upgrade. It starts and enables nothing.
#
# DESTDIR=/some/folder puts all files below that folder, and leaves the machine itself alone: no
# packages, no user, nothing loaded.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
root=${DESTDIR:-}

fail() {
    printf 'install: %s\n' "$1" >&2
    exit 1
}

for file in s3-migration pages.sh s3_migration_config.ini s3_migration_ignore_list.txt \
    amazon-cloudwatch-agent.json LICENSE THIRD-PARTY-NOTICES systemd/s3-migration-worker.service; do
    [ -e "$file" ] || fail "$file is not beside this script: unpack the whole archive"
done

if [ -z "$root" ]; then
    [ "$(id -u)" -eq 0 ] || fail 'must be run by root'
    ./s3-migration --version > /dev/null || fail "this archive is not for $(uname -m) or this system"
    # Both are in Amazon Linux 2023's own repository.
    dnf install -y -q amazon-cloudwatch-agent logrotate
    if ! id s3-migration > /dev/null 2>&1; then
        useradd --system --user-group --no-create-home --home-dir /var/lib/s3-migration \
            --shell /sbin/nologin s3-migration
    fi
    # The agent reads the log files, which are nobody else's business.
    usermod --append --groups s3-migration cwagent
fi

install -D -m 0755 s3-migration "$root/usr/local/bin/s3-migration"
install -D -m 0644 -t "$root/usr/local/share/doc/s3-migration" LICENSE THIRD-PARTY-NOTICES

# Made by the program itself. Below DESTDIR it may be another architecture's and not start.
if ./s3-migration --version > /dev/null 2>&1; then
    ./pages.sh ./s3-migration "$root/usr/local/share"
fi

install -d -m 0755 "$root/etc/s3-migration"
for file in s3_migration_config.ini s3_migration_ignore_list.txt; do
    # What the operator has changed stays.
    if [ ! -e "$root/etc/s3-migration/$file" ]; then
        install -m 0644 "$file" "$root/etc/s3-migration/$file"
    fi
done

for unit in systemd/*.service systemd/*.timer; do
    install -D -m 0644 "$unit" "$root/etc/systemd/system/${unit#systemd/}"
done
for folder in sysctl.d modules-load.d logrotate.d; do
    for file in systemd/"$folder"/*; do
        install -D -m 0644 "$file" "$root/etc/$folder/${file##*/}"
    done
done

# The agent merges all files of this folder; each cluster says what is read from the log, in a
# file of its own (`amazon-cloudwatch-agent-ctl -a append-config`).
install -D -m 0644 amazon-cloudwatch-agent.json \
    "$root/opt/aws/amazon-cloudwatch-agent/etc/amazon-cloudwatch-agent.d/s3-migration.json"

if [ -z "$root" ]; then
    systemctl daemon-reload
    while read -r module; do
        # Built into some kernels.
        modprobe "$module" || true
    done < <(grep -hv '^#' systemd/modules-load.d/*)
    sysctl --quiet --load /etc/sysctl.d/90-s3-migration.conf
fi
printf 's3-migration is installed%s; nothing is started\n' "${root:+ below $root}"
