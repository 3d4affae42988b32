//! What was named and matches nothing is said, with what was meant, and is no success.

use std::sync::Arc;

use testkit::gate::Hold;
use testkit::local::{ALL, Local, noise};

async fn filled() -> Local {
    let local = Local::new().await;
    for key in ["photos/1.jpg", "photos/2.png", "videos/3.mp4"] {
        local.source.put(key, noise(10, 1)).await;
    }
    local
}

/// Promise 0.
#[tokio::test]
async fn a_mistyped_prefix_is_said_with_the_one_that_is_meant() {
    let mut local = filled().await;
    let mistyped = ["run", "s3://from-here/phtos/", ALL[1]];
    let ended = local.run(&mistyped).await.with_status(5);
    let words = "s3://from-here/phtos/ lists no object; perhaps s3://from-here/photos/ is meant";
    assert!(ended.stdout.contains(words) && ended.stderr.contains(words), "{}", ended.all());
    assert!(!ended.stdout.contains("are at the destination"), "{}", ended.all());
    let far = local.run(&["run", "s3://from-here/x", ALL[1], "--dry-run"]).await.with_status(5);
    let words = "s3://from-here/x lists no object; there are photos/, videos/";
    assert!(far.stdout.contains(words), "{}", far.all());
    let report = local.run(&[&mistyped[..], &["--json"]].concat()).await.with_status(5).json();
    assert_eq!(report["unmatched"][0]["meant"], "s3://from-here/photos/", "{report}");
    local.run(&[&mistyped[..], &["--allow-empty"]].concat()).await.with_status(0);

    local.embedded();
    let pair = r#"[{"src_bucket":"from-here","src_prefix":"Photos/","des_bucket":"to-there"}]"#;
    local.write("pairs.json", pair);
    let ended = local.run(&["jobsender", "--json"]).await.with_status(5);
    assert!(ended.stderr.contains("perhaps s3://from-here/photos/ is meant"), "{}", ended.all());
    local.run(&["jobsender", "--allow-empty"]).await.with_status(0);
}

/// Promise 0.
#[tokio::test]
async fn a_pattern_without_the_bucket_is_no_success() {
    let local = filled().await;
    for (option, copied) in [("--include", 0), ("--exclude", 3)] {
        let ended = local.run(&["run", ALL[0], ALL[1], option, "photos/*"]).await.with_status(5);
        let words =
            format!("{option} photos/* matches no key; perhaps from-here/photos/* is meant");
        assert!(ended.stdout.contains(&words), "{}", ended.all());
        assert_eq!(local.destination.keys().await.len(), copied);
    }
    let allowed = ["run", ALL[0], ALL[1], "--include", "photos/*", "--allow-empty"];
    let ended = local.run(&allowed).await.with_status(0);
    assert!(ended.stdout.contains("of 3 objects none is in scope"), "{}", ended.all());
    for nothing in ["", " ", "# from-here/*"] {
        let ended = local.run(&["run", ALL[0], ALL[1], "--include", nothing]).await.with_status(2);
        ended.says(&["--include", "is not a pattern"]);
    }
}

/// Promises 0, 1.
#[tokio::test]
async fn excluded_objects_stay_behind_like_ignored_ones() {
    let local = filled().await;
    let excluding =
        ["--include", "*/photos/*", "--exclude", "*.png", "--exclude", "from-here/videos/*"];
    let dry = [&["run", ALL[0], ALL[1], "--dry-run", "--all"][..], &excluding].concat();
    let ended = local.run(&dry).await.with_status(0);
    let words = "from-here/photos/2.png\t10\tskip, ignored by *.png";
    assert!(ended.stdout.contains(words), "{}", ended.all());
    local.run(&[&["run", ALL[0], ALL[1]][..], &excluding].concat()).await.with_status(0);
    assert_eq!(local.destination.keys().await, ["photos/1.jpg"]);
    local.run(&["verify", ALL[0], ALL[1]]).await.with_status(1);
    local.run(&[&["verify", ALL[0], ALL[1]][..], &excluding].concat()).await.with_status(0);
}

/// Promise 0.
#[tokio::test]
async fn a_line_of_the_ignore_list_counts_only_if_it_was_meant_to_match() {
    let local = filled().await;
    local.write("s3_migration_config.ini", "");
    local.write("s3_migration_ignore_list.txt", "*.bak\n");
    let ended = local.run(&["run", ALL[0], ALL[1], "--dry-run"]).await.with_status(0);
    assert!(ended.stdout.contains("*.bak in the ignore list matches no key\n"), "{}", ended.all());
    local.write("s3_migration_ignore_list.txt", "*.bak\nvideos/*\n");
    let ended = local.run(&["run", ALL[0], ALL[1], "--dry-run"]).await.with_status(5);
    let words = "videos/* in the ignore list matches no key; perhaps from-here/videos/* is meant";
    assert!(ended.stdout.contains(words), "{}", ended.all());
}

/// Promises 1, 7.
#[tokio::test]
async fn the_summary_of_a_stopped_run_counts_what_was_listed() {
    // Both pairs are tried, the first is compared, the second is held.
    let gate = Hold::new("ListObjectsV2", 4);
    let mut local = Local::gated(Some(Arc::clone(&gate))).await;
    local.embedded();
    local.write(
        "pairs.json",
        r#"[{"src_bucket":"from-here","src_prefix":"a/","des_bucket":"to-there"},
            {"src_bucket":"from-here","src_prefix":"b/","des_bucket":"to-there","des_prefix":"b"}]"#,
    );
    for key in ["a/1", "a/2", "a/3", "b/4"] {
        local.source.put(key, noise(10, 1)).await;
    }
    let run = local.spawn(&["run", "--json"]);
    gate.reached().await;
    local.asked("PutObject", 3).await;
    run.signal("INT");
    let report = run.ended().await.with_status(1).json();
    gate.open();
    let compared = &report["compared"];
    assert_eq!((&report["copied"], &compared["listed"]), (&3.into(), &3.into()), "{report}");
    assert_eq!((&compared["to_copy"], &compared["listed_bytes"]), (&3.into(), &30.into()));
}

/// Promise 10.
#[tokio::test]
async fn a_deletion_is_logged_with_the_destinations_bucket() {
    let local = filled().await;
    local.destination.put("old", noise(3, 1)).await;
    let ended = local.run(&["run", ALL[0], ALL[1], "--delete"]).await.with_status(0);
    let line = ended.stderr.lines().find(|line| line.contains("deleted at the destination"));
    assert!(line.is_some_and(|line| line.contains("to-there/old")), "{}", ended.all());
}
