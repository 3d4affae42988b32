//! Parameters in SSM Parameter Store.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::config::retry::RetryConfig;

use super::ParameterStore;
use crate::aws;
use crate::error::{Error, ErrorKind, Result};

/// An answer must begin within this time; one that needs KMS takes well under a second.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// SSM Parameter Store. It retries no call itself; see `crate::retry`.
#[derive(Debug)]
pub struct SsmParameters {
    client: Client,
}

impl SsmParameters {
    /// The parameters of the account and region in `config`.
    pub fn new(config: &SdkConfig) -> Self {
        let builder = aws_sdk_ssm::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(aws::timeouts(Some(READ_TIMEOUT)));
        Self { client: Client::from_conf(builder.build()) }
    }
}

#[async_trait]
impl ParameterStore for SsmParameters {
    async fn get(&self, name: &str) -> Result<Option<String>> {
        let answer = self.client.get_parameter().name(name).with_decryption(true).send().await;
        match answer {
            Ok(answer) => Ok(answer.parameter.and_then(|parameter| parameter.value)),
            Err(e) if aws::classify(&e) == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(with_advice(aws::error(format_args!("GetParameter {name}"), &e))),
        }
    }
}

/// Names both permissions: the one for the key is easily forgotten, and SSM reports the refusal of
/// KMS.
fn with_advice(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Denied => Error::new(
            ErrorKind::Denied,
            format!(
                "{error}; reading it needs ssm:GetParameter and, for a SecureString, kms:Decrypt \
                 on its key"
            ),
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::aws::scripted::ScriptedService;

    #[tokio::test]
    async fn a_refusal_names_the_parameter_and_both_permissions() {
        let refusal = json!({"__type": "AccessDeniedException", "message": "not authorized"});
        let script = ScriptedService::new([(400, refusal)]);
        let error = SsmParameters::new(&script.config()).get("p").await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Denied);
        for part in ["GetParameter p", "ssm:GetParameter", "kms:Decrypt"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert_eq!(script.asked()[0]["WithDecryption"], true);
    }

    #[tokio::test]
    async fn a_passing_error_is_not_tried_again_here() {
        let script = ScriptedService::new([(400, json!({"__type": "ThrottlingException"}))]);
        let error = SsmParameters::new(&script.config()).get("p").await.expect_err("throttled");
        assert_eq!(error.kind(), ErrorKind::Throttled);
        assert_eq!(script.asked().len(), 1);
    }
}
