//! The words of the configuration: each enum with its words in one table, which the parser, the
//! list of allowed values and `Display` share.

use std::fmt;

/// A type whose values are words of the configuration.
pub trait Words: Copy + 'static {
    /// The words, as messages and the shipped ini list them.
    const WORDS: &'static [&'static str];
    /// The values, in the order of their words.
    const VALUES: &'static [Self];

    /// The word of this value.
    fn word(self) -> &'static str;

    /// The value of a word in any case.
    fn of(word: &str) -> Option<Self> {
        let mut all = Self::WORDS.iter().zip(Self::VALUES);
        all.find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, value)| *value)
    }
}

/// Makes enums of tables: each value with its word.
macro_rules! words {
    ($($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $value:ident = $word:literal,)+ })+) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $value,)+ }

        impl Words for $name {
            const WORDS: &'static [&'static str] = &[$($word,)+];
            const VALUES: &'static [Self] = &[$(Self::$value,)+];

            fn word(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    )+};
}

words! {
    /// Which side the machine's own role works on.
    JobType {
        /// The role reads the source, the stored credentials write the destination.
        Put = "PUT",
        /// The reverse.
        Get = "GET",
    }

    /// How the lines of a report are written.
    ReportFormat {
        /// A JSON object a line.
        Json = "json",
        /// Comma-separated values.
        Csv = "csv",
    }

    /// What is compared if both sides have an object.
    Compare {
        /// The number of bytes.
        Size = "size",
        /// And the ETag, if both are of one kind.
        Etag = "etag",
    }

    /// What the destination verifies bodies by.
    Checksum {
        /// Content-MD5, and ETags that are MD5s.
        Md5 = "MD5",
        /// CRC-64/NVME of each body and of the whole object.
        Crc64Nvme = "CRC64NVME",
        /// Both.
        Both = "both",
    }

    /// Whether an object is written in the parts in which its source was.
    PreserveEtag {
        /// If its source was uploaded in equal parts.
        Auto = "auto",
        /// Never.
        Off = "off",
    }

    /// What is logged.
    LogLevel {
        /// Warnings and errors.
        Warning = "WARNING",
        /// And what is done, summed up per interval.
        Info = "INFO",
        /// And every part.
        Debug = "DEBUG",
    }

    /// The form of log lines.
    LogFormat {
        /// The journal under systemd, text elsewhere.
        Auto = "auto",
        /// Text on stderr.
        Text = "text",
        /// JSON on stderr.
        Json = "json",
        /// The systemd journal.
        Journal = "journal",
    }

    /// How calls that move bytes or list keys are made.
    HttpPath {
        /// On our own connections, if that is possible.
        Lean = "lean",
        /// By the AWS SDK, like all other calls.
        Sdk = "sdk",
    }

    /// The order in which a store lists keys.
    ListOrder {
        /// That of their bytes.
        Bytes = "bytes",
        /// Any: the listing is sorted on disk.
        Any = "any",
    }

    /// Where one side's credentials come from.
    Credentials {
        /// The SDK's own chain: environment, profile, container, instance role.
        Default = "default",
        /// The parameter `ssm_parameter_credentials`.
        Ssm = "ssm",
        /// The profile named by `Profile`.
        Profile = "profile",
        /// Unsigned requests.
        Anonymous = "anonymous",
    }

    /// An encryption that can be requested from the destination.
    Encryption {
        /// SSE-S3.
        Aes256 = "AES256",
        /// SSE-KMS.
        Kms = "aws:kms",
    }

    /// Which queue.
    QueueBackend {
        /// Amazon SQS.
        Sqs = "sqs",
        /// SQLite.
        Embedded = "embedded",
    }

    /// Which table.
    StateBackend {
        /// Amazon DynamoDB.
        DynamoDb = "dynamodb",
        /// SQLite.
        Embedded = "embedded",
    }
}

impl Checksum {
    /// Whether bodies are sent with their MD5.
    pub fn has_md5(self) -> bool {
        self != Self::Crc64Nvme
    }

    /// Whether bodies are sent with their CRC-64/NVME.
    pub fn has_crc64nvme(self) -> bool {
        self != Self::Md5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_in_any_case_and_written_as_the_table_has_it() {
        for (word, value) in [("PUT", Some(JobType::Put)), ("get", Some(JobType::Get)), ("", None)]
        {
            assert_eq!(JobType::of(word), value);
        }
        assert_eq!(
            Encryption::of("AWS:KMS").map(|kms| kms.to_string()).as_deref(),
            Some("aws:kms")
        );
        for (value, md5, crc64nvme) in [
            (Checksum::Md5, true, false),
            (Checksum::Crc64Nvme, false, true),
            (Checksum::Both, true, true),
        ] {
            assert_eq!((value.has_md5(), value.has_crc64nvme()), (md5, crc64nvme), "{value}");
        }
    }
}
