//! What the parsers are given: good texts, bent ones, and nonsense.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::parsers::{self, SECRET};

const BASE: &str = "[Basic]\nJobType = PUT\n[Mode]\nMaxThread = 20\n[Debug]\nChunkSize = 5\n";

fn messages() -> Vec<String> {
    let job = json!({"Src_bucket": "src", "Src_key": "a/ü+%2F", "Des_bucket": "des",
                     "Des_key": "p/a", "Size": 5, "versionId": "null"});
    let record = |name: &str, key: &str| {
        json!({"eventName": name, "s3": {"bucket": {"name": "src"},
               "object": {"key": key, "size": 7, "versionId": "v1"}}})
    };
    let event = json!({"Records": [record("ObjectCreated:Put", "a+b%20c"),
                                   record("s3:ObjectRemoved:Delete", "gone")]});
    let bridge = json!({"source": "aws.s3", "detail-type": "Object Created",
        "detail": {"bucket": {"name": "src"}, "object": {"key": "a b", "size": 1,
                   "version-id": "v"}}});
    let pack = json!({"PackVersion": 1, "Groups": [{"Src_bucket": "src", "Src_common": "a/",
        "Des_bucket": "des", "Des_common": "p/a/", "Objects": [["1", 2], ["2", 3, "v"]]}]});
    let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "src"});
    // What MinIO leaves out and Ceph does not encode; and what nobody can read, among its neighbours.
    let minio = json!({"EventName": "s3:ObjectCreated:Put", "Key": "src/a", "Records": [
        {"eventSource": "minio:s3", "eventName": "s3:ObjectCreated:Put",
         "s3": {"bucket": {"name": "src"}, "object": {"key": "a%2Fb", "sequencer": "00A"}}}]});
    let ceph = json!({"Records": [
        {"eventSource": "ceph:s3", "eventName": "ObjectSynced:Create",
         "s3": {"bucket": {"name": "src"}, "object": {"key": "50% \u{202e}+", "size": "7"}}},
        {"eventName": "ObjectCreated:Put"}, {"eventName": "New:Name"}, 5]});
    let asked = json!({"Type": "SubscriptionConfirmation", "TopicArn": "arn:x", "Token": "t"});
    let all = [job, event, bridge, pack, test, minio, ceph, asked];
    let wrapped = all.iter().map(
        |inner| json!({"Type": "Notification", "Message": inner.to_string(), "TopicArn": "arn:x"}),
    );
    all.iter().cloned().chain(wrapped).map(|message: Value| message.to_string()).collect()
}

fn credentials() -> Vec<String> {
    let keys = json!({"aws_access_key_id": "AKID", "aws_secret_access_key": SECRET,
                      "aws_session_token": SECRET, "region": "cn-north-1"});
    vec![keys.to_string(), format!("[{keys}]"), format!("{SECRET:?}")]
}

fn inis() -> Vec<String> {
    let shipped = include_str!("../../../s3_migration_config.ini").to_owned();
    // Where users paste what does not belong there.
    let pasted =
        format!("{BASE}ssm_parameter_credentials = {{\"aws_secret_access_key\":\"{SECRET}\"}}\n");
    let secret = format!("{BASE}aws_secret_access_key = {SECRET}\n");
    vec![BASE.to_owned(), shipped, pasted, secret]
}

fn bucket_lists() -> Vec<String> {
    let pair = json!({"src_bucket": "src", "src_prefix": "a", "des_bucket": "des",
                      "des_prefix": ""});
    let itself = json!({"src_bucket": "src", "des_bucket": "src", "des_prefix": "copy"});
    vec![json!([pair]).to_string(), json!([pair, itself]).to_string()]
}

fn ignore_lists() -> Vec<String> {
    let lists = ["# x\nbucket/exact.mp4\n*.jpg\n*/readme.md", "b/[!a-c]?*\r\n[]-a]", "\u{feff}*"];
    lists.map(str::to_owned).to_vec()
}

/// One of these texts with a few edits.
fn bent(texts: Vec<String>) -> impl Strategy<Value = String> {
    let odd = "[\\[\\]{}\":,\\\\/*?!\\-#;=\n\r\u{0}\u{7f}\u{feff}ü\u{1f600}0-9a-z%+ ]{0,4}";
    let edit = (any::<Index>(), any::<Index>(), odd);
    (select(texts), prop::collection::vec(edit, 0..4)).prop_map(|(text, edits)| {
        let mut text: Vec<char> = text.chars().collect();
        for (from, length, insert) in edits {
            let from = from.index(text.len() + 1);
            let to = from + length.index((text.len() - from).min(12) + 1);
            text.splice(from..to, insert.chars());
        }
        text.into_iter().collect()
    })
}

/// JSON of any shape, with the names that the parsers look for in it.
fn any_json() -> impl Strategy<Value = String> {
    let name = select(vec![
        "Src_bucket",
        "Src_key",
        "Des_bucket",
        "Des_key",
        "Size",
        "versionId",
        "Records",
        "s3",
        "eventName",
        "bucket",
        "object",
        "name",
        "key",
        "size",
        "PackVersion",
        "Groups",
        "Objects",
        "Src_common",
        "Des_common",
        "Type",
        "Message",
        "detail",
        "detail-type",
        "source",
        "Event",
        "src_bucket",
        "des_bucket",
        "aws_access_key_id",
        "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(vec![
            "",
            "null",
            "a",
            "%",
            "%ff",
            "ObjectCreated:Put",
            "aws.s3",
            "Object Created",
            "Notification",
            "s3:TestEvent",
            "{}",
            "[]"
        ])
        .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(5, 40, 5, move |inner| {
        let field = (name.clone().prop_map(str::to_owned), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            prop::collection::vec(field, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    value.prop_map(|value| value.to_string())
}

fn upload_answers() -> Vec<String> {
    [
        "<?xml version=\"1.0\"?><InitiateMultipartUpload><UploadId>a&amp;b</UploadId>\
         </InitiateMultipartUpload>",
        "<x:L xmlns:x=\"y\"><x:IsTruncated>True</x:IsTruncated><x:Part><x:PartNumber>1\
         </x:PartNumber><x:Size>5</x:Size><x:ETag>&#34;e&quot;</x:ETag></x:Part></x:L>",
        "<ListMultipartUploadsResult><Upload><Key>%2F</Key><UploadId>u</UploadId></Upload>\
         <NextKeyMarker>k</NextKeyMarker><EncodingType>url</EncodingType>\
         </ListMultipartUploadsResult>",
        " \n<CompleteMultipartUploadResult><ETag><![CDATA[\"e-2\"]]></ETag>\
         </CompleteMultipartUploadResult>",
        "<Tagging><TagSet><Tag><Key>k&#xE9;</Key><Value> v</Value></Tag></TagSet></Tagging>",
        "<Error><Code>Internal\nError</Code><Message>&#1;</Message></Error>",
        "<html/>",
    ]
    .map(str::to_owned)
    .into()
}

fn listings() -> Vec<String> {
    [
        "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>true</IsTruncated><KeyCount>2</KeyCount>\
         <NextContinuationToken>t</NextContinuationToken><EncodingType>url</EncodingType>\
         <Contents><Key>a%2Fb+c</Key><Size>5</Size><ETag>W/&quot;e&quot;</ETag></Contents>\
         <Contents><Key>caf%E9&#xD83D;&#xDE00;</Key><Size>5</Size></Contents></ListBucketResult>",
        "<x:ListObjectsResponse xmlns:x=\"y\"><x:Marker/><x:IsTruncated>False</x:IsTruncated>\
         <x:Contents><x:Key><![CDATA[a&b]]></x:Key><x:Size>-1</x:Size></x:Contents>\
         <x:Contents><x:Key>100%&none;</x:Key><x:Size>1</x:Size></x:Contents>\
         </x:ListObjectsResponse>",
        "<ListVersionsResult><NextKeyMarker>k%2520</NextKeyMarker><IsTruncated>1</IsTruncated>\
         <Version><Key>k</Key><IsLatest>true</IsLatest><Size>1</Size></Version>\
         <DeleteMarker><Key>d</Key></DeleteMarker><CommonPrefixes><Prefix>p/</Prefix>\
         </CommonPrefixes></ListVersionsResult>",
        "<Error><Code>InternalError</Code></Error>",
    ]
    .map(str::to_owned)
    .into()
}

fn anything(texts: Vec<String>) -> impl Strategy<Value = String> {
    prop_oneof![4 => bent(texts), 2 => any_json(), 1 => "\\PC{0,40}", 1 => any::<String>()]
}

proptest! {
    /// Promise 1.
    #[test]
    fn a_message_is_carried_out_as_it_says_or_refused_in_one_line(text in anything(messages())) {
        parsers::message(&text);
    }

    /// Promise 10.
    #[test]
    fn an_ini_is_read_or_refused_without_a_secret(text in anything(inis())) {
        parsers::ini(&text);
    }

    /// Promise 10.
    #[test]
    fn an_ignore_list_is_read_whatever_it_says(text in anything(ignore_lists())) {
        parsers::ignore_list(&text);
    }

    /// Promise 10.
    #[test]
    fn a_bucket_list_is_right_or_refused_by_its_name(text in anything(bucket_lists())) {
        parsers::bucket_list(&text);
    }

    #[test]
    fn answers_about_uploads_are_read_or_refused_in_one_line(
        text in anything(upload_answers())
    ) {
        parsers::upload_answers(&text);
    }

    /// Promises 0, 1.
    #[test]
    fn a_listing_shows_each_object_once_or_is_refused(text in anything(listings())) {
        parsers::listing(text.as_bytes());
    }

    /// Promise 10.
    #[test]
    fn credentials_are_read_or_refused_without_being_shown(text in anything(credentials())) {
        parsers::credentials(&text);
    }
}
