//! Some of the failures, and where to go on: for those who look at them a page at a time.

use std::time::Duration;

use super::{Failure, Failures, Found, Wanted};
use crate::error::{Error, Result};
use crate::format::escape::shown;
use crate::queue::{DeadLetter, Receipt};
use crate::record::JobStatus;

/// Failures that are looked at for one page, and requests for them: a search that finds little goes
/// on with the next page.
const MOST_LOOKED: u64 = 20_000;
const MOST_CALLS: u32 = 20;

/// Which failures are asked for.
#[derive(Clone, Debug, Default)]
pub struct AskedFailures {
    /// Their reason, bucket and prefix.
    pub wanted: Wanted,
    /// A text that the object's name or its error contains, whatever the case.
    pub text: String,
    /// Where the page before ended: [`FailurePage::next`].
    pub after: Option<String>,
    /// The most failures on a page.
    pub most: usize,
}

impl AskedFailures {
    fn has(&self, failure: &Failure) -> bool {
        let src = failure.objects.as_ref().map(|(src, _)| src);
        if !self.wanted.has(failure.reason, src) {
            return false;
        }
        let text = self.text.to_lowercase();
        let contains = |within: &str| within.to_lowercase().contains(&text);
        text.is_empty() || contains(&failure.error) || src.is_some_and(|src| contains(&src.exact()))
    }
}

/// Some of the failures.
#[derive(Clone, Debug, Default)]
pub struct FailurePage {
    /// Those that were asked for.
    pub failures: Vec<Failure>,
    /// How many failures were looked at to find them.
    pub looked: u64,
    /// Where to go on; `None`: there are no more.
    pub next: Option<String>,
}

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cursor {
    /// In the page of records with this token, after this many of them.
    Records { skip: usize, token: Option<String> },
    /// In this queue, after this dead letter.
    Letters { queue: usize, after: Option<String> },
}

impl Cursor {
    const START: Self = Self::Records { skip: 0, token: None };

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let (kind, number, rest) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let rest = Some(rest.to_owned()).filter(|rest| !rest.is_empty());
        match kind {
            "r" => Some(Self::Records { skip: number, token: rest }),
            "l" => Some(Self::Letters { queue: number, after: rest }),
            _ => None,
        }
    }

    fn text(&self) -> String {
        let (kind, number, rest) = match self {
            Self::Records { skip, token } => ("r", skip, token),
            Self::Letters { queue, after } => ("l", queue, after),
        };
        format!("{kind}.{number}.{}", rest.as_deref().unwrap_or_default())
    }
}

impl Failures {
    /// A page of failures. Dead letters that reading hides from others are not read: give no such
    /// queue.
    pub async fn page(&self, asked: &AskedFailures) -> Result<FailurePage> {
        let mut cursor = match asked.after.as_deref() {
            None => Cursor::START,
            Some(text) => Cursor::parse(text)
                .ok_or_else(|| Error::usage(format!("no page ends at {}", shown(text))))?,
        };
        let mut page = FailurePage::default();
        for _ in 0..MOST_CALLS {
            let next = match &cursor {
                Cursor::Records { skip, token } => {
                    self.add_records(asked, *skip, token.as_deref(), &mut page).await?
                }
                Cursor::Letters { queue, after } => {
                    self.add_letters(asked, *queue, after.as_deref(), &mut page).await?
                }
            };
            let Some(next) = next else { return Ok(page) };
            cursor = next;
            if page.failures.len() >= asked.most || page.looked >= MOST_LOOKED {
                break;
            }
        }
        page.next = Some(cursor.text());
        Ok(page)
    }

    async fn add_records(
        &self,
        asked: &AskedFailures,
        skip: usize,
        token: Option<&str>,
        page: &mut FailurePage,
    ) -> Result<Option<Cursor>> {
        let read = self.call(|| self.records.page_with_status(JobStatus::Failed, token)).await?;
        for (at, record) in read.records.into_iter().enumerate().skip(skip) {
            if page.failures.len() >= asked.most {
                let token = token.map(str::to_owned);
                return Ok(Some(Cursor::Records { skip: at, token }));
            }
            page.looked += 1;
            let failure = Failure::recorded(record);
            if asked.has(&failure) {
                page.failures.push(failure);
            }
        }
        Ok(match read.next {
            Some(token) => Some(Cursor::Records { skip: 0, token: Some(token) }),
            None => self.letters_of(0),
        })
    }

    fn letters_of(&self, queue: usize) -> Option<Cursor> {
        (queue < self.queues.len()).then_some(Cursor::Letters { queue, after: None })
    }

    async fn add_letters(
        &self,
        asked: &AskedFailures,
        at: usize,
        after: Option<&str>,
        page: &mut FailurePage,
    ) -> Result<Option<Cursor>> {
        let Some(queue) = self.queues.get(at) else { return Ok(None) };
        // Its id is all that an embedded queue needs to go on after it.
        let after = after.map(|id| DeadLetter {
            id: id.to_owned(),
            receipt: Receipt(String::new()),
            body: String::new(),
            reason: String::new(),
            receive_count: 0,
        });
        let letters = self.call(|| queue.dead_letters(after.as_ref(), Duration::ZERO)).await?;
        let mut last = None;
        for letter in letters {
            let mut found = Vec::new();
            let mut note = |_: &mut Found, failure: &Failure| {
                found.push(failure.clone());
                Ok(())
            };
            self.read_letter(&letter, &mut Found::default(), &mut note).await?;
            page.looked += found.len() as u64;
            page.failures.extend(found.into_iter().filter(|failure| asked.has(failure)));
            last = Some(letter.id);
            // A letter with many objects stays in one piece.
            if page.failures.len() >= asked.most {
                break;
            }
        }
        Ok(match last {
            Some(id) => Some(Cursor::Letters { queue: at, after: Some(id) }),
            None => self.letters_of(at + 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_nonsense_does_not() {
        for cursor in [
            Cursor::START,
            Cursor::Records { skip: 7, token: Some("{\"Key\":\"a.b\"}".to_owned()) },
            Cursor::Letters { queue: 1, after: Some("42".to_owned()) },
        ] {
            assert_eq!(Cursor::parse(&cursor.text()), Some(cursor));
        }
        for wrong in ["", "r", "r.", "r.1", "x.1.2", "r.-1.", "r.a.b"] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}
