//! Recognizes the inis of the original's single-node version, and names the command that replaces each.
//!
//! Pure: text in, text out.

use std::collections::HashMap;

use ini_roundtrip::{Item, Parser};

use super::keys;

/// Keys whose value the command takes from its environment: section and name in their ini, section
/// and name here.
const SETTINGS: [[&str; 3]; 7] = [
    ["ChunkSize", "Debug", "ChunkSize"],
    ["MaxRetry", "Mode", "MaxRetry"],
    ["MaxThread", "Mode", "MaxThread"],
    ["MaxParallelFile", "Mode", "MaxParallelFile"],
    ["StorageClass", "Mode", "StorageClass"],
    ["ifVerifyMD5", "Debug", "ifVerifyMD5Twice"],
    ["LoggingLevel", "Debug", "LoggingLevel"],
];

/// What to say instead of reading this text as a configuration; `None`: it is none of those inis.
pub(super) fn answer(name: &str, text: &str) -> Option<String> {
    let ini = Ini::read(text);
    let (basic, advanced) = ("Basic", "Advanced");
    let is_one = ini.has(advanced, "MaxThread")
        && (ini.has(basic, "DesBucket") || ini.has(basic, "SrcBucket") && ini.has(basic, "DesDir"));
    if !is_one {
        return None;
    }
    let says = match ini.get(basic, "JobType").to_ascii_uppercase().as_str() {
        _ if ini.has(basic, "DesDir") => ini.download(),
        "LOCAL_TO_S3" => ini.upload(),
        "ALIOSS_TO_S3" => ini.oss_source(),
        _ => ini.between_stores(),
    };
    Some(format!("{name} is a configuration of the original's single-node version; {says}"))
}

/// Sections, keys in lower case, and values.
struct Ini(HashMap<(String, String), String>);

impl Ini {
    fn read(text: &str) -> Self {
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let text = lines.collect::<Vec<_>>().join("\n");
        let (mut all, mut section) = (HashMap::new(), String::new());
        for item in Parser::new(&text) {
            match item {
                Item::Section { name, .. } => section = name.to_ascii_lowercase(),
                Item::Property { raw, .. } => {
                    let Some((key, value)) = raw.split_once(['=', ':']) else { continue };
                    let key = (section.clone(), key.trim().to_ascii_lowercase());
                    all.insert(key, value.trim().to_owned());
                }
                _ => {}
            }
        }
        Self(all)
    }

    fn has(&self, section: &str, key: &str) -> bool {
        self.0.contains_key(&(section.to_ascii_lowercase(), key.to_ascii_lowercase()))
    }

    fn get(&self, section: &str, key: &str) -> &str {
        let key = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        self.0.get(&key).map_or("", String::as_str)
    }

    fn between_stores(&self) -> String {
        let section = "S3_TO_S3";
        let bucket = self.get(section, "SrcBucket");
        let source = [
            ("--source-profile", self.get(section, "SrcProfileName")),
            ("--source-endpoint", endpoint(self.get(section, "SrcEndPointURL"))),
        ];
        format!("this command replaces it:\n  {}", self.run(bucket, source))
    }

    fn oss_source(&self) -> String {
        let section = "ALIOSS_TO_S3";
        let host = self.get(section, "ali_endpoint");
        let url = match host.contains("://") {
            true => host.to_owned(),
            false => format!("https://{host}"),
        };
        let source = [("--source-profile", "oss"), ("--source-endpoint", url.as_str())];
        format!(
            "this command replaces it, once the profile oss in ~/.aws/credentials has the \
             ali_access_key_id and the ali_access_key_secret:\n  {}",
            self.run(self.get(section, "ali_SrcBucket"), source)
        )
    }

    /// The original keeps the whole key of the source, its prefix included.
    fn run(&self, bucket: &str, source: [(&str, &str); 2]) -> String {
        let settings = SETTINGS.iter().filter_map(|[theirs, section, ours]| {
            let value = self.get("Advanced", theirs);
            let default = keys::find(section, ours)?.default;
            let differs = !value.is_empty() && !value.eq_ignore_ascii_case(default);
            differs.then(|| format!("{ours}={} ", quoted(value)))
        });
        let mut command: String = settings.collect();
        command.push_str("s3-migration run");
        let destination = [
            ("--destination-profile", self.get("Basic", "DesProfileName")),
            ("--destination-endpoint", endpoint(self.get("Basic", "DesEndPointURL"))),
        ];
        for (option, value) in source.into_iter().chain(destination) {
            if !value.is_empty() {
                command.push_str(&format!(" {option} {}", quoted(value)));
            }
        }
        let (prefix, file) = (self.get("Basic", "S3Prefix"), self.get("Basic", "SrcFileIndex"));
        if !file.is_empty() && file != "*" {
            let folder = prefix.strip_suffix('/').unwrap_or(prefix);
            let key = if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") };
            let pattern = literally(&format!("{bucket}/{key}"));
            command.push_str(&format!(" --include {}", quoted(&pattern)));
        }
        let from = quoted(&format!("s3://{bucket}/{prefix}"));
        format!("{command} {from} {}", quoted(&format!("s3://{}", self.get("Basic", "DesBucket"))))
    }

    fn upload(&self) -> String {
        let folder = self.get("LOCAL_TO_S3", "SrcDir");
        let place =
            format!("s3://{}/{}", self.get("Basic", "DesBucket"), self.get("Basic", "S3Prefix"));
        let profile = self.get("Basic", "DesProfileName");
        let url = endpoint(self.get("Basic", "DesEndPointURL"));
        let command = sync(folder, &place, profile, url);
        format!(
            "it uploads a folder. s3-migration moves objects between two stores and reads no folders; \
             this does:\n  {command}"
        )
    }

    fn download(&self) -> String {
        let place =
            format!("s3://{}/{}", self.get("Basic", "SrcBucket"), self.get("Basic", "S3Prefix"));
        let profile = self.get("Basic", "SrcProfileName");
        let url = endpoint(self.get("Basic", "EndPointURL"));
        let command = sync(&place, self.get("Basic", "DesDir"), profile, url);
        format!(
            "it downloads into a folder. s3-migration moves objects between two stores and writes no \
             folders; this does:\n  {command}"
        )
    }
}

fn sync(from: &str, to: &str, profile: &str, endpoint: &str) -> String {
    let mut command = format!("aws s3 sync {} {}", quoted(from), quoted(to));
    for (option, value) in [("--profile", profile), ("--endpoint-url", endpoint)] {
        if !value.is_empty() {
            command.push_str(&format!(" {option} {}", quoted(value)));
        }
    }
    command
}

/// `AWS` stands for Amazon's own.
fn endpoint(value: &str) -> &str {
    if value.eq_ignore_ascii_case("AWS") { "" } else { value }
}

/// The text as a pattern that matches nothing else.
fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '*' | '?' | '[' => pattern.extend(['[', c, ']']),
            c => pattern.push(c),
        }
    }
    pattern
}

/// The text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(basic: &str, rest: &str) -> String {
        let text = format!("[Basic]\n{basic}\n{rest}\n[Advanced]\nMaxThread = 20\n");
        answer("x.ini", &text).expect("an ini of the single-node version")
    }

    #[test]
    fn other_inis_are_read_as_configurations() {
        for text in
            ["", "[Basic]\nJobType = PUT\n[Mode]\nMaxThread = 5\n", "[Advanced]\nMaxThread = 1\n"]
        {
            assert_eq!(answer("x.ini", text), None, "{text}");
        }
    }

    #[test]
    fn what_a_shell_would_take_apart_is_quoted() {
        let said = said(
            "JobType = S3_TO_S3\nDesBucket = there\nDesProfileName = it's mine\nS3Prefix = a b/\n\
             SrcFileIndex = [1]*.jpg",
            "[S3_TO_S3]\nSrcBucket = here\nSrcEndPointURL = https://storage.googleapis.com\n",
        );
        let command = r"s3-migration run --source-endpoint https://storage.googleapis.com --destination-profile 'it'\''s mine' --include 'here/a b/[[]1][*].jpg' 's3://here/a b/' s3://there";
        assert!(said.ends_with(command), "{said}");
    }

    #[test]
    fn keys_of_another_cloud_are_not_shown() {
        let said = said(
            "JobType = ALIOSS_TO_S3\nDesBucket = there\nS3Prefix =\nSrcFileIndex = *",
            "[ALIOSS_TO_S3]\nali_SrcBucket = here\nali_access_key_id = AKI\n\
             ali_access_key_secret = hidden\nali_endpoint = oss-cn-beijing.aliyuncs.com\n",
        );
        assert!(said.contains("--source-endpoint https://oss-cn-beijing.aliyuncs.com"), "{said}");
        assert!(!said.contains("AKI") && !said.contains("hidden"), "{said}");
    }
}
