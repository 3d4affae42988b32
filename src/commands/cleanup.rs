//! `cleanup`: prints the unfinished uploads at the destination, and aborts those that are chosen.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::backends::Backends;
use super::run::places;
use super::{Exit, stop_on_signal};
use crate::cleanup::{Cleanup, Hold, Outcome, Standing, Unfinished};
use crate::cli::CleanupArgs;
use crate::config::{Config, QueueBackend};
use crate::error::{Error, Result};
use crate::estimate::prices::{Prices, STANDARD};
use crate::format::escape;
use crate::format::human;
use crate::object::ObjectId;
use crate::params::Pair;
use crate::retry::{Policy, retry};
use crate::shutdown::Halt;
use crate::single_node;
use crate::wiring::{self, Sides, fleets};

pub(super) async fn execute(config: &Config, args: &CleanupArgs) -> Result<Exit> {
    let parameters = wiring::parameters();
    let both = args.pair.both();
    let bill = Bill::new(config, args)?;
    let halt = Halt::new();
    let signals = stop_on_signal(&halt)?;
    let Some(backends) = Backends::open(config).await? else {
        signals.abort();
        let file = config.backend.path.display();
        return Err(Error::usage(format!(
            "there is no {file}, so nothing is known of uploads that this system began: run cleanup \
             in the folder of the run"
        )));
    };
    // A run has no bucket list; what it began is on record.
    let pairs = match both.is_none() && backends.of_run {
        true => Vec::new(),
        false => places(config, "cleanup", &args.pair, &parameters).await?.0,
    };
    let alone = both.is_some() || backends.of_run;
    let sides = Sides::open(config, &parameters, alone).await?;
    let cleanup = Cleanup {
        hold: hold(config, &backends, &halt).await?,
        records: backends.records,
        destination: sides.destination,
        policy: Policy::control(config.mode.max_retry),
        abort: args.abort.then_some(args.older_than),
        stop: halt.stop.clone(),
    };
    let mut printed = Printed::new(args.json, bill);
    let places = where_to(&pairs);
    let whole = cleanup.look(&places, &mut |upload, outcome| printed.add(upload, outcome)).await?;
    signals.abort();
    printed.finish(!whole)?;
    let is_done = whole && printed.totals.refused == 0;
    Ok(if is_done { Exit::Done } else { Exit::Incomplete })
}

/// Until when a worker may hold an upload.
async fn hold(config: &Config, backends: &Backends, halt: &Halt) -> Result<Hold> {
    // SQS gives approximate numbers only.
    let is_exact = backends.of_run || config.backend.queue == QueueBackend::Embedded;
    let mut leased = u64::from(!is_exact);
    for queue in backends.queues.iter().filter(|_| is_exact) {
        let depth = retry(Policy::probe(), &halt.stop, || queue.depth()).await?;
        leased += depth.running;
    }
    let job_timeout = match backends.of_run {
        true => single_node::JOB_TIMEOUT,
        false => config.mode.job_timeout,
    };
    Ok(Hold::new(job_timeout, config.mode.grace_time, leased == 0))
}

/// Where the copies of these pairs are.
fn where_to(pairs: &[Pair]) -> Vec<ObjectId> {
    pairs.iter().map(|pair| ObjectId::new(&pair.des_bucket, pair.copies_prefix())).collect()
}

/// What parts cost.
struct Bill {
    prices: Prices,
    /// `None`: the destination is not Amazon S3, and no prices were given for it.
    region: Option<String>,
}

impl Bill {
    fn new(config: &Config, args: &CleanupArgs) -> Result<Self> {
        let [_, of_amazon] = fleets::regions(config);
        let prices = fleets::prices(config, args.prices.as_deref())?;
        let is_given = args.prices.is_some() || config.limits.price_file.is_some();
        let region = config.destination.endpoint.region.clone().unwrap_or_default();
        Ok(Self { prices, region: of_amazon.or(is_given.then_some(region)) })
    }

    /// What the parts cost in a month.
    fn monthly(&self, upload: &Unfinished) -> Option<f64> {
        let region = self.prices.region(self.region.as_ref()?).region;
        let class = upload.class.as_deref().unwrap_or(STANDARD);
        region.parts_per_month(class, upload.bytes?).map(|(amount, _)| amount)
    }
}

/// One upload, in `--json`.
#[derive(Serialize)]
struct UploadLine<'a> {
    bucket: &'a str,
    key: &'a str,
    upload_id: &'a str,
    state: &'static str,
    /// Seconds since 1970.
    since: Option<u64>,
    age_seconds: Option<u64>,
    bytes: Option<u64>,
    storage_class: Option<&'a str>,
    per_month: Option<f64>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Uploads that are added up.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Sum {
    uploads: u64,
    bytes: u64,
    per_month: f64,
}

impl Sum {
    fn add(&mut self, upload: &Unfinished, monthly: Option<f64>) {
        self.uploads += 1;
        self.bytes = self.bytes.saturating_add(upload.bytes.unwrap_or_default());
        self.per_month += monthly.unwrap_or_default();
    }
}

#[derive(Debug, Default, Serialize)]
struct Totals {
    /// Begun by this system.
    known: Sum,
    /// On no record.
    unknown: Sum,
    aborted: Sum,
    /// Begun by this system, and left: a worker may be filling it.
    held: u64,
    /// Left for their age.
    young: u64,
    /// Could not be aborted.
    refused: u64,
}

/// Prints each upload as it comes, and the sums at the end.
struct Printed {
    json: bool,
    bill: Bill,
    begun: bool,
    totals: Totals,
}

impl Printed {
    fn new(json: bool, bill: Bill) -> Self {
        Self { json, bill, begun: false, totals: Totals::default() }
    }

    fn add(&mut self, upload: &Unfinished, outcome: &Outcome) -> Result<()> {
        let monthly = self.bill.monthly(upload);
        let sum = match upload.standing {
            Standing::Unknown => &mut self.totals.unknown,
            Standing::Held | Standing::Waiting | Standing::Failed => &mut self.totals.known,
        };
        sum.add(upload, monthly);
        match outcome {
            Outcome::Aborted => self.totals.aborted.add(upload, monthly),
            Outcome::Held => self.totals.held += 1,
            Outcome::Young => self.totals.young += 1,
            Outcome::Refused(_) => self.totals.refused += 1,
            Outcome::Listed | Outcome::Unknown => {}
        }
        let line = match self.json {
            true => self.json_line(upload, outcome, monthly)?,
            false => self.text_line(upload, outcome, monthly),
        };
        self.begun = true;
        write(&line)
    }

    fn json_line(
        &self,
        upload: &Unfinished,
        outcome: &Outcome,
        per_month: Option<f64>,
    ) -> Result<String> {
        let error = match outcome {
            Outcome::Refused(error) => Some(error.as_str()),
            _ => None,
        };
        let line = UploadLine {
            bucket: &upload.upload.target.bucket,
            key: upload.upload.target.key.as_str(),
            upload_id: &upload.upload.id,
            state: upload.standing.as_str(),
            since: upload
                .since
                .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
                .map(|d| d.as_secs()),
            age_seconds: age(upload).map(|age| age.as_secs()),
            bytes: upload.bytes,
            storage_class: upload.class.as_deref(),
            per_month,
            outcome: outcome.as_str(),
            error,
        };
        let line = serde_json::to_string(&line).map_err(|e| Error::invalid(e.to_string()))?;
        let before = if self.begun { "," } else { "{\"uploads\":[" };
        Ok(format!("{before}{}", escape::json(&line)))
    }

    fn text_line(&self, upload: &Unfinished, outcome: &Outcome, monthly: Option<f64>) -> String {
        let head = match self.begun {
            true => String::new(),
            false => format!(
                "{:>12}  {:>10}  {:>9}  {:<8}  {:<8}  upload\n",
                "age", "bytes", "per month", "state", "done"
            ),
        };
        let age = age(upload).map_or("?".to_owned(), human::duration);
        let bytes = upload.bytes.map_or("?".to_owned(), human::bytes);
        let monthly = monthly.map_or("?".to_owned(), |amount| format!("{amount:.2}"));
        let (state, done) = (upload.standing.as_str(), outcome.as_str());
        let (target, id) = (&upload.upload.target, escape::shown(&upload.upload.id));
        let mut line = format!(
            "{head}{age:>12}  {bytes:>10}  {monthly:>9}  {state:<8}  {done:<8}  s3://{target} {id}\n"
        );
        if let Outcome::Refused(error) = outcome {
            line.push_str(&format!("    {}\n", escape::shown(error)));
        }
        escape::lines(&line)
    }

    /// The sums.
    fn finish(&self, interrupted: bool) -> Result<()> {
        let Prices { as_of, currency, .. } = &self.bill.prices;
        if self.json {
            let rest = serde_json::json!({
                "totals": self.totals, "currency": currency, "prices_as_of": as_of,
                "interrupted": interrupted,
            });
            let begin = if self.begun { "" } else { "{\"uploads\":[" };
            let rest = rest.to_string();
            return write(&format!("{begin}],{}\n", &rest[1..]));
        }
        write(&self.text(interrupted))
    }

    fn text(&self, interrupted: bool) -> String {
        let Prices { as_of, currency, .. } = &self.bill.prices;
        let Totals { known, unknown, aborted, held, young, refused } = &self.totals;
        let sum = |sum: &Sum| {
            let s = if sum.uploads == 1 { "" } else { "s" };
            let cost = match self.bill.region {
                Some(_) => format!(", {:.2} {currency} a month", sum.per_month),
                None => String::new(),
            };
            format!("{} upload{s}, {}{cost}", human::count(sum.uploads), human::bytes(sum.bytes))
        };
        let mut text = format!("begun by this system: {}\n", sum(known));
        if unknown.uploads > 0 {
            text.push_str(&format!("unknown to it, left: {}\n", sum(unknown)));
        }
        if self.bill.region.is_some() {
            text.push_str(&format!("at the prices of {as_of}\n"));
        }
        if aborted.uploads > 0 {
            text.push_str(&format!("aborted: {}\n", sum(aborted)));
        }
        for (number, what) in [
            (*held, "left: a worker may be filling them"),
            (*young, "left: younger than --older-than"),
            (*refused, "could not be aborted"),
        ] {
            if number > 0 {
                text.push_str(&format!("{}: {what}\n", human::count(number)));
            }
        }
        if interrupted {
            text.push_str("stopped before the end: run it again\n");
        }
        text
    }
}

fn age(upload: &Unfinished) -> Option<Duration> {
    SystemTime::now().duration_since(upload.since?).ok()
}

fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // The reader has read enough; uploads are aborted all the same.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|e| Error::usage(format!("the result cannot be written: {e}"))),
    }
}
