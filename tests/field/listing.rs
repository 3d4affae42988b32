//! Listings that end early, repeat keys, or are written in another way.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use crate::http::{Answer, Request};
use crate::stage::{FROM, RUN, Stage, TO};
use crate::store::{Data, Object};
use testkit::process::Ended;

/// A stage with pages of 7 keys, and this many objects at the source.
async fn stage_of(objects: usize) -> Stage {
    let stage = Stage::new().await;
    stage.store.data().page = 7;
    for i in 0..objects {
        stage.store.put(format!("k{i:03}"), Object::new("x"));
    }
    stage
}

/// What is listed from the first key on.
fn from_the_beginning(request: &Request) -> bool {
    !["continuation-token", "start-after", "marker"].iter().any(|name| request.asks(name))
}

/// A page cut to this many objects, which calls itself the last.
fn cut(page: &str, keep: usize) -> String {
    let page = page.trim_end().strip_suffix("</ListBucketResult>").unwrap();
    let mut parts = page.split("<Contents>");
    let mut head = parts.next().unwrap().replace(">true<", ">false<");
    if let (Some(start), Some(end)) =
        (head.find("<NextContinuationToken>"), head.find("</NextContinuationToken>"))
    {
        head.replace_range(start..end + "</NextContinuationToken>".len(), "");
    }
    let objects: Vec<&str> = parts.map(|part| part.split("</Contents>").next().unwrap()).collect();
    let kept: String =
        objects.iter().take(keep).map(|o| format!("<Contents>{o}</Contents>")).collect();
    format!("{head}{kept}</ListBucketResult>")
}

/// Everything is at the destination, and `run` says so.
async fn is_whole(stage: &Stage) -> Ended {
    let ended = stage.migrate().await.with_status(0);
    stage.store.assert_whole();
    ended
}

fn listings(data: &Data, bucket: &str) -> usize {
    let is_one = |(request, _): &&(Request, u16)| request.is_listing() && request.bucket == bucket;
    data.log.iter().filter(is_one).count()
}

/// Promises 0, 1.
#[tokio::test]
async fn an_end_is_checked_by_one_more_request() {
    let stage = stage_of(5).await;
    is_whole(&stage).await;
    // A look at whether it may be listed; then the comparison and the closing one.
    for bucket in [FROM, TO] {
        assert_eq!(listings(&stage.store.data(), bucket), 5, "{bucket}");
    }
}

/// Promises 0, 1.
#[tokio::test]
async fn a_page_that_calls_itself_the_last_is_not_believed() {
    // The first page, and any page; with its own number of keys, with fewer, with one.
    for (keep, always) in [(7, false), (3, false), (1, false), (7, true), (2, true)] {
        let stage = stage_of(30).await;
        for bucket in [FROM, TO] {
            stage.store.edit_listing(bucket, move |request, page| {
                let is_cut = always || from_the_beginning(request);
                if is_cut { cut(&page, keep) } else { page }
            });
        }
        let ended = is_whole(&stage).await;
        let said = ended.stderr.matches("[ends-listings-early]").count();
        assert_eq!(said, 2, "once for each bucket: {}", ended.all());
    }
}

/// Promises 0, 1.
#[tokio::test]
async fn an_early_end_deletes_nothing() {
    let stage = stage_of(30).await;
    for i in 0..30 {
        stage.store.data().bucket(TO).insert(format!("k{i:03}").into_bytes(), Object::new("x"));
    }
    stage.store.data().bucket(TO).insert(b"only".to_vec(), Object::new("x"));
    stage.store.edit_listing(FROM, |_, page| cut(&page, 5));
    let arguments = [RUN.as_slice(), &["--delete"]].concat();
    stage.run(&arguments).await.with_status(0);
    stage.store.assert_whole();
    assert_eq!(stage.store.data().destination().len(), 30, "and nothing else");
}

/// Promises 0, 1.
#[tokio::test]
async fn whether_a_page_is_the_last_is_read_as_it_is_meant_or_refused() {
    for (from, to) in [
        ("<IsTruncated>true<", "<IsTruncated>True<"),
        ("<IsTruncated>true<", "<IsTruncated> TRUE <"),
        ("<IsTruncated>true<", "<IsTruncated>1<"),
        ("<IsTruncated>true</IsTruncated>", ""),
        ("<IsTruncated>true<", "<IsTruncated>false<"),
        (
            "<IsTruncated>false</IsTruncated>",
            "<IsTruncated>false</IsTruncated><NextContinuationToken>hex-7a</NextContinuationToken>",
        ),
    ] {
        let stage = stage_of(30).await;
        stage.store.edit_listing(FROM, move |_, page| page.replace(from, to));
        is_whole(&stage).await;
    }
    let stage = stage_of(30).await;
    stage.store.edit_listing(FROM, |_, page| page.replace(">true<", ">yes<"));
    let ended = stage.migrate().await.with_status(3);
    assert!(ended.stderr.contains("IsTruncated is \"yes\""), "{}", ended.all());
}

/// Promises 0, 1.
#[tokio::test]
async fn a_page_that_shows_less_than_it_counts_is_asked_for_again() {
    let lose = |page: String| {
        let (at, end) = (page.find("<Contents>").unwrap(), page.find("</Contents>").unwrap());
        format!("{}{}", &page[..at], &page[end + "</Contents>".len()..])
    };
    let stage = stage_of(12).await;
    let mut lost = 0;
    stage.store.edit_listing(FROM, move |_, page| {
        lost += 1;
        if lost == 2 { lose(page) } else { page }
    });
    is_whole(&stage).await;
    // For ever: never a shorter listing.
    let stage = stage_of(12).await;
    stage.store.edit_listing(FROM, move |_, page| match page.contains("<Contents>") {
        true => lose(page),
        false => page,
    });
    let ended = stage.migrate().await.with_status(3);
    assert!(ended.stderr.contains("KeyCount"), "{}", ended.all());
}

/// Promises 0, 1.
#[tokio::test]
async fn objects_behind_a_folder_are_not_passed_over() {
    let stage = stage_of(3).await;
    stage.store.edit_listing(FROM, |_, page| {
        let folder = "<CommonPrefixes><Prefix>z/</Prefix></CommonPrefixes></ListBucketResult>";
        page.replace("</ListBucketResult>", folder)
    });
    let ended = stage.migrate().await.with_status(3);
    assert!(ended.stderr.contains("CommonPrefixes"), "{}", ended.all());
}

/// Promises 0, 1.
#[tokio::test]
async fn one_key_that_cannot_be_carried_stops_no_other() {
    for odd in [&b"caf\xe9.jpg"[..], b"\xff", b"k\x80\x80"] {
        let stage = stage_of(20).await;
        stage.store.put(odd, Object::new("odd"));
        for bucket in [b"p\xe9q".as_slice(), b"extra"] {
            stage.store.data().bucket(TO).insert(bucket.to_vec(), Object::new("x"));
        }
        let arguments = [RUN.as_slice(), &["--json", "--delete"]].concat();
        let ended = stage.run(&arguments).await.with_status(1);
        let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(json["compared"]["impossible"], 1, "{json}");
        assert_eq!(json["closing"]["impossible"], 1, "{json}");
        let named = json["compared"]["impossible_named"][0].as_str().unwrap();
        assert!(named.contains(&odd.escape_ascii().to_string()), "{named}");
        let data = stage.store.data();
        let all = data.source().keys().filter(|key| *key != odd);
        assert!(all.clone().all(|key| data.destination().contains_key(key)));
        assert!(data.destination().contains_key(b"p\xe9q".as_slice()), "it is left alone");
        assert!(!data.destination().contains_key(b"extra".as_slice()), "nobody has it");
    }
}

/// Promise 4.
#[tokio::test]
async fn a_named_key_that_cannot_be_carried_stops_no_other() {
    let manifest: String = (0..20).map(|n| format!("{FROM},k{n:03}\n")).collect();
    let keys: Vec<u8> = (0..20).flat_map(|n| format!("k{n:03}\n").into_bytes()).collect();
    for (option, file) in [
        ("--keys", [b"caf\xe9.jpg\n".to_vec(), keys].concat()),
        ("--manifest", format!("{manifest}{FROM},caf%E9.jpg\n").into_bytes()),
    ] {
        let stage = stage_of(20).await;
        std::fs::write(stage.work().join("named"), &file).unwrap();
        let arguments = [RUN.as_slice(), &["--json", option, "named"]].concat();
        let ended = stage.run(&arguments).await.with_status(1);
        let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(json["compared"]["impossible"], 1, "{json}");
        assert_eq!(json["compared"]["listed"], 21, "{json}");
        let named = json["compared"]["impossible_named"][0].as_str().unwrap();
        assert!(named.contains("caf\\xe9.jpg"), "{named}");
        assert_eq!(stage.store.data().destination().len(), 20, "{option}");
    }
}

/// Promises 0, 1.
#[tokio::test]
async fn a_key_that_cannot_be_carried_and_is_there_needs_no_copy() {
    let stage = stage_of(3).await;
    stage.store.put(b"caf\xe9", Object::new("odd"));
    stage.store.data().bucket(TO).insert(b"caf\xe9".to_vec(), Object::new("odd"));
    let ended = stage.migrate().await.with_status(0);
    assert!(ended.stdout.contains("all 4 objects"), "{}", ended.all());
}

/// Promises 0, 1.
#[tokio::test]
async fn an_object_without_a_size_or_a_key_is_named_and_no_other_is_missing() {
    for (from, to) in
        [("<Key>k001</Key>", "<Key></Key>"), ("<Key>k001</Key>", "<Key>k&strange;</Key>")]
    {
        let stage = stage_of(20).await;
        stage.store.edit_listing(FROM, move |_, page| page.replace(from, to));
        stage.store.data().bucket(TO).insert(b"extra".to_vec(), Object::new("x"));
        let arguments = [RUN.as_slice(), &["--delete"]].concat();
        let ended = stage.run(&arguments).await.with_status(1);
        assert!(ended.stdout.contains("impossible"), "{}", ended.all());
        assert_eq!(stage.store.data().destination().len(), 20, "one is not there, one was");
    }
    let stage = stage_of(20).await;
    stage.store.edit_listing(FROM, |_, page| {
        let at = page.find("k001").unwrap_or(page.len());
        let (head, rest) = page.split_at(at);
        format!("{head}{}", rest.replacen("<Size>1</Size>", "", 1))
    });
    let ended = stage.migrate().await.with_status(1);
    assert!(ended.stdout.contains("k001: it is listed without a size"), "{}", ended.all());
}

/// A store that knows version 1 only: it answers by it, or with this.
fn only_version_1(stage: &Stage, refusal: Option<(u16, &'static str)>) {
    stage.store.answer(move |request, _| {
        let two = request.is_listing() && request.query.remove("list-type").is_some();
        if two && refusal.is_none() {
            // It knows none of its parameters either.
            for name in ["start-after", "continuation-token"] {
                request.query.remove(name);
            }
        }
        let refusal = refusal.filter(|_| two);
        refusal.map(|(status, code)| Answer::error(status, code, "no"))
    });
}

/// Promises 0, 1.
#[tokio::test]
async fn a_store_that_lists_by_version_1_is_asked_by_it() {
    for refusal in [
        None,
        Some((501, "NotImplemented")),
        Some((405, "MethodNotAllowed")),
        Some((400, "InvalidArgument")),
        Some((404, "NoSuchKey")),
    ] {
        let stage = stage_of(30).await;
        only_version_1(&stage, refusal);
        let ended = is_whole(&stage).await;
        assert_eq!(ended.stderr.matches("[lists-by-version-1]").count(), 2, "{}", ended.all());
    }
}

/// Promises 0, 1.
#[tokio::test]
async fn a_marker_that_is_named_is_followed() {
    let stage = stage_of(30).await;
    only_version_1(&stage, None);
    stage.store.edit_listing(FROM, |_, page| {
        let keys: Vec<&str> = page.split("<Key>").skip(1).collect();
        let last = keys.last().and_then(|key| key.split('<').next()).unwrap_or_default();
        page.replace("<Contents>", &format!("<NextMarker>{last}</NextMarker><Contents>"))
    });
    is_whole(&stage).await;
}

/// Each of these parameters brings the key that it names as well.
fn includes_its_key(stage: &Stage, parameters: &'static [&'static str]) {
    stage.store.answer(move |request, _| {
        for name in parameters {
            let Some(value) = request.query.get_mut(*name) else { continue };
            let key = match value.strip_prefix("hex-") {
                Some(digits) => String::from_utf8(hex::decode(digits).unwrap()).unwrap(),
                None => value.clone(),
            };
            let (head, last) = key.split_at(key.len() - 1);
            let before = char::from(last.as_bytes()[0] - 1);
            *value = format!("{head}{before}~");
        }
        None
    });
}

/// Promises 0, 1.
#[tokio::test]
async fn a_key_that_comes_twice_is_one() {
    for order in ["bytes", "any"] {
        for parameters in
            [&["continuation-token"][..], &["start-after"], &["continuation-token", "start-after"]]
        {
            let mut stage = stage_of(30).await;
            stage.set("Source_ListOrder", order);
            includes_its_key(&stage, parameters);
            let ended = is_whole(&stage).await;
            assert!(ended.stdout.contains("30 objects"), "{}", ended.all());
        }
    }
}

/// Promises 0, 1.
#[tokio::test]
async fn a_store_that_ignores_start_after_is_listed_once_and_whole() {
    for ignored in [&["start-after"][..], &["start-after", "marker"]] {
        let mut stage = stage_of(200).await;
        stage.set("Mode_ListConcurrency", "8");
        stage.store.data().page = 5;
        stage.store.answer(move |request, _| {
            if request.is_listing() {
                ignored.iter().for_each(|name| _ = request.query.remove(*name));
            }
            None
        });
        stage.store.data().bucket(TO).insert(b"extra".to_vec(), Object::new("x"));
        let arguments = [RUN.as_slice(), &["--delete"]].concat();
        let ended = stage.run(&arguments).await;
        let data = stage.store.data();
        let is_there = |key: &Vec<u8>| data.destination().contains_key(key);
        assert!(data.source().keys().all(is_there), "{}", ended.all());
        assert!(ended.stdout.contains("200 objects"), "{}", ended.all());
        let is_checked = ignored.len() == 1;
        assert_eq!(data.destination().contains_key(&b"extra"[..]), !is_checked, "{}", ended.all());
        assert!(listings(&data, FROM) < 2000, "{}", listings(&data, FROM));
    }
}

/// Promises 0, 1.
#[tokio::test]
async fn a_bucket_that_fills_while_it_is_listed_may_ignore_start_after_too() {
    let mut stage = stage_of(200).await;
    stage.set("Mode_ListConcurrency", "8");
    stage.store.data().page = 5;
    stage.store.data().bucket(TO).insert(b"k000".to_vec(), Object::new("x"));
    stage.store.answer(move |request, data| {
        if !request.is_listing() || request.bucket != TO {
            return None;
        }
        // Empty at its beginning, and begun anew wherever else it is asked.
        match request.query.remove("start-after") {
            Some(_) => None,
            None if request.asks("marker") => None,
            None => Some(data.listing(request, &std::collections::BTreeMap::new())),
        }
    });
    let ended = stage.migrate().await;
    assert!(!ended.all().contains("byte order"), "{}", ended.all());
    let data = stage.store.data();
    assert!(data.source().keys().all(|key| data.destination().contains_key(key)));
}

/// Begins after no key: such a request gets the first page, or this refusal.
fn begins_nowhere(stage: &Stage, bucket: &'static str, refusal: Option<(u16, &'static str)>) {
    stage.store.answer(move |request, _| {
        if !request.is_listing() || request.bucket != bucket {
            return None;
        }
        let names = ["start-after", "marker"];
        let asked = names.iter().any(|name| request.query.remove(*name).is_some());
        let refusal = refusal.filter(|_| asked);
        refusal.map(|(status, code)| Answer::error(status, code, "no such parameter"))
    });
}

const NOWHERE: [Option<(u16, &str)>; 3] =
    [None, Some((400, "InvalidArgument")), Some((501, "NotImplemented"))];

/// Promises 0, 1.
#[tokio::test]
async fn an_end_that_cannot_be_checked_is_never_called_all() {
    for (order, refusal) in ["bytes", "any"].into_iter().flat_map(|o| NOWHERE.map(|r| (o, r))) {
        let mut stage = stage_of(30).await;
        stage.set("Source_ListOrder", order);
        begins_nowhere(&stage, FROM, refusal);
        let ended = is_whole(&stage).await;
        assert!(!ended.stdout.contains("all 30"), "{order} {refusal:?}: {}", ended.all());
        let verdict = ended.stdout.split("closing comparison").nth(1).unwrap();
        assert!(verdict.contains("could not be checked"), "{order} {refusal:?}: {}", ended.all());
        stage.store.data().bucket(TO).insert(b"extra".to_vec(), Object::new("x"));
        let arguments = [RUN.as_slice(), &["--json", "--delete"]].concat();
        let ended = stage.run(&arguments).await.with_status(1);
        assert!(stage.store.data().destination().contains_key(b"extra".as_slice()));
        let json = ended.json();
        assert_eq!(json["closing"]["unchecked_ends"], 1, "{order} {refusal:?}: {json}");
        assert!(json["caveat"].as_str().unwrap().contains("could not be checked"), "{json}");
    }
}

/// Promises 0, 1.
#[tokio::test]
async fn a_full_page_that_calls_itself_the_last_is_no_end_where_that_cannot_be_checked() {
    for (order, refusal) in ["bytes", "any"].into_iter().flat_map(|o| NOWHERE.map(|r| (o, r))) {
        let mut stage = stage_of(30).await;
        stage.set("Source_ListOrder", order);
        stage
            .store
            .edit_listing(FROM, |_, page| cut(&page, 7).replace("<MaxKeys>1000<", "<MaxKeys>7<"));
        begins_nowhere(&stage, FROM, refusal);
        let arguments = [RUN.as_slice(), &["--json"]].concat();
        let ended = stage.run(&arguments).await.with_status(1);
        let json = ended.json();
        assert_eq!(json["closing"]["doubtful_ends"], 1, "{order} {refusal:?}: {json}");
        assert!(json["caveat"].as_str().unwrap().contains("may have more"), "{json}");
        let ended = stage.migrate().await.with_status(1);
        assert!(!ended.stdout.contains("all 7"), "{order} {refusal:?}: {}", ended.all());
        assert!(ended.stdout.contains("may have more"), "{order} {refusal:?}: {}", ended.all());
    }
}

/// Promises 0, 1.
#[tokio::test]
async fn what_is_no_refusal_of_start_after_says_nothing_of_it() {
    // A page that cannot be is an error, wherever it was to begin.
    let stage = stage_of(30).await;
    stage.store.edit_listing(FROM, |request, page| match request.asks("start-after") {
        true => page.replace("<IsTruncated>false<", "<IsTruncated>maybe<"),
        false => page,
    });
    let ended = stage.migrate().await.with_status(3);
    assert!(!ended.stderr.contains("[ignores-start-after]"), "{}", ended.all());
    // One key that the store does not like is one key's trouble.
    for order in ["bytes", "any"] {
        let mut stage = stage_of(30).await;
        stage.set("Source_ListOrder", order);
        stage.store.answer(|request, _| {
            let value = |name: &str| request.query.get(name).cloned().unwrap_or_default();
            let odd = request.bucket == FROM && (value("start-after") + &value("marker")) == "k029";
            odd.then(|| Answer::error(400, "InvalidArgument", "k029 is odd"))
        });
        let ended = is_whole(&stage).await;
        assert!(!ended.stderr.contains("[ignores-start-after]"), "{}", ended.all());
        assert!(ended.stdout.contains("could not be checked"), "{}", ended.all());
    }
    // A passing refusal of everything is none of this parameter.
    let stage = stage_of(30).await;
    let mut asked = 0;
    stage.store.answer(move |request, _| {
        asked += u32::from(request.is_listing() && request.asks("start-after"));
        let refuses = request.is_listing() && asked > 0;
        refuses.then(|| Answer::error(400, "InvalidRequest", "not now"))
    });
    let ended = stage.migrate().await.with_status(3);
    assert!(!ended.stderr.contains("[ignores-start-after]"), "{}", ended.all());
}

/// Promises 0, 1.
#[tokio::test]
async fn keys_are_read_as_the_store_writes_them() {
    fn encode(key: &[u8]) -> String {
        percent_encode(key, NON_ALPHANUMERIC).to_string()
    }
    type Encode = fn(&[u8]) -> String;
    let ways: [(Encode, &str); 6] = [
        (|key| encode(key).replace("%20", "+"), ""),
        (|key| encode(key).replace("%2B", "+"), "[plus-is-literal]"),
        (|key| String::from_utf8_lossy(key).into_owned(), "[lists-unencoded]"),
        (|key| encode(key).to_lowercase(), ""),
        (|key| encode(encode(key).as_bytes()), "[encodes-twice]"),
        (encode, ""),
    ];
    for (way, quirk) in ways {
        for keys in [&["a+b", "c d", "e%41", "100%"][..], &["a+b"], &["c d"], &["a+b", "x"]] {
            let stage = Stage::new().await;
            stage.store.data().encode = Box::new(way);
            for key in keys {
                stage.store.put(key, Object::new("x"));
            }
            let ended = is_whole(&stage).await;
            if keys.len() == 4 && !quirk.is_empty() {
                assert!(ended.stderr.contains(quirk), "{quirk}: {}", ended.all());
            }
        }
    }
}

/// Promises 1, 4.
#[tokio::test]
async fn two_keys_never_become_one() {
    // Nothing on the first page tells how a plus is written.
    let stage = stage_of(0).await;
    stage.store.data().encode =
        Box::new(|key| percent_encode(key, NON_ALPHANUMERIC).to_string().replace("%2B", "+"));
    for i in 0..7 {
        stage.store.put(format!("%20k{i}"), Object::new("x"));
    }
    stage.store.put("a b", Object::new("one"));
    stage.store.put("a+b", Object::new("another"));
    is_whole(&stage).await;
    // The first page tells it, and is not right about the second.
    let stage = stage_of(0).await;
    stage.store.data().encode = Box::new(|key| {
        let encoded = percent_encode(key, NON_ALPHANUMERIC).to_string();
        match key.starts_with(b"z") {
            true => encoded.replace("%2B", "+"),
            false => encoded.replace("%20", "+"),
        }
    });
    for i in 0..7 {
        stage.store.put(format!("a k{i}"), Object::new("x"));
    }
    stage.store.put("z b", Object::new("x"));
    stage.store.put("z+b", Object::new("x"));
    let ended = stage.migrate().await.with_status(3);
    assert!(ended.stderr.contains("z+b"), "{}", ended.all());
}

/// The keys that no other is below.
fn without_folders(shown: &BTreeMap<Vec<u8>, Object>) -> BTreeMap<Vec<u8>, Object> {
    let is_folder = |key: &[u8]| {
        let below = [key, b"/"].concat();
        shown.keys().any(|other| other.starts_with(&below))
    };
    let seen = shown.iter().filter(|(key, _)| !is_folder(key));
    seen.map(|(key, object)| (key.clone(), object.clone())).collect()
}

/// Promises 0, 1.
#[tokio::test]
async fn a_key_that_is_there_and_not_listed_is_not_called_missing() {
    let stage = Stage::new().await;
    for key in ["a", "a/b", "ok"] {
        stage.store.put(key, Object::new("x"));
    }
    stage.store.edit(|request, answer, data| {
        if request.is_listing() && request.bucket == TO {
            *answer = data.listing(request, &without_folders(data.destination()));
        }
    });
    let ended = is_whole(&stage).await;
    assert!(ended.stdout.contains("does not list"), "{}", ended.all());
    assert!(ended.stderr.contains("[hides-folder-keys]"), "{}", ended.all());
    // It is known from then on.
    let arguments = [RUN.as_slice(), &["--json"]].concat();
    let json = stage.run(&arguments).await.with_status(0).json();
    assert_eq!(
        (json["copied"].clone(), json["compared"]["unlisted"].clone()),
        (0.into(), 1.into())
    );
}

/// The versions that the store keeps of its source: the current ones.
fn with_versions(stage: &Stage) {
    let version = |object: &Object| object.etag.trim_matches('"')[..8].to_owned();
    stage.store.answer(move |request, data| {
        if request.bucket != FROM || !request.asks("versions") {
            return None;
        }
        let after = request.query.get("key-marker").cloned().unwrap_or_default();
        let shown = data.source().iter().filter(|(key, _)| key.as_slice() > after.as_bytes());
        let entry = |(key, object): (&Vec<u8>, &Object)| {
            let (key, version) = (String::from_utf8_lossy(key), version(object));
            let (etag, size) = (&object.etag, object.data.len());
            format!(
                "<Version><Key>{key}</Key><VersionId>{version}</VersionId><IsLatest>true</IsLatest>\
                 <LastModified>2024-01-02T03:04:05.000Z</LastModified><ETag>{etag}</ETag>\
                 <Size>{size}</Size><StorageClass>STANDARD</StorageClass></Version>"
            )
        };
        let entries: String = shown.map(entry).collect();
        let inner = format!("<IsTruncated>false</IsTruncated>{entries}");
        Some(Answer::xml("ListVersionsResult", inner.as_bytes()))
    });
    stage.store.edit(move |request, answer, data| {
        if let Some(object) = data.source().get(&request.key).filter(|_| request.bucket == FROM) {
            answer.set("x-amz-version-id", version(object));
        }
    });
}

/// Promise 1.
#[tokio::test]
async fn a_new_version_of_a_key_that_the_destination_hides_is_copied() {
    let mut stage = Stage::new().await;
    stage.set("JobsenderCompareVersionId", "True");
    stage.set("GetObjectWithVersionId", "True");
    stage.set("Destination_Quirks", "hides-folder-keys");
    with_versions(&stage);
    for key in ["a", "a/b", "ok"] {
        stage.store.put(key, Object::new("old"));
    }
    stage.store.edit(|request, answer, data| {
        if request.is_listing() && request.bucket == TO {
            *answer = data.listing(request, &without_folders(data.destination()));
        }
    });
    is_whole(&stage).await;
    let ended = is_whole(&stage).await;
    assert!(ended.stdout.contains("does not list"), "{}", ended.all());
    stage.store.put("a", Object::new("new"));
    let ended = is_whole(&stage).await;
    assert_eq!(stage.store.data().arrived("a").unwrap().data, b"new", "{}", ended.all());
}
