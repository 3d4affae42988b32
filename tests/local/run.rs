//! `run`: what is copied, what is not, and what is said about it.

use testkit::local::{ALL, Local, MIB, SQLITE, noise};

/// Promise 1.
#[tokio::test]
async fn a_run_needs_no_ini_and_a_second_one_copies_nothing() {
    let local = Local::new().await;
    let large = noise(11 * MIB + 7, 1);
    local.source.put("x/large", large.clone()).await;
    for n in 0..20 {
        local.source.put(&format!("x/small/{n}"), noise(n * 1000, n as u64)).await;
    }
    local.source.put("other", vec![1]).await;

    let first = local.run(&["run", "s3://from-here/x", "s3://to-there/y"]).await.with_status(0);
    assert!(
        first.stdout.contains("closing comparison: all 21 objects are at the destination"),
        "{}",
        first.all()
    );
    assert_eq!(local.destination.keys().await.len(), 21);
    assert_eq!(local.destination.get("y/x/large").await, large);
    for n in 0..20 {
        let copy = local.destination.get(&format!("y/x/small/{n}")).await;
        assert_eq!(copy, noise(n * 1000, n as u64));
    }
    assert_eq!(local.destination.requests("PutObject"), 20);
    assert_eq!(local.destination.requests("UploadPart"), 3);

    let before = [&local.source, &local.destination].map(|place| place.all_requests());
    let second = local.run(&["run", "s3://from-here/x", "s3://to-there/y"]).await.with_status(0);
    assert!(second.stdout.contains("all 21 objects"), "{}", second.all());
    for (place, mut expected) in [&local.source, &local.destination].into_iter().zip(before) {
        // A page to see that it answers; a comparison and the closing one, each with a request after its end.
        *expected.get_mut("ListObjectsV2").unwrap() += 5;
        assert_eq!(place.all_requests(), expected);
    }
    assert_eq!(local.files(), [SQLITE], "nothing but queue and records is left");
}

/// Promise 4.
#[tokio::test]
async fn prefixes_are_taken_as_they_are() {
    let local = Local::new().await;
    for key in ["a", "a/b", "ab", "b"] {
        local.source.put(key, key.into()).await;
    }
    local.run(&["run", "s3://from-here/a", "s3://to-there/one"]).await.with_status(0);
    assert_eq!(local.destination.keys().await, ["one/a", "one/a/b", "one/ab"]);
    local.run(&["run", "s3://from-here/a/", "s3://to-there/two/"]).await.with_status(0);
    local.run(&["run", "s3://from-here/b", "s3://to-there/"]).await.with_status(0);
    let all = ["b", "one/a", "one/a/b", "one/ab", "two/a/b"];
    assert_eq!(local.destination.keys().await, all);
}

/// Promise 1.
#[tokio::test]
async fn a_dry_run_names_every_object_and_why() {
    let local = Local::new().await;
    local.write("s3_migration_config.ini", "");
    local.write("s3_migration_ignore_list.txt", "# all pictures\nfrom-here/*.jpg\n\n");
    for (key, len) in [("missing", 5), ("there", 6), ("longer", 7), ("picture.jpg", 8)] {
        local.source.put(key, vec![1; len]).await;
    }
    local.source.put("tab\tbed", Vec::new()).await;
    local.destination.put("there", vec![2; 6]).await;
    local.destination.put("longer", vec![2; 6]).await;
    local.destination.put("theirs", vec![2; 6]).await;
    let before = local.destination.all_requests();

    let dry = local.run(&["run", ALL[0], ALL[1], "--dry-run", "--all"]).await.with_status(0);
    for line in [
        "from-here/missing\t5\tcopy, missing at the destination",
        "from-here/there\t6\tskip, already there with the same size",
        "from-here/longer\t7\tcopy, size differs",
        "from-here/picture.jpg\t8\tskip, ignored by from-here/*.jpg",
        "from-here/tab\\tbed\t0\tcopy, missing at the destination",
        "dry run: nothing was sent",
    ] {
        assert!(dry.stdout.lines().any(|l| l == line), "no {line:?} in {}", dry.stdout);
    }
    // What is skipped is named on request only, and in the job list.
    let short = local.run(&["run", ALL[0], ALL[1], "--dry-run"]).await.with_status(0);
    let named = |text: &str| text.lines().filter(|line| line.contains('\t')).count();
    assert_eq!((named(&dry.stdout), named(&short.stdout)), (5, 3), "{}", short.all());
    assert!(!short.stdout.contains("\tskip, "), "{}", short.all());
    let json = local.run(&["run", ALL[0], ALL[1], "--dry-run", "--json"]).await.with_status(0);
    let pair = &json.json()[0];
    let number = |name: &str| pair[name].as_u64().unwrap();
    assert_eq!(number("listed"), 5);
    assert_eq!(number("listed"), number("to_copy") + number("already_there") + number("ignored"));
    assert_eq!((number("to_copy"), number("to_copy_bytes")), (3, 12));
    assert_eq!((number("size_differs"), number("only_at_destination")), (1, 1));
    assert_eq!(local.source.requests("GetObject"), 0);
    assert_eq!(local.destination.requests("PutObject"), before["PutObject"]);
    assert_eq!(local.files(), ["s3_migration_config.ini", "s3_migration_ignore_list.txt"]);
}

/// Promise 1.
#[tokio::test]
async fn a_run_adds_up_and_leaves_out_what_the_ignore_list_says() {
    let local = Local::new().await;
    local.write("s3_migration_config.ini", "");
    local.write("s3_migration_ignore_list.txt", "*.jpg\nfrom-here/dir_*\n");
    for key in ["a", "b.jpg", "dir_1/x", "dir_2/y", "c"] {
        local.source.put(key, vec![1; 10]).await;
    }
    local.destination.put("c", vec![1; 10]).await;

    let ended = local.run(&["run", ALL[0], ALL[1], "--json"]).await.with_status(0);
    let report = ended.json();
    for (section, to_copy, already_there) in [("compared", 1, 1), ("closing", 0, 2)] {
        let section = &report[section];
        assert_eq!(section["listed"], 5, "{report}");
        assert_eq!(section["to_copy"], to_copy, "{report}");
        assert_eq!(section["already_there"], already_there, "{report}");
        assert_eq!(section["ignored"], 3, "{report}");
        assert_eq!(section["ignored_bytes"], 30, "{report}");
    }
    assert_eq!((&report["copied"], &report["copied_bytes"]), (&1.into(), &10.into()));
    assert_eq!((&report["failed_count"], &report["interrupted"]), (&0.into(), &false.into()));
    assert_eq!(local.destination.keys().await, ["a", "c"]);
    // That of the test, and the one of `a`.
    assert_eq!(local.destination.requests("PutObject"), 2, "what is there is left alone");
}

/// Promises 1, 10.
#[tokio::test]
async fn an_archived_object_is_named_and_the_others_arrive() {
    let local = Local::new().await;
    for n in 0..5 {
        local.source.put(&format!("fine/{n}"), vec![n]).await;
    }
    let put = local.source.client.put_object().bucket("from-here").key("frozen");
    put.storage_class("GLACIER".into()).body(vec![1].into()).send().await.unwrap();

    let ended = local.migrate().await.with_status(1);
    for words in [
        "from-here/frozen: GetObject s3://from-here/frozen (source): InvalidObjectState",
        "from-here/frozen (skip, archived: ",
        "1 of 6 objects archived; restore them at the source",
    ] {
        assert!(ended.stdout.contains(words), "no {words:?} in {}", ended.all());
    }
    let json = local.run(&["run", ALL[0], ALL[1], "--json"]).await.with_status(1).json();
    assert_eq!((&json["failed_count"], &json["compared"]["archived"]), (&1.into(), &0.into()));
    assert_eq!((&json["closing"]["to_copy"], &json["closing"]["archived"]), (&0.into(), &1.into()));
    // Only Amazon S3 tells in its listing what is restored: elsewhere it is tried. Once with the objects
    // of its pack and once by itself, then once in the second run, in which it is alone.
    assert_eq!(local.source.requests("GetObject"), 5 + 3);
    assert_eq!(local.destination.keys().await.len(), 5);
}
