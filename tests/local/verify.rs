//! `verify`: what it calls equal, how it tells what differs, and how it goes on after an end.

use std::path::Path;
use std::sync::Arc;

use aws_sdk_s3::types::StorageClass;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use testkit::gate::Hold;
use testkit::local::{ALL, BUCKETS, Local, MIB, files, noise};
use testkit::process::Ended;

/// `verify` of the two whole buckets, with these arguments.
async fn verify(local: &Local, arguments: &[&str]) -> Ended {
    local.run(&[&["verify", ALL[0], ALL[1]][..], arguments].concat()).await
}

/// The lines of a file in the folder `out`: key and how.
fn lines(local: &Local, name: &str) -> Value {
    let text = std::fs::read_to_string(local.work().join("out").join(name)).unwrap();
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        json!([line["key"], line["how"]])
    };
    text.lines().map(line).collect()
}

/// Both sides have these objects.
async fn both(local: &Local, keys: &[&str]) {
    for (seed, key) in (1..).zip(keys) {
        for place in [&local.source, &local.destination] {
            place.put(key, noise(100, seed)).await;
        }
    }
}

/// Promise 0.
#[tokio::test]
async fn what_was_migrated_is_equal_by_what_was_looked_at() {
    let mut local = Local::new().await;
    for n in 0..5 {
        local.source.put(&format!("small/{n}"), noise(100, n)).await;
    }
    local.source.put("empty", Vec::new()).await;
    local.source.put("large", noise(11 * MIB, 9)).await;
    local.set("LoggingLevel", "INFO");
    local.migrate().await.with_status(0);
    let before = local.files();

    let ended = verify(&local, &[]).await.with_status(0);
    for words in ["by HEAD: 1 in 100", "equal: all 7 objects", "by ETag", "read: none"] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.all());
    }
    let found = verify(&local, &["--head", "all", "--deep", "all", "--json"]).await.with_status(0);
    let found = found.json();
    let pair = &found["pairs"][0];
    assert_eq!((&found["verdict"], &found["complete"]), (&json!("equal"), &json!(true)));
    assert_eq!((&pair["source_objects"], &pair["equal"]), (&json!(7), &json!(7)), "{found}");
    assert_eq!((&pair["heads"], &pair["read"]), (&json!(7), &json!(7)), "{found}");
    assert_eq!(pair["equal_by"]["bytes"], 7, "{found}");
    assert_eq!(pair["read_bytes"], 500 + 11 * MIB, "{found}");
    assert_eq!(local.files(), before, "it leaves nothing");
}

/// Promise 0.
#[tokio::test]
async fn each_kind_of_difference_is_told_and_is_in_its_file() {
    let local = Local::new().await;
    both(&local, &["same", "size", "etag", "metadata", "class", "elsewhere/x"]).await;
    local.source.put("size", noise(101, 1)).await;
    local.source.put("etag", noise(100, 99)).await;
    local.source.put("missing \n\u{fc}", noise(10, 1)).await;
    local.destination.put("extra", noise(10, 1)).await;
    let put = || local.source.client.put_object().bucket(BUCKETS[0]);
    let meta = put().key("metadata").body(noise(100, 4).into()).metadata("owner", "me");
    meta.content_type("image/png").send().await.unwrap();
    let put = local.destination.client.put_object().bucket(BUCKETS[1]).key("class");
    let put = put.storage_class(StorageClass::StandardIa).body(noise(100, 5).into());
    put.send().await.unwrap();

    let ended = verify(&local, &["--head", "all", "--output", "out", "--json"]).await;
    let found = ended.with_status(1).json();
    assert_eq!(found["verdict"], "different");
    let expected = json!([
        ["class", ["class"]],
        ["etag", ["etag"]],
        ["metadata", ["metadata"]],
        ["size", ["size"]],
    ]);
    let mut differing: Vec<Value> = lines(&local, "differing.jsonl").as_array().unwrap().clone();
    differing.sort_by_key(|line| line[0].as_str().unwrap().to_owned());
    assert_eq!(Value::from(differing), expected);
    assert_eq!(lines(&local, "missing.jsonl"), json!([["missing \n\u{fc}", ["missing"]]]));
    assert_eq!(lines(&local, "extra.jsonl"), json!([["extra", ["extra"]]]));
    assert_eq!(lines(&local, "not_looked_at.jsonl"), json!([]));
    let pair = &found["pairs"][0];
    let by = json!({"size": 1, "etag": 1, "checksum": 0, "bytes": 0, "metadata": 1, "tags": 0, "class": 1});
    assert_eq!(pair["differing_by"], by, "{found}");
    let counts =
        ["equal", "differing", "missing", "extra"].map(|name| pair[name].as_u64().unwrap());
    assert_eq!(counts, [2, 4, 1, 1]);

    let told = verify(&local, &["--head", "none"]).await.with_status(1);
    for words in ["differing: etag", "missing: missing \\n\u{fc}", "extra: extra", "1 are missing"]
    {
        assert!(told.stdout.contains(words), "{words}: {}", told.all());
    }
    // Without HEAD, sizes and ETags are all there is.
    assert!(!told.stdout.contains("metadata"), "{}", told.all());
}

/// Promise 0.
#[tokio::test]
async fn filters_and_one_way_narrow_what_counts() {
    let local = Local::new().await;
    both(&local, &["a.jpg", "b.png"]).await;
    local.source.put("c.png", noise(1, 1)).await;
    local.destination.put("d.jpg", noise(1, 1)).await;
    let ended = verify(&local, &["--include", "*.jpg"]).await.with_status(1);
    assert!(ended.stdout.contains("left out by: Include: 1 pattern"), "{}", ended.all());
    let ended = verify(&local, &["--include", "*.jpg", "--one-way", "--json"]).await;
    let found = ended.with_status(0).json();
    let pair = &found["pairs"][0];
    let counts = ["equal", "extra", "left_out"].map(|name| pair[name].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 2], "{found}");
    local.write("s3_migration_config.ini", "");
    local.write("s3_migration_ignore_list.txt", "*/c.png\n*/d.jpg\n");
    verify(&local, &[]).await.with_status(0);
}

/// Promise 3.
#[tokio::test]
async fn a_flipped_byte_behind_a_hidden_etag_is_found_by_reading() {
    let mut local = Local::with_own_etags([false, true]).await;
    local.set("Destination_Quirks", "own-etags");
    let mut body = noise(3 * MIB, 7);
    local.source.put("d/flipped", body.clone()).await;
    body[2 * MIB] ^= 1;
    local.destination.put("d/flipped", body).await;
    both(&local, &["d/same", "e/same"]).await;

    let blind = verify(&local, &["--head", "none", "--json"]).await.with_status(0).json();
    assert_eq!(blind["pairs"][0]["equal_by"]["size"], 3, "nothing but sizes can be seen: {blind}");
    let deep = verify(&local, &["--deep", "d/", "--head", "none", "--json"]).await;
    let found = deep.with_status(1).json();
    let pair = &found["pairs"][0];
    assert_eq!((&pair["differing_by"]["bytes"], &pair["read"]), (&json!(1), &json!(2)), "{found}");
    assert_eq!(pair["equal_by"]["bytes"], 1, "{found}");
    verify(&local, &["--deep", "e/"]).await.with_status(0);
}

/// Promise 0.
#[tokio::test]
async fn etags_of_two_kinds_that_look_alike_are_outweighed_by_bytes() {
    let local = Local::with_own_etags([false, true]).await;
    both(&local, &["same"]).await;
    let ended = verify(&local, &["--json"]).await.with_status(1);
    assert_eq!(ended.json()["pairs"][0]["differing_by"]["etag"], 1, "nobody says what they are");
    verify(&local, &["--deep", "all"]).await.with_status(0);
}

/// Promise 0.
#[tokio::test]
async fn stored_checksums_are_compared_where_both_have_one() {
    let local = Local::with_own_etags([false, true]).await;
    for (at, place) in [&local.source, &local.destination].into_iter().enumerate() {
        for (key, body) in [("same", noise(100, 1)), ("other", noise(100, at as u64))] {
            let crc = BASE64_STANDARD.encode(s3_migration::digest::crc64nvme(&body).to_be_bytes());
            let put = place.client.put_object().bucket(BUCKETS[at]).key(key).body(body.into());
            put.checksum_crc64_nvme(crc).send().await.unwrap();
        }
    }
    let found = verify(&local, &["--head", "all", "--json"]).await.with_status(1).json();
    let pair = &found["pairs"][0];
    assert_eq!(pair["equal_by"]["checksum"], 1, "equal checksums outweigh ETags: {found}");
    assert_eq!(pair["differing_by"]["checksum"], 1, "{found}");
    assert_eq!(found["examples"][0]["how"], json!(["etag", "checksum"]), "{found}");
}

/// Promise 0.
#[tokio::test]
async fn what_cannot_be_looked_at_has_a_status_of_its_own() {
    let local = Local::new().await;
    let ended = verify(&local, &[]).await.with_status(4);
    assert!(ended.stdout.contains("no object was looked at"), "{}", ended.all());
    both(&local, &["same"]).await;
    for place in [&local.source, &local.destination] {
        let bucket = BUCKETS[usize::from(std::ptr::eq(place, &local.destination))];
        let put = place.client.put_object().bucket(bucket).key("archived");
        let put = put.storage_class(StorageClass::Glacier).body(noise(10, 1).into());
        put.send().await.unwrap();
    }
    verify(&local, &["--head", "none"]).await.with_status(0);
    let ended = verify(&local, &["--head", "none", "--deep", "all", "--output", "out"]).await;
    let ended = ended.with_status(4);
    assert!(ended.stdout.contains("incomplete: nothing differs among 2"), "{}", ended.all());
    assert_eq!(lines(&local, "not_looked_at.jsonl")[0][0], "archived");
    // A difference is a difference, whatever else could not be seen.
    local.source.put("missing", Vec::new()).await;
    let ended = verify(&local, &["--head", "none", "--deep", "all"]).await.with_status(1);
    assert!(ended.stdout.contains("and not everything was looked at"), "{}", ended.all());

    for (wrong, said) in [
        (&["--head", "a/"][..], "--head a/: write all, none or a number"),
        (&["--deep", "0"], "--deep is 0: write none"),
    ] {
        verify(&local, wrong).await.with_status(2).says(&[said]);
    }
    let nowhere = local.run(&["verify", "s3://no-such-bucket", ALL[1]]).await;
    nowhere.with_status(3).says(&["no-such-bucket"]);
}

/// Two pages of keys at both sides; of the first page one object differs, of the second one is
/// missing. The destination holds the first HEAD: that of the missing object.
async fn two_pages() -> (Local, Arc<Hold>) {
    let gate = Hold::new("HeadObject", 0);
    let local = Local::gated(Some(Arc::clone(&gate))).await;
    for n in 0..1200 {
        let key = format!("k/{n:04}");
        local.source.put(&key, vec![1]).await;
        match n {
            7 => local.destination.put(&key, vec![1, 2]).await,
            1100 => {}
            _ => local.destination.put(&key, vec![1]).await,
        }
    }
    (local, gate)
}

const CHECKPOINTED: [&str; 8] =
    ["--head", "none", "--output", "out", "--checkpoint", "check.json", "--checkpoint-every", "1"];

fn checkpoint(file: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Promise 7.
#[tokio::test]
async fn after_a_kill_it_goes_on_from_the_checkpoint_and_sums_up_right() {
    let (local, gate) = two_pages().await;
    let arguments = [&["verify", ALL[0], ALL[1]][..], &CHECKPOINTED].concat();
    let killed = local.spawn(&arguments);
    gate.reached().await;
    let file = local.work().join("check.json");
    testkit::process::until("a page is counted", async || {
        checkpoint(&file)["pairs"][0]["counts"]["differing"] == 1
    })
    .await;
    killed.kill().await;
    gate.forget();
    let counts = checkpoint(&file)["pairs"][0]["counts"].clone();
    assert!((500..1200).contains(&counts["source_objects"].as_u64().unwrap()), "{counts}");

    // Something that was written after the checkpoint will be found again.
    let differing = local.work().join("out/differing.jsonl");
    let text = std::fs::read_to_string(&differing).unwrap();
    std::fs::write(&differing, format!("{text}{{\"key\":\"half")).unwrap();
    // The next checkpoint was half written.
    std::fs::write(local.work().join("check.json.partial"), "{\"version\":1").unwrap();
    let other = local.run(&[&arguments[..], &["--deep", "all"]].concat()).await.with_status(2);
    other.says(&["check.json is the checkpoint of another verification", "--deep was none"]);

    // What was counted before is not looked at again.
    local.destination.put("k/0007", vec![1]).await;
    let found = local.run(&[&arguments[..], &["--json"]].concat()).await.with_status(1).json();
    let pair = &found["pairs"][0];
    let counts = ["source_objects", "equal", "differing", "missing", "extra"];
    let counts = counts.map(|name| pair[name].as_u64().unwrap());
    assert_eq!(counts, [1200, 1198, 1, 1, 0], "{found}");
    assert_eq!(lines(&local, "differing.jsonl"), json!([["k/0007", ["size"]]]));
    assert_eq!(lines(&local, "missing.jsonl"), json!([["k/1100", ["missing"]]]));
    assert_eq!(local.files(), ["out"], "a verification that is over leaves no checkpoint");
}

/// Promise 7.
#[tokio::test]
async fn ctrl_c_writes_the_checkpoint_and_tells_what_was_found() {
    let (local, gate) = two_pages().await;
    let arguments = [&["verify", ALL[0], ALL[1]][..], &CHECKPOINTED].concat();
    let mut stopped = local.spawn(&arguments);
    gate.reached().await;
    stopped.signal("INT");
    stopped.prints("stopped before the end").await;
    let ended = stopped.ended().await.with_status(1);
    assert!(ended.stdout.contains("differing: k/0007 (size)"), "{}", ended.all());
    gate.forget();
    assert_eq!(files(&local.work()), ["check.json", "out"]);
    let ended = local.run(&arguments).await.with_status(1);
    let words =
        "different: 1 of 1,200 objects differ, 1 are missing, 0 are at the destination only";
    assert!(ended.stdout.contains(words), "{}", ended.all());
}

/// Promise 0.
#[tokio::test]
async fn the_pairs_of_the_bucket_list_are_looked_at_one_by_one() {
    let mut local = Local::new().await;
    let [from, to] = BUCKETS;
    let pair = |prefix: &str| json!({"src_bucket": from, "src_prefix": prefix, "des_bucket": to, "des_prefix": "to"});
    local.write("pairs.json", &json!([pair("a/"), pair("b/")]).to_string());
    local.set("bucket_para_file", "pairs.json");
    local.set("ssm_parameter_ignore_list", "");
    for key in ["a/1", "b/1", "b/2"] {
        local.source.put(key, noise(10, 1)).await;
        local.destination.put(&format!("to/{key}"), noise(10, 1)).await;
    }
    local.destination.put("to/b/3", noise(10, 1)).await;
    let found = local.run(&["verify", "--json"]).await.with_status(1).json();
    let counts = |at: usize| {
        let pair = &found["pairs"][at];
        ["equal", "extra"].map(|name| pair[name].as_u64().unwrap())
    };
    assert_eq!((counts(0), counts(1)), ([1, 0], [2, 1]), "{found}");
    assert_eq!(found["pairs"][1]["source"], "s3://from-here/b/");
    assert_eq!(found["examples"][0], json!({"wrong": "extra", "key": "b/3", "how": ["extra"]}));
}
