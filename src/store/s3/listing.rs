//! Pages of a bucket: what is requested, by the lean path or the SDK, and what the end of the
//! answer means.
//!
//! Stores do not agree on how a listing continues. The answer decides, not the request:
//!
//! | answer | continues with |
//! |---|---|
//! | `NextContinuationToken` | that token |
//! | `NextMarker`, or `Marker` and no `KeyCount` | version 1, after that marker or the last key |
//! | truncated, and none of these | `start-after` the last key |
//! | 501, or a refusal that version 1 does not meet with | version 1 |

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::key_encoding::{EncodingEvidence, KeyReading, evidence};
use super::listing_page::Page;
use super::listing_xml;
use super::raw_answer::Kept;
use super::*;
use crate::aws::clock::Clock;
use crate::error::Next;
use crate::quirk::Quirk;

/// A call and the permission it needs.
pub(super) type Named = (&'static str, &'static str);
const OBJECTS: Named = ("ListObjectsV2", "s3:ListBucket");
const VERSION_1: Named = ("ListObjects", "s3:ListBucket");
const VERSIONS: Named = ("ListObjectVersions", "s3:ListBucketVersions");

/// How much of an answer is examined for its beginning.
const SHOWN: usize = 1024;

/// Everything that is not unreserved is encoded (RFC 3986, section 2.3).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A parameter of a listing and its value.
type Query<'a> = Vec<(&'static str, Cow<'a, [u8]>)>;

/// A call that was refused.
pub(super) struct RefusedList {
    pub(super) error: Error,
    /// The store may not know this call: that may be all the refusal means.
    pub(super) unknown: bool,
}

impl From<Error> for RefusedList {
    fn from(error: Error) -> Self {
        Self { error, unknown: false }
    }
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PageStart<'a> {
    Beginning,
    /// After this key, by either version.
    After(Cow<'a, [u8]>),
    /// After this marker of version 1.
    Marker(Vec<u8>),
    /// After this version of this key.
    Version(Vec<u8>, Option<&'a str>),
    /// As the page before says.
    Token(&'a str),
}

/// Our own tokens begin with this, which no store's token does; then come their kind and what they
/// hold, encoded.
const OWN: char = '\n';
const AFTER: char = '2';
const MARKER: char = '1';
const VERSION: char = 'v';
const BETWEEN: char = '\n';

fn own(kind: char, key: &[u8], version: &str) -> String {
    format!("{OWN}{kind}{}{BETWEEN}{version}", percent_encode(key, PLAIN))
}

impl<'a> PageStart<'a> {
    fn of(request: &'a ListRequest) -> Self {
        let after = request.start_after.as_deref().filter(|key| !key.is_empty());
        let after = after.map(|key| Self::After(Cow::Borrowed(key)));
        let Some(token) = request.token.as_deref() else { return after.unwrap_or(Self::Beginning) };
        let own = token.strip_prefix(OWN).and_then(|own| own.split_once(BETWEEN));
        let Some((kind_and_key, version)) = own else { return Self::Token(token) };
        let mut characters = kind_and_key.chars();
        let kind = characters.next();
        let key = percent_decode_str(characters.as_str()).collect();
        match kind {
            Some(MARKER) => Self::Marker(key),
            Some(VERSION) => Self::Version(key, Some(version).filter(|v| !v.is_empty())),
            _ => Self::After(Cow::Owned(key)),
        }
    }
}

impl S3Store {
    /// One page of the bucket's objects, by version 2, or by version 1 if the store does not know
    /// version 2.
    pub(super) async fn list_page(&self, request: &ListRequest) -> Result<ListPage> {
        let (bucket, from) = (&request.bucket, PageStart::of(request));
        let knows = |quirk| self.profile.has(bucket, quirk);
        let by_version_1 = match &from {
            PageStart::Marker(_) => true,
            PageStart::Token(_) | PageStart::Version(..) => false,
            PageStart::After(_) => knows(Quirk::ListsByVersion1) || knows(Quirk::IgnoresStartAfter),
            PageStart::Beginning => knows(Quirk::ListsByVersion1),
        };
        if by_version_1 {
            return self.version_1(request, &from).await.map_err(|refused| refused.error);
        }
        match self.page(request, OBJECTS, version_2(&from)).await {
            Ok(page) if page.is_version_1() => {
                let evidence = "ListObjectsV2 is answered by a page without KeyCount and token";
                self.profile.learn(bucket, Quirk::ListsByVersion1, evidence);
                match from {
                    // At the beginning of the listing both versions give the same page.
                    PageStart::Beginning => self.objects_of(request, VERSION_1, page).await,
                    PageStart::Token(_) => self.objects_of(request, OBJECTS, page).await,
                    from => self.version_1(request, &from).await.map_err(|refused| refused.error),
                }
            }
            Ok(page) => self.objects_of(request, OBJECTS, page).await,
            Err(refused) if refused.unknown && !matches!(from, PageStart::Token(_)) => {
                let page = match self.version_1(request, &from).await {
                    Ok(page) => page,
                    // A transient error says nothing about version 1.
                    Err(second) if second.error.kind().next() == Next::Retry => {
                        return Err(second.error);
                    }
                    Err(_) => {
                        return Err(refused.error.note("version 1 of it is refused as well"));
                    }
                };
                let quirk = match from {
                    PageStart::After(_) => Quirk::IgnoresStartAfter,
                    _ => Quirk::ListsByVersion1,
                };
                self.profile.learn(bucket, quirk, refused.error);
                Ok(page)
            }
            Err(refused) => Err(refused.error),
        }
    }

    /// The first page, by the SDK, so that `clock` sees the answer.
    pub(super) async fn list_few(&self, request: &ListRequest, clock: &Clock) -> Result<ListPage> {
        let query = encoded(request, version_2(&PageStart::Beginning));
        match self.page_by_sdk(request, OBJECTS, query, Some(clock)).await {
            Ok(document) => {
                let page = self.read(request, OBJECTS, &document)?;
                self.objects_of(request, OBJECTS, page).await
            }
            Err(refused) if refused.unknown => self.list_page(request).await,
            Err(refused) => Err(refused.error),
        }
    }

    async fn version_1(
        &self,
        request: &ListRequest,
        from: &PageStart<'_>,
    ) -> Result<ListPage, RefusedList> {
        let query = match from {
            PageStart::After(key) => vec![("marker", key.clone())],
            PageStart::Marker(key) => vec![("marker", Cow::Borrowed(key.as_slice()))],
            PageStart::Beginning | PageStart::Token(_) | PageStart::Version(..) => Vec::new(),
        };
        let page = self.page(request, VERSION_1, query).await?;
        Ok(self.objects_of(request, VERSION_1, page).await?)
    }

    /// One page of ListObjectVersions, reduced to the current versions. Every version counts
    /// towards the page's thousand, so a page may hold no object at all.
    pub(super) async fn list_versions_page(&self, request: &ListRequest) -> Result<ListPage> {
        let from = PageStart::of(request);
        let mut query: Query<'_> = vec![("versions", Cow::Borrowed(b""))];
        match &from {
            PageStart::After(key) => query.push(("key-marker", key.clone())),
            PageStart::Version(key, version) => {
                query.push(("key-marker", Cow::Borrowed(key)));
                let version = version.map(|v| ("version-id-marker", Cow::Borrowed(v.as_bytes())));
                query.extend(version);
            }
            PageStart::Beginning | PageStart::Marker(_) | PageStart::Token(_) => {}
        }
        let page = self.page(request, VERSIONS, query).await.map_err(|refused| refused.error)?;
        self.objects_of(request, VERSIONS, page).await
    }

    /// A page that shows as many keys as it says it has.
    ///
    /// A page that shows fewer has lost keys in transit, or has been cut at its end. To tell these
    /// apart, it asks for as many keys as were shown: a store that only cut its page answers with
    /// just these.
    async fn page(
        &self,
        request: &ListRequest,
        call: Named,
        query: Query<'_>,
    ) -> Result<Page, RefusedList> {
        let page = self.answer(request, call, query.clone()).await?;
        if !page.is_short() {
            return Ok(page);
        }
        let (count, shown) = (page.key_count.unwrap_or_default(), page.shown);
        if let Some(fewer) = u32::try_from(shown).ok().filter(|fewer| *fewer > 0) {
            let fewer = ListRequest { max_keys: Some(fewer), ..request.clone() };
            let page = self.answer(&fewer, call, query).await?;
            if !page.is_short() {
                return Ok(page);
            }
        }
        let said = self.said(call.0, place(request));
        let message = format!("{said}: a page with KeyCount {count} shows {shown} keys");
        Err(Error::new(ErrorKind::Unavailable, message).into())
    }

    async fn answer(
        &self,
        request: &ListRequest,
        call: Named,
        query: Query<'_>,
    ) -> Result<Page, RefusedList> {
        let query = encoded(request, query);
        let document = match self.lean_way(&request.bucket, call.0, place(request)).await? {
            Some(way) => self.page_lean(&way, request, call, &query).await?.freeze(),
            None => self.page_by_sdk(request, call, query, None).await?,
        };
        Ok(self.read(request, call, &document)?)
    }

    fn read(&self, request: &ListRequest, call: Named, document: &[u8]) -> Result<Page> {
        listing_xml::read(document).map_err(|error| {
            let error = error.context(self.said(call.0, place(request)));
            let head = String::from_utf8_lossy(&document[..document.len().min(SHOWN)]);
            match listing_xml::is_listing(&head) {
                true => error,
                false => {
                    let begins = aws::beginning(&head);
                    error.note(format_args!("the answer begins {begins}; {}", aws::RIGHT_ENDPOINT))
                }
            }
        })
    }

    /// The page by the SDK, which serves only as transport: query and answer are as above.
    async fn page_by_sdk(
        &self,
        request: &ListRequest,
        (call, permission): Named,
        query: String,
        clock: Option<&Clock>,
    ) -> Result<Bytes, RefusedList> {
        let kept = Kept::default();
        let restored = self.asks_restored();
        let mut asking = self
            .client
            .list_objects_v2()
            .bucket(&request.bucket)
            .set_request_payer(self.request_payer.clone())
            .customize()
            .mutate_request(move |request| {
                let place = request.uri().split('?').next().unwrap_or_default().to_owned();
                // The URI was valid before, and stays valid with another query.
                let _ = request.set_uri(format!("{place}?{query}"));
                if restored {
                    let headers = request.headers_mut();
                    headers.insert("x-amz-optional-object-attributes", "RestoreStatus");
                }
            })
            .interceptor(kept.clone());
        if let Some(clock) = clock {
            asking = asking.interceptor(clock.clone());
        }
        let answer = asking.send().await;
        match (kept.take(), answer) {
            (Some(answer), _) => Ok(answer.body),
            (None, Err(error)) => {
                let raw = error.raw_response();
                let status = raw.map_or(0, |raw| raw.status().as_u16());
                let unknown = is_unknown(status, aws::code(&error).unwrap_or_default());
                Err(RefusedList {
                    error: self.error(call, permission, place(request), error),
                    unknown,
                })
            }
            (None, Ok(_)) => {
                let said = self.said(call, place(request));
                Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("{said}: the answer is not a document"),
                )
                .into())
            }
        }
    }

    /// The objects of a page with decoded keys, and the token or marker of the next page.
    async fn objects_of(
        &self,
        request: &ListRequest,
        call: Named,
        mut page: Page,
    ) -> Result<ListPage> {
        let reading = self.reading(request, call, &page).await?;
        if let Some([one, other]) = page.merged(reading) {
            let (one, other) = (one.escape_debug(), other.escape_debug());
            let message = format!(
                "{}: keys are encoded in more than one way: {one} and {other} would be one key",
                self.said(call.0, place(request))
            );
            return Err(Error::invalid(message));
        }
        let mut objects = page.decoded(reading);
        let decode = |key: &[u8]| match page.encoded {
            true => reading.decode(key).into_owned(),
            false => key.to_vec(),
        };
        let wrong = |what: &str| {
            Err(Error::invalid(format!("{}: {what}", self.said(call.0, place(request)))))
        };
        // If a folder is listed in place of its objects, the objects are not listed.
        let is_shown = |folder: &[u8]| {
            let below = |key: &[u8]| key.starts_with(folder);
            objects.iter().any(|listed| below(listed.key.as_bytes()))
                || objects.odd.iter().any(|odd| below(&odd.key))
        };
        if !page.folders.iter().all(|folder| is_shown(&decode(folder))) {
            return wrong("folders (CommonPrefixes) are listed instead of their objects");
        }
        let goes_on = page.truncated.unwrap_or(page.token.is_some() || page.next.is_some());
        if !goes_on {
            // Any token or marker is ignored here: the caller looks for keys after the last one.
            return Ok(objects);
        }
        let last = objects.end().map(<[u8]>::to_vec);
        let marker = page.next.as_deref().map(decode);
        let version = page.next_version.take();
        objects.next = match (call, page.token.take(), marker, last) {
            (VERSIONS, _, Some(key), _) => Some(own(VERSION, &key, &version.unwrap_or_default())),
            (VERSIONS, _, None, Some(key)) => Some(own(VERSION, &key, &page.last_version)),
            (OBJECTS, Some(token), ..) => Some(token),
            (OBJECTS, None, None, Some(key)) => Some(own(AFTER, &key, "")),
            (_, _, Some(key), _) | (_, _, None, Some(key)) => Some(own(MARKER, &key, "")),
            (_, _, None, None) => {
                return wrong(
                    "a page cut short: it says that there are more keys, but not where to continue",
                );
            }
        };
        Ok(objects)
    }

    /// How to read the page's keys. Amazon S3's own are as documented; for other stores the page
    /// shows it, or one more listing of a single key, whose answer is remembered.
    async fn reading(&self, request: &ListRequest, call: Named, page: &Page) -> Result<KeyReading> {
        if !page.encoded || !page.has_codes || self.url.is_none() {
            return Ok(KeyReading::Form);
        }
        let bucket = &request.bucket;
        for (quirk, reading) in READINGS {
            if self.profile.has(bucket, quirk) {
                return Ok(reading);
            }
        }
        let known = self.readings.of(bucket);
        if known == Some(KnownEncoding::Form) {
            return Ok(KeyReading::Form);
        }
        let keys = page.objects.iter().map(|listed| listed.key.as_bytes()).collect::<Vec<_>>();
        let (reading, settles, said) = match evidence(keys.into_iter()) {
            EncodingEvidence::None => return Ok(KeyReading::Form),
            EncodingEvidence::Is(reading) => {
                (reading, KnownEncoding::Form, "a page with both + and %20".to_owned())
            }
            EncodingEvidence::Ask { readings, .. }
                if known == Some(KnownEncoding::OnlyOnce)
                    && readings.contains(&KeyReading::Twice) =>
            {
                return Ok(KeyReading::Form);
            }
            EncodingEvidence::Ask { raw, readings } => {
                let said = format!("a key is listed as {}", raw.escape_ascii());
                // Only a plus distinguishes form encoding from an encoding that leaves a plus as it
                // is.
                let settles =
                    if raw.contains(&b'+') { KnownEncoding::Form } else { KnownEncoding::OnlyOnce };
                match self.ask_reading(request, call, &raw, readings).await? {
                    Some(reading) => (reading, settles, said),
                    None => return Ok(readings.first().copied().unwrap_or(KeyReading::Form)),
                }
            }
        };
        match READINGS.into_iter().find(|(_, named)| *named == reading) {
            Some((quirk, _)) => _ = self.profile.learn(bucket, quirk, said),
            None => self.readings.know(bucket, settles),
        }
        Ok(reading)
    }

    /// The reading under which the store lists the key as `raw`, if there is one.
    async fn ask_reading(
        &self,
        request: &ListRequest,
        call: Named,
        raw: &[u8],
        readings: &[KeyReading],
    ) -> Result<Option<KeyReading>> {
        for reading in readings {
            let Ok(prefix) = String::from_utf8(reading.decode(raw).into_owned()) else { continue };
            let bucket = request.bucket.clone();
            let one = ListRequest { bucket, prefix, max_keys: Some(1), ..ListRequest::default() };
            let query = match call {
                VERSIONS => vec![("versions", Cow::Borrowed(&b""[..]))],
                OBJECTS => version_2(&PageStart::Beginning),
                _ => Vec::new(),
            };
            match self.answer(&one, call, query).await {
                Ok(page) if page.objects.iter().next().is_some_and(|o| o.key.as_bytes() == raw) => {
                    return Ok(Some(*reading));
                }
                Err(refused) if refused.error.kind().next() == Next::Retry => {
                    return Err(refused.error);
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Whether a listing asks which archived objects are temporarily readable: only for Amazon S3;
    /// other stores do not know the header.
    pub(super) fn asks_restored(&self) -> bool {
        self.profile.is_amazon()
    }
}

/// The readings that differ from Amazon S3's, by the name of the difference.
const READINGS: [(Quirk, KeyReading); 3] = [
    (Quirk::PlusIsLiteral, KeyReading::PlusIsLiteral),
    (Quirk::ListsUnencoded, KeyReading::Plain),
    (Quirk::EncodesTwice, KeyReading::Twice),
];

/// What is known of a bucket that has shown no difference from Amazon S3's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum KnownEncoding {
    /// It does not encode twice; how it writes a space and a plus is not known yet.
    OnlyOnce,
    /// It writes keys as Amazon S3 does.
    Form,
}

/// What is known of the buckets.
#[derive(Debug, Default)]
pub(super) struct KnownEncodings(Mutex<HashMap<String, KnownEncoding>>);

impl KnownEncodings {
    fn of(&self, bucket: &str) -> Option<KnownEncoding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(bucket).copied()
    }

    fn know(&self, bucket: &str, what: KnownEncoding) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(bucket.to_owned()).or_insert(what);
        *known = what.max(*known);
    }
}

/// The query, with the parameters that every listing has, in the order of the names.
fn encoded<'a>(request: &'a ListRequest, mut query: Query<'a>) -> String {
    let max_keys = request.max_keys.map(|max| Cow::Owned(max.to_string().into_bytes()));
    query.extend(max_keys.map(|max| ("max-keys", max)));
    query.push(("encoding-type", Cow::Borrowed(b"url")));
    query.push(("prefix", Cow::Borrowed(request.prefix.as_bytes())));
    query.sort_by_key(|(name, _)| *name);
    let encode =
        |(name, value): &(&str, Cow<'_, [u8]>)| format!("{name}={}", percent_encode(value, PLAIN));
    query.iter().map(encode).collect::<Vec<_>>().join("&")
}

fn version_2<'a>(from: &PageStart<'a>) -> Query<'a> {
    let mut query: Query<'a> = vec![("list-type", Cow::Borrowed(b"2"))];
    match from {
        PageStart::After(key) => query.push(("start-after", key.clone())),
        PageStart::Token(token) => {
            query.push(("continuation-token", Cow::Borrowed(token.as_bytes())));
        }
        PageStart::Beginning | PageStart::Marker(_) | PageStart::Version(..) => {}
    }
    query
}

/// Whether a refusal may mean that the store does not know the call, or one of its parameters.
pub(super) fn is_unknown(status: u16, code: &str) -> bool {
    let says_so = matches!(
        code,
        "" | "NotImplemented"
            | "InvalidArgument"
            | "InvalidRequest"
            | "MethodNotAllowed"
            | "UnsupportedOperation"
            | "UnsupportedParameter"
            | "NotSupported"
            | "InvalidURI"
            | "InvalidQueryParameter"
            | "BadRequest"
    );
    match status {
        405 | 501 => true,
        400 => says_so,
        404 => !matches!(code, "NoSuchBucket"),
        _ => false,
    }
}

/// What is listed, for a message.
pub(super) fn place(request: &ListRequest) -> String {
    format!("{}/{}", request.bucket, ObjectKey::new(request.prefix.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promises 0, 1.
    #[test]
    fn a_token_of_our_own_leads_back_to_its_key() {
        let from = |token: &str| {
            let token = Some(token.to_owned());
            format!("{:?}", PageStart::of(&ListRequest { token, ..ListRequest::default() }))
        };
        for key in [&b"a"[..], b"", b"a\nb", b"caf\xe9", b"\xff\0%"] {
            let marker = PageStart::Marker(key.to_vec());
            assert_eq!(from(&own(MARKER, key, "")), format!("{marker:?}"));
            let after = PageStart::After(Cow::Borrowed(key));
            assert_eq!(from(&own(AFTER, key, "")), format!("{after:?}"));
            for version in ["", "v/1"] {
                let behind =
                    PageStart::Version(key.to_vec(), Some(version).filter(|v| !v.is_empty()));
                assert_eq!(from(&own(VERSION, key, version)), format!("{behind:?}"));
            }
        }
        assert_eq!(from("1/abc=="), "Token(\"1/abc==\")");
        let start_after = Some(b"k".to_vec());
        let request = ListRequest { start_after, ..ListRequest::default() };
        assert_eq!(PageStart::of(&request), PageStart::After(Cow::Borrowed(b"k")));
    }

    /// Promises 0, 1.
    #[test]
    fn a_refusal_speaks_of_the_call_or_of_something_else() {
        for (status, code, expected) in [
            (501, "NotImplemented", true),
            (405, "", true),
            (400, "InvalidArgument", true),
            (400, "", true),
            (400, "ExpiredToken", false),
            (404, "NoSuchKey", true),
            (404, "NoSuchBucket", false),
            (403, "AccessDenied", false),
            (503, "SlowDown", false),
            (200, "", false),
        ] {
            assert_eq!(is_unknown(status, code), expected, "{status} {code}");
        }
    }
}
