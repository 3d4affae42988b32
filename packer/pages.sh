#!/usr/bin/env bash
# Writes the manual pages and the completions below a folder such as /usr/local/share.
#
#   pages.sh PROGRAM FOLDER
#
# The program makes them itself.
set -euo pipefail

program=$1
share=$2

install -d -m 0755 "$share/man/man1" "$share/bash-completion/completions" \
    "$share/zsh/site-functions" "$share/fish/vendor_completions.d"
"$program" man "$share/man/man1" > /dev/null
chmod 0644 "$share"/man/man1/s3-migration*.1
for shell in bash/bash-completion/completions/s3-migration \
    zsh/zsh/site-functions/_s3-migration fish/fish/vendor_completions.d/s3-migration.fish; do
    "$program" completions "${shell%%/*}" > "$share/${shell#*/}"
    chmod 0644 "$share/${shell#*/}"
done
