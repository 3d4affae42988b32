//! What a user reads when a service cannot be used at all.

use std::time::SystemTime;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use s3_migration::error::{Error, ErrorKind};
use s3_migration::params::ParameterStore;
use s3_migration::params::ssm::SsmParameters;
use s3_migration::queue::sqs::SqsQueue;
use s3_migration::record::RecordList;
use s3_migration::record::dynamodb::DynamoRecords;
use serde_json::json;

use testkit::ministack::{ACCOUNT_A, Ministack};
use testkit::{iam, resources};

/// What each of the three services answers to its first call.
async fn first_errors(config: &SdkConfig) -> [Error; 3] {
    [
        SqsQueue::connect(config, "jobs").await.expect_err("no queue"),
        DynamoRecords::connect(config, "jobs").await.expect_err("no table"),
        SsmParameters::new(config).get("jobs").await.expect_err("no parameter"),
    ]
}

fn assert_each(errors: &[Error], kind: ErrorKind, parts: &[&str]) {
    for error in errors {
        assert_eq!(error.kind(), kind, "{error}");
        for part in parts {
            assert!(error.to_string().contains(part), "{part} is not in: {error}");
        }
    }
}

/// Promise 10.
#[tokio::test]
async fn without_credentials_the_message_says_where_they_can_come_from() {
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(Ministack::shared().endpoint())
        .build();
    assert_each(&first_errors(&config).await, ErrorKind::Unfit, &["jobs", "AWS_ACCESS_KEY_ID"]);
}

#[tokio::test]
async fn without_a_region_the_message_says_how_to_set_one() {
    let credentials = Credentials::new("key", "secret", None, None, "tests");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    assert_each(&first_errors(&config).await, ErrorKind::Usage, &["jobs", "AWS_REGION"]);
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    drop(listener);
    let config = Ministack::shared().sdk_config(ACCOUNT_A).into_builder();
    let config = config.endpoint_url(format!("http://{address}")).build();
    assert_each(&first_errors(&config).await, ErrorKind::Unavailable, &["jobs", "refused"]);
}

/// Promise 10.
#[tokio::test]
async fn wrong_credentials_are_denied_and_the_secret_is_not_shown() {
    let server = Ministack::start(&[("AUTH", "true")]);
    let user = iam::user(&server, ACCOUNT_A);
    let wrong = first_errors(&server.sdk_config_with(&user.key, "guessed-secret")).await;
    assert_each(&wrong, ErrorKind::Unfit, &["jobs", "secret access key"]);
    let unknown = first_errors(&server.sdk_config_with("AKIAUNKNOWN", "guessed-secret")).await;
    assert_each(&unknown, ErrorKind::Unfit, &["jobs", "access key is not known"]);
    for error in wrong.iter().chain(&unknown) {
        assert!(!format!("{error} {error:?}").contains("guessed-secret"), "{error:?}");
    }
}

/// Promise 10.
#[tokio::test]
async fn a_missing_permission_is_named_by_the_service_and_where_to_grant_it() {
    let server = Ministack::start(&[("AUTH", "true")]);
    let root = server.sdk_config(ACCOUNT_A);
    let (queues, table) = (resources::queues(&root, 3).await, resources::table(&root).await);
    let user = iam::user(&server, ACCOUNT_A);
    let config = server.sdk_config_with(&user.key, &user.secret);
    let refused = SqsQueue::connect(&config, &queues.name).await.expect_err("may not look");
    assert_each(&[refused], ErrorKind::Denied, &["sqs:GetQueueUrl", "IAM policy"]);
    let refused = SsmParameters::new(&config).get("jobs").await.expect_err("may not read");
    assert_each(&[refused], ErrorKind::Denied, &["ssm:GetParameter", "kms:Decrypt"]);

    let state =
        DynamoRecords::connect(&config, &table).await.expect("a table need not be described");
    let refused = state.tally(SystemTime::now()).await.expect_err("may not scan");
    assert_each(&[refused], ErrorKind::Denied, &["dynamodb:Scan", &table]);

    let statement = json!({"Effect": "Allow", "Action": "dynamodb:Scan", "Resource": "*"});
    iam::allow(
        &server,
        ACCOUNT_A,
        &user,
        &json!({"Version": "2012-10-17", "Statement": [statement]}),
    );
    state.tally(SystemTime::now()).await.expect("allowed now");
}
