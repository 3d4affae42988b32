//! The parameters: credentials, bucket list, ignore list.

use super::Check;
use crate::aws::stored_credentials::StoredCredentials;
use crate::check::findings::{CheckVerdict, Reached};
use crate::config::Credentials;
use crate::error::ErrorKind;
use crate::params::{Pair, ParameterStore, load_pairs, load_stored};
use crate::wiring;

const READ: &str = "ssm:GetParameter";

impl Check<'_> {
    /// Looks at the other account's credentials, if they are used. Their content is never printed.
    pub(super) async fn credentials(
        &mut self,
        parameters: &dyn ParameterStore,
    ) -> Option<StoredCredentials> {
        if !self.uses(Credentials::Ssm) {
            return None;
        }
        let name = &self.config.basic.ssm_parameter_credentials;
        let what = format!("credentials in parameter {name}");
        let stored = load_stored(name, parameters).await;
        self.look(what, READ, stored, |stored| match &stored.region {
            Some(region) => (CheckVerdict::Ok, format!("an access key, region {region}")),
            None => (CheckVerdict::Ok, "an access key, and no region".to_owned()),
        })
    }

    /// Loads the pairs to compare, which are also where events go. A worker alone asks for them
    /// only when the first event comes, so a refusal does no harm if no events come.
    pub(super) async fn bucket_list(&mut self, parameters: &dyn ParameterStore) -> Vec<Pair> {
        let basic = &self.config.basic;
        let what = match &basic.bucket_para_file {
            Some(file) => format!("bucket list {}", file.display()),
            None => format!("bucket list in parameter {}", basic.ssm_parameter_bucket),
        };
        let pairs = match load_pairs(self.config, Some(parameters)).await {
            Err(error) if !self.roles.jobsender && error.kind() == ErrorKind::Denied => {
                let said = "not readable: jobs are carried out, but S3 events wait until \
                            ssm:GetParameter is allowed; to have its buckets checked, set \
                            bucket_para_file";
                self.say(what, (CheckVerdict::Warning, said.to_owned()), Reached::Yes);
                Vec::new()
            }
            pairs => {
                let judge = |pairs: &Vec<Pair>| match pairs.len() {
                    0 if basic.des_bucket_default.is_empty() => {
                        let said = "empty, and Des_bucket_default is not set: nothing is migrated";
                        (CheckVerdict::Warning, said.to_owned())
                    }
                    0 => (CheckVerdict::Ok, "empty: objects come only by S3 event".to_owned()),
                    1 => (CheckVerdict::Ok, "1 pair".to_owned()),
                    count => (CheckVerdict::Ok, format!("{count} pairs")),
                };
                self.look(what, READ, pairs, judge).unwrap_or_default()
            }
        };
        if basic.bucket_para_file.is_some() {
            self.at_a_file();
        }
        pairs
    }

    /// Looks at the ignore list.
    pub(super) async fn ignore_list(&mut self, parameters: Option<&dyn ParameterStore>) {
        if !self.roles.jobsender {
            return;
        }
        let ignored = wiring::ignore_list(self.config, parameters).await;
        self.look("ignore list", READ, ignored, |patterns| match patterns.len() {
            0 => (CheckVerdict::Ok, "nothing is left out".to_owned()),
            1 => (CheckVerdict::Ok, "1 pattern".to_owned()),
            count => (CheckVerdict::Ok, format!("{count} patterns")),
        });
        if self.scope.ignore_list.is_none() {
            self.at_a_file();
        }
    }
}
