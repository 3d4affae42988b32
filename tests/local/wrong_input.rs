//! Wrong input: one clear message, the exit status of the contract, and nothing changed.

use std::net::TcpListener;
use std::time::Instant;

use testkit::local::{ALL, Local};

/// A source with something in it, so that there would be something to change.
async fn lab() -> Local {
    let local = Local::new().await;
    local.source.client.create_bucket().bucket("unused").send().await.unwrap();
    local
}

/// No request was ever answered on either side.
fn assert_nothing_asked(local: &Local) {
    assert_eq!(local.source.requests("ListObjectsV2"), 0);
    assert!(local.destination.all_requests().is_empty());
}

/// Promise 10.
#[tokio::test]
async fn five_mistakes_are_named_at_once() {
    let local = Local::new().await;
    local.write(
        "s3_migration_config.ini",
        "[Mode]\n\
         MaxThread = many\n\
         MaxRetrys = 5\n\
         StorageClass = GOLD\n\
         [Sauce]\n\
         Region = eu-west-1\n\
         [Debug]\n\
         ChunkSize = 4\n",
    );
    for command in [&["run", ALL[0], ALL[1]][..], &["worker"], &["jobsender"], &["status"]] {
        let ended = local.run(command).await.with_status(2);
        for (line, words) in [
            (2, ["MaxThread", "whole number"]),
            (3, ["MaxRetrys", "MaxRetry"]),
            (4, ["StorageClass", "GOLD"]),
            (5, ["Sauce", "Source"]),
            (8, ["ChunkSize", "5"]),
        ] {
            let place = format!("s3_migration_config.ini:{line}:");
            let said = ended.stderr.lines().find(|text| text.contains(&place));
            let said = said.unwrap_or_else(|| panic!("no {place} in {}", ended.all()));
            assert!(words.iter().all(|word| said.contains(word)), "{words:?} in {said}");
        }
        ended.says(&["5 problems"]);
    }
    assert!(local.source.all_requests().is_empty() && local.destination.all_requests().is_empty());
    assert_eq!(local.files(), ["s3_migration_config.ini"]);
}

#[tokio::test]
async fn unusable_arguments_are_explained() {
    let local = Local::new().await;
    for (arguments, words) in [
        (&["runn"][..], "run"),
        (&["run", "--quick"], "--quick"),
        (&["run", "s3://only-one"], "s3://DST"),
        (&["jobsender", "--every", "often"], "often"),
        (&["run", ALL[0], "to-there"], "to-there is not an address: write s3://BUCKET"),
        (&["run", "s3://", ALL[1]], "s3:// is not an address"),
        (&["run", "s3://two words", ALL[1]], "is not the name of a bucket"),
        (&["--config", "no-such.ini", "run", ALL[0], ALL[1]], "no-such.ini: cannot be read"),
        (&["demo", "no-such-folder"], "no-such-folder is not a folder"),
    ] {
        let ended = local.run(arguments).await.with_status(2);
        assert!(ended.stderr.contains(words), "no {words:?} in {}", ended.all());
        local.assert_untouched(&format!("{arguments:?}")).await;
    }
    assert_nothing_asked(&local);
}

#[tokio::test]
async fn a_run_that_would_feed_itself_is_refused() {
    let mut local = Local::new().await;
    let url = local.source.endpoint.url();
    local.set("Destination_Endpoint", &url);
    local.set("Destination_Profile", "source-side");
    for destination in [ALL[0], "s3://from-here/copy"] {
        let ended = local.run(&["run", ALL[0], destination]).await.with_status(2);
        ended.says(&["the copies would land in the source"]);
    }
    assert_nothing_asked(&local);
}

/// Promise 10.
#[tokio::test]
async fn a_missing_bucket_is_named_with_its_side() {
    let local = lab().await;
    for (arguments, words) in [
        (["s3://no-such-bucket/x", ALL[1]], ["s3://no-such-bucket/x", "(source)"]),
        ([ALL[0], "s3://no-such-bucket"], ["s3://no-such-bucket", "(destination)"]),
    ] {
        for further in [&[][..], &["--dry-run"], &["--json"]] {
            let arguments = [&["run"][..], &arguments, further].concat();
            let ended = local.run(&arguments).await.with_status(3);
            ended.says(&words);
            ended.says(&["NoSuchBucket", "check its name, the region and the endpoint"]);
        }
    }
    assert_nothing_written(&local).await;
}

/// `lab` itself has made a bucket.
async fn assert_nothing_written(local: &Local) {
    assert_eq!(local.source.requests("CreateBucket"), 1);
    let all = [local.source.all_requests(), local.destination.all_requests()];
    let writes = all.iter().flat_map(|all| all.keys());
    let known = ["CreateBucket", "ListObjectsV2"];
    assert!(writes.clone().all(|op| known.contains(&op.as_str())), "{all:?}");
    assert!(local.files().is_empty(), "{:?} left behind", local.files());
}

/// Promise 10.
#[tokio::test]
async fn refused_credentials_are_named_and_never_shown() {
    let local = lab().await;
    let wrong = "wrong+Secret/with-signs=";
    for (side, name) in [(0, "source"), (1, "destination")] {
        let profile = format!("profile {name}-side");
        local.spoil_credentials(side, Some(wrong), None);
        let ended = local.migrate().await.with_status(3);
        let place = format!("({name})");
        ended.says(&[
            "SignatureDoesNotMatch",
            &place,
            &profile,
            "secret access key does not match",
        ]);
        assert!(!ended.all().contains(wrong), "{}", ended.all());

        local.spoil_credentials(side, None, Some("AKIANOBODYKNOWS"));
        let ended = local.migrate().await.with_status(3);
        ended.says(&["InvalidAccessKeyId", &place, &profile, "the access key is not known here"]);
    }
    assert_nothing_written(&local).await;
}

/// Promise 10.
#[tokio::test]
async fn missing_credentials_say_where_they_are_looked_for() {
    let mut local = lab().await;
    local.set("Source_Credentials", "default");
    local.set("Source_Profile", "");
    let ended = local.migrate().await.with_status(3);
    ended.says(&["ListObjectsV2 s3://from-here/ (source): no AWS credentials were found"]);
    local.set("Source_Credentials", "profile");
    local.set("Source_Profile", "nobody");
    let ended = local.migrate().await.with_status(2);
    ended.says(&["profile nobody", "credentials"]);
    assert_nothing_written(&local).await;
}

#[tokio::test]
async fn without_parameter_store_the_files_to_use_instead_are_named() {
    let mut local = Local::new().await;
    local.embedded();
    let ended = local.run(&["jobsender", "--dry-run", "--allow-empty"]).await.with_status(0);
    assert!(ended.stdout.contains("dry run: nothing was sent"), "{}", ended.all());
    for (key, value) in [("ssm_parameter_ignore_list", "an-ignore-list"), ("bucket_para_file", "")]
    {
        local.set(key, value);
        let ended = local.run(&["jobsender"]).await.with_status(3);
        let name = if value.is_empty() { "bucket_para_file" } else { "ignore_list_file" };
        ended.says(&["without Parameter Store, set", name]);
    }
    local.assert_untouched("jobsender").await;
}

/// Promise 10.
#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_given_up_soon() {
    let mut local = lab().await;
    // A port that was free a moment ago, and that nobody listens on.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    local.set("Destination_Endpoint", &format!("http://{address}"));
    let began = Instant::now();
    let ended = local.migrate().await.with_status(3);
    ended.says(&["given up after 3 tries", "ListObjectsV2 s3://to-there", "(destination)"]);
    ended.says(&[&address.to_string()]);
    // Three tries and two short pauses; twenty tries would take minutes.
    assert!(began.elapsed().as_secs() < 60);
    assert_nothing_written(&local).await;
}
