//! The numbers of a dry run: requests, dollars, hours.
//!
//! It counts what this product does when nothing goes wrong, by the rules in docs/estimate.md.
//!
//! Pure: the numbers follow from the work, the prices and the assumptions.

use std::time::Duration;

use serde::Serialize;

mod bill;
pub mod histogram;
pub mod prices;
pub mod requests;
pub mod work;

use bill::Bill;
pub use bill::{Cost, CostItem, PricedPlaces, TransferWay};
use requests::CopyTally;
use work::{Work, Workers};

use crate::queue::MAX_BATCH;

/// Messages per batch.
const BATCH: u64 = MAX_BATCH as u64;
/// The number of requests billed for a batch of full packs: it has 250 KiB, and every 64 KiB are
/// one (<https://aws.amazon.com/sqs/pricing/>).
const BILLED_PER_BATCH_OF_PACKS: u64 = 4;
/// Record writes for a multipart object: begin, seal, end.
const WRITES_OF_LARGE: u64 = 3;
/// Record lookups per read unit: half a unit each.
const LOOKED_UP_PER_UNIT: u64 = 2;
/// Requests to the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceRequests {
    /// ListObjectsV2 or ListObjectVersions.
    pub list: u64,
    /// HeadObject.
    pub head: u64,
    /// GetObject.
    pub get: u64,
}

/// Requests to the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DestinationRequests {
    /// ListObjectsV2.
    pub list: u64,
    /// PutObject.
    pub put: u64,
    /// ListMultipartUploads: to find an upload to resume.
    pub list_uploads: u64,
    /// CreateMultipartUpload.
    pub create_upload: u64,
    /// UploadPart.
    pub upload_part: u64,
    /// ListParts.
    pub list_parts: u64,
    /// CompleteMultipartUpload.
    pub complete_upload: u64,
    /// DeleteObject, which is free of charge.
    pub delete: u64,
}

/// Requests to the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueueRequests {
    /// SendMessageBatch.
    pub send: u64,
    /// ReceiveMessage: at most one for each message, empty ones not counted.
    pub receive: u64,
    /// DeleteMessage.
    pub delete: u64,
    /// ChangeMessageVisibility: heartbeats during the work; 0 if its duration is unknown.
    pub heartbeat: u64,
    /// The number of requests billed for all of them.
    pub billed: u64,
}

/// Request units of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableUnits {
    /// Record writes: one for a small object, three for a large one.
    pub write: u64,
    /// The same number again for the index `desBucket-index`, which has all attributes.
    pub index_write: u64,
    /// Reads.
    pub read: u64,
}

/// How long the migration takes, by its likely bottleneck. The time for the listing and the
/// workers' CPUs are not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Hours {
    /// For the bytes on the workers' network links; `None` if their speed is unknown.
    pub bytes: Option<f64>,
    /// For the object requests, sequential on each connection.
    pub requests: f64,
    /// The longer of the two.
    pub total: f64,
}

/// The numbers of a dry run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Requests to the source.
    pub source: SourceRequests,
    /// Requests to the destination.
    pub destination: DestinationRequests,
    /// Requests to the queue.
    pub queue: QueueRequests,
    /// Request units of the table.
    pub table: TableUnits,
    /// Upper limit of GetObjectTagging at the source if tags are copied; not part of any other
    /// number, since a listing does not say which objects have tags.
    pub tag_reads_at_most: u64,
    /// Bytes read from the source.
    pub bytes_out: u64,
    /// How long it takes.
    pub hours: Hours,
    /// The bill; items without a price or a quantity are left out.
    pub costs: Vec<Cost>,
    /// The bill's sum.
    pub total: f64,
    /// Some line of the bill has an estimated price.
    pub estimated: bool,
}

/// The requests, cost and time of `work`.
pub fn estimate(work: &Work, places: &PricedPlaces<'_>) -> Estimate {
    let total = work.total();
    let (source, destination) = (source(work, &total), destination(work, &total));
    let hours = hours(&work.workers, &source, &destination, total.bytes());
    let queue = queue(work, hours);
    let table = table(work, &total);
    let mut bill = Bill::default();
    if let Some(priced) = places.source {
        bill.source(work, &source, places.way, priced);
    }
    if let Some(priced) = places.destination {
        bill.destination(work, &destination, priced);
    }
    bill.services(queue, table, places);
    Estimate {
        source,
        destination,
        queue,
        table,
        tag_reads_at_most: if work.manner.copy_tags { total.small + total.large } else { 0 },
        bytes_out: total.bytes(),
        hours,
        // `sum` of no elements would be -0.
        total: bill.costs.iter().fold(0.0, |sum, cost| sum + cost.amount),
        estimated: bill.costs.iter().any(|cost| cost.estimated),
        costs: bill.costs,
    }
}

fn source(work: &Work, total: &CopyTally) -> SourceRequests {
    SourceRequests { list: work.lists.source, head: total.heads, get: total.gets }
}

fn destination(work: &Work, total: &CopyTally) -> DestinationRequests {
    DestinationRequests {
        list: work.lists.destination,
        put: total.small,
        list_uploads: total.large,
        create_upload: total.large,
        upload_part: total.parts,
        list_parts: total.parts_pages,
        complete_upload: total.large,
        delete: work.deletes,
    }
}

fn hours(
    workers: &Workers,
    source: &SourceRequests,
    destination: &DestinationRequests,
    bytes: u64,
) -> Hours {
    let count = f64::from(workers.count.max(1));
    let line = workers.bits_per_second.filter(|bits| *bits > 0);
    let bytes = line.map(|bits| bytes as f64 * 8.0 / (bits as f64 * count) / 3600.0);
    let DestinationRequests { put, list_uploads, create_upload, .. } = *destination;
    let DestinationRequests { upload_part, list_parts, complete_upload, delete, .. } = *destination;
    let uploads = list_uploads + create_upload + upload_part + list_parts + complete_upload;
    let requests = (source.head + source.get + put + uploads + delete) as f64;
    let at_once = count * f64::from(workers.connections.max(1));
    let requests = requests * workers.latency.as_secs_f64() / at_once / 3600.0;
    Hours { bytes, requests, total: bytes.unwrap_or_default().max(requests) }
}

fn queue(work: &Work, hours: Hours) -> QueueRequests {
    let (packs, singles) = (work.messages.packs, work.messages.singles);
    let messages = packs + singles;
    // How long messages are held is known only if the link speed is.
    let heartbeat = hours.bytes.map_or(0, |_| heartbeats(&work.workers, hours.total, messages));
    let send = messages.div_ceil(BATCH);
    // In the worst case each kind fills batches of its own.
    let billed_send = (packs * BILLED_PER_BATCH_OF_PACKS).div_ceil(BATCH) + singles.div_ceil(BATCH);
    let billed = billed_send.max(send) + 2 * messages + heartbeat;
    QueueRequests { send, receive: messages, delete: messages, heartbeat, billed }
}

/// For each held message, one every third of its visibility timeout.
fn heartbeats(workers: &Workers, hours: f64, messages: u64) -> u64 {
    let held = (u64::from(workers.count.max(1)) * u64::from(workers.messages)).min(messages);
    let every = (workers.visibility / 3).max(Duration::from_secs(1));
    (held as f64 * hours * 3600.0 / every.as_secs_f64()) as u64
}

fn table(work: &Work, total: &CopyTally) -> TableUnits {
    // Objects that are too large are recorded as failed.
    let write = total.small + total.too_large + WRITES_OF_LARGE * total.large;
    let read = total.large + work.versions_compared.div_ceil(LOOKED_UP_PER_UNIT);
    TableUnits { write, index_write: write, read }
}

#[cfg(test)]
mod tests;
