//! `check` where there is nothing of AWS.

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
