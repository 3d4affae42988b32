//! What every store must carry as a source and as a destination.

use std::sync::Arc;

use serde_json::Value;

use crate::harness::{Case, Outcome};
use crate::objects::{BELOW_PARENT, Object, assert_arrived, lost, may_be_lost, odd, plain, put};
use crate::rows::{ALL, OWN, Row};
use crate::servers::Servers;
use crate::stage::{Place, Stage};

/// The pairs of stores between which everything is moved: each of them from and to the crate's own endpoint, and
/// in a ring.
fn pairs() -> Vec<[&'static Row; 2]> {
    let mut pairs: Vec<_> = ALL.iter().flat_map(|row| [[&OWN, *row], [*row, &OWN]]).collect();
    pairs.extend((0..ALL.len()).map(|at| [ALL[at], ALL[(at + 1) % ALL.len()]]));
    pairs
}

/// The cases of this file.
pub fn cases(servers: &Arc<Servers>) -> Vec<Case> {
    let mut cases = Vec::new();
    for row in ALL {
        let servers = Arc::clone(servers);
        cases.push(Case::new(format!("{}::row", row.name), move || the_row_holds(servers, row)));
    }
    for [source, destination] in pairs() {
        let name = format!("{}_to_{}", source.name, destination.name);
        let (all, lost) = (Arc::clone(servers), Arc::clone(servers));
        let everything = move || everything_arrives(all, source, destination);
        cases.push(Case::new(format!("{name}::everything"), everything));
        if source.name == "own" && !destination.loses_keys.is_empty() {
            let case = move || what_cannot_be_kept_is_named(lost, destination);
            cases.push(Case::new(format!("{name}::lost_keys"), case));
        }
    }
    cases
}

/// By which name a row knows a key.
pub fn row_name(key: &str) -> &str {
    if key.len() == 1024 { &key[..2] } else { key }
}

/// Asks the server itself, without the product.
async fn the_row_holds(servers: Arc<Servers>, row: &'static Row) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut lost_keys = Vec::new();
    for object in odd() {
        // A bucket for each: what a key becomes must not be taken for another one.
        let place = Place::at(&servers, row, &folder).await?;
        if object.key == BELOW_PARENT {
            put(&place.client, &place.bucket, &Object::small("parent"), row).await;
        }
        let answer = put(&place.client, &place.bucket, &object, row).await;
        let listed = place.client.list(&place.bucket).await;
        let is_listed = listed.iter().any(|one| one.key == object.key);
        let found = place.client.get((&place.bucket, &object.key)).await;
        if !answer.is_ok() || !is_listed || found.body != object.body {
            lost_keys.push(row_name(&object.key).to_owned());
        }
    }
    assert_eq!(lost_keys, row.loses_keys.concat(), "keys that {} loses", row.name);

    let place = Place::at(&servers, row, &folder).await?;
    for object in plain() {
        let answer = put(&place.client, &place.bucket, &object, row).await;
        assert!(answer.is_ok(), "{:?}: {} {}", object.key, answer.status, answer.text());
        if object.has_headers {
            let lost = lost(&place.client, &place.bucket, &object).await;
            let expected = may_be_lost(&object, &[row]);
            assert_eq!(lost, expected, "what {} loses of {:?}", row.name, object.key);
        }
        if object.key == "size/12-in-parts" {
            let found = place.client.get((&place.bucket, &object.key)).await;
            let etag = found.header("etag").unwrap_or_default();
            let is_s3s = etag.trim_matches('"').ends_with("-3") && etag.len() == 36;
            assert_eq!(is_s3s, row.has_s3_etags, "{}: {etag}", row.name);
            let query = [("partNumber", "1")];
            let at = (&*place.bucket, &*object.key);
            let head = place.client.call("HEAD", at, &query, &[("if-match", &etag)], "").await;
            let length = head.header("content-length");
            let told = head.is_ok() && length.is_some_and(|length| length == "5242880");
            assert_eq!((head.status, told), row.part_head, "{:?}", head.headers);
        }
    }
    Ok(())
}

/// All sizes, keys and headers that both stores keep; a second run; a check.
async fn everything_arrives(
    servers: Arc<Servers>,
    source: &'static Row,
    destination: &'static Row,
) -> Outcome {
    let stage = Stage::new(&servers, source, destination).await?;
    let mut objects = plain();
    let is_kept = |key: &str| {
        let name = row_name(key);
        !source.loses_key(name) && !destination.loses_key(name)
    };
    objects.extend(odd().into_iter().filter(|object| is_kept(&object.key)));
    for object in &objects {
        let answer = put(&stage.source.client, &stage.source.bucket, object, source).await;
        assert!(answer.is_ok(), "{:?}: {} {}", object.key, answer.status, answer.text());
    }
    let checked = stage.run(&["check"]).await;
    assert_eq!(checked.status, Some(0), "{}", checked.all());
    assert_eq!(stage.destination.client.uploads(&stage.destination.bucket).await, 0, "after check");

    let first = stage.migrate().await.with_status(0);
    assert_eq!(first.json()["copied"], objects.len(), "{}", first.all());
    let Place { client, bucket, .. } = &stage.destination;
    assert_arrived(client, bucket, &objects, [source, destination]).await;
    assert_eq!(client.uploads(bucket).await, 0, "no upload is left");

    let second = stage.migrate().await.with_status(0);
    assert_eq!(second.json()["copied"], 0, "{}", second.all());
    assert_arrived(client, bucket, &objects, [source, destination]).await;
    Ok(())
}

/// Whether an entry (`bucket/key`, and maybe a reason in parentheses) is about this key.
fn names(entries: &[String], key: &str) -> bool {
    let escaped = key.escape_debug().to_string();
    let is_it = |entry: &String| {
        let named = entry.split_once('/').map_or("", |(_, named)| named);
        [key, &escaped].iter().any(|key| named == *key || named.starts_with(&format!("{key} (")))
    };
    entries.iter().any(is_it)
}

/// Keys that the destination has no place for end as failures by name, and harm nobody else.
async fn what_cannot_be_kept_is_named(servers: Arc<Servers>, row: &'static Row) -> Outcome {
    let mut stage = Stage::new(&servers, &OWN, row).await?;
    // Some answer as if they might take the key later.
    stage.set("MaxRetry", "3");
    let neighbour = Object::small("a good neighbour");
    let mut objects = vec![neighbour.clone()];
    let lost: Vec<_> = odd().into_iter().filter(|one| row.loses_key(row_name(&one.key))).collect();
    objects.extend(lost.iter().cloned());
    for object in &objects {
        put(&stage.source.client, &stage.source.bucket, object, &OWN).await;
    }
    if lost.iter().any(|object| object.key == BELOW_PARENT) {
        put(&stage.source.client, &stage.source.bucket, &Object::small("parent"), &OWN).await;
    }
    let ended = stage.migrate().await.with_status(1);
    let numbers = ended.json();
    let strings = |list: &Value| -> Vec<String> {
        let one = |entry: &Value| entry["object"].as_str().or(entry.as_str()).map(str::to_owned);
        list.as_array().into_iter().flatten().filter_map(one).collect()
    };
    let named = [strings(&numbers["failed"]), strings(&numbers["differing"])].concat();
    let mut unnamed = Vec::new();
    for object in &lost {
        // Of a parent and its child one is there, whichever came first.
        let either = [object.key.as_str(), "parent"];
        let keys = if object.key == BELOW_PARENT { &either[..] } else { &either[..1] };
        let is_named = keys.iter().any(|key| names(&named, key));
        let key = &object.key;
        unnamed.extend((!is_named).then_some(key));
    }
    // What a store answers for by its own key, and lists under another, is counted as unlisted.
    let unlisted = &numbers["closing"]["unlisted"];
    assert_eq!(unlisted, unnamed.len(), "{unnamed:?}: {}", ended.all());
    let Place { client, bucket, .. } = &stage.destination;
    assert!(crate::objects::lost(client, bucket, &neighbour).await.is_empty());
    assert_eq!(client.uploads(bucket).await, 0, "no upload is left");
    Ok(())
}
