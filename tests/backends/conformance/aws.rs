//! The suites on Amazon's services, played by ministack.

use std::sync::Arc;

use s3_migration::queue::Queue;
use s3_migration::queue::sqs::SqsQueue;
use s3_migration::record::RecordStore;
use s3_migration::record::dynamodb::DynamoRecords;

use crate::conformance::queue::MAX_RECEIVES;
use crate::conformance::support::Fresh;
use testkit::ministack::{ACCOUNT_A, Ministack};
use testkit::resources;

async fn queue() -> Fresh<dyn Queue> {
    let config = Ministack::shared().sdk_config(ACCOUNT_A);
    let queues = resources::queues(&config, MAX_RECEIVES).await;
    let queue = SqsQueue::connect(&config, &queues.name).await.expect("the queue is there");
    Fresh::new(Arc::new(queue), ())
}

async fn state() -> Fresh<dyn RecordStore> {
    let config = Ministack::shared().sdk_config(ACCOUNT_A);
    let table = resources::table(&config).await;
    let state = DynamoRecords::connect(&config, &table).await.expect("the table is there");
    Fresh::new(Arc::new(state), ())
}

mod sqs {
    queue_suite!(super::queue);
}

mod dynamodb {
    state_suite!(super::state);
}
