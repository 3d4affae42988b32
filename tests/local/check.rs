//! `check` without anything of AWS.

use testkit::local::{Local, MIB, SECRETS, noise};

/// Promise 10.
#[tokio::test]
async fn a_sound_set_up_without_aws_is_ok_and_keeps_no_trace_of_the_check() {
    let mut local = Local::new().await;
    local.embedded();
    local.source.put("large", noise(MIB, 1)).await;
    let files = local.files();
    let ended = local.run(&["check"]).await.with_status(0);
    assert!(ended.stdout.ends_with(" 0 warning, 0 failed\n"), "{}", ended.all());
    for secret in SECRETS {
        assert!(!ended.all().contains(secret), "{}", ended.all());
    }
    assert_eq!(local.destination.keys().await, Vec::<String>::new());
    assert_eq!(local.files(), files, "no database is made by looking");
    assert_eq!(local.destination.uploads().await, 0);
    // The first asks whether it may.
    let begun = local.destination.requests("CreateMultipartUpload");
    assert_eq!((begun, local.destination.requests("AbortMultipartUpload")), (1, 2));
}

/// Promise 10.
#[tokio::test]
async fn each_fault_fails_its_own_lines_and_no_other() {
    let mut local = Local::new().await;
    local.embedded();
    local.source.put("small", b"content".to_vec()).await;
    local.spoil_credentials(1, Some("another-secret"), None);
    let ended = local.run(&["check"]).await.with_status(1);
    let failed: Vec<&str> =
        ended.stdout.lines().filter(|line| line.starts_with("failed")).collect();
    assert_eq!(failed.len(), 1, "{}", ended.all());
    assert!(failed[0].contains("destination s3://to-there/, list"), "{failed:?}");
    assert!(ended.stdout.contains("ok       source s3://from-here/, read"), "{}", ended.all());
    assert!(!ended.all().contains("another-secret"), "{}", ended.all());

    local.spoil_credentials(1, None, None);
    local.set("Backend_Path", "no/such/folder/file.sqlite");
    let ended = local.run(&["check"]).await.with_status(1);
    assert!(ended.stdout.contains("failed   queue in a file: no/such/folder"), "{}", ended.all());

    local.set("Backend_Path", "s3_migration.sqlite");
    local.write("pairs.json", r#"[{"src_bucket":"from-here","des_bucket":"nowhere"}]"#);
    let ended = local.run(&["check"]).await.with_status(1);
    assert!(ended.stdout.contains("failed   destination s3://nowhere/, list"), "{}", ended.all());

    local.write("pairs.json", "[]]");
    let ended = local.run(&["check"]).await.with_status(1);
    assert!(ended.stdout.contains("failed   bucket list "), "{}", ended.all());

    local.set("MaxThread", "many");
    local.run(&["check"]).await.with_status(2);
}

/// Promise 10.
#[tokio::test]
async fn where_nobody_answers_the_status_tells_so() {
    let mut local = Local::new().await;
    local.embedded();
    for side in ["Source_Endpoint", "Destination_Endpoint"] {
        local.set(side, "http://127.0.0.1:1");
    }
    let ended = local.run(&["check"]).await.with_status(3);
    assert!(ended.stdout.contains("failed   source"), "{}", ended.all());
}

/// Promise 10.
#[tokio::test]
async fn two_addresses_are_checked_for_what_a_run_needs_and_nothing_else() {
    let local = Local::new().await;
    local.source.put("x/large", noise(MIB, 1)).await;
    let addresses = ["check", "s3://from-here/x/", "s3://to-there/y/"];
    let ended = local.run(&addresses).await.with_status(0);
    for words in [
        "ok       identity at the source: profile source-side",
        "ok       identity at the destination: profile destination-side",
        "ok       source s3://from-here/x/, read",
        "ok       destination s3://to-there/y/x/, write a part",
    ] {
        assert!(ended.stdout.contains(words), "no {words:?} in {}", ended.all());
    }
    for words in ["Parameter", "parameter", "Statement", "queue s3_", "table "] {
        assert!(!ended.stdout.contains(words), "{words:?} in {}", ended.all());
    }
    let is_narrow = |line: &str| line.chars().count() <= 80 || !line.trim().contains(' ');
    assert!(ended.stdout.lines().all(is_narrow), "{}", ended.stdout);
    assert!(ended.stdout.ends_with(" 0 warning, 0 failed\n"), "{}", ended.all());
    assert!(local.destination.keys().await.is_empty() && local.files().is_empty());
    // Stripped, the copies are elsewhere. The policies come when they are asked for.
    let asked = [&addresses[..], &["--strip-prefix", "--policies"]].concat();
    let asked = local.run(&asked).await.with_status(0).stdout;
    assert!(asked.contains("destination s3://to-there/y/, write"), "{asked}");
    let (looks, policies) = asked.split_once(" 0 failed\n").expect("results first");
    assert!(!looks.contains("Statement") && policies.contains("s3:PutObject"), "{asked}");
    // Or when a look fails.
    let failed = local.run(&["check", "s3://from-here", "s3://nowhere"]).await.with_status(1);
    assert!(failed.stdout.contains("failed   destination s3://nowhere/, list"), "{}", failed.all());
    assert!(failed.stdout.contains("The smallest policy for"), "{}", failed.all());
    let wrong = local.run(&["check", "from-here", "s3://nowhere"]).await.with_status(2);
    wrong.says(&["from-here is not an address"]);
}
