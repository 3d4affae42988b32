//! Reads a bucket's keys in order, page by page, and fetches the next page while one is in use.
//!
//! A page that claims to be the last is never trusted. If keys after the last one are wanted,
//! another request asks for a few of them. If it returns any, listing goes on; only if it returns
//! none has the listing ended. A key that a store shows twice across a page boundary counts once.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::object::{Etag, KeyNames};
use crate::quirk::Quirk;
use crate::retry::{Policy, Retrying, retry};
use crate::sources::sort::{KeyRow, Sorted};
use crate::store::profile::Profile;
use crate::store::{ListPage, ListRequest, Listed, Odd, Reads};

mod end;

pub use end::{LastPage, ListingEnd, learn_refusal, refuses_to_begin};

/// How many keys a check of a listing's end asks for: enough to see past a repeated key.
pub const A_FEW: u32 = 10;
/// Limit for consecutive non-empty pages that bring no new key.
const STUCK: u32 = 3;
/// The value of [`Quirk::IgnoresStartAfter`] for a store that ignores the marker of version 1 as
/// well.
pub const IGNORES_MARKER: u64 = 2;

/// Where pages come from.
#[derive(Clone, Debug)]
pub enum Pages {
    /// A store's own listing.
    Store(Arc<dyn Reads>),
    /// Sorted pages, read once from beginning to end, and how the end of what was sorted is known.
    Sorted(Arc<Mutex<Sorted>>, ListingEnd),
}

impl Pages {
    /// Whether a listing may begin after any key of the bucket.
    pub fn begin_anywhere(&self, bucket: &str) -> bool {
        let ignored = |profile: &Profile| profile.value(bucket, Quirk::IgnoresStartAfter);
        self.profile().and_then(ignored) < Some(IGNORES_MARKER)
    }

    async fn page(&self, request: &ListRequest) -> Result<ListPage> {
        match self {
            Self::Store(store) => store.list(request).await,
            Self::Sorted(sorted, _) => {
                let mut sorted = sorted.lock().await;
                // The sorter has received all of them before it returns the first row.
                let rows = sorted.next_page().await?;
                let odd = sorted.take_odd();
                let is_last = rows.is_none();
                let rows = rows.unwrap_or_default();
                let mut page: ListPage = rows.iter().map(listed).collect();
                page.odd = odd;
                page.next = (!is_last).then(String::new);
                Ok(page)
            }
        }
    }

    fn profile(&self) -> Option<&Profile> {
        match self {
            Self::Store(store) => Some(store.profile()),
            Self::Sorted(..) => None,
        }
    }
}

fn listed(row: &KeyRow) -> Listed<'_> {
    Listed {
        key: row.key.as_str(),
        size: row.size,
        etag: row.etag.as_ref().map(Etag::as_str),
        last_modified: row.last_modified,
        storage_class: row.storage_class.as_deref(),
        version: row.version.as_deref(),
        restored: row.restored,
    }
}

/// How pages of listings are requested.
#[derive(Clone, Debug)]
pub struct Asking {
    /// Where they come from.
    pub pages: Pages,
    /// The retry policy.
    pub policy: Policy,
    /// The first key of the whole listing, once it is known; all listings of one side share it.
    pub first: Arc<OnceLock<String>>,
    /// Cancels the requests.
    pub cancel: CancellationToken,
}

/// Reads one bucket's listing. A page that fails permanently is an error, never the end. A key out
/// of order is an error too, because a merge would take it for a missing one.
#[derive(Debug)]
pub struct Listing {
    asking: Asking,
    asked: PageRequest,
    names: KeyNames,
    page: ListPage,
    /// The page with its keys renamed, if that takes more than cutting them.
    renamed: Option<ListPage>,
    at: usize,
    /// The last key that was listed, or the place after which the listing begins.
    last: Option<Vec<u8>>,
    /// How far the pages have come, for a store that begins with its first key whatever is
    /// requested: keys up to `last` belong to other ranges.
    walked: Option<String>,
    ahead: Option<Ahead>,
    odd: Vec<Odd>,
    pages: u64,
    /// Consecutive pages that brought nothing new.
    idle: u32,
    /// The last page was requested in another way, because the store had ignored the requested
    /// start.
    is_asked_otherwise: bool,
    end: ListingEnd,
}

/// The request for a page.
#[derive(Clone, Debug)]
struct PageRequest {
    request: ListRequest,
    /// The value of [`Quirk::IgnoresStartAfter`] known at that time.
    ignores: Option<u64>,
    at: SystemTime,
}

/// The next page.
#[derive(Debug)]
enum Ahead {
    /// In flight while the previous page is in use.
    Asked(Task),
    /// Found after the claimed end; this many of its objects are already known.
    Found(ListPage, usize),
}

#[derive(Debug)]
struct Task(JoinHandle<Result<ListPage>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listing {
    /// Lists the keys from the page that `request` asks for to the last, renamed as `names` says. The
    /// first page is requested at once.
    pub fn new(asking: Asking, request: ListRequest, names: KeyNames) -> Self {
        let mut listing = Self {
            names,
            renamed: None,
            last: request.start_after.clone(),
            page: ListPage::default(),
            at: 0,
            walked: None,
            ahead: None,
            odd: Vec::new(),
            pages: 0,
            idle: 0,
            is_asked_otherwise: false,
            end: ListingEnd::Checked,
            asked: PageRequest { request, ignores: None, at: SystemTime::UNIX_EPOCH },
            asking,
        };
        listing.ask();
        listing
    }

    /// Makes sure that there is an object to look at, unless the listing has ended. The page after
    /// the current one is requested only if `goes_on` says that keys after its last one are wanted.
    pub async fn fill(&mut self, goes_on: impl Fn(&str) -> bool) -> Result<()> {
        while self.at >= self.page.len() {
            let (mut page, known, is_found) = match self.ahead.take() {
                None => return Ok(()),
                Some(Ahead::Found(page, known)) => (page, known, true),
                Some(Ahead::Asked(task)) => {
                    let Some(mut page) = self.arrive(task).await? else { continue };
                    match self.sift(&mut page)? {
                        Some(known) => (page, known, false),
                        None => {
                            self.ask();
                            continue;
                        }
                    }
                }
            };
            let next = page.next.take();
            let (is_new, is_empty) = (self.is_news(&page, known), page.is_empty());
            let is_full = page.is_full;
            self.put(page, known);
            let end = self.view().last().filter(|_| is_new).map(|last| self.stripped(last.key));
            if !end.is_none_or(&goes_on) {
                continue;
            }
            let is_behind = self.asked.request.token.is_none() && self.pages > 1;
            match next {
                _ if is_found => self.ask_behind(),
                Some(token) => self.ask_by(token, is_new, is_empty)?,
                // This request began after the last key and brought nothing: that already checks
                // the end.
                None if is_behind && !is_new && self.walked.is_none() => {}
                None => self.ahead = self.behind_the_end(is_full).await?,
            }
        }
        Ok(())
    }

    /// The current object, if [`Self::fill`] has found one.
    pub fn peek(&self) -> Option<Listed<'_>> {
        let listed = self.view().get(self.at)?;
        Some(Listed { key: self.stripped(listed.key), ..listed })
    }

    /// Goes on to the next object.
    pub fn skip(&mut self) {
        self.at += 1;
    }

    /// The current key; `None` if there is none.
    pub fn first_at_hand(&self) -> Option<&str> {
        Some(self.stripped(self.view().get(self.at)?.key))
    }

    /// The last key of the current page; `None` if no object is left on it.
    pub fn last_at_hand(&self) -> Option<&str> {
        let last = self.view().last().filter(|_| self.at < self.page.len())?;
        Some(self.stripped(last.key))
    }

    /// [`Self::fill`] for two listings at once; returns the key up to which both are known, `None`: to
    /// the end. The source's error comes first: it is what the user must look at first.
    pub async fn fill_both(
        source: &mut Self,
        destination: &mut Self,
        goes_on: impl Fn(&str) -> bool + Copy,
    ) -> Result<Option<String>> {
        let (seen, copies) = tokio::join!(source.fill(goes_on), destination.fill(goes_on));
        seen?;
        copies?;
        let known = [source.known_through(), destination.known_through()];
        Ok(known.into_iter().flatten().min().map(str::to_owned))
    }

    /// The key up to which everything is fetched; `None` if all that is wanted is.
    pub fn known_through(&self) -> Option<&str> {
        self.ahead.as_ref().and(self.last_at_hand())
    }

    /// The number of objects left on the current page.
    pub fn at_hand(&self) -> usize {
        self.page.len().saturating_sub(self.at)
    }

    /// The keys left on the current page, in order.
    pub fn keys_at_hand(&self) -> impl Iterator<Item = &str> {
        (self.at..self.page.len()).filter_map(|at| Some(self.stripped(self.view().get(at)?.key)))
    }

    /// Up to `count` objects of the current page, spread over it.
    pub fn sample(&self, count: usize) -> impl Iterator<Item = Listed<'_>> + Clone {
        let rest = self.view();
        let at = move |i| Some(rest.len() * i / count).filter(|_| i < rest.len());
        let listed = (0..count).filter_map(at).filter_map(|at| rest.get(at));
        listed.map(|listed| Listed { key: self.stripped(listed.key), ..listed })
    }

    /// Takes the odd objects up to `through`, each with the source's key.
    pub fn take_odd(&mut self, through: Option<&str>) -> Vec<Odd> {
        let names = self.names.clone();
        let is_within =
            |odd: &Odd| through.is_none_or(|through| *names.of(&odd.at) <= *through.as_bytes());
        let (taken, left): (Vec<Odd>, _) =
            std::mem::take(&mut self.odd).into_iter().partition(is_within);
        self.odd = left;
        let stripped = |odd: Odd| match odd.is_known() {
            true => Odd { key: names.of(&odd.key), ..odd },
            false => odd,
        };
        taken.into_iter().map(stripped).collect()
    }

    /// The number of pages read.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// How the end of the listing is known, once it has ended.
    pub fn end(&self) -> ListingEnd {
        self.end
    }

    fn stripped<'a>(&self, key: &'a str) -> &'a str {
        match &self.renamed {
            Some(_) => key,
            None => key.get(self.names.cut..).unwrap_or_default(),
        }
    }

    fn view(&self) -> &ListPage {
        self.renamed.as_ref().unwrap_or(&self.page)
    }

    fn ask(&mut self) {
        self.note_asked();
        let Asking { pages, policy, cancel, .. } = self.asking.clone();
        let request = self.asked.request.clone();
        let page = async move { retry(policy, &cancel, || pages.page(&request)).await };
        self.ahead = Some(Ahead::Asked(Task(tokio::spawn(page))));
    }

    fn note_asked(&mut self) {
        let bucket = &self.asked.request.bucket;
        let profile = self.asking.pages.profile();
        self.asked.ignores =
            profile.and_then(|profile| profile.value(bucket, Quirk::IgnoresStartAfter));
        self.asked.at = SystemTime::now();
    }

    /// Waits for the requested page; `None`: another request has replaced it.
    async fn arrive(&mut self, mut task: Task) -> Result<Option<ListPage>> {
        let joined = (&mut task.0).await;
        self.pages += 1;
        match joined.map_err(|join| Error::cancelled().with_source(join))? {
            Ok(page) => Ok(Some(page)),
            Err(error) if refuses_to_begin(&error, &self.asked.request) => {
                self.learn_refusal(error).await?;
                self.walked = Some(String::new());
                self.asked.request.start_after = None;
                self.ask();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn learn_refusal(&self, refusal: Error) -> Result<()> {
        let Pages::Store(store) = &self.asking.pages else { return Err(refusal) };
        let Asking { policy, cancel, .. } = &self.asking;
        let store = Retrying::by(&**store, *policy, cancel);
        learn_refusal(store, &self.asked.request, refusal).await
    }

    /// Requests the page with this token, after a page that did or did not bring something new.
    fn ask_by(&mut self, token: String, is_new: bool, is_empty: bool) -> Result<()> {
        let is_same = self.asked.request.token.as_ref() == Some(&token);
        if is_new || is_empty || self.walked.is_some() {
            self.idle = 0;
            if is_same && is_empty {
                return Err(self.stuck("an empty page with the same token again"));
            }
            self.asked.request.token = Some(token);
            self.ask();
            return Ok(());
        }
        self.idle += 1;
        match is_same {
            _ if self.idle > STUCK => return Err(self.stuck("only keys that it has listed before")),
            true => self.ask_behind(),
            false => {
                self.asked.request.token = Some(token);
                self.ask();
            }
        }
        Ok(())
    }

    /// Requests what follows the last key, ignoring how the previous page said to continue.
    fn ask_behind(&mut self) {
        self.asked.request = self.request_behind(None);
        self.ask();
    }

    fn request_behind(&self, max_keys: Option<u32>) -> ListRequest {
        let start_after = self.last.clone();
        ListRequest { start_after, token: None, max_keys, ..self.asked.request.clone() }
    }

    /// What follows the end that a page has claimed. `is_full`: that page is full.
    async fn behind_the_end(&mut self, is_full: bool) -> Result<Option<Ahead>> {
        let store = match self.asking.pages.clone() {
            Pages::Store(store) => store,
            Pages::Sorted(_, end) => {
                self.end = end;
                return Ok(None);
            }
        };
        let last_page = LastPage { by_token: self.asked.request.token.is_some(), is_full };
        let claimed = self.asked.at;
        let ends_early = store.profile().has(&self.asked.request.bucket, Quirk::EndsListingsEarly);
        self.asked.request = self.request_behind(Some(A_FEW).filter(|_| !ends_early));
        let (policy, cancel) = (self.asking.policy, self.asking.cancel.clone());
        let mut idle = 0;
        while self.walked.is_none() {
            self.note_asked();
            let request = &self.asked.request;
            self.pages += 1;
            let listing = Retrying::by(&*store, policy, &cancel);
            let mut page = match listing.list(request).await {
                Err(error) if refuses_to_begin(&error, request) => {
                    self.learn_refusal(error).await?;
                    break;
                }
                page => page?,
            };
            let Some(known) = self.sift(&mut page)? else { continue };
            if self.walked.is_some() {
                break;
            }
            if self.is_news(&page, known) {
                self.found_behind(&page, known, claimed);
                return Ok(Some(Ahead::Found(page, known)));
            }
            let Some(token) = page.next.take() else { return Ok(None) };
            idle += u32::from(!page.is_empty());
            if idle > STUCK || self.asked.request.token.as_ref() == Some(&token) {
                return Err(self.stuck("an endless row of pages"));
            }
            (self.asked.request.token, self.asked.request.max_keys) = (Some(token), None);
        }
        self.end = last_page.unchecked(&*store, &self.asked.request.bucket);
        Ok(None)
    }

    /// Only objects older than the claim count: one written during the listing proves nothing.
    fn found_behind(&self, page: &ListPage, known: usize, claimed: SystemTime) {
        let mut fresh = (known..page.len()).filter_map(|at| page.get(at));
        let is_older = |listed: Listed<'_>| listed.last_modified.is_none_or(|at| at < claimed);
        if fresh.any(is_older) || known >= page.len() {
            let last = shown(self.last.as_deref().unwrap_or_default());
            let said = format!("a page that claimed to be the last ended with {last}");
            self.learn(Quirk::EndsListingsEarly, 1, said);
        }
    }

    fn learn(&self, quirk: Quirk, value: u64, evidence: impl std::fmt::Display) {
        let bucket = &self.asked.request.bucket;
        let profile = self.asking.pages.profile();
        if let Some(profile) = profile.filter(|profile| profile.value(bucket, quirk) < Some(value))
        {
            profile.learn_value(bucket, quirk, value, evidence);
        }
    }

    /// Whether the page brings something new, given that its first `known` objects are known.
    fn is_news(&self, page: &ListPage, known: usize) -> bool {
        known < page.len() || page.odd.iter().any(|odd| odd.is_known() && !self.is_past(odd))
    }

    fn is_past(&self, odd: &Odd) -> bool {
        self.last.as_ref().is_some_and(|last| odd.at <= *last)
    }

    /// Makes this page the current one; its first `known` objects are already known.
    fn put(&mut self, mut page: ListPage, known: usize) {
        let odd = std::mem::take(&mut page.odd);
        let end = page.end().max(odd.last().map(|odd| odd.at.as_slice())).map(<[u8]>::to_vec);
        let new: Vec<Odd> =
            odd.into_iter().filter(|odd| !(odd.is_known() && self.is_past(odd))).collect();
        self.odd.extend(new);
        if known < page.len() {
            let KeyNames { cut, add } = &self.names;
            self.renamed = (!add.is_empty()).then(|| page.renamed(*cut, add));
            (self.page, self.at) = (page, known);
        }
        self.last = end.max(self.last.take());
    }

    /// How many objects at the beginning of the page are already known. `None`: the store did not
    /// answer what was requested, and the request must be made in another way.
    fn sift(&mut self, page: &mut ListPage) -> Result<Option<usize>> {
        self.put_in_order(page)?;
        let Some(first) = page.get(0).map(|listed| listed.key) else { return Ok(Some(0)) };
        match &self.asked.request {
            ListRequest { token: Some(_), .. } => {}
            ListRequest { start_after: None, .. } => {
                _ = self.asking.first.set(first.to_owned());
            }
            ListRequest { start_after: Some(after), .. } if self.begins_again(first, after) => {
                let said = format!("keys after {} were requested", shown(after));
                self.begin_otherwise(said);
                return Ok(None);
            }
            ListRequest { .. } => {}
        }
        let known = page.count_through(self.last.as_deref().unwrap_or_default());
        match &self.walked {
            Some(walked) if !walked.is_empty() && walked.as_str() >= first => {
                return Err(self.out_of_order(walked.as_bytes(), first));
            }
            Some(_) => self.walked = page.last().map(|listed| listed.key.to_owned()),
            None => self.check_known(page, known)?,
        }
        Ok(Some(known))
    }

    /// The store has ignored the place where the page was to begin. The next request uses version
    /// 1; if that has been tried, it asks for everything from the first key on.
    fn begin_otherwise(&mut self, evidence: String) {
        let asked_otherwise = self.asked.ignores.is_some() || self.is_asked_otherwise;
        self.learn(Quirk::IgnoresStartAfter, 1 + u64::from(asked_otherwise), evidence);
        self.is_asked_otherwise = true;
        if asked_otherwise {
            self.walked = Some(String::new());
            let ListRequest { start_after, max_keys, .. } = &mut self.asked.request;
            (*start_after, *max_keys) = (None, None);
        }
    }

    /// Whether a page that begins with `first` shows that the store has ignored `after`. If the
    /// listing's first key is not known, the bucket was empty and is being filled meanwhile.
    fn begins_again(&self, first: &str, after: &[u8]) -> bool {
        first.as_bytes() < after && self.asking.first.get().is_none_or(|all| first <= all.as_str())
    }

    fn put_in_order(&self, page: &mut ListPage) -> Result<()> {
        let is_twice = |page: &ListPage, at: usize| {
            page.get(at).map(|listed| listed.key) == page.get(at + 1).map(|listed| listed.key)
        };
        let mut wrong = page.disorder();
        if wrong.is_some_and(|at| is_twice(page, at)) {
            page.drop_repeats();
            self.learn(Quirk::RepeatsKeys, 1, "a page lists a key twice");
            wrong = page.disorder();
        }
        match wrong.and_then(|at| page.get(at).zip(page.get(at + 1))) {
            Some((one, next)) if one.key == next.key => Err(Error::invalid(format!(
                "bucket {} lists key {} twice on a page, with another size or ETag",
                self.asked.request.bucket.escape_debug(),
                one.key.escape_debug()
            ))),
            Some((one, next)) => Err(self.out_of_order(one.key.as_bytes(), next.key)),
            None => Ok(()),
        }
    }

    /// The first `known` objects of the page are repeated from the page before. A key that was not
    /// on that page should have been listed earlier.
    fn check_known(&self, page: &ListPage, known: usize) -> Result<()> {
        let (Some(last), true) = (&self.last, known > 0) else { return Ok(()) };
        let is_strange = |key: &&str| key.as_bytes() != last.as_slice() && !self.page.has(key);
        let mut repeated = (0..known).filter_map(|at| page.get(at)).map(|listed| listed.key);
        if let Some(key) = repeated.find(is_strange) {
            return Err(self.out_of_order(last, key));
        }
        self.learn(Quirk::RepeatsKeys, 1, shown(last));
        Ok(())
    }

    fn out_of_order(&self, last: &[u8], key: &str) -> Error {
        Error::invalid(format!(
            "bucket {} does not list its keys in byte order ({} before {}): directory buckets and \
             some compatible stores do not; set ListOrder = any for this side, which sorts the \
             listing on disk before it is compared",
            self.asked.request.bucket.escape_debug(),
            shown(last),
            key.escape_debug()
        ))
    }

    /// Guards against requesting the same pages in an endless loop.
    fn stuck(&self, what: &str) -> Error {
        let bucket = self.asked.request.bucket.escape_debug();
        let last = shown(self.last.as_deref().unwrap_or_default());
        Error::invalid(format!(
            "bucket {bucket} answers {what}; its listing does not get past key {last}"
        ))
    }
}

/// A key as messages show it.
fn shown(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(key) => key.escape_debug().to_string(),
        Err(_) => key.escape_ascii().to_string(),
    }
}
