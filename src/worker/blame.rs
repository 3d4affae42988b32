//! Decides what a refusal is about: the object, the worker that asks, the side, or everything.
//!
//!
//! No status code says this by itself. `SignatureDoesNotMatch` means a wrong secret if every call
//! gets it, and an odd header if one object does; `AccessDenied` is an object's own policy or the
//! whole bucket's. So a refusal is first sorted by what it could be about ([`about`]), then
//! compared with a neutral call to the same bucket with the same credentials ([`rule`]). If both
//! leave it open, it is compared with the other objects ([`Breaker`]): if all of them get the same,
//! it is no object's fault.
//!
//! Pure: what was refused, and how a neutral call ended, are arguments.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::store::Headers;

/// What a refusal may be about, judged by the error alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The object, without doubt.
    Object,
    /// The worker's key, secret, token or clock.
    Asker,
    /// The bucket's name, region or endpoint.
    Place,
    /// A quota, or disk space.
    Room,
    /// There was no answer, or the store throttles.
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

/// How a neutral call to the same bucket, with the same credentials, was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neutral {
    /// It succeeded, or a permission is missing: then the store knows the worker, and the place is
    /// right.
    Answered,
    /// The store does not accept this worker.
    Asker,
    /// The place is wrong.
    Place,
    /// There was no answer.
    Silent,
}

/// What the answer to a neutral call shows.
pub fn neutral(answer: Result<(), &Error>) -> Neutral {
    let Err(error) = answer else { return Neutral::Answered };
    match about(error) {
        About::Asker => Neutral::Asker,
        About::Place => Neutral::Place,
        // A web page answers instead of the bucket.
        About::Unclear if error.kind() == ErrorKind::NotFound => Neutral::Place,
        About::Silence => Neutral::Silent,
        About::Object | About::Room | About::Unclear => Neutral::Answered,
    }
}

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The object's, with no need to look further.
    Object,
    /// The object's, unless all others are refused alike.
    Unless,
    /// The worker's: another worker may succeed.
    Asker,
    /// The bucket does not exist, or not in this region or at this endpoint.
    Place,
    /// The store is full.
    Room,
    /// The side does not answer.
    Side,
    /// Temporary, perhaps for this object alone: its attempts are counted.
    Passing,
}

/// Decides by what the refusal is about and what the neutral call has shown.
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

/// What happens to one refused object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The failure is its own.
    Record,
    /// It waits to see what others get.
    Hold,
    /// Not its fault: it goes back to the queue, and is tried again once the place accepts objects.
    Back,
}

/// Whether an object may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Go,
    /// Yes, as the probe that shows whether the place accepts objects again.
    Probe,
    /// Not for this long.
    Back(Duration),
}

/// An object and the folder of its key, both as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Identifies the object.
    pub object: u64,
    /// The same for all keys that are equal up to their last slash.
    pub folder: u64,
}

/// The most objects, and the most folders, that are remembered as refused.
const REMEMBERED: usize = 100_000;
/// After this many probes an object that was accepted before is tried again.
const DOUBTFUL: u32 = 4;
/// After this many probes a permission or a name is not expected to recover by itself.
const MOST_PROBES: u32 = QUICK_PROBES + 4;
/// At most this many objects of refused folders are passed over in search of a probe from another
/// folder.
const MOST_PASSED_OVER: u32 = 10_000;
/// The first probes after a refusal without a plain cause follow quickly: each is another object.
const QUICK_PROBES: u32 = 8;
const QUICK: Duration = Duration::from_millis(250);
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// One bucket on one side: closed to objects after `alike` of them in a row are refused alike, with
/// no success in between. Times are durations since any fixed moment.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    /// This many refusals make a row, and this many successes show that the place accepts objects.
    alike: usize,
    row: RefusalRow,
    open: Option<Open>,
    /// Objects accepted so far.
    taken: u64,
    /// Refused objects, each with the number of objects accepted by then.
    refused: HashMap<u64, u64>,
    folders: Folders,
    /// A refusal shown to be the fault of the refused objects, and until when that holds.
    acquitted: Option<(String, Duration)>,
}

/// Folders from which objects were accepted; and folders from which all were refused, each with the
/// number of refusals and the number of objects accepted elsewhere by then.
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

    /// Whether everything tried in it was refused, as far as is remembered.
    fn are_refused(&self, folder: u64) -> bool {
        self.taken.len() < REMEMBERED && self.refused.contains_key(&folder)
    }

    /// How many objects had been accepted elsewhere when `alike` of this folder had been refused;
    /// `None` if one of it was accepted, or fewer were refused.
    fn refused(&self, folder: u64, alike: usize) -> Option<u64> {
        let &(count, taken) = self.refused.get(&folder)?;
        (count >= alike && self.taken.len() < REMEMBERED).then_some(taken)
    }
}

#[derive(Clone, Debug, Default)]
struct RefusalRow {
    what: String,
    objects: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    blame: Blame,
    since: Duration,
    next: Duration,
    probes: u32,
    /// The object being tried now.
    probe: Option<u64>,
    /// Objects passed over since the last probe.
    passed_over: u32,
}

impl Breaker {
    /// Closes after `alike` refusals in a row.
    pub fn new(alike: usize) -> Self {
        Self { alike: alike.max(1), ..Self::default() }
    }

    /// An object was refused with `what`, and only the other objects show whether that is its own
    /// fault. `answered`: another object has had an answer to the same call since the last refusal.
    /// `blame`: whose fault it is if all get the same.
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
        // Enough others were accepted since this object, or its folder, was refused: it is its own
        // fault.
        let enough = |then: u64| self.taken - then >= self.alike as u64;
        if is_acquitted || before.is_some_and(enough) {
            return Ruling::Record;
        }
        if answered || self.row.what != what {
            self.row = RefusalRow { what: what.to_owned(), objects: BTreeSet::new() };
        }
        self.row.objects.insert(object);
        if self.row.objects.len() < self.alike {
            return Ruling::Hold;
        }
        self.row.objects.clear();
        self.close(blame, now);
        Ruling::Back
    }

    /// Accepts no objects from now on; `true` if it did until now.
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

    /// Whether an object may be tried now. The probe comes from a folder that is not refused as a
    /// whole: a policy that denies one prefix, however many objects it holds, does not keep the
    /// bucket closed for long.
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

    /// An object was accepted. If it was the probe, the place reopens: returns how long it was
    /// closed. Any other object began before the place closed, and shows nothing.
    pub fn passed(&mut self, Tried { object, folder }: Tried, now: Duration) -> Option<Duration> {
        self.folders.take(folder);
        self.taken += 1;
        self.refused.remove(&object);
        let open = self.open.take_if(|open| open.probe == Some(object))?;
        self.row = RefusalRow::default();
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

    /// The reason for closing is refuted, so the place reopens: returns how long it was closed.
    pub fn reopen(&mut self, now: Duration) -> Option<Duration> {
        let open = self.open.take()?;
        self.row = RefusalRow::default();
        Some(now.saturating_sub(open.since))
    }

    /// An object that was accepted before was accepted again just now: for a while, refusals with
    /// `what` are the fault of the objects that get them.
    pub fn acquit(&mut self, what: &str, until: Duration) {
        self.open = None;
        self.row = RefusalRow::default();
        self.acquitted = Some((what.to_owned(), until));
    }

    /// Whether enough probes were refused without a plain cause that an object which was accepted
    /// before should be tried again.
    pub fn is_doubtful(&self) -> bool {
        self.open.is_some_and(|open| open.blame == Blame::Unless && open.probes >= DOUBTFUL)
    }

    /// If this object was the probe, it has shown nothing.
    pub fn given_up(&mut self, object: u64) {
        if let Some(open) = &mut self.open {
            open.probe.take_if(|probe| *probe == object);
        }
    }

    /// Why no objects are accepted, since when, and after how many probes; `None` if they are.
    pub fn is_closed(&self) -> Option<(Blame, Duration, u32)> {
        self.open.map(|open| (open.blame, open.since, open.probes))
    }

    /// When the next probe is due.
    pub fn due(&self) -> Option<Duration> {
        self.open.filter(|open| open.probe.is_none()).map(|open| open.next)
    }

    /// Whether waiting is pointless for somebody who watches: a permission or a name does not
    /// recover by itself after this many probes. Disk space and connections do.
    pub fn is_hopeless(&self) -> bool {
        self.open.is_some_and(|open| match open.blame {
            Blame::Unless => open.probes >= MOST_PROBES,
            Blame::Place => open.probes >= 3,
            Blame::Asker => true,
            Blame::Room | Blame::Side | Blame::Passing | Blame::Object => false,
        })
    }
}

/// The pause before the next probe, after this many refused ones.
fn pause(blame: Blame, probes: u32) -> Duration {
    let doubled =
        |first: Duration, times: u32| first.saturating_mul(1 << times.min(16)).min(LONGEST);
    match blame {
        Blame::Unless if probes < QUICK_PROBES => QUICK,
        Blame::Unless => doubled(QUICK, probes - QUICK_PROBES + 1),
        _ => doubled(FIRST, probes),
    }
}

/// Oddities of an object that alone is refused: proxies and stores trip over these.
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
