# `just check` is what CI runs. Each step by itself has a recipe of its own.

# Everything that CI runs
check:
    bash .ci/run

# Format the sources
fmt:
    cargo fmt --all

# Lints, warnings are errors
lint:
    cargo clippy --locked --all-targets -- -D warnings

# Licences, duplicate versions, sources
deny:
    cargo deny check -D warnings licenses bans sources

# Links and examples of the documentation
doc:
    RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --locked --no-deps --document-private-items

# All tests
test:
    cargo test

# The soak with ten seeds
soak SEEDS="10":
    S3_MIGRATION_SOAK_SEEDS={{SEEDS}} cargo test --test lab soak -- --nocapture

# Fuzz a parser until it is stopped
fuzz TARGET:
    cargo fuzz run --sanitizer none {{TARGET}}

# The main job
demo *DIR:
    cargo run --release -- demo {{DIR}}

# Write the shipped ini anew from the table of keys
ini:
    UPDATE_SHIPPED_INI=1 cargo test --test config
