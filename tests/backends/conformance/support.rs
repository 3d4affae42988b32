//! What the suites and the drivers share.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// How long a condition may take to come true. Only a failing test waits that long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A fresh backend for one test, and whatever must live as long as it does.
pub struct Fresh<T: ?Sized> {
    /// The backend.
    pub it: Arc<T>,
    _keep: Box<dyn Any + Send + Sync>,
}

impl<T: ?Sized> Fresh<T> {
    /// `it`, and `keep` (a directory, a server) until the test is over.
    pub fn new(it: Arc<T>, keep: impl Any + Send + Sync) -> Self {
        Self { it, _keep: Box::new(keep) }
    }
}

/// Makes every promise of a suite a test of the calling module.
macro_rules! promises {
    ($suite:ident, $fresh:path: $($promise:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let fresh = $fresh().await;
                $crate::conformance::$suite::$promise(&*fresh.it).await;
            }
        )+
    };
}
pub(crate) use promises;

/// Asks until `probe` answers as `expected`.
pub async fn eventually<T, F>(what: &str, expected: T, mut probe: F)
where
    T: PartialEq + Debug,
    F: AsyncFnMut() -> T,
{
    let begun = tokio::time::Instant::now();
    loop {
        let seen = probe().await;
        if seen == expected {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: expected {expected:?}, still {seen:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Texts that have come through damaged somewhere, without characters that XML cannot carry.
pub fn odd_texts() -> Vec<String> {
    let odd = [
        "a//b",
        "./x",
        "../y",
        "/leading",
        "trailing/",
        " space ",
        "two  spaces",
        "+",
        "a+b c",
        "%2F",
        "%",
        "ü/文件",
        "u\u{308}",
        "\u{1f600}",
        "line\nbreak",
        "tab\tstop",
        "it's",
        "say \"so\"",
        "back\\slash",
        "<a>&amp;</a>",
        "'; DROP TABLE record; --",
        "{\"Src_key\":\"\\u0001\\n\"}",
        "%s%n?*[x]",
    ];
    let long = [format!("k{}", "x".repeat(1023)), "文".repeat(341) + "x"];
    odd.into_iter().map(str::to_owned).chain(long).collect()
}

/// Texts with characters that XML cannot carry, though keys can.
pub fn control_texts() -> Vec<String> {
    ["\u{1}", "a\u{1f}b", "\r\n", "bell\u{7}", "\u{7f}", "\u{fffe}"].map(str::to_owned).to_vec()
}
