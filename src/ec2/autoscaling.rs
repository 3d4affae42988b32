//! An instance's calls to its autoscaling group.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::config::retry::RetryConfig;

use crate::aws;
use crate::error::Result;

/// An answer must begin within this time.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// An instance in its autoscaling group. It retries no call itself; see `crate::retry`.
#[derive(Clone, Debug)]
pub struct ScalingGroup {
    client: Client,
    name: String,
    instance: String,
}

impl ScalingGroup {
    /// The group `name` with `instance` (an id such as `i-0123`) in it. Makes no call yet.
    pub fn new(config: &SdkConfig, name: &str, instance: &str) -> Self {
        let builder = aws_sdk_autoscaling::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(aws::timeouts(Some(READ_TIMEOUT)));
        let client = Client::from_conf(builder.build());
        Self { client, name: name.to_owned(), instance: instance.to_owned() }
    }

    /// Sets whether the group must leave this instance alone when it scales in
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-instance-protection.html>).
    /// The group refuses if the instance is not in service.
    pub async fn protect(&self, on: bool) -> Result<()> {
        let call = self.client.set_instance_protection().auto_scaling_group_name(&self.name);
        let sent = call.instance_ids(&self.instance).protected_from_scale_in(on).send().await;
        sent.map(drop).map_err(|e| aws::error(self.call("SetInstanceProtection"), &e))
    }

    /// Restarts the hook's timeout, because the instance needs longer.
    pub async fn prolong(&self, hook: &str) -> Result<()> {
        let call = self.client.record_lifecycle_action_heartbeat().lifecycle_hook_name(hook);
        let call = call.auto_scaling_group_name(&self.name).instance_id(&self.instance);
        let sent = call.send().await;
        sent.map(drop).map_err(|e| aws::error(self.call("RecordLifecycleActionHeartbeat"), &e))
    }

    /// Completes the hook: the group terminates the instance now
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/completing-lifecycle-hooks.html>).
    pub async fn complete(&self, hook: &str) -> Result<()> {
        let call = self.client.complete_lifecycle_action().lifecycle_hook_name(hook);
        let call = call.auto_scaling_group_name(&self.name).instance_id(&self.instance);
        let sent = call.lifecycle_action_result("CONTINUE").send().await;
        sent.map(drop).map_err(|e| aws::error(self.call("CompleteLifecycleAction"), &e))
    }

    fn call(&self, call: &str) -> String {
        format!("{call} {} in {}", self.instance, self.name)
    }
}
