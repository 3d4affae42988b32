//! The content of a line: level, message, and fields, including those of the enclosing spans.

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::format::escape::{json, shown};
use crate::object::ObjectKey;

/// A field: a text, a number or a boolean.
pub(super) type Named = (&'static str, Value);

/// The message and the fields of a line, or the fields of a span.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) others: Vec<Named>,
}

/// A field's value as text.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Fields {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        fields
    }

    /// `LEVEL TIME message name=value`, always in one line.
    pub(super) fn text(&self, level: &str, now: &str) -> String {
        let mut line = format!("{level} {now} {}", shown(&self.message));
        for (name, value) in &self.others {
            line.push_str(&format!(" {name}={}", shown(&plain(value))));
        }
        line
    }

    /// `OBJECT: message (name value, ...)`, for people at a terminal.
    pub(super) fn words(&self) -> String {
        let object = self.others.iter().find(|(name, _)| *name == "object");
        let object = object.map(|(_, object)| format!("{}: ", shown(&plain(object))));
        let others = self.others.iter().filter(|(name, _)| *name != "object");
        let others: Vec<String> = others
            .map(|(name, value)| format!("{} {}", name.replace('_', " "), shown(&plain(value))))
            .collect();
        let others = match others.is_empty() {
            true => String::new(),
            false => format!(" ({})", others.join(", ")),
        };
        format!("{}{}{others}", object.unwrap_or_default(), shown(&self.message))
    }

    /// The same as JSON, with the fields of the enclosing spans. JSON keeps the exact text, and
    /// numbers as numbers.
    pub(super) fn json(&self, level: &str, now: &str, around: &[Named]) -> String {
        let mut line = serde_json::Map::new();
        let fixed = [("time", now), ("level", level), ("message", &self.message)];
        for (name, value) in fixed {
            line.insert(name.to_owned(), value.into());
        }
        for (name, value) in self.with(around) {
            line.insert(name.to_owned(), value);
        }
        json(&Value::Object(line).to_string())
    }

    /// All fields, each once: the line's own take precedence over those of the spans, which are in
    /// `around` from the outermost to the innermost. A field `object` adds its bucket and key.
    pub(super) fn with(&self, around: &[Named]) -> Vec<Named> {
        let mut all = self.others.clone();
        let object = self.others.iter().find(|(name, _)| *name == "object");
        let object = object.and_then(|(_, object)| object.as_str());
        let (bucket, key) = object.and_then(|object| object.split_once('/')).unzip();
        let within = |name: &str| {
            let found = around.iter().rev().find(|(named, _)| *named == name);
            found.and_then(|(_, value)| value.as_str())
        };
        // A key in a line is escaped; the span of the same object has the exact key.
        let same = |exact: &str| key.is_some_and(|key| ObjectKey::new(exact).to_string() == key);
        let split = match within("bucket") {
            Some(inside)
                if bucket.is_some_and(|bucket| bucket == shown(inside).to_string())
                    && within("key").is_some_and(same) =>
            {
                None
            }
            _ => bucket.zip(key),
        };
        if let Some((bucket, key)) = split {
            all.extend([("bucket", bucket.into()), ("key", key.into())]);
        }
        let of_a_bucket = all.iter().any(|(name, _)| *name == "bucket");
        for (name, value) in around.iter().rev() {
            // The span's key is not in the line's bucket.
            let strange = *name == "key" && of_a_bucket && split.is_none();
            if !strange && !all.iter().any(|(known, _)| known == name) {
                all.push((*name, value.clone()));
            }
        }
        all
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.others.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.push((field.name(), value.into()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.others.push((name, format!("{value:?}").into())),
        }
    }
}

/// The level as the original's metric filters count it: tracing itself writes WARN.
pub(super) fn level(event: &Event<'_>) -> &'static str {
    match *event.metadata().level() {
        Level::WARN => "WARNING",
        ref level => level.as_str(),
    }
}

/// Keeps the fields of spans for the lines within them.
pub(super) struct Spans;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }
}

/// The fields of the spans that enclose a line, the outermost first.
pub(super) fn around<S: Subscriber + for<'a> LookupSpan<'a>>(
    event: &Event<'_>,
    context: &Context<'_, S>,
) -> Vec<Named> {
    let mut all = Vec::new();
    for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
        if let Some(fields) = span.extensions().get::<Fields>() {
            all.extend(fields.others.iter().cloned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(others: &[(&'static str, &str)]) -> Vec<Named> {
        others.iter().map(|(name, value)| (*name, Value::from(*value))).collect()
    }

    fn line(others: &[(&'static str, &str)]) -> Fields {
        Fields { message: "--->Uploading 5 b/k".to_owned(), others: fields(others) }
    }

    #[test]
    fn a_line_has_level_time_message_and_fields() {
        let line = line(&[("object", "b/\"k\"")]);
        assert_eq!(line.text("WARNING", "now"), "WARNING now --->Uploading 5 b/k object=b/\"k\"");
        let json: serde_json::Value =
            serde_json::from_str(&line.json("WARNING", "now", &fields(&[("part", "3")]))).unwrap();
        assert_eq!(json["level"], "WARNING");
        assert_eq!(json["object"], "b/\"k\"");
        assert_eq!(json["part"], "3");
    }

    #[test]
    fn at_a_terminal_a_line_is_words_and_in_json_a_number_is_a_number() {
        let mut line = line(&[("object", "b/k")]);
        line.others.extend([("to_copy", 3.into()), ("whole", true.into())]);
        line.message = "compared".to_owned();
        assert_eq!(line.words(), "b/k: compared (to copy 3, whole true)");
        let json: Value = serde_json::from_str(&line.json("INFO", "now", &[])).unwrap();
        assert_eq!((&json["to_copy"], &json["whole"]), (&3.into(), &true.into()));
        assert!(line.text("INFO", "now").ends_with("object=b/k to_copy=3 whole=true"));
    }

    #[test]
    fn what_came_from_outside_does_not_leave_its_line() {
        let line =
            Fields { message: "b\n\u{202e}".to_owned(), others: fields(&[("x", "\u{1b}[2J")]) };
        assert_eq!(line.text("INFO", "now"), "INFO now b\\n\\u{202e} x=\\u{1b}[2J");
        let text = line.json("INFO", "now", &[]);
        assert!(text.chars().all(crate::format::escape::is_plain), "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&json["message"], &json["x"]), (&"b\n\u{202e}".into(), &"\u{1b}[2J".into()));
    }

    #[test]
    fn an_object_has_a_bucket_and_a_key() {
        let line = line(&[("object", "b/a/k")]);
        let expected = [("object", "b/a/k"), ("bucket", "b"), ("key", "a/k"), ("job", "7")];
        // The line is about another object than the span, such as the one at the destination.
        let around = [("job", "7"), ("bucket", "c"), ("key", "a/k")];
        assert_eq!(line.with(&fields(&around)), fields(&expected));
    }

    #[test]
    fn a_key_is_the_very_bytes_where_they_are_known() {
        let line = line(&[("object", "b/a\\nk")]);
        let around = fields(&[("bucket", "b"), ("key", "a\nk"), ("part", "2")]);
        let expected = [("object", "b/a\\nk"), ("part", "2"), ("key", "a\nk"), ("bucket", "b")];
        assert_eq!(line.with(&around), fields(&expected));
    }

    #[test]
    fn a_line_about_a_bucket_has_no_key() {
        let line = line(&[("bucket", "c")]);
        let around = fields(&[("job", "7"), ("bucket", "b"), ("key", "k")]);
        assert_eq!(line.with(&around), fields(&[("bucket", "c"), ("job", "7")]));
    }

    #[test]
    fn the_innermost_span_comes_before_those_around_it() {
        let line = line(&[("attempt", "1")]);
        let around = fields(&[("part", "1"), ("part", "2")]);
        assert_eq!(line.with(&around), fields(&[("attempt", "1"), ("part", "2")]));
    }
}
