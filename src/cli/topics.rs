//! `help TOPIC`: the guide's chapters, which are part of the program.
//!
//! Pure: a chapter follows from the guide and a name.

/// The guide as it is in the repository.
const GUIDE: &str = include_str!("../../docs/guide.md");

/// A chapter of the guide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its heading.
    pub title: &'static str,
    /// All of it, with the heading.
    pub text: &'static str,
}

/// All chapters, in the order of the guide.
pub fn topics() -> Vec<Topic> {
    let mut topics = Vec::new();
    let mut rest = GUIDE;
    while let Some(at) = rest.find("\n## ") {
        let begin = &rest[at + 1..];
        let end = begin.find("\n## ").map_or(begin.len(), |end| end + 1);
        let title = begin.lines().next().unwrap_or_default().trim_start_matches("## ");
        topics.push(Topic { title, text: begin[..end].trim_end() });
        rest = &begin[end - usize::from(end < begin.len())..];
    }
    topics
}

impl Topic {
    /// The heading in plain words that can be typed: `what-is-proven-and-how`.
    pub fn name(&self) -> String {
        let plain = self.title.to_lowercase();
        let words = plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-")
    }
}

/// The topics that `asked` may mean: the one with this name, or all whose names contain it.
pub fn meant(asked: &str) -> Vec<Topic> {
    let asked = asked.to_lowercase().replace(' ', "-");
    let (mut exact, mut within) = (Vec::new(), Vec::new());
    for topic in topics() {
        let name = topic.name();
        if name == asked {
            exact.push(topic);
        } else if name.contains(&asked) {
            within.push(topic);
        }
    }
    if exact.is_empty() { within } else { exact }
}

/// A chapter as a terminal shows it: links are their words, and emphasis is left out.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut in_code = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(_) => in_code = !in_code,
            None if in_code => plain.extend(["    ", line, "\n"]),
            None => {
                words(line.trim_start_matches('#').trim_start_matches(' '), &mut plain);
                plain.push('\n');
            }
        }
    }
    plain
}

fn words(line: &str, to: &mut String) {
    let mut rest = line;
    while let Some(at) = rest.find(['[', '*', '`']) {
        to.push_str(&rest[..at]);
        rest = &rest[at..];
        let link = rest.strip_prefix('[').and_then(|inner| {
            let (words, after) = inner.split_once("](")?;
            Some((words, after.split_once(')')?.1))
        });
        let bold = rest.strip_prefix("**").and_then(|inner| inner.split_once("**"));
        let code = rest.strip_prefix('`').and_then(|inner| inner.split_once('`'));
        let (shown, after) = link.or(bold).or(code).unwrap_or((&rest[..1], &rest[1..]));
        to.push_str(shown);
        rest = after;
    }
    to.push_str(rest);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_guide_is_divided_into_chapters_that_can_be_named() {
        let topics = topics();
        let headings = GUIDE.lines().filter(|line| line.starts_with("## ")).count();
        assert_eq!(topics.len(), headings);
        let names: BTreeSet<String> = topics.iter().map(Topic::name).collect();
        assert_eq!(names.len(), topics.len(), "two chapters have one name: {names:?}");
        for topic in topics {
            assert!(topic.text.starts_with("## ") && topic.text.lines().count() > 2, "{topic:?}");
            assert_eq!(meant(&topic.name()), [topic]);
        }
        assert!(meant("dry").len() == 1 && meant("no such thing").is_empty());
    }

    #[test]
    fn a_terminal_sees_words_and_code() {
        let text = "## A *b* `c`\n\nSee [the reference](reference.md#x) **now**, `a[0]` [no link]\n```sh\n\
                    run `[x](y)`\n```\n";
        let shown = "A *b* c\n\nSee the reference now, a[0] [no link]\n    run `[x](y)`\n";
        assert_eq!(plain(text), shown);
    }
}
