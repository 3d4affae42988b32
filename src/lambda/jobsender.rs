//! The jobsender function: compares and sends like any jobsender, and continues in the next
//! invocation if one is too short.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::checkpoint::{Checkpoint, Desk, Found, PairCounts, now};
use super::clock::Clock;
use super::kept::Kept;
use crate::compare::to_activity::ToActivity;
use crate::compare::{Comparison, Finds, Matched, Outlet, Terms};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::filter::patterns::Patterns;
use crate::limits::beat::Member;
use crate::monitor::activity;
use crate::params::{Pair, ParameterStore, load_pairs};
use crate::queue::Queue;
use crate::wiring::{self, comparisons};

/// In an event: only a comparison that was begun is continued.
const CONTINUE: &str = "continue";

/// The function; one invocation at a time, as Lambda has it.
pub(super) struct JobsenderFunction {
    config: Config,
    parameters: Arc<dyn ParameterStore>,
    kept: Mutex<Option<(Kept, Arc<dyn Queue>)>>,
}

/// What is compared.
struct Scope {
    pairs: Vec<Pair>,
    ignore: Arc<Patterns>,
    /// The same as long as nothing changes that decides what is sent.
    name: String,
}

impl JobsenderFunction {
    pub(super) fn new(config: Config) -> Result<Self> {
        if !config.source.endpoint.sorts_keys || !config.destination.endpoint.sorts_keys {
            return Err(Error::usage(
                "[Source] and [Destination] ListOrder = any: such a listing is sorted on disk first \
                 and cannot be continued: compare by the command jobsender",
            ));
        }
        Ok(Self { config, parameters: wiring::parameters(), kept: Mutex::default() })
    }

    /// Compares within `left`, and says how far it came.
    pub(super) async fn invoke(&self, event: &Value, left: Duration) -> Result<Value> {
        let (begun, clock) = (Instant::now(), Clock::of(left));
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_none_or(|(kept, _)| kept.is_stale()) {
            let opened = Kept::open(&self.config, &self.parameters, Member::Jobsender);
            let (opened, queue) = tokio::try_join!(opened, wiring::queue(&self.config))?;
            opened.monitor.activity().begin(activity::Phase::Comparing);
            *kept = Some((opened, queue));
        }
        let Some((kept, queue)) = kept.as_mut() else { return Err(Error::cancelled()) };
        kept.look().await;
        if kept.is_paused() {
            return Ok(json!({"state": "paused"}));
        }
        let cancel = CancellationToken::new();
        let max_retry = self.config.mode.max_retry;
        let desk = Desk::new(&kept.state, &self.config.basic.sqs_queue_name, max_retry, &cancel);
        let checkpoint = match desk.take(left).await? {
            Found::Busy => {
                info!("another invocation compares");
                return Ok(json!({"state": "busy"}));
            }
            Found::Free(checkpoint) => checkpoint,
        };
        if checkpoint.is_none() && event[CONTINUE] == true {
            desk.release().await;
            return Ok(json!({"state": "nothing to continue"}));
        }
        let ends = Ends { cut: begun + clock.cut, answer: begun + clock.answer };
        let queue = Arc::clone(queue);
        let compared = self.compare(kept, queue, checkpoint, ends, &cancel).await;
        let compared = match compared {
            Ok(compared) => compared,
            Err(error) => {
                desk.release().await;
                return Err(error);
            }
        };
        kept.keep_learned().await;
        match compared {
            Compared::Whole(pairs) => {
                comparisons::keep_counts(&self.config, &cancel, &*kept.state, &pairs, false).await;
                desk.leave(None).await?;
                Ok(json!({"state": "compared", "pairs": pairs}))
            }
            Compared::Halfway(checkpoint) => {
                desk.leave(Some(&checkpoint)).await?;
                let (ranges, listed) = (checkpoint.ranges.len(), listed(&checkpoint.pairs));
                info!(listed, ranges, "not compared to the end: the next invocation continues");
                Ok(json!({"state": "continues", "listed": listed, "pairs": checkpoint.pairs}))
            }
        }
    }

    async fn scope(&self) -> Result<Scope> {
        let pairs = load_pairs(&self.config, Some(&*self.parameters)).await?;
        let ignore = wiring::ignore_list(&self.config, Some(&*self.parameters)).await?;
        let Config { mode, filter, .. } = &self.config;
        let mut hasher = DefaultHasher::new();
        format!("{pairs:?} {:?} {filter:?}", ignore.rules()).hash(&mut hasher);
        format!("{:?} {}", mode.compare, mode.jobsender_compare_version_id).hash(&mut hasher);
        let name = format!("{:016x}", hasher.finish());
        Ok(Scope { pairs, ignore: Arc::new(ignore), name })
    }

    fn terms(&self, kept: &Kept, scope: &Scope, interrupt: &CancellationToken) -> Terms {
        let Config { mode, filter, .. } = &self.config;
        let (source, destination) = (&kept.sides.source, &kept.sides.destination);
        let (pairs, ignore) = (&scope.pairs, &scope.ignore);
        Terms {
            criteria: comparisons::criteria(&self.config),
            ignore: Arc::clone(ignore),
            filter: Arc::new(filter.clone()),
            matched: Arc::new(Matched::new(ignore, ignore.len(), &filter.include, pairs)),
            versions: Some(Arc::clone(&kept.state)).filter(|_| mode.jobsender_compare_version_id),
            at_once: wiring::list_concurrency(&self.config),
            interrupt: interrupt.clone(),
            ..Terms::of_sizes(Arc::clone(source) as _, Arc::clone(destination) as _, mode.max_retry)
        }
    }

    /// Compares all pairs, or what is left of them.
    async fn compare(
        &self,
        kept: &mut Kept,
        queue: Arc<dyn Queue>,
        checkpoint: Option<Checkpoint>,
        ends: Ends,
        cancel: &CancellationToken,
    ) -> Result<Compared> {
        let scope = self.scope().await?;
        let anew = || Checkpoint { of: scope.name.clone(), began: now(), ..Checkpoint::default() };
        let mut at = match checkpoint {
            Some(checkpoint) if checkpoint.of == scope.name => checkpoint,
            Some(_) => {
                info!(
                    "the bucket list or what is compared has changed: the comparison begins anew"
                );
                anew()
            }
            None => anew(),
        };
        at.invocations += 1;
        let activity = Arc::clone(kept.monitor.activity());
        let finds: [Arc<dyn Finds>; 1] = [Arc::new(ToActivity(activity))];
        let interrupt = CancellationToken::new();
        let terms = self.terms(kept, &scope, &interrupt);
        if at.invocations == 1 {
            let probe = terms.probe(&scope.pairs, cancel);
            match tokio::time::timeout_at(ends.cut, probe).await {
                Ok(probed) => probed?,
                // There are many pairs; the next invocation begins with the first.
                Err(_) => return Ok(Compared::Halfway(at)),
            }
        }
        let remembered =
            comparisons::remember(&self.config, &*queue, Some(&kept.state), cancel).await?;
        let sent = remembered.sent.clone();
        let packs = wiring::packs(&self.config);
        let outlet = Outlet { queue, packs, sent: remembered.sent, resend: false };
        let comparison = Comparison::sending(terms, outlet, cancel.clone());
        let work = async {
            let interrupted = async {
                tokio::time::sleep_until(ends.cut).await;
                interrupt.cancel();
                std::future::pending().await
            };
            tokio::select! {
                ended = go_on(&comparison, &scope.pairs, &finds, &mut at) => ended,
                never = interrupted => never,
            }
        };
        let in_time = tokio::time::timeout_at(ends.answer, kept.alongside(work)).await;
        let is_whole = in_time.map_err(|_| {
            cancel.cancel();
            let message = "the comparison could not be interrupted in time: the next invocation \
                           continues where this one began";
            Error::new(ErrorKind::Unavailable, message)
        })??;
        if !is_whole {
            return Ok(Compared::Halfway(at));
        }
        let in_one = at.invocations == 1;
        if let (true, Some(sent)) = (in_one && at.pairs.iter().all(has_seen_all), sent)
            && let Err(error) = sent.renew().await
        {
            warn!("old notes of what was sent could not be removed: {error}");
        }
        if in_one {
            // Over several invocations nobody has seen all keys.
            let summaries: Vec<_> = at.pairs.iter().map(|pair| &pair.summary).collect();
            let unmatched = comparison.terms().unmatched(&scope.pairs, &summaries, cancel).await;
            unmatched.iter().for_each(|what| warn!("{what}"));
        }
        tell(&at, remembered.is_empty);
        Ok(Compared::Whole(at.pairs))
    }
}

/// When an invocation interrupts what it does, and when it answers at the latest.
#[derive(Clone, Copy)]
struct Ends {
    cut: Instant,
    answer: Instant,
}

/// How far a comparison came.
enum Compared {
    Whole(Vec<PairCounts>),
    Halfway(Checkpoint),
}

/// Compares from `at` on; `false` if it was interrupted, and `at` says what is left.
async fn go_on(
    comparison: &Comparison,
    pairs: &[Pair],
    finds: &[Arc<dyn Finds>],
    at: &mut Checkpoint,
) -> Result<bool> {
    loop {
        let continues = !at.ranges.is_empty();
        let number = if continues { at.pairs.len().saturating_sub(1) } else { at.pairs.len() };
        let Some(pair) = pairs.get(number) else { return Ok(true) };
        let from = std::mem::take(&mut at.ranges);
        let (summary, left) = comparison.compare_on(pair, finds, &from).await?;
        match at.pairs.last_mut().filter(|_| continues) {
            Some(counts) => counts.summary.add(&summary),
            None => at.pairs.push(PairCounts {
                source: format!("s3://{}/{}", pair.src_bucket, pair.src_prefix),
                destination: format!("s3://{}/{}", pair.des_bucket, pair.des_prefix),
                summary,
            }),
        }
        at.ranges = left;
        if !at.ranges.is_empty() {
            return Ok(false);
        }
    }
}

fn listed(pairs: &[PairCounts]) -> u64 {
    pairs.iter().map(|pair| pair.summary.listed).sum()
}

fn has_seen_all(pair: &PairCounts) -> bool {
    pair.summary.missing.is_empty() && pair.summary.doubtful_ends == 0
}

/// Logs the result.
fn tell(at: &Checkpoint, queue_was_empty: bool) {
    for PairCounts { source, destination, summary } in &at.pairs {
        let (listed, sent, messages) = (summary.listed, summary.sent, summary.messages);
        let (already_there, ignored) = (summary.already_there, summary.ignored);
        let in_queue = summary.in_queue;
        info!(
            listed,
            sent, messages, already_there, ignored, in_queue, "compared: {source} -> {destination}"
        );
        for missing in &summary.missing {
            warn!("not compared: {source}: {missing}");
        }
        if !summary.is_whole() {
            let (archived, impossible) = (summary.archived, summary.impossible);
            let (key_too_long, not_sent) = (summary.key_too_long, summary.failed_to_send);
            warn!(
                archived,
                impossible,
                key_too_long,
                not_sent,
                "not everything could be compared and sent: {source}"
            );
        }
        if let Some(caveat) = summary.caveat() {
            warn!("{source}: {caveat}");
        }
    }
    let (invocations, seconds) = (at.invocations, now().saturating_sub(at.began));
    let nothing_left = at.pairs.iter().all(|pair| {
        let summary = &pair.summary;
        summary.is_whole() && summary.to_copy == 0 && summary.in_queue == 0
    });
    match nothing_left && queue_was_empty {
        true => info!(
            invocations,
            seconds,
            "closing comparison: nothing is left to send, every object listed is there or left out \
             by a rule"
        ),
        false => info!(invocations, seconds, "comparison ended"),
    }
}
