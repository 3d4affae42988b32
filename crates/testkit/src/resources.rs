//! Queues, tables, parameters and buckets, each for one test.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use aws_sdk_sqs::types::QueueAttributeName;
use aws_sdk_ssm::types::ParameterType;

use crate::ministack::unique;

/// A queue and its dead letter queue.
#[derive(Clone, Debug)]
pub struct Queues {
    /// The queue's name.
    pub name: String,
    /// Its URL.
    pub url: String,
    /// The dead letter queue's URL.
    pub dead_url: String,
}

/// Makes a queue whose messages become dead letters after `max_receive_count` receipts.
pub async fn queues(config: &SdkConfig, max_receive_count: u32) -> Queues {
    let client = aws_sdk_sqs::Client::new(config);
    let name = unique("queue");
    let create = |name: String| client.create_queue().queue_name(name);
    let dead = create(format!("{name}-dead")).send().await.expect("CreateQueue (dead letters)");
    let dead_url = dead.queue_url.expect("a queue has a URL");
    let arn = client
        .get_queue_attributes()
        .queue_url(&dead_url)
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await
        .expect("GetQueueAttributes");
    let arn = arn.attributes.and_then(|mut all| all.remove(&QueueAttributeName::QueueArn));
    let policy = serde_json::json!({
        "deadLetterTargetArn": arn.expect("a queue has an ARN"),
        "maxReceiveCount": max_receive_count.to_string(),
    });
    let main = create(name.clone())
        .attributes(QueueAttributeName::RedrivePolicy, policy.to_string())
        .send()
        .await
        .expect("CreateQueue");
    Queues { name, url: main.queue_url.expect("a queue has a URL"), dead_url }
}

/// Makes a queue without a dead letter queue; returns its name.
pub async fn plain_queue(config: &SdkConfig) -> String {
    let name = unique("plain");
    let client = aws_sdk_sqs::Client::new(config);
    client.create_queue().queue_name(&name).send().await.expect("CreateQueue");
    name
}

/// Makes a table as the product's templates do, with an index in key order; returns its name.
pub async fn table(config: &SdkConfig) -> String {
    create_table(config, "Key", true).await
}

/// Makes a table as the original's templates do: its index has no sort key. Returns its name.
pub async fn table_of_the_original(config: &SdkConfig) -> String {
    create_table(config, "Key", false).await
}

/// Makes a table whose partition key is called `key`; returns its name.
pub async fn table_with_key(config: &SdkConfig, key: &str) -> String {
    create_table(config, key, true).await
}

async fn create_table(config: &SdkConfig, key: &str, ordered: bool) -> String {
    let name = unique("table");
    let text = |name: &str| {
        let definition = AttributeDefinition::builder().attribute_name(name);
        definition.attribute_type(ScalarAttributeType::S).build().expect("a whole definition")
    };
    let part = |name: &str, kind: KeyType| {
        let element = KeySchemaElement::builder().attribute_name(name);
        element.key_type(kind).build().expect("a whole element")
    };
    let mut sorted = vec![part("desBucket", KeyType::Hash)];
    let mut attributes = vec![text(key), text("desBucket")];
    if ordered {
        sorted.push(part("desKey", KeyType::Range));
        attributes.push(text("desKey"));
    }
    let index = GlobalSecondaryIndex::builder()
        .index_name("desBucket-index")
        .set_key_schema(Some(sorted))
        .projection(Projection::builder().projection_type(ProjectionType::All).build())
        .build()
        .expect("a whole index");
    aws_sdk_dynamodb::Client::new(config)
        .create_table()
        .table_name(&name)
        .set_attribute_definitions(Some(attributes))
        .key_schema(part(key, KeyType::Hash))
        .global_secondary_indexes(index)
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .expect("CreateTable");
    name
}

/// Makes a parameter with this value; returns its name.
pub async fn parameter(config: &SdkConfig, kind: ParameterType, value: &str) -> String {
    let name = unique("parameter");
    aws_sdk_ssm::Client::new(config)
        .put_parameter()
        .name(&name)
        .r#type(kind)
        .value(value)
        .send()
        .await
        .expect("PutParameter");
    name
}

/// Replaces the value of a parameter.
pub async fn put_parameter(config: &SdkConfig, name: &str, value: &str) {
    let put = aws_sdk_ssm::Client::new(config).put_parameter().overwrite(true).name(name);
    put.value(value).send().await.expect("PutParameter");
}

/// Makes an empty bucket; returns its name.
pub async fn bucket(config: &SdkConfig) -> String {
    let name = unique("bucket");
    let client = s3(config);
    client.create_bucket().bucket(&name).send().await.expect("CreateBucket");
    name
}

/// An S3 client with the bucket in the path: this host name cannot carry it.
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let builder = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    aws_sdk_s3::Client::from_conf(builder.build())
}

/// Enables a bucket's versioning, or suspends it.
pub async fn set_versioning(client: &aws_sdk_s3::Client, bucket: &str, enabled: bool) {
    use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
    let status = match enabled {
        true => BucketVersioningStatus::Enabled,
        false => BucketVersioningStatus::Suspended,
    };
    let configuration = VersioningConfiguration::builder().status(status).build();
    let put = client.put_bucket_versioning().bucket(bucket);
    put.versioning_configuration(configuration).send().await.expect("PutBucketVersioning");
}
