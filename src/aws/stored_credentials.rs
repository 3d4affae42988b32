//! The other account's credentials: parsed from their stored text, and provided to clients.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// An access key of the other account. Neither `Debug` nor any error shows its secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredCredentials {
    /// The access key's id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: String,
    /// The session token of temporary credentials.
    pub session_token: Option<String>,
    /// The region of the other account's side; `None`: the configuration must give it.
    pub region: Option<String>,
}

impl fmt::Debug for StoredCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredCredentials").field("region", &self.region).finish_non_exhaustive()
    }
}

impl StoredCredentials {
    /// Reads `{"aws_access_key_id", "aws_secret_access_key", "region"}`, optionally with
    /// `aws_session_token`. `name` says in errors where the text is stored. Other fields are
    /// ignored.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let wrong = |what: String| Error::usage(format!("credentials in {name}: {what}"));
        let text = text.trim_start_matches('\u{feff}');
        // The parser's own message may quote the text.
        let value: Value = serde_json::from_str(text).map_err(|e| {
            wrong(format!("not valid JSON at line {} column {}", e.line(), e.column()))
        })?;
        let Value::Object(fields) = value else {
            return Err(wrong(
                "not a JSON object with aws_access_key_id, aws_secret_access_key and region"
                    .to_owned(),
            ));
        };
        let required = |field: &str| {
            optional(&fields, field)
                .map_err(&wrong)?
                .ok_or_else(|| wrong(format!("{field} is missing or empty")))
        };
        Ok(Self {
            access_key_id: required("aws_access_key_id")?,
            secret_access_key: required("aws_secret_access_key")?,
            session_token: optional(&fields, "aws_session_token").map_err(&wrong)?,
            region: optional(&fields, "region").map_err(&wrong)?,
        })
    }
}

/// Reads stored credentials again at each call, because they may have been rotated.
#[async_trait]
pub trait ReadStored: Send + Sync + fmt::Debug {
    /// Reads what is stored now.
    async fn read(&self) -> Result<StoredCredentials>;
}

/// A credentials provider for stored credentials, wherever they are stored.
#[derive(Clone, Debug)]
pub struct StoredProvider {
    name: String,
    reader: Arc<dyn ReadStored>,
}

impl StoredProvider {
    /// Provides what `reader` reads; `name` says in messages where that is.
    pub fn new(name: impl Into<String>, reader: Arc<dyn ReadStored>) -> Self {
        Self { name: name.into(), reader }
    }

    /// Where the credentials are stored.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads what is stored now.
    pub async fn read(&self) -> Result<StoredCredentials> {
        self.reader.read().await
    }

    /// Stored credentials do not say when they expire. Their holder reads them again every quarter
    /// of an hour, so that a rotated key is picked up, and keeps the old ones if that fails.
    async fn keys(&self) -> aws_credential_types::provider::Result {
        let stored = self.read().await.map_err(CredentialsError::provider_error)?;
        let StoredCredentials { access_key_id, secret_access_key, session_token, .. } = stored;
        Ok(Keys::new(access_key_id, secret_access_key, session_token, None, "parameter"))
    }
}

impl ProvideCredentials for StoredProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.keys())
    }
}

fn optional(fields: &Map<String, Value>, field: &str) -> Result<Option<String>, String> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            Ok(Some(text.trim()).filter(|t| !t.is_empty()).map(str::to_owned))
        }
        Some(_) => Err(format!("{field} is not text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn json(rest: &str) -> String {
        format!(r#"{{"aws_access_key_id":"AKIDEXAMPLE","aws_secret_access_key":"{SECRET}"{rest}}}"#)
    }

    #[test]
    fn the_parameter_of_the_original_is_read() {
        let c = StoredCredentials::parse("p", &json(r#","region":"cn-northwest-1""#)).unwrap();
        assert_eq!(c.access_key_id, "AKIDEXAMPLE");
        assert_eq!(c.secret_access_key, SECRET);
        assert_eq!(c.region.as_deref(), Some("cn-northwest-1"));
        assert_eq!(c.session_token, None);
        let c = StoredCredentials::parse("p", &json(r#","aws_session_token":"t","x":1"#)).unwrap();
        assert_eq!((c.session_token.as_deref(), c.region), (Some("t"), None));
    }

    #[test]
    fn no_output_shows_a_secret() {
        let all = json(r#","aws_session_token":"TOKENTOKEN","region":"r""#);
        let debug = format!("{:?}", StoredCredentials::parse("p", &all).unwrap());
        assert_eq!(debug, "StoredCredentials { region: Some(\"r\"), .. }");
        for text in [
            SECRET.to_owned(),
            format!("\"{SECRET}\""),
            format!("[\"{SECRET}\"]"),
            format!("{{\"aws_access_key_id\":\"{SECRET}\"}}"),
            format!("{{\"{SECRET}\":1}}"),
            format!("{{\"aws_secret_access_key\":[\"{SECRET}\"],\"aws_access_key_id\":\"a\"}}"),
            json(r#","region":5"#),
            json(",")[..60].to_owned(),
        ] {
            let error = StoredCredentials::parse("parameter p", &text).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("wJalr") && !shown.contains("AKID"), "{shown}");
            assert!(shown.starts_with("credentials in parameter p: "), "{shown}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = StoredCredentials::parse("p", r#"{"aws_access_key_id":"a"}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "credentials in p: aws_secret_access_key is missing or empty"
        );
        let error = StoredCredentials::parse("p", "{\n  nonsense").unwrap_err();
        assert_eq!(error.to_string(), "credentials in p: not valid JSON at line 2 column 3");
    }
}
