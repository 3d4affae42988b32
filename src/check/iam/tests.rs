use std::collections::BTreeMap;

use super::*;
use crate::aws::partition::Partition;

/// JobType PUT with all defaults, in a group with a hook.
fn put() -> Scope {
    let arn = |service: &str, name: &str| {
        Some(format!("arn:aws:{service}:eu-west-1:111111111111:{name}"))
    };
    Scope {
        place: AccountPlace {
            partition: "aws".to_owned(),
            region: "eu-west-1".to_owned(),
            account: "111111111111".to_owned(),
        },
        source: SideScope { buckets: vec!["from".to_owned()], ..SideScope::default() },
        destination: SideScope {
            asker: CallerKind::Other,
            partition: "aws-cn".to_owned(),
            buckets: vec!["to".to_owned(), "events".to_owned(), "to".to_owned()],
            keys: Vec::new(),
        },
        queue: arn("sqs", "q"),
        dead_letters: arn("sqs", "q-dead"),
        table: arn("dynamodb", "table/t"),
        bucket_list: Some("/s3-migration/x/bucket-list".to_owned()),
        ignore_list: Some("ignored".to_owned()),
        credentials: Some("secret".to_owned()),
        group: Some(GroupScope { name: "g".to_owned(), hook: true }),
        copies_tags: true,
        ..Scope::default()
    }
}

fn get() -> Scope {
    let put = put();
    let (here, there) = (put.source.clone(), put.destination.clone());
    Scope { source: there, destination: here, ..put }
}

/// The actions of each statement, by its identifier.
fn actions(document: &Value) -> BTreeMap<String, Vec<String>> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let statements = document["Statement"].as_array().unwrap().iter();
    statements.map(|one| (one["Sid"].as_str().unwrap().to_owned(), texts(&one["Action"]))).collect()
}

fn of(document: &Value, sid: &str) -> Value {
    let statements = document["Statement"].as_array().unwrap();
    statements.iter().find(|one| one["Sid"] == sid).cloned().unwrap_or(Value::Null)
}

fn expected(rows: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    rows.iter().map(|(sid, text)| ((*sid).to_owned(), words(text))).collect()
}

const DESTINATION: &str = "s3:AbortMultipartUpload s3:GetObject s3:ListMultipartUploadParts \
                           s3:PutObject s3:PutObjectTagging";
const QUEUE_OF_A_WORKER: &str = "sqs:ChangeMessageVisibility sqs:DeleteMessage \
                                 sqs:GetQueueAttributes sqs:GetQueueUrl sqs:ReceiveMessage \
                                 sqs:SendMessage";
const TABLE_OF_A_WORKER: &str = "dynamodb:BatchGetItem dynamodb:DescribeTable dynamodb:GetItem dynamodb:PartiQLInsert \
     dynamodb:PutItem dynamodb:UpdateItem";
const HOOK: &str = "autoscaling:CompleteLifecycleAction \
                    autoscaling:RecordLifecycleActionHeartbeat autoscaling:SetInstanceProtection";

#[test]
fn a_worker_that_puts_reads_its_own_side() {
    let policies = Policies::of(&put());
    let rows = [
        ("Buckets", "s3:ListBucket"),
        ("Objects", "s3:GetObject s3:GetObjectTagging"),
        ("Queue", QUEUE_OF_A_WORKER),
        ("DeadLetters", "sqs:GetQueueAttributes sqs:GetQueueUrl sqs:SendMessage"),
        ("Table", TABLE_OF_A_WORKER),
        ("Parameters", "ssm:GetParameter"),
        ("Credentials", "kms:Decrypt"),
        ("Group", HOOK),
    ];
    assert_eq!(actions(&policies.worker), expected(&rows));
    let rows =
        [("Buckets", "s3:ListBucket s3:ListBucketMultipartUploads"), ("Objects", DESTINATION)];
    assert_eq!(actions(policies.user.as_ref().unwrap()), expected(&rows));
}

#[test]
fn a_worker_that_gets_writes_its_own_side() {
    let policies = Policies::of(&get());
    let worker = actions(&policies.worker);
    assert_eq!(worker["Buckets"], ["s3:ListBucket", "s3:ListBucketMultipartUploads"]);
    assert_eq!(worker["Objects"].join(" "), DESTINATION);
    let rows = [("Buckets", "s3:ListBucket"), ("Objects", "s3:GetObject s3:GetObjectTagging")];
    assert_eq!(actions(policies.user.as_ref().unwrap()), expected(&rows));
}

/// It asks for each object of `--keys` and `--manifest`, and reads inventories.
#[test]
fn a_jobsender_lists_and_sends_and_looks_at_objects() {
    let rows = [
        ("Buckets", "s3:ListBucket"),
        ("Objects", "s3:GetObject"),
        ("Queue", "sqs:GetQueueAttributes sqs:GetQueueUrl sqs:SendMessage"),
        ("DeadLetters", "sqs:GetQueueAttributes sqs:GetQueueUrl"),
        (
            "Table",
            "dynamodb:BatchGetItem dynamodb:DeleteItem dynamodb:DescribeTable dynamodb:PutItem \
             dynamodb:UpdateItem",
        ),
        ("Parameters", "ssm:GetParameter"),
        ("Credentials", "kms:Decrypt"),
    ];
    for scope in [put(), get()] {
        assert_eq!(actions(&Policies::of(&scope).jobsender), expected(&rows));
    }
}

#[test]
fn what_is_switched_on_is_added_where_it_is_called() {
    let scope = Scope {
        reads_versions: true,
        compares_versions: true,
        sets_acl: true,
        deletes: true,
        ..put()
    };
    let policies = Policies::of(&scope);
    let (worker, jobsender) = (actions(&policies.worker), actions(&policies.jobsender));
    let versions =
        "s3:GetObject s3:GetObjectTagging s3:GetObjectVersion s3:GetObjectVersionTagging";
    assert_eq!(worker["Objects"].join(" "), versions);
    assert_eq!(worker["Buckets"], ["s3:ListBucket"]);
    assert_eq!(jobsender["Buckets"], ["s3:ListBucket", "s3:ListBucketVersions"]);
    assert_eq!(jobsender["Index"], ["dynamodb:Query"]);
    let index = "arn:aws:dynamodb:eu-west-1:111111111111:table/t/index/desBucket-index";
    assert_eq!(of(&policies.jobsender, "Index")["Resource"], json!([index]));
    let user = actions(policies.user.as_ref().unwrap());
    for action in ["s3:DeleteObject", "s3:PutObjectAcl"] {
        assert!(user["Objects"].iter().any(|one| one == action), "{user:?}");
    }

    let plain = Scope { copies_tags: false, ..put() };
    let policies = Policies::of(&plain);
    assert_eq!(actions(&policies.worker)["Objects"], ["s3:GetObject"]);
    let user = policies.user.unwrap().to_string();
    assert!(!user.contains("Tagging"), "{user}");
}

#[test]
fn resources_are_exact() {
    let policies = Policies::of(&put());
    let resource = |document, sid: &str| of(document, sid)["Resource"].clone();
    assert_eq!(resource(&policies.worker, "Buckets"), json!(["arn:aws:s3:::from"]));
    assert_eq!(resource(&policies.worker, "Objects"), json!(["arn:aws:s3:::from/*"]));
    let user = policies.user.as_ref().unwrap();
    let both = ["arn:aws-cn:s3:::events/*", "arn:aws-cn:s3:::to/*"];
    assert_eq!(resource(user, "Objects"), json!(both));
    let parameter = "arn:aws:ssm:eu-west-1:111111111111:parameter/";
    let named = |name: &str| format!("{parameter}{name}");
    let three = ["s3-migration/x/bucket-list", "ignored", "secret"].map(named);
    assert_eq!(resource(&policies.worker, "Parameters"), json!(three));
    assert_eq!(resource(&policies.jobsender, "Parameters"), json!(three));
    let group = "arn:aws:autoscaling:eu-west-1:111111111111:autoScalingGroup:*:\
                 autoScalingGroupName/g";
    assert_eq!(resource(&policies.worker, "Group"), json!([group]));
    let key = json!({
        "Sid": "Credentials", "Effect": "Allow", "Action": ["kms:Decrypt"],
        "Resource": ["arn:aws:kms:eu-west-1:111111111111:key/*"],
        "Condition": {"StringEquals": {
            "kms:ViaService": "ssm.eu-west-1.amazonaws.com",
            "kms:EncryptionContext:PARAMETER_ARN": named("secret"),
        }},
    });
    assert_eq!(of(&policies.worker, "Credentials"), key);
}

#[test]
fn other_partitions_have_names_and_hosts_of_their_own() {
    let place = AccountPlace {
        partition: Partition::of_region("cn-north-1").name.to_owned(),
        region: "cn-north-1".to_owned(),
        account: "1".to_owned(),
    };
    let policies = Policies::of(&Scope { place, ..get() });
    let condition = of(&policies.worker, "Credentials")["Condition"]["StringEquals"].clone();
    assert_eq!(condition["kms:ViaService"], "ssm.cn-north-1.amazonaws.com.cn");
    let parameter = "arn:aws-cn:ssm:cn-north-1:1:parameter/secret";
    assert_eq!(condition["kms:EncryptionContext:PARAMETER_ARN"], parameter);
    for (region, expected) in
        [("us-gov-west-1", "aws-us-gov"), ("ap-southeast-1", "aws"), ("eusc-de-east-1", "aws-eusc")]
    {
        assert_eq!(Partition::of_region(region).name, expected);
    }
}

#[test]
fn what_is_not_there_is_not_allowed() {
    let scope = Scope {
        queue: None,
        dead_letters: None,
        table: None,
        bucket_list: None,
        ignore_list: None,
        credentials: None,
        group: Some(GroupScope { name: "g".to_owned(), hook: false }),
        compares_versions: true,
        destination: SideScope { asker: CallerKind::Nobody, ..put().destination },
        ..put()
    };
    let policies = Policies::of(&scope);
    let rows = [
        ("Buckets", "s3:ListBucket"),
        ("Objects", "s3:GetObject s3:GetObjectTagging"),
        ("Group", "autoscaling:SetInstanceProtection"),
    ];
    assert_eq!(actions(&policies.worker), expected(&rows));
    let rows = [("Buckets", "s3:ListBucket s3:ListBucketVersions"), ("Objects", "s3:GetObject")];
    assert_eq!(actions(&policies.jobsender), expected(&rows));
    assert_eq!(policies.user, None);
}

#[test]
fn who_asks_on_both_sides_has_a_statement_for_each() {
    let mut scope = put();
    scope.destination.asker = CallerKind::Machine;
    scope.destination.keys = vec!["arn:aws:kms:eu-west-1:1:key/k".to_owned()];
    scope.source.buckets = vec!["arn:aws:s3:eu-west-1:1:accesspoint/p".to_owned()];
    let policies = Policies::of(&scope);
    let sids: Vec<String> = actions(&policies.worker).into_keys().collect();
    let sides = ["DestinationBuckets", "DestinationKeys", "DestinationObjects"];
    assert!(sides.iter().all(|sid| sids.iter().any(|one| one == sid)), "{sids:?}");
    let behind = json!(["arn:aws:s3:eu-west-1:1:accesspoint/p/object/*"]);
    assert_eq!(of(&policies.worker, "SourceObjects")["Resource"], behind);
    let keys = json!(["kms:Decrypt", "kms:GenerateDataKey"]);
    assert_eq!(of(&policies.worker, "DestinationKeys")["Action"], keys);
    assert_eq!(of(&policies.jobsender, "DestinationKeys"), Value::Null);
    assert_eq!(policies.user, None);
}
