//! Parameters in SSM Parameter Store.

use aws_sdk_ssm::types::ParameterType;
use s3_migration::params::ParameterStore;
use s3_migration::params::ssm::SsmParameters;

use testkit::ministack::{ACCOUNT_A, ACCOUNT_B, Ministack, unique};
use testkit::resources;

#[tokio::test]
async fn parameters_are_read_and_secret_ones_decrypted() {
    let config = Ministack::shared().sdk_config(ACCOUNT_A);
    let parameters = SsmParameters::new(&config);
    for kind in [ParameterType::String, ParameterType::SecureString] {
        let name = resources::parameter(&config, kind, "[{\"a\": 1}]").await;
        let value = parameters.get(&name).await.expect("readable");
        assert_eq!(value.as_deref(), Some("[{\"a\": 1}]"));
        let elsewhere = SsmParameters::new(&Ministack::shared().sdk_config(ACCOUNT_B));
        assert_eq!(elsewhere.get(&name).await.expect("answered"), None);
    }
}

#[tokio::test]
async fn a_parameter_that_does_not_exist_is_none() {
    let parameters = SsmParameters::new(&Ministack::shared().sdk_config(ACCOUNT_A));
    assert_eq!(parameters.get(&unique("absent")).await.expect("answered"), None);
}
