//! Of whom a refusal speaks: of the object, of whoever asks, of the side, or of everything.
//!
//! No status code tells this by itself. `SignatureDoesNotMatch` is a wrong secret if every call gets it,
//! and an odd header if one object does; `AccessDenied` is an object's own policy or the whole bucket's.
//! So a refusal is first sorted by what it could be about ([`about`]), then held against a neutral
//! call to the same bucket by the same credentials ([`rule`]), and where both leave it open, against
//! the other objects ([`Breaker`]): what all of them get alike is no object's fault.
//!
//! Pure: what was refused, and how a neutral call ended, are arguments.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::store::Headers;

/// What a refusal may be about, by its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The object, without a doubt.
    Object,
    /// The key, secret, token or clock of whoever asks.
    Asker,
    /// The bucket's name, region or endpoint.
    Place,
    /// A quota, or disks.
    Room,
    /// There was no answer, or one that asks for patience.
    Silence,
    /// Anything: a permission, or an answer that explains nothing.
    Unclear,
}

/// What an error may be about.
pub fn about(error: &Error) -> About {
    match (error.kind(), error.code()) {
        (ErrorKind::Unfit, _) => About::Asker,
        (_, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "InvalidToken") => {
            About::Asker
        }
        (_, "NoSuchBucket" | "PermanentRedirect" | "AuthorizationHeaderMalformed") => About::Place,
        (_, "TemporaryRedirect" | "IllegalLocationConstraintException") => About::Place,
        (ErrorKind::Full, _) => About::Room,
        (ErrorKind::Throttled | ErrorKind::Unavailable, _) => About::Silence,
        (ErrorKind::Denied, _) => About::Unclear,
        (ErrorKind::NotFound, _) if error.is_bare() => About::Unclear,
        (ErrorKind::Invalid, _) if error.evidence().is_some_and(|e| e.status != 0) => {
            About::Unclear
        }
        (
            ErrorKind::NotFound
            | ErrorKind::Invalid
            | ErrorKind::Damaged
            | ErrorKind::SourceChanged
            | ErrorKind::UploadGone
            | ErrorKind::LeaseLost
            | ErrorKind::Cancelled
            | ErrorKind::Archived
            | ErrorKind::Usage,
            _,
        ) => About::Object,
    }
}

/// How a neutral call to the same bucket, by the same credentials, was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neutral {
    /// Well; or it was refused for want of a permission, which is an answer to somebody known at the
    /// right place.
    Answered,
    /// Not for this asker.
    Asker,
    /// Not at this place.
    Place,
    /// Not at all.
    Silent,
}

/// What the answer to a neutral call shows.
pub fn neutral(answer: Result<(), &Error>) -> Neutral {
    let Err(error) = answer else { return Neutral::Answered };
    match about(error) {
        About::Asker => Neutral::Asker,
        About::Place => Neutral::Place,
        // A page in place of the bucket itself.
        About::Unclear if error.kind() == ErrorKind::NotFound => Neutral::Place,
        About::Silence => Neutral::Silent,
        About::Object | About::Room | About::Unclear => Neutral::Answered,
    }
}

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The object's, without a further look.
    Object,
    /// The object's, unless all others get the same.
    Unless,
    /// Whoever asks: another worker may fare better.
    Asker,
    /// The bucket is not there, or not for this region or endpoint.
    Place,
    /// The store takes nothing more.
    Room,
    /// The side is out.
    Side,
    /// It may pass for this object alone: its attempts are counted.
    Passing,
}

/// Rules by what a refusal is about and what the neutral call has shown.
pub fn rule(about: About, neutral: Neutral) -> Blame {
    match (about, neutral) {
        (About::Object, _) => Blame::Object,
        (About::Room, _) => Blame::Room,
        (_, Neutral::Asker) => Blame::Asker,
        (_, Neutral::Place) => Blame::Place,
        (_, Neutral::Silent) => Blame::Side,
        (About::Silence, Neutral::Answered) => Blame::Passing,
        (About::Asker | About::Place | About::Unclear, Neutral::Answered) => Blame::Unless,
    }
}

/// What becomes of one refused object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The failure is its own.
    Record,
    /// It waits for what others get.
    Hold,
    /// Not its own: it goes back, and is tried again once the place takes objects.
    Back,
}

/// Whether an object may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Go,
    /// As the one that shows whether the place takes objects again.
    Probe,
    /// Not for so long.
    Back(Duration),
}

/// An object and the folder that its key lies in, both by their hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Names the object.
    pub object: u64,
    /// The same for all keys that are equal up to their last slash.
    pub folder: u64,
}

/// Objects that are remembered as refused, at most; and folders.
const REMEMBERED: usize = 100_000;
/// Probes after which an object that was taken before is tried again.
const DOUBTFUL: u32 = 4;
/// Probes after which a permission or a name is not expected to come right by itself.
const MOST_PROBES: u32 = QUICK_PROBES + 4;
/// Objects of folders that are refused so far which are passed over in search of a probe from another.
const MOST_PASSED_OVER: u32 = 10_000;
/// The first probes after a refusal without a plain cause follow soon: each is another object.
const QUICK_PROBES: u32 = 8;
const QUICK: Duration = Duration::from_millis(250);
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// One bucket on one side: closed to objects once so many in a row are refused alike, with no success
/// between them. Times are durations since any fixed moment.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    /// That many refusals are a row, and that many successes show that the place takes objects.
    alike: usize,
    row: Row,
    open: Option<Open>,
    /// Objects taken so far.
    taken: u64,
    /// Objects that were refused, and how many had been taken by then.
    refused: HashMap<u64, u64>,
    folders: Folders,
    /// The refusal that was shown to be no other object's, and how long that holds.
    acquitted: Option<(String, Duration)>,
}

/// From which folders objects were taken; and from which they were only refused: how many were, and how
/// many had been taken elsewhere by then.
#[derive(Clone, Debug, Default)]
struct Folders {
    taken: HashSet<u64>,
    refused: HashMap<u64, (usize, u64)>,
}

impl Folders {
    fn take(&mut self, folder: u64) {
        self.refused.remove(&folder);
        if self.taken.len() < REMEMBERED {
            self.taken.insert(folder);
        }
    }

    /// Counts up to `alike` refusals.
    fn refuse(&mut self, folder: u64, alike: usize, taken: u64) {
        if self.refused.len() >= REMEMBERED || self.taken.contains(&folder) {
            return;
        }
        let refused = self.refused.entry(folder).or_default();
        if refused.0 < alike {
            *refused = (refused.0 + 1, taken);
        }
    }

    /// Whether all that was tried in it was refused, as far as is remembered.
    fn are_refused(&self, folder: u64) -> bool {
        self.taken.len() < REMEMBERED && self.refused.contains_key(&folder)
    }

    /// How many objects had been taken elsewhere when `alike` of it had been refused, and none taken.
    fn refused(&self, folder: u64, alike: usize) -> Option<u64> {
        let &(count, taken) = self.refused.get(&folder)?;
        (count >= alike && self.taken.len() < REMEMBERED).then_some(taken)
    }
}

#[derive(Clone, Debug, Default)]
struct Row {
    what: String,
    objects: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    blame: Blame,
    since: Duration,
    next: Duration,
    probes: u32,
    /// The object that is tried now.
    probe: Option<u64>,
    /// Objects passed over since the last probe.
    passed_over: u32,
}

impl Breaker {
    /// Closes after `alike` refusals in a row.
    pub fn new(alike: usize) -> Self {
        Self { alike: alike.max(1), ..Self::default() }
    }

    /// An object was refused with `what`, and only the others tell whether that is its own fault.
    /// `answered`: another one has had an answer to the same call since the last refusal. `blame`: whose
    /// fault it is if all get the same.
    pub fn refused(
        &mut self,
        (what, blame): (&str, Blame),
        Tried { object, folder }: Tried,
        answered: bool,
        now: Duration,
    ) -> Ruling {
        let of_folder = self.folders.refused(folder, self.alike);
        let before = self.refused.get(&object).copied().or(of_folder);
        self.folders.refuse(folder, self.alike, self.taken);
        if self.refused.len() < REMEMBERED {
            self.refused.entry(object).or_insert(self.taken);
        }
        if self.open.is_some() {
            return Ruling::Back;
        }
        let is_acquitted =
            self.acquitted.as_ref().is_some_and(|(same, until)| same == what && now < *until);
        // Others were taken since it, or so many of its folder, were refused: it is its own fault.
        let enough = |then: u64| self.taken - then >= self.alike as u64;
        if is_acquitted || before.is_some_and(enough) {
            return Ruling::Record;
        }
        if answered || self.row.what != what {
            self.row = Row { what: what.to_owned(), objects: BTreeSet::new() };
        }
        self.row.objects.insert(object);
        if self.row.objects.len() < self.alike {
            return Ruling::Hold;
        }
        self.row.objects.clear();
        self.close(blame, now);
        Ruling::Back
    }

    /// Takes no objects from now on; `true` where it did until now.
    pub fn close(&mut self, blame: Blame, now: Duration) -> bool {
        match &mut self.open {
            Some(open) => {
                open.blame = blame;
                false
            }
            none => {
                let next = now.saturating_add(pause(blame, 0));
                *none =
                    Some(Open { blame, since: now, next, probes: 0, probe: None, passed_over: 0 });
                true
            }
        }
    }

    /// Whether an object may be tried now. The probe is sought in folders that are not refused as a
    /// whole: a policy that denies one prefix, with however many objects, closes no bucket for long.
    pub fn admit(&mut self, Tried { object, folder }: Tried, now: Duration) -> Admission {
        let is_refused = self.folders.are_refused(folder);
        match &mut self.open {
            None => Admission::Go,
            Some(open) if open.next <= now && open.probe.is_none() => {
                let is_sought = open.blame == Blame::Unless && open.passed_over < MOST_PASSED_OVER;
                if is_refused && is_sought {
                    open.passed_over += 1;
                    return Admission::Back(QUICK);
                }
                open.probe = Some(object);
                Admission::Probe
            }
            Some(open) => Admission::Back(open.next.saturating_sub(now).max(QUICK)),
        }
    }

    /// An object was taken. If it was the probe, the place is open again: how long it was not. Whatever
    /// else is taken began before the place was closed, and shows nothing.
    pub fn passed(&mut self, Tried { object, folder }: Tried, now: Duration) -> Option<Duration> {
        self.folders.take(folder);
        self.taken += 1;
        self.refused.remove(&object);
        let open = self.open.take_if(|open| open.probe == Some(object))?;
        self.row = Row::default();
        Some(now.saturating_sub(open.since))
    }

    /// The probe was refused as well.
    pub fn failed(&mut self, now: Duration) {
        if let Some(open) = &mut self.open {
            open.probes += 1;
            open.probe = None;
            open.passed_over = 0;
            open.next = now.saturating_add(pause(open.blame, open.probes));
        }
    }

    /// What was charged with closing it is refuted: it is open again. How long it was not.
    pub fn reopen(&mut self, now: Duration) -> Option<Duration> {
        let open = self.open.take()?;
        self.row = Row::default();
        Some(now.saturating_sub(open.since))
    }

    /// An object that was taken before was taken again just now, so that refusals with `what` are the
    /// fault of those who get them, for a while.
    pub fn acquit(&mut self, what: &str, until: Duration) {
        self.open = None;
        self.row = Row::default();
        self.acquitted = Some((what.to_owned(), until));
    }

    /// Whether so many probes were refused without a plain cause that one which was taken before should
    /// be tried again.
    pub fn is_doubtful(&self) -> bool {
        self.open.is_some_and(|open| open.blame == Blame::Unless && open.probes >= DOUBTFUL)
    }

    /// If this object was the probe, it has shown nothing.
    pub fn given_up(&mut self, object: u64) {
        if let Some(open) = &mut self.open {
            open.probe.take_if(|probe| *probe == object);
        }
    }

    /// Why no objects are taken, since when, and after how many probes; `None`: they are.
    pub fn is_closed(&self) -> Option<(Blame, Duration, u32)> {
        self.open.map(|open| (open.blame, open.since, open.probes))
    }

    /// When the next probe is due.
    pub fn due(&self) -> Option<Duration> {
        self.open.filter(|open| open.probe.is_none()).map(|open| open.next)
    }

    /// Whether waiting has no sense for somebody who watches: a permission or a name does not come
    /// right by itself, and so many others were tried. Room and a line do.
    pub fn is_hopeless(&self) -> bool {
        self.open.is_some_and(|open| match open.blame {
            Blame::Unless => open.probes >= MOST_PROBES,
            Blame::Place => open.probes >= 3,
            Blame::Asker => true,
            Blame::Room | Blame::Side | Blame::Passing | Blame::Object => false,
        })
    }
}

/// The pause before the probe after so many that were refused.
fn pause(blame: Blame, probes: u32) -> Duration {
    let doubled =
        |first: Duration, times: u32| first.saturating_mul(1 << times.min(16)).min(LONGEST);
    match blame {
        Blame::Unless if probes < QUICK_PROBES => QUICK,
        Blame::Unless => doubled(QUICK, probes - QUICK_PROBES + 1),
        _ => doubled(FIRST, probes),
    }
}

/// What is odd about an object that alone is refused: proxies and stores trip over these.
pub fn oddities(key: &str, headers: Option<&Headers>) -> Vec<String> {
    let mut odd = Vec::new();
    for (found, what) in [
        (key.contains("//"), "the key has //"),
        (key.split('/').any(|part| part == "." || part == ".."), "the key has . or .. as a folder"),
        (key.contains('%'), "the key has %"),
        (key.contains('+'), "the key has +"),
        (key.contains('\\'), "the key has a backslash"),
        (key.starts_with('/'), "the key begins with /"),
        (key.starts_with(' ') || key.ends_with(' '), "the key begins or ends with a blank"),
        (key.chars().any(char::is_control), "the key has control characters"),
        (!key.is_ascii(), "the key has other characters than ASCII"),
    ] {
        odd.extend(found.then(|| what.to_owned()));
    }
    for (name, value) in headers.into_iter().flat_map(named) {
        let what = match value {
            value if !value.is_ascii() => "has other characters than ASCII",
            value if value.contains("  ") => "has blanks in a row",
            value if value.trim() != value => "begins or ends with a blank",
            value if value.chars().any(char::is_control) => "has control characters",
            "" => "is empty",
            _ => continue,
        };
        odd.push(format!("the header {name} {what}"));
    }
    odd
}

fn named(headers: &Headers) -> Vec<(String, &str)> {
    let fixed = [
        ("Content-Type", &headers.content_type),
        ("Content-Encoding", &headers.content_encoding),
        ("Content-Language", &headers.content_language),
        ("Content-Disposition", &headers.content_disposition),
        ("Cache-Control", &headers.cache_control),
        ("Expires", &headers.expires),
        ("x-amz-website-redirect-location", &headers.website_redirect),
    ];
    let fixed =
        fixed.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_deref()?)));
    let user = headers.user.iter();
    let user =
        user.map(|(name, value)| (format!("x-amz-meta-{}", name.escape_debug()), value.as_str()));
    fixed.chain(user).collect()
}

#[cfg(test)]
mod tests;
