//! Both sides named on the command line alone, and what is said about a wrong word there.

use testkit::local::{ALL, Local, SECRETS};
use testkit::process::{Ended, Running};

/// The keys that [`Local`] sets in the environment.
const SET: [&str; 4] =
    ["Source_Endpoint", "Source_Profile", "Destination_Endpoint", "Destination_Profile"];

/// The options that say the same.
fn options(local: &Local) -> Vec<String> {
    let [source, destination] = [&local.source, &local.destination].map(|p| p.endpoint.url());
    vec![
        format!("--source-endpoint={source}"),
        "--source-profile=source-side".to_owned(),
        "--source-region=eu-west-1".to_owned(),
        format!("--destination-endpoint={destination}"),
        "--destination-profile=destination-side".to_owned(),
        "--destination-region=eu-west-1".to_owned(),
    ]
}

/// Asserts that all of these words were said, on either stream.
#[track_caller]
fn said(ended: Ended, words: &[&str]) {
    for word in words {
        assert!(ended.all().contains(word), "no {word:?} in {}", ended.all());
    }
}

/// Runs the binary with nothing about the sides in its environment.
async fn bare(local: &Local, arguments: &[&str], options: &[String]) -> Ended {
    let mut command = local.command(arguments);
    SET.iter().for_each(|name| _ = command.env_remove(name));
    command.args(options);
    Running::start(command).ended().await
}

#[tokio::test]
async fn both_sides_fit_on_the_command_line() {
    let local = Local::new().await;
    local.source.put("a", vec![1]).await;
    let all = options(&local);
    bare(&local, &["run", ALL[0], ALL[1]], &all).await.with_status(0);
    assert_eq!(local.destination.keys().await, ["a"]);
    bare(&local, &["verify", ALL[0], ALL[1]], &all).await.with_status(0);
    // A side that is not named is Amazon S3, with nobody's keys.
    let ended = bare(&local, &["run", ALL[0], ALL[1]], &all[..3]).await.with_status(3);
    ended.says(&["no AWS credentials were found"]);
}

#[tokio::test]
async fn the_command_line_stands_above_environment_and_ini() {
    let mut local = Local::new().await;
    local.source.put("a", vec![1]).await;
    let all = options(&local);
    local.set("Source_Endpoint", "http://127.0.0.1:1");
    local.set("Source_Profile", "");
    local.set("NoSignRequest", "True");
    let arguments: Vec<&str> =
        ["run", ALL[0], ALL[1]].into_iter().chain(all.iter().map(String::as_str)).collect();
    local.run(&arguments).await.with_status(0);
    assert_eq!(local.destination.keys().await, ["a"]);
    // The other way round: named credentials discard the profile of the environment.
    local.set("Source_Profile", "source-side");
    local.set("NoSignRequest", "False");
    let ended = local.run(&["run", ALL[0], ALL[1], &all[0], "--source-no-sign-request"]).await;
    ended.with_status(3).says(&["AccessDenied", "unsigned"]);
}

/// Promise 10.
#[tokio::test]
async fn a_wrong_word_for_a_side_is_explained_before_anything_is_asked() {
    let mut local = Local::new().await;
    for (options, words) in [
        (
            &["--source-endpoint=minio.example:9000"][..],
            &[
                "--source-endpoint: [Source] Endpoint = minio.example:9000 has no scheme",
                "https://minio.example:9000",
            ][..],
        ),
        (
            &["--destination-region='eu-west-1'"],
            &["--destination-region", "has quotes around its value"],
        ),
        (
            &["--source-credentials=mine"],
            &["--source-credentials", "default, ssm, profile, anonymous"],
        ),
        (&["--min-size", "5 apples"], &["5 apples", "64M, 5G or 5GiB"]),
        (
            &["--source-profile=nobody"],
            &["profile nobody is not in ", "(there: destination-side, source-side)"],
        ),
        (&["--verbose", "--quiet"], &["cannot be used with"]),
    ] {
        let arguments = [&["run", ALL[0], ALL[1]], options].concat();
        said(local.run(&arguments).await.with_status(2), words);
    }
    local.write("s3_migration_config.ini", "[Mode]\nMaxThread = 7 # as agreed\n");
    let ended = local.migrate().await.with_status(2);
    said(ended, &["s3_migration_config.ini:2: [Mode] MaxThread has a comment after its value"]);
    local.write("s3_migration_config.ini", "[Debug]\nChunkSize = 8M\n");
    for (stray, meant) in [
        ("DESTINATION_ENDPONT", "DESTINATION_ENDPOINT"),
        ("source_force_path_styles", "SOURCE_FORCEPATHSTYLE"),
    ] {
        let mut command = local.command(&["run", ALL[0], ALL[1]]);
        command.env(stray, SECRETS[0]);
        let ended = Running::start(command).ended().await.with_status(2);
        assert!(!ended.all().contains(SECRETS[0]), "{}", ended.all());
        said(ended, &[stray, &format!("is no key; perhaps {meant} is meant")]);
    }
    assert!(local.source.all_requests().is_empty() && local.destination.all_requests().is_empty());
    // What only looks a little like one belongs to somebody else.
    local.source.put("k", vec![1]).await;
    for stray in ["SOURCE_DATE_EPOCH", "SOURCE_VERSION", "DEBUG_COLORS", "INSTANCE_ID", "MODE"] {
        local.set(stray, "7");
    }
    local.migrate().await.with_status(0);
}

#[tokio::test]
async fn sizes_have_units_and_loudness_has_letters() {
    let local = Local::new().await;
    for (key, len) in [("small", 1023), ("large", 1024)] {
        local.source.put(key, vec![1; len]).await;
    }
    let sized = ["run", ALL[0], ALL[1], "--min-size", "1K"];
    let dry = local.run(&[&sized[..], &["-n"]].concat()).await.with_status(0);
    assert!(dry.stdout.contains("dry run: nothing was sent"), "{}", dry.all());
    assert!(local.destination.keys().await.is_empty());
    // The chattiest level is set by the environment; the option stands above it.
    let quiet = local.run(&[&sized[..], &["-q"]].concat()).await.with_status(0);
    assert_eq!(quiet.stderr, "");
    assert_eq!(local.destination.keys().await, ["large"]);
    let mut command = local.command(&["run", ALL[0], ALL[1], "-v"]);
    command.env("LoggingLevel", "WARNING");
    let loud = Running::start(command).ended().await.with_status(0);
    assert!(loud.stderr.contains("DEBUG"), "{}", loud.all());
    assert_eq!(local.destination.keys().await, ["large", "small"]);
}

/// Promises 1, 4.
#[tokio::test]
async fn a_stripped_prefix_is_stripped_by_run_closing_comparison_and_verify() {
    let local = Local::new().await;
    for key in ["x/", "x/1.jpg", "x/deep/2.jpg", "x/x/3.jpg", "other"] {
        local.source.put(key, key.into()).await;
    }
    let both = ["s3://from-here/x/", "s3://to-there/y/"];
    let run = [&["run"], &both[..], &["--strip-prefix"]].concat();
    let first = local.run(&run).await.with_status(0);
    said(first, &["closing comparison: all 4 objects are at the destination"]);
    let copies = ["y/", "y/1.jpg", "y/deep/2.jpg", "y/x/3.jpg"];
    assert_eq!(local.destination.keys().await, copies);
    assert_eq!(local.destination.get("y/x/3.jpg").await, b"x/x/3.jpg");

    local.destination.put("y/theirs", vec![1]).await;
    let again = local.run(&[&run[..], &["--json"]].concat()).await.with_status(0).json();
    assert_eq!((&again["copied"], &again["compared"]["already_there"]), (&0.into(), &4.into()));
    assert_eq!(again["compared"]["only_at_destination"], 1);
    let verify = [&["verify"], &both[..], &["--strip-prefix", "--deep", "all", "--json"]].concat();
    let verified = local.run(&verify).await.with_status(1).json();
    assert_eq!(
        (&verified["pairs"][0]["equal"], &verified["pairs"][0]["extra"]),
        (&4.into(), &1.into())
    );
    assert_eq!(
        verified["examples"][0]["key"], "x/theirs",
        "by the name that it would have at the source"
    );
    local.run(&[&run[..], &["--delete"]].concat()).await.with_status(0);
    assert_eq!(local.destination.keys().await, copies);
    // Without the option these are other names.
    let whole = local.run(&["verify", both[0], both[1]]).await.with_status(1);
    said(whole, &["4 are missing"]);
}

/// Promise 4.
#[tokio::test]
async fn what_stripping_cannot_do_is_said() {
    let mut local = Local::new().await;
    local.source.put("x/", Vec::new()).await;
    local.source.put("x/1", vec![1]).await;
    let ended = local.run(&["run", "s3://from-here/x", ALL[1], "--strip-prefix"]).await;
    ended.with_status(2).says(&["only a source prefix that ends with / can be stripped"]);
    // At the root of a bucket the folder's own marker has no name left.
    let run = ["run", "s3://from-here/x/", ALL[1], "--strip-prefix"];
    let dry = local.run(&[&run[..], &["--dry-run", "--all"]].concat()).await.with_status(0);
    said(dry, &["from-here/x/\t0\tskip, ignored by strip_prefix: nothing is left of its key"]);
    local.run(&run).await.with_status(0);
    assert_eq!(local.destination.keys().await, ["1"]);
    local.write("keys.txt", "x/\nx/1\n");
    local.run(&[&run[..], &["--keys", "keys.txt"]].concat()).await.with_status(0);
    let verify = ["verify", "s3://from-here/x/", ALL[1], "--strip-prefix"];
    local.run(&verify).await.with_status(0);
    // The bucket list says the same.
    local.embedded();
    let list = r#"[{"src_bucket":"from-here","src_prefix":"x/","des_bucket":"to-there","des_prefix":"z","strip_prefix":true}]"#;
    local.write("pairs.json", list);
    local.run(&["run"]).await.with_status(0);
    assert_eq!(local.destination.keys().await, ["1", "z/", "z/1"]);
    local.run(&["verify"]).await.with_status(0);
}
