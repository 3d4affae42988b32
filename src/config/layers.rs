//! Where values come from: the table's defaults, the ini, the environment.
//!
//! The crate `config` lays these over each other; each value keeps the place it came from, for
//! messages. The ini is read by `ini-roundtrip`, because the ini reader of `config` itself reports
//! neither line numbers nor duplicates.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use ::config::{ConfigError, Map, Source, Value};
use ini_roundtrip::{Item, Parser};

use super::keys::{self, KEYS, Key, Kind, SECTIONS};
use crate::aws::trust::{self, Bundle};
use crate::format::likeness::nearest;

use super::problem::{Problems, shown_name};

/// One value and the place it came from.
#[derive(Clone, Debug)]
struct FoundValue {
    key: &'static Key,
    value: String,
    place: String,
}

/// The values from one source.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer(Vec<FoundValue>);

impl Layer {
    /// Adds a value that the variable `name` gives, if it gives one.
    pub(super) fn add(&mut self, section: &str, key: &str, value: Option<String>, name: &str) {
        let place = format!("environment variable {name}");
        if let Some((key, value)) = keys::find(section, key).zip(value) {
            self.0.push(FoundValue { key, value, place });
        }
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let value = |found: &FoundValue| Value::new(Some(&found.place), found.value.as_str());
        Ok(self.0.iter().map(|found| (found.key.path(), value(found))).collect())
    }
}

/// The table's defaults.
pub(super) fn defaults() -> Layer {
    let place = "default";
    let found =
        |key: &'static Key| FoundValue { key, value: key.default.into(), place: place.into() };
    Layer(KEYS.iter().map(found).collect())
}

/// What the command line says about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The key's section.
    pub section: &'static str,
    /// The key's name.
    pub name: &'static str,
    /// Its value, as the ini would spell it.
    pub value: String,
    /// The option, for messages: `--source-region`.
    pub option: &'static str,
}

/// The keys that the command line sets. Naming one kind of credentials discards the others that the
/// ini or the environment names for the same side.
pub(super) fn command_line(given: &[Given]) -> Layer {
    let mut all = Vec::new();
    for Given { section, name, option, .. } in given {
        let mut set = |name: &str, value: &str| {
            let is_given = |other: &Given| other.section == *section && other.name == name;
            match keys::find(section, name) {
                Some(key) if !given.iter().any(is_given) => {
                    all.push(FoundValue {
                        key,
                        value: value.to_owned(),
                        place: option.to_string(),
                    });
                }
                _ => {}
            }
        };
        match *name {
            "Profile" => {
                set("Credentials", "profile");
                set("NoSignRequest", "False");
            }
            "Credentials" => {
                set("Profile", "");
                set("NoSignRequest", "False");
            }
            "NoSignRequest" => {
                set("Credentials", "");
                set("Profile", "");
            }
            _ => {}
        }
    }
    let found = |given: &Given| {
        let key = keys::find(given.section, given.name).expect("the option's key is in the table");
        FoundValue { key, value: given.value.trim().to_owned(), place: given.option.to_owned() }
    };
    all.extend(given.iter().map(found));
    Layer(all)
}

/// Reads the text of an ini called `name`; files that it names relative to itself are in `folder`.
pub(super) fn ini(
    name: &str,
    bytes: &[u8],
    folder: Option<&Path>,
    problems: &mut Problems,
) -> Layer {
    let text = String::from_utf8_lossy(bytes);
    if let Err(e) = std::str::from_utf8(bytes) {
        let line = bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        problems.add(format!("{name}:{line}"), "is not valid UTF-8; allowed: text in UTF-8");
    }
    // Blanks around a line mean nothing to Python's configparser; this parser takes them literally.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.lines().map(str::trim).collect::<Vec<_>>().join("\n");

    let mut ini = Ini { name, folder, section: Within::Nothing, lines: HashMap::new(), problems };
    let mut layer = Layer::default();
    let mut parser = Parser::new(&text);
    loop {
        let line = parser.line() as usize + 1;
        match parser.next() {
            None => return layer,
            Some(Item::Blank { .. } | Item::Comment { .. } | Item::SectionEnd) => {}
            Some(Item::Section { name, .. }) => ini.enter(name, line),
            Some(Item::Error(_)) => {
                ini.problem(line, "the section's name is not closed; allowed: [Section] by itself");
            }
            Some(Item::Property { raw, .. }) => layer.0.extend(ini.property(raw, line)),
        }
    }
}

/// The section that the reader is in.
#[derive(Clone, Copy)]
enum Within {
    Nothing,
    Known(&'static str),
    Unknown,
}

struct Ini<'a> {
    name: &'a str,
    folder: Option<&'a Path>,
    section: Within,
    /// The line in which a key was set, by the key's path.
    lines: HashMap<String, usize>,
    problems: &'a mut Problems,
}

impl Ini<'_> {
    fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.name)
    }

    fn problem(&mut self, line: usize, message: impl Into<String>) {
        self.problems.add(self.place(line), message);
    }

    fn enter(&mut self, name: &str, line: usize) {
        self.section = match keys::find_section(name) {
            Some(section) => Within::Known(section.name),
            None => {
                let names = SECTIONS.iter().map(|s| s.name);
                let shown = shown_name(name).map(|n| format!(" [{n}]")).unwrap_or_default();
                let hint = hint(name, names.clone());
                let all = names.collect::<Vec<_>>().join(", ");
                self.problem(line, format!("unknown section{shown}{hint}; allowed: {all}"));
                Within::Unknown
            }
        };
    }

    /// The value that the line sets, if it sets one.
    fn property(&mut self, raw: &str, line: usize) -> Option<FoundValue> {
        // The first of the two ends the name, as in Python's configparser.
        let Some((name, value)) = raw.split_once(['=', ':']) else {
            let message =
                "is not understood; allowed: [Section], key = value, a comment after # or ;";
            self.problem(line, message);
            return None;
        };
        let (name, value) = (name.trim(), value.trim());
        let section = match self.section {
            Within::Known(section) => section,
            Within::Unknown => return None,
            Within::Nothing => {
                let shown = shown_name(name).unwrap_or("the key");
                self.problem(line, format!("{shown} comes before the first [Section]"));
                return None;
            }
        };
        let Some(key) = keys::find(section, name) else {
            self.unknown_key(section, name, line);
            return None;
        };
        if let Some(first) = self.lines.insert(key.path(), line) {
            self.lines.insert(key.path(), first);
            self.problem(line, format!("{} is already set on line {first}", key.name));
            return None;
        }
        let value = match (key.kind, self.folder) {
            (Kind::PathBesideIni, Some(folder)) if !value.is_empty() => {
                folder.join(value).to_string_lossy().into_owned()
            }
            _ => value.to_owned(),
        };
        Some(FoundValue { key, value, place: self.place(line) })
    }

    /// The value of an unknown key is never shown: it may be a secret.
    fn unknown_key(&mut self, section: &str, name: &str, line: usize) {
        let shown = shown_name(name).map(|n| format!(" {n}")).unwrap_or_default();
        let elsewhere = KEYS.iter().find(|k| k.name.eq_ignore_ascii_case(name));
        let hint = match elsewhere {
            Some(key) => format!("; it belongs to [{}]", key.section),
            None => {
                let here = KEYS.iter().filter(|k| k.section == section).map(|k| k.name);
                let anywhere = KEYS.iter().map(|k| k.name);
                match nearest(name, here) {
                    Some(near) => format!("; perhaps {near} is meant"),
                    None => hint(name, anywhere),
                }
            }
        };
        self.problem(line, format!("unknown key{shown} in [{section}]{hint}"));
    }
}

fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(name, known).map(|near| format!("; perhaps {near} is meant")).unwrap_or_default()
}

/// The variables that are meant for this program. A key's name alone must match exactly, so that no
/// stray variable is taken for one; `SECTION_KEY` matches in any case and takes precedence.
pub(super) fn environment<K, V>(
    variables: impl IntoIterator<Item = (K, V)>,
    problems: &mut Problems,
) -> Layer
where
    K: Into<OsString>,
    V: Into<OsString>,
{
    let mut by_name = Vec::new();
    let mut by_section: Vec<FoundValue> = Vec::new();
    for (name, value) in variables {
        let Ok(name) = name.into().into_string() else { continue };
        let value = value.into();
        if name == trust::CA_BUNDLE {
            bundle(&value, problems);
            continue;
        }
        let full = KEYS.iter().find(|k| k.env_name().eq_ignore_ascii_case(&name));
        let alone = || KEYS.iter().find(|k| k.name == name && k.env_by_name_alone());
        let Some(key) = full.or_else(alone) else {
            if let Some(meant) = meant(&name) {
                let message = format!(
                    "is no key; perhaps {meant} is meant; if it is not for this program, unset it"
                );
                problems.add(format!("environment variable {name}"), message);
            }
            continue;
        };
        let place = format!("environment variable {name}");
        let Ok(value) = value.into_string() else {
            problems.add(place, "is not valid UTF-8; allowed: text in UTF-8");
            continue;
        };
        let found = FoundValue { key, value: value.trim().to_owned(), place };
        if full.is_none() {
            by_name.push(found);
            continue;
        }
        match by_section.iter().find(|other| std::ptr::eq(other.key, key)) {
            Some(other) => {
                problems.add(found.place, format!("{} is set too, by {}", key.name, other.place));
            }
            None => by_section.push(found),
        }
    }
    // Later values override earlier ones.
    by_name.retain(|found| !by_section.iter().any(|full| std::ptr::eq(full.key, found.key)));
    by_name.extend(by_section);
    Layer(by_name)
}

/// The variable that is likely meant by one of the form `SECTION_KEY` that is no key's. Other
/// programs have variables such as `SOURCE_DATE_EPOCH`, so a letter or two may differ, not more.
fn meant(name: &str) -> Option<String> {
    let plain = |text: &str| text.replace('_', "").to_lowercase();
    let (section, rest) = name.split_once('_')?;
    let section = keys::find_section(section)?.name;
    let rest = plain(rest);
    let distance = |key: &Key| strsim::osa_distance(&rest, &plain(key.name));
    let is_near = |key: &&Key| distance(key) <= if rest.len() > 5 { 2 } else { 1 };
    let here = KEYS.iter().filter(|key| key.section == section).filter(is_near);
    let key = here.min_by_key(|key| distance(key))?;
    Some(key.env_name().to_uppercase())
}

/// The variable that all AWS tools share is not a key of this program, but the file it names must
/// exist.
fn bundle(file: &OsStr, problems: &mut Problems) {
    if file.is_empty() {
        return;
    }
    if let Err(wrong) = Bundle::read(Path::new(file)) {
        let (place, file) = (trust::CA_BUNDLE, Path::new(file).display());
        let message = format!("{file} {wrong}; allowed: {}", trust::ALLOWED);
        problems.add(format!("environment variable {place}"), message);
    }
}
