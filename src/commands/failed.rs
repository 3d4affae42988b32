//! `failed`: prints the failures by reason, then each; exports them; sends them again.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::Serialize;

use super::backends::Backends;
use super::key_list::KeyList;
use super::{Exit, print, stop_on_signal};
use crate::cli::FailedArgs;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::failed::{Failure, Failures, Found, ReasonCount, Redriven, Wanted};
use crate::files::cannot_write;
use crate::format::escape::{self, shown};
use crate::format::human;
use crate::object::NO_VERSION;
use crate::retry::Policy;
use crate::shutdown::Halt;

/// How often a call to the queue or the table is tried.
const TRIES: u32 = 5;

pub(super) async fn execute(config: &Config, args: &FailedArgs) -> Result<Exit> {
    let wanted = wanted(args);
    let halt = Halt::new();
    let signals = stop_on_signal(&halt)?;
    let Some(backends) = Backends::open(config).await? else {
        signals.abort();
        return nothing(config, args);
    };
    let of_run = backends.of_run;
    let failures = Failures {
        records: backends.records,
        queues: backends.queues,
        takes: backends.takes,
        policy: Policy::control(TRIES),
        stop: halt.stop.clone(),
    };
    let interrupted = match args.redrive {
        true => {
            let done = failures.redrive(&wanted, args.force).await?;
            print(args.json, &RedriveResult::of(&done), || redriven_text(&done, of_run))?;
            done.interrupted
        }
        false => {
            let mut listing = Listing::new(config, args)?;
            let found = failures.look(&wanted, |failure| listing.add(failure)).await?;
            listing.print(&found)?;
            found.interrupted
        }
    };
    signals.abort();
    Ok(if interrupted { Exit::Incomplete } else { Exit::Done })
}

/// There is no file, so nothing was recorded.
fn nothing(config: &Config, args: &FailedArgs) -> Result<Exit> {
    let file = config.backend.path.display();
    match args.redrive {
        true => print(args.json, &RedriveResult::of(&Redriven::default()), || {
            format!("nothing to send: there is no {file}")
        })?,
        false if args.json => Listing::new(config, args)?.print(&Found::default())?,
        false => print(false, &(), || format!("nothing failed: there is no {file}"))?,
    }
    Ok(Exit::Done)
}

fn wanted(args: &FailedArgs) -> Wanted {
    let prefix = args.prefix.as_deref().unwrap_or_default();
    let (bucket, prefix) = match prefix.strip_prefix("s3://") {
        Some(address) => {
            let (bucket, prefix) = address.split_once('/').unwrap_or((address, ""));
            (Some(bucket.to_owned()), prefix)
        }
        None => (None, prefix),
    };
    Wanted { reason: args.reason.clone(), bucket, prefix: prefix.to_owned() }
}

/// One object, in `--json` and `--export`.
#[derive(Serialize)]
struct ObjectLine<'a> {
    src_bucket: Option<&'a str>,
    src_key: Option<&'a str>,
    des_bucket: Option<&'a str>,
    des_key: Option<&'a str>,
    size: u64,
    version_id: &'a str,
    reason: String,
    error: &'a str,
    tries: u32,
    /// Seconds since 1970.
    ended: Option<u64>,
    on_record: bool,
    redriven: bool,
    redrives: u32,
}

impl<'a> ObjectLine<'a> {
    fn of(failure: &'a Failure) -> Self {
        let (src, des) = failure.objects.as_ref().map(|(src, des)| (src, des)).unzip();
        let ended = failure.ended.and_then(|ended| ended.duration_since(UNIX_EPOCH).ok());
        Self {
            src_bucket: src.map(|src| src.bucket.as_str()),
            src_key: src.map(|src| src.key.as_str()),
            des_bucket: des.map(|des| des.bucket.as_str()),
            des_key: des.map(|des| des.key.as_str()),
            size: failure.size,
            version_id: failure.version.as_deref().unwrap_or(NO_VERSION),
            reason: failure.reason.word(),
            error: &failure.error,
            tries: failure.tries,
            ended: ended.map(|ended| ended.as_secs()),
            on_record: failure.on_record,
            redriven: failure.redriven,
            redrives: failure.redrives,
        }
    }
}

/// What is printed of the failures. The groups come first, and are known last: until then the
/// objects wait in a file without a name.
struct Listing<'a> {
    args: &'a FailedArgs,
    waiting: BufWriter<File>,
    folder: PathBuf,
    export: Option<(&'a Path, BufWriter<File>)>,
    keys: Option<KeyList>,
}

impl<'a> Listing<'a> {
    fn new(config: &Config, args: &'a FailedArgs) -> Result<Self> {
        let folder = config.backend.temporary_folder.clone().unwrap_or_else(std::env::temp_dir);
        let waiting = tempfile::tempfile_in(&folder).map_err(|e| cannot_write(&folder, e))?;
        let create = |path: &'a PathBuf| {
            let file = File::create(path).map_err(|error| cannot_write(path, error))?;
            Ok::<_, Error>((path.as_path(), BufWriter::new(file)))
        };
        Ok(Self {
            args,
            waiting: BufWriter::new(waiting),
            folder,
            export: args.export.as_ref().map(create).transpose()?,
            keys: args.failed_list.as_deref().map(KeyList::create).transpose()?,
        })
    }

    fn add(&mut self, failure: &Failure) -> Result<()> {
        let json = escape::json(
            &serde_json::to_string(&ObjectLine::of(failure))
                .map_err(|error| Error::invalid(error.to_string()))?,
        );
        if let Some((path, file)) = &mut self.export {
            writeln!(file, "{json}").map_err(|error| cannot_write(path, error))?;
        }
        if let (Some(keys), Some((src, _))) = (&mut self.keys, &failure.objects) {
            keys.add(src)?;
        }
        let waiting = match (self.args.summary, self.args.json) {
            (true, _) => return Ok(()),
            (false, true) => writeln!(self.waiting, "{json}"),
            (false, false) => {
                let again = if failure.redriven { " (sent again)" } else { "" };
                let object = match &failure.objects {
                    Some((src, _)) => src.to_string(),
                    None => "a message that names no object".to_owned(),
                };
                writeln!(self.waiting, "{object}{again}: {}", shown(&failure.error))
            }
        };
        waiting.map_err(|error| cannot_write(&self.folder, error))
    }

    /// The reasons, then what waits.
    fn print(mut self, found: &Found) -> Result<()> {
        if let Some((path, file)) = &mut self.export {
            file.flush().map_err(|error| cannot_write(path, error))?;
        }
        if let Some(keys) = self.keys.take() {
            keys.finish()?;
        }
        let cannot = |error| cannot_write(&self.folder, error);
        let mut waiting = self.waiting.into_inner().map_err(|e| cannot(e.into_error()))?;
        waiting.rewind().map_err(cannot)?;
        let out = BufWriter::new(io::stdout().lock());
        let printed = match self.args.json {
            true => print_json(out, found, BufReader::new(waiting)),
            false => print_text(out, found, BufReader::new(waiting)),
        };
        match printed {
            // The reader has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            printed => printed
                .map_err(|error| Error::usage(format!("the result cannot be written: {error}"))),
        }
    }
}

/// One document, object by object.
fn print_json(mut out: impl Write, found: &Found, objects: impl BufRead) -> io::Result<()> {
    let (failed, bytes, redriven) = found.groups.totals();
    let reasons = serde_json::to_string(&found.groups.counts()).map_err(io::Error::from)?;
    write!(
        out,
        "{{\"failed\":{failed},\"bytes\":{bytes},\"redriven\":{redriven},\"outdated\":{},\
         \"more_letters\":{},\"interrupted\":{},\"reasons\":{},\"objects\":[",
        found.outdated,
        found.more_letters,
        found.interrupted,
        escape::json(&reasons)
    )?;
    for (at, object) in objects.lines().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(out, "{comma}{}", object?)?;
    }
    writeln!(out, "]}}")?;
    out.flush()
}

fn print_text(mut out: impl Write, found: &Found, objects: impl BufRead) -> io::Result<()> {
    writeln!(out, "{}", escape::lines(&summary(found)))?;
    for (at, object) in objects.lines().enumerate() {
        if at == 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", escape::lines(&object?))?;
    }
    out.flush()
}

/// `1 object`, `1,234 objects`.
fn objects(number: u64) -> String {
    format!("{} object{}", human::count(number), if number == 1 { "" } else { "s" })
}

fn summary(found: &Found) -> String {
    let (failed, bytes, redriven) = found.groups.totals();
    let mut text = match failed {
        0 => "no failures".to_owned(),
        _ => format!("{} failed, {}", objects(failed), human::bytes(bytes)),
    };
    if redriven > 0 {
        let _ = write!(text, "; {} of them sent again and not tried since", human::count(redriven));
    }
    for (reason, group) in found.groups.by_size() {
        let (object, error) = &group.example;
        let object = object.as_ref().map(|object| format!("{object}: ")).unwrap_or_default();
        let _ = write!(
            text,
            "\n\n{reason}: {}, {}\n  cure     {}\n  example  {object}{}",
            objects(group.objects),
            human::bytes(group.bytes),
            group.cure,
            shown(error)
        );
    }
    if failed > redriven {
        text.push_str(
            "\n\nonce the cause is removed: s3-migration failed --redrive [--reason REASON] [--prefix \
             PREFIX]",
        );
    }
    if found.outdated > 0 {
        let letters = human::count(found.outdated);
        let _ = write!(
            text,
            "\n{letters} dead letters are of objects that were copied since; --redrive removes them"
        );
    }
    if found.more_letters {
        text.push_str("\nthere are more dead letters; failures on record are all listed");
    }
    if found.interrupted {
        text.push_str("\nstopped before the end: there may be more");
    }
    text
}

/// What `--redrive` did, as JSON.
#[derive(Serialize)]
struct RedriveResult {
    sent: u64,
    bytes: u64,
    from_dead_letters: u64,
    from_records: u64,
    marked: u64,
    outdated: u64,
    not_a_job: u64,
    waiting: u64,
    for_the_next_run: u64,
    more: bool,
    interrupted: bool,
    reasons: Vec<ReasonCount>,
}

impl RedriveResult {
    fn of(done: &Redriven) -> Self {
        let (sent, bytes, _) = done.groups.totals();
        Self {
            sent,
            bytes,
            from_dead_letters: done.from_letters,
            from_records: done.from_records,
            marked: done.marked,
            outdated: done.outdated,
            not_a_job: done.not_a_job,
            waiting: done.waiting,
            for_the_next_run: done.for_the_next_run,
            more: done.more,
            interrupted: done.interrupted,
            reasons: done.groups.counts(),
        }
    }
}

fn redriven_text(done: &Redriven, of_run: bool) -> String {
    let (sent, bytes, _) = done.groups.totals();
    let mut text = format!(
        "{} sent again, {}: {} from dead letters, {} from records alone",
        objects(sent),
        human::bytes(bytes),
        human::count(done.from_letters),
        human::count(done.from_records)
    );
    for (reason, group) in done.groups.by_size() {
        let _ = write!(text, "\n  {reason}: {}", human::count(group.objects));
    }
    for (number, what) in [
        (done.waiting, "were sent again before and not tried since; --force sends them once more"),
        (done.for_the_next_run, "are for the next run, which finds them by comparing"),
    ] {
        if number > 0 {
            let _ = write!(text, "\n{} {what}", objects(number));
        }
    }
    for (number, what) in [
        (done.outdated, "removed: their objects were copied since"),
        (done.not_a_job, "left: no worker understands them; --reason not-a-job sends them as well"),
    ] {
        if number > 0 {
            let _ = write!(text, "\n{} dead letters {what}", human::count(number));
        }
    }
    if of_run && sent + done.for_the_next_run > 0 {
        text.push_str(
            "\na run that is still going on takes them; otherwise start the same run again",
        );
    }
    if done.more {
        text.push_str("\nsome failed again meanwhile, or there are more: run this again");
    }
    if done.interrupted {
        text.push_str("\nstopped before the end: run this again");
    }
    text
}
