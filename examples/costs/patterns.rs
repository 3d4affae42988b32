//! What the ignore list costs for each key, by kind of pattern: `cargo run --release --example costs -- patterns`.

use std::time::Instant;

use s3_migration::filter::patterns::Patterns;

/// Patterns of each kind.
const PATTERNS: usize = 5000;
/// Keys that none of them matches, which is the dearest case.
const KEYS: u64 = 200_000;

pub fn run() {
    let list = |pattern: &dyn Fn(usize) -> String| -> String {
        (0..PATTERNS).map(|n| pattern(n) + "\n").collect()
    };
    let mixed = |n: usize| match n % 5 {
        0 => format!("b/dir_{n}/*"),
        1 => format!("*.ext{n}"),
        2 => format!("*/name{n}"),
        3 => format!("b/some/key_{n}"),
        _ => format!("*/tmp_{n}/*"),
    };
    let kinds = [
        ("b/dir_N/*", list(&|n| format!("b/dir_{n}/*"))),
        ("*.extN", list(&|n| format!("*.ext{n}"))),
        ("*/nameN", list(&|n| format!("*/name{n}"))),
        ("b/some/key_N", list(&|n| format!("b/some/key_{n}"))),
        ("*/tmp_N/*", list(&|n| format!("*/tmp_{n}/*"))),
        ("all of these", list(&mixed)),
    ];
    let paths: Vec<String> = (0..KEYS)
        .map(|n| format!("b/data/{n:012}-{:016x}/part.bin", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
        .collect();
    for (kind, text) in kinds {
        let patterns = Patterns::parse(&text).expect("patterns");
        let began = Instant::now();
        let hits = paths.iter().filter(|path| patterns.matches(path).is_some()).count();
        let each = began.elapsed().as_nanos() / u128::from(KEYS);
        println!("{PATTERNS} x {kind}: {each} ns for each key, {hits} of {KEYS} match");
    }
}
