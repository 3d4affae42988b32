//! What is compared, what is left out, and what is said of it.

use serde_json::{Value, json};

use testkit::local::{ALL, Local, noise};

/// The accounts of a dry run with these arguments.
async fn accounts(local: &Local, arguments: &[&str]) -> Value {
    let all = [&["run", ALL[0], ALL[1], "--dry-run", "--json"][..], arguments].concat();
    let ended = local.run(&all).await.with_status(0);
    ended.json()[0].clone()
}

/// Equal, of another content with the same size, and missing.
async fn three() -> Local {
    let local = Local::new().await;
    for (key, body) in [("a.jpg", b"1234"), ("b.png", b"5678"), ("c/d.jpg", b"9999")] {
        local.source.put(key, body.to_vec()).await;
    }
    local.destination.put("a.jpg", b"1234".to_vec()).await;
    local.destination.put("b.png", b"8765".to_vec()).await;
    local
}

/// Promise 1.
#[tokio::test]
async fn sizes_etags_or_nothing_are_compared() {
    let mut local = three().await;
    for (arguments, to_copy, etag_differs, overwritten) in [
        (&[][..], 1, 0, 0),
        (&["--compare", "etag"], 2, 1, 0),
        (&["--compare", "size"], 1, 0, 0),
        (&["--overwrite"], 3, 0, 2),
    ] {
        let found = accounts(&local, arguments).await;
        let counts = (&found["to_copy"], &found["etag_differs"], &found["overwritten"]);
        assert_eq!(counts, (&to_copy.into(), &etag_differs.into(), &overwritten.into()), "{found}");
        assert_eq!((&found["listed"], &found["ignored"]), (&3.into(), &0.into()), "{found}");
    }
    local.set("Compare", "etag");
    assert_eq!(accounts(&local, &[]).await["etag_differs"], 0, "Compare is too general a name");
    local.set("Mode_Compare", "etag");
    assert_eq!(accounts(&local, &[]).await["etag_differs"], 1);

    local.run(&["run", ALL[0], ALL[1]]).await.with_status(0);
    assert_eq!(local.destination.get("b.png").await, b"5678", "ETags are compared and copied");
    let overwritten = local.run(&["run", ALL[0], ALL[1], "--overwrite", "--json"]).await;
    let report = overwritten.json();
    assert_eq!((&report["copied"], overwritten.status), (&3.into(), Some(0)), "{report}");
}

/// Promise 1.
#[tokio::test]
async fn filters_leave_out_what_does_not_pass_and_are_named() {
    let local = Local::new().await;
    for (key, size) in [("a.jpg", 10), ("b.jpg", 100), ("c.png", 10), ("d.png", 1000)] {
        local.source.put(key, noise(size, 1)).await;
    }
    for (arguments, to_copy) in [
        (&["--include", "*.jpg"][..], 2),
        (&["--include", "*/a.jpg", "--include", "*.png"], 3),
        (&["--min-size", "100"], 2),
        (&["--max-size", "100", "--min-size", "11"], 1),
        (&["--modified-after", "2100-01-01"], 0),
        (&["--modified-before", "2100-01-01T00:00:00Z"], 4),
    ] {
        let found = accounts(&local, arguments).await;
        let counts = (&found["to_copy"], &found["ignored"], &found["listed"]);
        assert_eq!(counts, (&to_copy.into(), &(4 - to_copy).into(), &4.into()), "{arguments:?}");
    }
    let named = local.run(&["run", ALL[0], ALL[1], "--dry-run", "--all", "--max-size", "99"]).await;
    assert!(
        named.stdout.contains("from-here/b.jpg\t100\tskip, ignored by MaxSize"),
        "{}",
        named.all()
    );
    for wrong in [&["--min-size", "2", "--max-size", "1"][..], &["--modified-after", "soon"]] {
        let all = [&["run", ALL[0], ALL[1], "--dry-run"][..], wrong].concat();
        local.run(&all).await.with_status(2);
    }
}

/// Promise 1.
#[tokio::test]
async fn what_becomes_of_a_key_is_explained_with_the_rule() {
    let local = three().await;
    local.write("s3_migration_config.ini", "[Filter]\nMaxSize = 4\n");
    local.write("s3_migration_ignore_list.txt", "*.jpg\nfrom-here/c/*\n");
    local.source.put("big.bin", noise(5, 1)).await;
    for (key, expected) in [
        ("a.jpg", "from-here/a.jpg (4 bytes): skip, ignored by *.jpg"),
        ("b.png", "from-here/b.png (4 bytes): skip, already there with the same size"),
        ("big.bin", "from-here/big.bin (5 bytes): skip, ignored by MaxSize"),
        ("c/none", "from-here/c/none: not at the source; it would be ignored by from-here/c/*"),
        ("none", "from-here/none: not at the source; no rule would leave it out"),
    ] {
        let ended = local.run(&["run", ALL[0], ALL[1], "--explain", key]).await.with_status(0);
        assert_eq!(ended.stdout.trim_end(), expected);
    }
    let outside = local.run(&["run", "s3://from-here/c/", ALL[1], "--explain", "a.jpg"]).await;
    assert!(outside.stdout.contains("does not begin with the prefix \"c/\""), "{}", outside.all());
    assert_eq!(local.files(), ["s3_migration_config.ini", "s3_migration_ignore_list.txt"]);
}

/// Promise 1.
#[tokio::test]
async fn the_job_list_holds_what_is_sent_and_what_is_left_out() {
    let local = three().await;
    local.write("s3_migration_config.ini", "");
    local.write("s3_migration_ignore_list.txt", "*/b.png\n");
    local.source.put("odd \n\u{fc}", vec![]).await;
    let arguments = ["run", ALL[0], ALL[1], "--dry-run", "--json", "--job-list", "jobs.jsonl"];
    local.run(&arguments).await.with_status(0);
    let text = std::fs::read_to_string(local.work().join("jobs.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown: Vec<Value> =
        lines.iter().map(|line| json!([line["Src_key"], line["verdict"]])).collect();
    let expected = json!([["b.png", "ignored"], ["c/d.jpg", "copy"], ["odd \n\u{fc}", "copy"]]);
    assert_eq!(Value::from(shown), expected);
    assert_eq!(lines[0]["reason"], "skip, ignored by */b.png");
    // A line is a job that any worker carries out.
    let job = text.lines().nth(2).unwrap();
    let parsed = s3_migration::job::parse(job, &Default::default()).unwrap();
    assert_eq!(parsed.jobs[0].des.key.as_str(), "odd \n\u{fc}");
    let unwritable = ["run", ALL[0], ALL[1], "--dry-run", "--job-list", "no/such/folder"];
    local.run(&unwritable).await.with_status(2).says(&["no/such/folder cannot be written"]);
}

/// Promise 1.
#[tokio::test]
async fn a_dry_run_says_sizes_requests_dollars_and_hours() {
    let local = Local::new().await;
    for n in 0..3 {
        local.source.put(&format!("small/{n}"), noise(1000, n)).await;
    }
    local.source.put("large", noise(11 << 20, 1)).await;
    let arguments = ["run", ALL[0], ALL[1], "--dry-run", "--bandwidth", "8", "--workers", "2"];
    let told = local.run(&arguments).await.with_status(0);
    for words in
        ["to 1.0 KiB", "3 objects", "source", "GET", "data out", "with 2 workers", "estimate"]
    {
        assert!(told.stdout.contains(words), "no {words:?} in {}", told.all());
    }
    let json = accounts(&local, &["--bandwidth", "8", "--workers", "2"]).await;
    let estimate = &json["estimate"];
    // Three GETs and the parts of the large one; two comparisons, each a page and the request after its end.
    assert_eq!(estimate["source"], json!({"list": 4, "head": 1, "get": 6}), "{json}");
    assert_eq!(estimate["destination"]["upload_part"], 3, "{json}");
    let bytes = 3.0 * 1000.0 + f64::from(11 << 20);
    let hours = estimate["hours"]["bytes"].as_f64().unwrap();
    assert!((hours - bytes * 8.0 / 16e6 / 3600.0).abs() < 1e-9, "{json}");
    let sizes: u64 =
        json["sizes"].as_array().unwrap().iter().map(|c| c["objects"].as_u64().unwrap()).sum();
    assert_eq!(sizes, 4);

    local.write("prices.json", "{}");
    let wrong = ["run", ALL[0], ALL[1], "--dry-run", "--prices", "prices.json"];
    local.run(&wrong).await.with_status(2).says(&["prices.json"]);
    local.run(&["run", ALL[0], ALL[1], "--workers", "2"]).await.with_status(2);
}

/// Promises 1, 2.
#[tokio::test]
async fn what_only_the_destination_has_is_deleted_where_that_is_asked_for() {
    let local = three().await;
    // Of the same size is not enough at the end of a run: the closing comparison sees ETags too.
    local.destination.put("b.png", b"5678".to_vec()).await;
    for key in ["old/1", "old/2", "keep/3"] {
        local.destination.put(key, noise(3, 1)).await;
    }
    local.write("s3_migration_config.ini", "");
    local.write("s3_migration_ignore_list.txt", "*/keep/*\n");
    let preview = local.run(&["run", ALL[0], ALL[1], "--dry-run", "--delete"]).await.with_status(0);
    for words in ["to-there/old/1\t3\tdelete, the source does not have it", "2 of those to delete"]
    {
        assert!(preview.stdout.contains(words), "no {words:?} in {}", preview.all());
    }
    let capped = ["run", ALL[0], ALL[1], "--json", "--delete", "--max-delete", "1"];
    let capped = local.run(&capped).await.with_status(1).json();
    let compared = &capped["compared"];
    assert_eq!((&compared["to_delete"], &compared["deletions_sent"]), (&2.into(), &0.into()));
    assert_eq!(compared["deletions_refused"], "2 are more than --max-delete 1");
    assert_eq!(local.destination.keys().await.len(), 6, "everything was copied, nothing deleted");

    let deleted =
        local.run(&["run", ALL[0], ALL[1], "--json", "--delete"]).await.with_status(0).json();
    assert_eq!((&deleted["deleted"], &deleted["copied"]), (&2.into(), &0.into()), "{deleted}");
    assert_eq!(local.destination.keys().await, ["a.jpg", "b.png", "c/d.jpg", "keep/3"]);
    let plain = local.run(&["run", ALL[0], ALL[1]]).await.with_status(0);
    assert!(plain.stdout.contains("all 3 objects are at the destination"), "{}", plain.all());
}

/// Promises 1, 2.
#[tokio::test]
async fn an_empty_source_deletes_nothing() {
    let local = Local::new().await;
    local.destination.put("precious", noise(3, 1)).await;
    let ended = local.run(&["run", ALL[0], ALL[1], "--delete"]).await.with_status(1);
    assert!(
        ended.stdout.contains("nothing was deleted: the source lists no object"),
        "{}",
        ended.all()
    );
    assert_eq!(local.destination.keys().await, ["precious"]);
}

/// Promise 2.
#[tokio::test]
async fn the_marker_of_the_destinations_own_prefix_is_left_alone() {
    let local = Local::new().await;
    local.source.put("a", noise(3, 1)).await;
    for key in ["p/", "p/old"] {
        local.destination.put(key, noise(3, 2)).await;
    }
    let arguments = ["run", ALL[0], "s3://to-there/p", "--delete", "--json"];
    let report = local.run(&arguments).await.with_status(0).json();
    let compared = &report["compared"];
    assert_eq!((&compared["only_at_destination"], &compared["to_delete"]), (&2.into(), &1.into()));
    assert_eq!(local.destination.keys().await, ["p/", "p/a"]);
}

/// Promise 2.
#[tokio::test]
async fn pairs_that_share_a_place_are_not_compared_with_delete() {
    let mut local = three().await;
    local.embedded();
    local.write(
        "pairs.json",
        r#"[{"src_bucket":"from-here","src_prefix":"a/","des_bucket":"to-there"},
            {"src_bucket":"from-here","src_prefix":"b/","des_bucket":"to-there","des_prefix":"a"}]"#,
    );
    local.run(&["jobsender", "--delete"]).await.with_status(2).says(&["s3://to-there/a/"]);
    local.run(&["jobsender", "--dry-run", "--allow-empty"]).await.with_status(0);
}

/// Promise 2.
#[tokio::test]
async fn a_jobsender_that_may_not_delete_so_many_says_so_and_is_not_done() {
    let mut local = three().await;
    local.embedded();
    for key in ["x", "y"] {
        local.destination.put(key, noise(3, 1)).await;
    }
    for arguments in [
        &["jobsender", "--delete", "--max-delete", "1"][..],
        &["jobsender", "--dry-run", "--delete", "--max-delete", "1"],
    ] {
        let ended = local.run(arguments).await.with_status(1);
        assert!(ended.stdout.contains("2 are more than --max-delete 1"), "{}", ended.all());
    }
    let sent = local.run(&["jobsender", "--delete", "--json"]).await.with_status(0).json();
    assert_eq!(sent[0]["deletions_sent"], 2, "{sent}");
}
