//! Texts in SSM or in files: bucket list, ignore list, the other account's credentials.

use std::fmt;
use std::io::ErrorKind as IoErrorKind;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::aws::stored_credentials::{ReadStored, StoredCredentials};
use crate::config::{Config, IGNORE_LIST_FILE};
use crate::error::{Error, ErrorKind, Result};

mod bucket_list;
pub mod ssm;

pub use bucket_list::{Pair, parse_pairs, same_place};

/// Named texts kept outside the program. A text may be a secret: implementations must never log
/// one.
#[async_trait]
pub trait ParameterStore: Send + Sync + fmt::Debug {
    /// The text called `name`, decrypted; `None` if there is no such parameter.
    async fn get(&self, name: &str) -> Result<Option<String>>;
}

/// The bucket list: from `bucket_para_file` if that is set, otherwise from the parameter
/// `ssm_parameter_bucket`.
pub async fn load_pairs(
    config: &Config,
    parameters: Option<&dyn ParameterStore>,
) -> Result<Vec<Pair>> {
    let same_place = same_place(config);
    if let Some(file) = &config.basic.bucket_para_file {
        return parse_pairs(
            &format!("bucket list {}", file.display()),
            &read(file).await?,
            same_place,
        );
    }
    let name = &config.basic.ssm_parameter_bucket;
    let Some(parameters) = parameters else {
        return Err(Error::usage("no bucket list: set bucket_para_file in [Basic]"));
    };
    let text = parameters.get(name).await;
    match text.map_err(|e| e.note("without Parameter Store, set bucket_para_file in [Basic]"))? {
        Some(text) => parse_pairs(&format!("bucket list in parameter {name}"), &text, same_place),
        None => Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "no bucket list: there is no parameter {name}; create it, or set bucket_para_file"
            ),
        )),
    }
}

/// The other account's credentials, from the parameter `name`.
pub async fn load_stored(name: &str, parameters: &dyn ParameterStore) -> Result<StoredCredentials> {
    let text = parameters.get(name).await?.ok_or_else(|| {
        let message = format!(
            "there is no parameter {name}: create a SecureString of {{\"aws_access_key_id\", \
             \"aws_secret_access_key\", \"region\"}}, or set Credentials"
        );
        Error::new(ErrorKind::NotFound, message)
    })?;
    StoredCredentials::parse(&format!("parameter {name}"), &text)
}

/// Stored credentials in a parameter.
#[derive(Clone, Debug)]
pub struct InParameter {
    /// The store of the parameter.
    pub parameters: Arc<dyn ParameterStore>,
    /// Its name.
    pub name: String,
}

#[async_trait]
impl ReadStored for InParameter {
    async fn read(&self) -> Result<StoredCredentials> {
        load_stored(&self.name, &*self.parameters).await
    }
}

/// A text, and its source as named in messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedText {
    /// A file or a parameter.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// The text of the ignore list: from `ignore_list_file` if that is set, otherwise from the
/// parameter `ssm_parameter_ignore_list`, otherwise from [`IGNORE_LIST_FILE`] next to the ini,
/// otherwise empty.
pub async fn load_ignore_list(
    config: &Config,
    parameters: Option<&dyn ParameterStore>,
) -> Result<NamedText> {
    if let Some(file) = &config.basic.ignore_list_file {
        return named(file).await;
    }
    let name = &config.basic.ssm_parameter_ignore_list;
    if let (Some(parameters), false) = (parameters, name.is_empty()) {
        let without = "without Parameter Store, set ignore_list_file in [Basic], or leave \
                       ssm_parameter_ignore_list empty";
        if let Some(text) = parameters.get(name).await.map_err(|e| e.note(without))? {
            return Ok(NamedText { name: format!("parameter {name}"), text });
        }
    }
    let Some(folder) = &config.folder else { return Ok(NamedText::default()) };
    let file = folder.join(IGNORE_LIST_FILE);
    match tokio::fs::try_exists(&file).await {
        Ok(false) => Ok(NamedText::default()),
        // An error that prevents the check prevents reading too, and is reported there.
        Ok(true) | Err(_) => named(&file).await,
    }
}

async fn named(file: &Path) -> Result<NamedText> {
    Ok(NamedText { name: file.display().to_string(), text: read(file).await? })
}

/// The text of a file that the configuration names.
async fn read(file: &Path) -> Result<String> {
    tokio::fs::read_to_string(file).await.map_err(|e| {
        let why = match e.kind() {
            IoErrorKind::InvalidData => "it is not valid UTF-8".to_owned(),
            _ => e.to_string(),
        };
        Error::usage(format!("{} cannot be read: {why}", file.display()))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct FakeParameters {
        texts: HashMap<String, String>,
        asked: Mutex<Vec<String>>,
    }

    impl FakeParameters {
        fn with(name: &str, text: &str) -> Self {
            Self { texts: HashMap::from([(name.to_owned(), text.to_owned())]), ..Self::default() }
        }
    }

    #[async_trait]
    impl ParameterStore for FakeParameters {
        async fn get(&self, name: &str) -> Result<Option<String>> {
            self.asked.lock().unwrap().push(name.to_owned());
            Ok(self.texts.get(name).cloned())
        }
    }

    const LIST: &str = r#"[{"src_bucket":"a","des_bucket":"b"}]"#;

    #[tokio::test]
    async fn the_bucket_list_comes_from_the_file_before_the_parameter() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        let fake = FakeParameters::with("s3_migration_bucket_para", LIST);
        assert_eq!(load_pairs(&config, Some(&fake)).await.unwrap()[0].src_bucket, "a");

        let file = folder.path().join("pairs.json");
        std::fs::write(&file, LIST.replace("\"a\"", "\"from-file\"")).unwrap();
        config.basic.bucket_para_file = Some(file);
        assert_eq!(load_pairs(&config, Some(&fake)).await.unwrap()[0].src_bucket, "from-file");
        assert_eq!(fake.asked.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_bucket_list_that_is_not_there_is_named() {
        let mut config = Config::default();
        let error = load_pairs(&config, Some(&FakeParameters::default())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("s3_migration_bucket_para"), "{error}");
        let error = load_pairs(&config, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("bucket_para_file"), "{error}");
        config.basic.bucket_para_file = Some("no/such.json".into());
        let error = load_pairs(&config, None).await.unwrap_err();
        assert!(error.to_string().starts_with("no/such.json cannot be read"), "{error}");
        let bad = FakeParameters::with("s3_migration_bucket_para", "{}");
        config.basic.bucket_para_file = None;
        let error = load_pairs(&config, Some(&bad)).await.unwrap_err();
        assert!(error.to_string().contains("parameter s3_migration_bucket_para"), "{error}");
    }

    async fn rules(config: &Config, fake: Option<&FakeParameters>) -> String {
        let fake = fake.map(|f| f as &dyn ParameterStore);
        load_ignore_list(config, fake).await.unwrap().text
    }

    #[tokio::test]
    async fn the_ignore_list_is_looked_for_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let fake = FakeParameters::with("s3_migrate_ignore_list", "b/?");
        let mut config = Config::default();
        assert_eq!(rules(&config, None).await, "");
        assert_eq!(rules(&config, Some(&FakeParameters::default())).await, "");

        config.folder = Some(folder.path().to_owned());
        assert_eq!(rules(&config, None).await, "");
        std::fs::write(folder.path().join(IGNORE_LIST_FILE), "b/*").unwrap();
        assert_eq!(rules(&config, None).await, "b/*");
        assert_eq!(rules(&config, Some(&FakeParameters::default())).await, "b/*");
        assert_eq!(rules(&config, Some(&fake)).await, "b/?");

        let file = folder.path().join("mine.txt");
        std::fs::write(&file, "b/k").unwrap();
        config.basic.ignore_list_file = Some(file);
        assert_eq!(rules(&config, Some(&fake)).await, "b/k");
        config.basic.ignore_list_file = Some("no/such.txt".into());
        let error = load_ignore_list(&config, Some(&fake)).await.unwrap_err();
        assert!(error.to_string().starts_with("no/such.txt cannot be read"), "{error}");
    }

    #[tokio::test]
    async fn no_parameter_is_asked_for_where_its_name_is_empty() {
        let mut config = Config::default();
        config.basic.ssm_parameter_ignore_list = String::new();
        let fake = FakeParameters::default();
        assert_eq!(rules(&config, Some(&fake)).await, "");
        assert!(fake.asked.lock().unwrap().is_empty());
    }
}
