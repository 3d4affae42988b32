# `just check` is what CI runs. Each step by itself has a recipe of its own.

# Everything that CI runs
check:
    bash .ci/run

# What needs no server: format, lints, unit tests and tests/quick
quick:
    cargo fmt --all -- --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    cargo test --locked --lib --test quick --test endpoint

# Format the sources
fmt:
    cargo fmt --all

# Lints, warnings are errors
lint:
    cargo clippy --locked --workspace --all-targets -- -D warnings

# Licences, duplicate versions, sources
deny:
    cargo deny check -D warnings licenses bans sources

# Links and examples of the documentation
doc:
    RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --locked --workspace --no-deps --document-private-items

# All tests
test:
    cargo test

# What each file of src and of the crates is for: the beginning of its documentation
map:
    #!/usr/bin/env bash
    set -euo pipefail
    find src crates/*/src -name '*.rs' -not -name tests.rs | LC_ALL=C sort | xargs awk '
        FNR == 1 { if (what) printf "%-36s%s\n", file, what; file = FILENAME; sub("^src/", "", file); what = ""; top = 1 }
        top && /^\/\/! ./ { what = what substr($0, 4); next }
        { top = 0 }
        END { printf "%-36s%s\n", file, what }'

# Draw the rooms in ARCHITECTURE.md anew
rooms:
    UPDATE_ROOMS=1 cargo test --test quick picture

# The soak with ten seeds
soak SEEDS="10":
    S3_MIGRATION_SOAK_SEEDS={{SEEDS}} cargo test --test lab soak -- --nocapture

# Fuzz a parser until it is stopped
fuzz TARGET:
    cargo fuzz run --sanitizer none {{TARGET}}

# The main job
demo *DIR:
    cargo run --release -- demo {{DIR}}

# Take the pictures of the page in docs/guide.md, by Python with playwright
page-pictures:
    python3 docs/pictures/page.py

# Draw the pictures of the demo in README.md and of the screen in docs/guide.md
picture:
    cargo build --release
    UPDATE_PICTURES=1 cargo test --lib pictures
    python3 docs/pictures/terminal_svg.py target/release/s3-migration demo > docs/pictures/demo.svg

# What others can download: static archives and .debs for both architectures, installed and run
dist:
    packer/build-release.sh --static --out dist/static x86_64 aarch64
    S3_MIGRATION_DIST="$PWD/dist/static" cargo test --locked --test deploy download

# Write the shipped ini anew from the table of keys
ini:
    UPDATE_SHIPPED_INI=1 cargo test --test quick shipped_ini
