//! What a dry run says copying will cost, in requests, dollars and hours: docs/estimate.md.

use std::fmt::Write as _;

use serde::Serialize;

use super::comparing::PairResult;
use crate::cli::EstimateArgs;
use crate::compare::{ForecastCounts, Summary};
use crate::config::{Checksum, Config, QueueBackend, StateBackend};
use crate::error::Result;
use crate::estimate::histogram::Class;
use crate::estimate::prices::Prices;
use crate::estimate::requests::Manner;
use crate::estimate::work::{Work, Workers};
use crate::estimate::{CostItem, Estimate, PricedPlaces, estimate};
use crate::format::human;
use crate::job::MAX_PACK_DATA;
use crate::report::page::CostFacts;
use crate::wiring::{self, fleets};

/// What is needed to make an estimate.
pub(super) struct Estimating {
    prices: Prices,
    work: Work,
    packs: u64,
    versions: bool,
    /// Comparisons in all: one for `jobsender`, two for `run`.
    comparisons: u64,
    regions: [Option<String>; 2],
    services: Services,
}

/// Which services cost money, and in this region.
struct Services {
    queue: bool,
    table: bool,
    region: String,
}

impl Estimating {
    /// `standalone`: the command `run`, which has its own queue and records and compares twice.
    pub(super) fn new(config: &Config, args: &EstimateArgs, standalone: bool) -> Result<Self> {
        let prices = fleets::prices(config, args.prices.as_deref())?;
        let mode = &config.mode;
        let at_once = wiring::at_once(config);
        let manner = Manner {
            threshold: mode.resumable_threshold,
            stream: match mode.checksum {
                Checksum::Md5 => mode.stream_threshold,
                Checksum::Crc64Nvme | Checksum::Both => 0,
            },
            chunk: config.debug.chunk_size,
            preserve_etag: mode.preserve_etag,
            update_version: mode.update_version_id,
            copy_tags: mode.copy_tags,
        };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let workers = Workers {
            count: args.workers.unwrap_or(1),
            bits_per_second: args.bandwidth.map(|mbit| mbit.saturating_mul(1_000_000)),
            connections: count(at_once.requests),
            messages: count(at_once.objects),
            visibility: mode.visibility_timeout,
            ..Workers::default()
        };
        let storage_class = mode.storage_class.of_all();
        Ok(Self {
            prices,
            work: Work { manner, storage_class, workers, ..Work::default() },
            packs: mode.pack_objects as u64,
            versions: mode.jobsender_compare_version_id,
            comparisons: if standalone { 2 } else { 1 },
            regions: fleets::regions(config),
            services: Services {
                queue: !standalone && config.backend.queue == QueueBackend::Sqs,
                table: !standalone && config.backend.state == StateBackend::DynamoDb,
                region: fleets::own_region(),
            },
        })
    }

    /// No objects yet, and how they are copied.
    pub(super) fn empty(&self) -> Work {
        self.work.clone()
    }

    /// The requests and the cost of what was copied, in words.
    pub(super) fn of_copies(&self, copied: &Work) -> CostFacts {
        let mut work = copied.clone();
        self.add_messages(&mut work);
        let Estimate { source, destination, queue, table, costs, total, .. } = self.estimate(&work);
        let queue = queue.send + queue.receive + queue.delete;
        let parts = destination.upload_part;
        let uploads = destination.list_uploads
            + destination.create_upload
            + destination.list_parts
            + destination.complete_upload;
        let requests = [
            ("source: HEAD", source.head),
            ("source: GET", source.get),
            ("destination: PUT", destination.put),
            ("destination: parts", parts),
            ("destination: other upload requests", uploads),
            ("destination: DELETE", destination.delete),
            ("queue", if self.services.queue { queue } else { 0 }),
            (
                "table: writes",
                if self.services.table { table.write + table.index_write } else { 0 },
            ),
        ];
        let Prices { as_of, currency, .. } = &self.prices;
        let amount = |amount: f64| format!("{amount:.2} {currency}");
        let note = match costs.is_empty() {
            true => "What they cost is unknown: no prices are known for these stores.".to_owned(),
            false => {
                format!("List prices of {as_of}, all objects as class STANDARD at the source.")
            }
        };
        CostFacts {
            requests: requests.map(|(name, count)| (name.to_owned(), count)).into(),
            costs: costs.iter().map(|c| (item(c.what).to_owned(), amount(c.amount))).collect(),
            total: amount(total),
            note: format!(
                "Computed from the sizes of the copied objects, not measured: listings, tags, retries \
                 and failed objects are not included. {note}"
            ),
        }
    }

    /// Where a comparison of a pair begins to add up its counts.
    pub(super) fn outlook(&self) -> ForecastCounts {
        ForecastCounts::new(self.work.clone())
    }

    /// The numbers of a pair, from what has been counted.
    pub(super) fn finish(&self, mut outlook: ForecastCounts, summary: &Summary) -> PairForecast {
        self.complete(&mut outlook.work, summary);
        PairForecast {
            sizes: outlook.sizes.classes().to_vec(),
            estimate: self.estimate(&outlook.work),
            work: outlook.work,
        }
    }

    /// Adds what the objects themselves do not show.
    fn complete(&self, work: &mut Work, summary: &Summary) {
        work.lists.source = summary.source_pages * self.comparisons;
        work.lists.destination = summary.destination_pages * self.comparisons;
        self.add_messages(work);
        work.deletes = summary.to_delete;
        work.versions_compared = if self.versions { summary.already_there } else { 0 };
    }

    /// The messages that carry the objects.
    fn add_messages(&self, work: &mut Work) {
        let total = work.total();
        let by_count = total.small.div_ceil(self.packs);
        work.messages.packs = by_count.max(total.small_bytes.div_ceil(MAX_PACK_DATA));
        work.messages.singles = total.large;
        if self.packs <= 1 {
            (work.messages.packs, work.messages.singles) = (0, total.small + total.large);
        }
    }

    fn estimate(&self, work: &Work) -> Estimate {
        let [source, destination] = self
            .regions
            .each_ref()
            .map(|region| region.as_ref().map(|region| self.prices.region(region)));
        let service = |costs: bool| costs.then(|| self.prices.region(&self.services.region));
        let way = fleets::way(&self.regions);
        let (queue, table) = (service(self.services.queue), service(self.services.table));
        estimate(work, &PricedPlaces { source, destination, queue, table, way })
    }

    /// The numbers of all pairs together, in words.
    pub(super) fn text(&self, results: &[PairResult]) -> String {
        let mut all = ForecastCounts::new(self.work.clone());
        for told in results.iter().filter_map(|result| result.outlook.as_ref()) {
            all.work.merge(&told.work);
        }
        let mut text = String::from("sizes of the objects to copy\n");
        sizes(&mut text, results);
        self.say(&mut text, &self.estimate(&all.work));
        text
    }

    fn say(&self, text: &mut String, estimate: &Estimate) {
        let Estimate { source, destination, queue, .. } = estimate;
        let mut line = |what: &str, parts: &[(&str, u64)]| {
            let parts = parts.iter().filter(|(_, count)| *count > 0);
            let parts: Vec<String> =
                parts.map(|(name, count)| format!("{} {name}", human::count(*count))).collect();
            if !parts.is_empty() {
                let _ = writeln!(text, "  {what:<14} {}", parts.join(", "));
            }
        };
        line("source", &[("LIST", source.list), ("HEAD", source.head), ("GET", source.get)]);
        let uploads = destination.create_upload;
        line(
            "destination",
            &[
                ("LIST", destination.list),
                ("PUT", destination.put),
                ("uploads", uploads),
                ("parts", destination.upload_part),
                (
                    "other upload requests",
                    destination.list_uploads
                        + destination.list_parts
                        + uploads
                        + destination.complete_upload,
                ),
            ],
        );
        line("queue", &[("requests", queue.send + queue.receive + queue.delete + queue.heartbeat)]);
        let table = estimate.table;
        line("table", &[("writes", table.write + table.index_write), ("reads", table.read)]);
        let _ = writeln!(text, "  {:<14} {}", "data out", human::bytes(estimate.bytes_out));
        let hours = estimate.hours;
        let by = if hours.bytes.is_some() {
            ""
        } else {
            " at least: give --bandwidth to count the bytes"
        };
        let workers = human::things(u64::from(self.work.workers.count), "worker");
        let _ = writeln!(text, "  {:<14} {} with {workers}{by}", "time", time(hours.total));
        let Prices { as_of, currency, .. } = &self.prices;
        for cost in &estimate.costs {
            let mark = if cost.estimated { " (price estimated)" } else { "" };
            let what = item(cost.what);
            let _ = writeln!(text, "  {what:<24} {:>14.2} {currency}{mark}", cost.amount);
        }
        let _ = writeln!(
            text,
            "  {:<24} {:>14.2} {currency}, prices of {as_of}; docs/estimate.md says what is counted",
            "estimate", estimate.total
        );
    }
}

/// The numbers of one pair.
#[derive(Debug, Serialize)]
pub(super) struct PairForecast {
    /// Sizes of what is to be copied.
    sizes: Vec<Class>,
    estimate: Estimate,
    #[serde(skip)]
    work: Work,
}

fn sizes(text: &mut String, results: &[PairResult]) {
    let told = || results.iter().filter_map(|result| result.outlook.as_ref());
    let Some(classes) = told().next().map(|told| told.sizes.len()) else { return };
    for at in 0..classes {
        let of = |class: fn(&Class) -> u64| told().map(|told| class(&told.sizes[at])).sum::<u64>();
        let (objects, bytes) = (of(|class| class.objects), of(|class| class.bytes));
        let up_to = told().next().and_then(|told| told.sizes[at].up_to);
        let class =
            up_to.map_or("larger".to_owned(), |up_to| format!("to {}", human::bytes(up_to)));
        if objects > 0 {
            let (objects, bytes) = (human::column(objects), human::bytes(bytes));
            let _ = writeln!(text, "  {class:<14} {objects}  {bytes:>12}");
        }
    }
}

fn time(hours: f64) -> String {
    let seconds = std::time::Duration::try_from_secs_f64(hours * 3600.0).unwrap_or_default();
    human::duration(seconds)
}

fn item(item: CostItem) -> &'static str {
    match item {
        CostItem::SourceLists => "source: lists",
        CostItem::SourceReads => "source: reads",
        CostItem::Retrieval => "source: retrieval",
        CostItem::TransferOut => "transfer out",
        CostItem::DestinationLists => "destination: lists",
        CostItem::DestinationWrites => "destination: writes",
        CostItem::Queue => "queue",
        CostItem::TableWrites => "table: writes",
        CostItem::TableReads => "table: reads",
    }
}
