//! Log lines that wait for the end of a full screen, which they would spoil.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write as _};
use std::sync::Mutex;

use crate::mutex::lock;

/// Lines that are kept: the last ones, for somebody who reads them after hours.
const KEPT: usize = 100;

static HELD: Held = Held(Mutex::new(None));

/// The lines; `None`: nothing holds them back.
struct Held(Mutex<Option<VecDeque<String>>>);

impl Held {
    /// Keeps a line if lines are held back; gives it back if not.
    fn keep(&self, line: String) -> Option<String> {
        let mut held = lock(&self.0);
        let Some(lines) = held.as_mut() else { return Some(line) };
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
        None
    }
}

/// While this lives, no log line is written to a terminal; then the last ones are.
pub struct HeldLines(());

impl HeldLines {
    /// Holds lines back if stderr is a terminal.
    pub fn begin() -> Option<Self> {
        io::stderr().is_terminal().then(|| {
            *lock(&HELD.0) = Some(VecDeque::new());
            Self(())
        })
    }
}

impl Drop for HeldLines {
    fn drop(&mut self) {
        for line in lock(&HELD.0).take().unwrap_or_default() {
            // The terminal may be gone.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

/// The line, unless a full screen holds it back.
pub(super) fn unless_held(line: String) -> Option<String> {
    HELD.keep(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        let held = Held(Mutex::new(None));
        assert_eq!(held.keep("written".to_owned()).as_deref(), Some("written"));
        *lock(&held.0) = Some(VecDeque::new());
        for number in 0..KEPT + 5 {
            assert_eq!(held.keep(number.to_string()), None);
        }
        let lines = lock(&held.0).take().unwrap();
        assert_eq!((lines.len(), lines[0].as_str()), (KEPT, "5"));
    }
}
