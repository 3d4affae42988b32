//! Collects what is wrong with a configuration, and reports all of it at once.

use crate::error::Error;

/// One problem and its place.
#[derive(Clone, Debug)]
struct Problem {
    /// `FILE:LINE`, `FILE` or `environment variable NAME`.
    place: String,
    message: String,
}

/// All problems.
#[derive(Clone, Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    /// Notes a problem at `place`.
    pub fn add(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { place: place.into(), message: message.into() });
    }

    /// `Ok` if nothing is wrong; otherwise one error with a line for each problem. Those of the
    /// file come first, in the order of its lines.
    pub fn into_result(mut self) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_by_key(|problem| line_number(&problem.place));
        let count = match self.0.len() {
            1 => "1 problem".to_owned(),
            n => format!("{n} problems"),
        };
        let mut message = format!("configuration cannot be used: {count}");
        for Problem { place, message: wrong } in &self.0 {
            message.push_str(&format!("\n  {place}: {wrong}"));
        }
        Err(Error::usage(message))
    }
}

fn line_number(place: &str) -> usize {
    let line = place.rsplit_once(':').and_then(|(_, line)| line.parse().ok());
    line.unwrap_or(usize::MAX)
}

/// A name that the user wrote, for a message. Text that does not look like a name may be a secret
/// pasted in the wrong place, and is not shown.
pub(super) fn shown_name(name: &str) -> Option<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (!name.is_empty() && name.len() < 40 && name.bytes().all(plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_stand_in_the_order_of_their_lines() {
        let mut problems = Problems::default();
        problems.add("environment variable X", "c");
        problems.add("f.ini:10", "b");
        problems.add("f.ini:9", "a");
        let text = problems.into_result().unwrap_err().to_string();
        assert_eq!(
            text,
            "configuration cannot be used: 3 problems\n  f.ini:9: a\n  f.ini:10: b\n  \
             environment variable X: c"
        );
        assert!(Problems::default().into_result().is_ok());
    }

    #[test]
    fn only_what_looks_like_a_name_is_shown() {
        assert_eq!(shown_name("aws_secret_access_key"), Some("aws_secret_access_key"));
        assert_eq!(shown_name("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), None);
        assert_eq!(shown_name(&"a".repeat(40)), None);
        assert_eq!(shown_name(""), None);
    }
}
