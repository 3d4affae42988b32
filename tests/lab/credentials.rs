//! Credentials that expire or are rotated while the work goes on.

use aws_sdk_ssm::types::ParameterType;
use serde_json::json;

use crate::bench::{Bench, LARGE};
use crate::cloud::Cloud;
use testkit::iam;
use testkit::local::SECRETS;
use testkit::ministack::ACCOUNT_B;
use testkit::proxy::{Fault, Rule};

/// The id of the key that the source's process hands out at first, and the one that is good.
const EXPIRING: &str = "AKIAEXPIRING";
const GOOD: &str = "AKIASOURCESIDE";

/// A bench whose source has its key from a process: the first one is refused as expired, any other
/// is good. `expires`: what the process says of the first one.
async fn bench_with_a_process(expires: &str) -> Bench {
    let mut bench = Bench::new().await;
    let key = |id: &str, expires: &str| {
        json!({"Version": 1, "AccessKeyId": id, "SecretAccessKey": SECRETS[0],
               "SessionToken": null, "Expiration": expires})
    };
    bench.local.write("first.json", &key(EXPIRING, expires).to_string());
    bench.local.write("next.json", &key(GOOD, "2999-01-01T00:00:00Z").to_string());
    // Atomic, however many ask at once: the first to make the folder has the first key.
    bench.local.write(
        "process.sh",
        "cd \"$1\"; if mkdir asked 2>/dev/null; then cat first.json; else cat next.json; fi\n",
    );
    let folder = bench.local.work();
    let config = format!(
        "[profile by-process]\ncredential_process = sh {0}/process.sh {0}\n",
        folder.display()
    );
    bench.local.write("config", &config);
    bench.local.set("AWS_CONFIG_FILE", folder.join("config").to_str().expect("UTF-8"));
    bench.local.set("Source_Profile", "by-process");
    let expired = Rule::always(Fault::error(400, "ExpiredToken")).signed_by(EXPIRING);
    bench.source.inject(1, vec![expired]);
    bench
}

async fn assert_fetched_again(bench: &Bench) {
    bench.arrives().await;
    let seen = bench.source.seen();
    let by = |id: &str| seen.iter().filter(|seen| seen.call.signed_by == id).count();
    assert!(by(GOOD) >= 5, "{seen:?}");
}

/// Promise 9.
#[tokio::test]
async fn credentials_that_end_when_they_said_are_fetched_again() {
    assert_fetched_again(&bench_with_a_process("2020-01-01T00:00:00Z").await).await;
}

#[tokio::test]
async fn credentials_that_end_sooner_than_they_said_are_fetched_again() {
    assert_fetched_again(&bench_with_a_process("2999-01-01T00:00:00Z").await).await;
}

/// Credentials that were fetched less than 10 s ago are not fetched again because they are refused. A
/// worker with the shortest VisibilityTimeout extends a lease every 3.3 s: from the first of that
/// many times to the last more than that passes.
const EXTENSIONS: usize = 5;

/// Promise 9.
#[tokio::test]
async fn stored_credentials_that_were_rotated_are_fetched_again() {
    let cloud = Cloud::of(&[10, 20, LARGE, 40, 50, 60]).await;
    cloud.send().await;
    let first = cloud.destination.inject(1, vec![Rule::on("PutObject", Fault::Hold).once()]);
    // One connection, so that nothing else is done while it is held.
    let settings = [("MaxParallelFile", "1"), ("MaxThread", "1"), ("VisibilityTimeout", "10")];
    let mut worker = cloud.worker(&settings);
    first.held().await;
    let fetched = cloud.parameters.calls("GetParameter");
    let new = iam::user(cloud.stage.server, ACCOUNT_B);
    let value = json!({"aws_access_key_id": new.key, "aws_secret_access_key": new.secret,
                       "region": "us-east-1"});
    let put = aws_sdk_ssm::Client::new(&cloud.stage.a).put_parameter().overwrite(true);
    let put = put.name(&cloud.stage.credentials).r#type(ParameterType::SecureString);
    put.value(value.to_string()).send().await.expect("PutParameter");
    let refused = Fault::error(403, "InvalidAccessKeyId");
    let refused = cloud.destination.inject(1, vec![Rule::always(refused).signed_by(ACCOUNT_B)]);
    const EXTEND: &str = "ChangeMessageVisibility";
    cloud.queue.until_calls(EXTEND, cloud.queue.calls(EXTEND) + EXTENSIONS).await;
    first.let_go();

    cloud.assert_finished().await;
    assert!(worker.lives(), "the same worker goes on: {}", worker.log());
    assert!(refused.injected() > 0, "the old ones were refused");
    assert!(cloud.parameters.calls("GetParameter") > fetched);
    let seen = cloud.destination.seen();
    assert!(seen.iter().any(|seen| seen.call.signed_by == new.key));
}
