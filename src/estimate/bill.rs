//! The bill: counted requests at the prices of their regions.
//!
//! Pure: the bill follows from counts and prices.

use serde::Serialize;

use super::{DestinationRequests, QueueRequests, SourceRequests, TableUnits};
use crate::estimate::prices::{Priced, Requests, STANDARD};
use crate::estimate::work::Work;

/// Bytes of a billed GB.
pub(super) const GB: f64 = (1_u64 << 30) as f64;
/// Classes for which only the completion of an upload is billed at their own price, and everything
/// before at that of STANDARD
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/aws-usage-report-understand.html>).
pub(super) const ARCHIVES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// How the bytes leave the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferWay {
    /// Both sides are in one region.
    SameRegion,
    /// To another region of the same partition.
    OtherRegion,
    /// To another partition or another provider.
    Internet,
}

/// Where the work happens, with the prices there. Anything without a price is counted and costs
/// nothing: a store other than Amazon's, the embedded queue and records.
#[derive(Clone, Copy, Debug)]
pub struct PricedPlaces<'a> {
    /// The region that objects are read from.
    pub source: Option<Priced<'a>>,
    /// The region that they are written to.
    pub destination: Option<Priced<'a>>,
    /// The region of the queue.
    pub queue: Option<Priced<'a>>,
    /// The region of the records.
    pub table: Option<Priced<'a>>,
    /// How the bytes leave the source.
    pub way: TransferWay,
}

/// One line of the bill.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// What is paid for.
    pub what: CostItem,
    /// The quantity, in requests, units, or bytes.
    pub quantity: u64,
    /// The cost, in the currency of the prices.
    pub amount: f64,
    /// The price is marked as an estimate, or is another region's.
    pub estimated: bool,
}

/// What is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CostItem {
    /// Pages of listings at the source.
    SourceLists,
    /// GetObject and HeadObject.
    SourceReads,
    /// Bytes read from classes that charge for retrieval.
    Retrieval,
    /// Bytes out of the source's region.
    TransferOut,
    /// Pages of listings at the destination, of objects, uploads and parts.
    DestinationLists,
    /// PutObject and all requests of an upload.
    DestinationWrites,
    /// The queue's requests.
    Queue,
    /// Write units of the table and its index.
    TableWrites,
    /// Read units of the table.
    TableReads,
}

/// The lines so far.
#[derive(Default)]
pub(super) struct Bill {
    pub(super) costs: Vec<Cost>,
}

impl Bill {
    pub(super) fn source(
        &mut self,
        work: &Work,
        requests: &SourceRequests,
        way: TransferWay,
        Priced { region, substitute, .. }: Priced<'_>,
    ) {
        let standard = region.s3(STANDARD);
        let lists = requests.list as f64 * standard.write_per_1000 / 1000.0;
        self.add(CostItem::SourceLists, requests.list, lists, standard.estimated || substitute);
        for (class, tally) in &work.copies {
            let price = region.s3(class);
            let (reads, estimated) = (tally.gets + tally.heads, price.estimated || substitute);
            let amount = reads as f64 * price.read_per_1000 / 1000.0;
            self.add(CostItem::SourceReads, reads, amount, estimated);
            let retrieval = tally.bytes() as f64 / GB * price.retrieval_per_gb;
            let charged = if price.retrieval_per_gb > 0.0 { tally.bytes() } else { 0 };
            self.add(CostItem::Retrieval, charged, retrieval, estimated);
        }
        let per_gb = match way {
            TransferWay::SameRegion => 0.0,
            TransferWay::OtherRegion => region.transfer.other_region_per_gb,
            TransferWay::Internet => region.transfer.internet_per_gb,
        };
        let bytes = work.total().bytes();
        let estimated = (region.transfer.estimated || substitute) && way != TransferWay::SameRegion;
        self.add(CostItem::TransferOut, bytes, bytes as f64 / GB * per_gb, estimated);
    }

    pub(super) fn destination(
        &mut self,
        work: &Work,
        requests: &DestinationRequests,
        Priced { region, substitute, .. }: Priced<'_>,
    ) {
        let standard = region.s3(STANDARD);
        let lists = requests.list + requests.list_uploads + requests.list_parts;
        let amount = lists as f64 * standard.write_per_1000 / 1000.0;
        self.add(CostItem::DestinationLists, lists, amount, standard.estimated || substitute);
        for (class, tally) in &work.copies {
            let class = work.storage_class.as_deref().unwrap_or(class);
            let own = region.s3(class);
            let staged = if ARCHIVES.contains(&class) { standard } else { own };
            let (at_staged, at_own) = (tally.large + tally.parts, tally.small + tally.large);
            let per_1000 = |count: u64, price: Requests| count as f64 * price.write_per_1000;
            let amount = (per_1000(at_staged, staged) + per_1000(at_own, own)) / 1000.0;
            let estimated = own.estimated || staged.estimated || substitute;
            self.add(CostItem::DestinationWrites, at_staged + at_own, amount, estimated);
        }
    }

    pub(super) fn services(
        &mut self,
        queue: QueueRequests,
        table: TableUnits,
        places: &PricedPlaces<'_>,
    ) {
        let millions = |count: u64, price: f64| count as f64 / 1e6 * price;
        if let Some(Priced { region, substitute, .. }) = places.queue {
            let price = region.sqs;
            let amount = millions(queue.billed, price.per_million);
            self.add(CostItem::Queue, queue.billed, amount, price.estimated || substitute);
        }
        if let Some(Priced { region, substitute, .. }) = places.table {
            let (price, writes) = (region.dynamodb, table.write + table.index_write);
            let estimated = price.estimated || substitute;
            let amount = millions(writes, price.write_per_million);
            self.add(CostItem::TableWrites, writes, amount, estimated);
            let amount = millions(table.read, price.read_per_million);
            self.add(CostItem::TableReads, table.read, amount, estimated);
        }
    }

    /// Adds a line, merged with an existing line of the same item.
    fn add(&mut self, what: CostItem, quantity: u64, amount: f64, estimated: bool) {
        if quantity == 0 {
            return;
        }
        match self.costs.iter_mut().find(|cost| cost.what == what) {
            Some(cost) => {
                cost.quantity = cost.quantity.saturating_add(quantity);
                cost.amount += amount;
                cost.estimated |= estimated;
            }
            None => self.costs.push(Cost { what, quantity, amount, estimated }),
        }
    }
}
