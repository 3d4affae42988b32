//! The callers' identities: the machine, and the other account's user.

use super::{Check, Trust};
use crate::aws::clock::Clock;
use crate::aws::identity::{self, Caller, Who};
use crate::aws::partition::Partition;
use crate::aws::stored_credentials::StoredCredentials;
use crate::check::findings::{CheckVerdict, Judged, Reached};
use crate::check::iam::{self, CallerKind};
use crate::config::{Config, Credentials, Endpoint, Role};
use crate::error::Result;
use crate::store::Side;
use crate::wiring;

const MACHINE: &str = "identity of this machine";

impl Check<'_> {
    /// Says who this machine is, and where; its own side's buckets are in the same partition.
    pub(super) async fn machine(&mut self) {
        self.own_place().await;
        let place = self.scope.place.partition.clone();
        for side in [&mut self.scope.source, &mut self.scope.destination] {
            if side.asker == CallerKind::Machine {
                side.partition.clone_from(&place);
            }
        }
    }

    async fn own_place(&mut self) {
        let region = identity::region().await.unwrap_or_default();
        self.scope.place.partition = Partition::of_region(&region).name.to_owned();
        self.scope.place.region = region;
        if !self.asks_aws() && !self.uses(Credentials::Default) {
            return;
        }
        if !identity::has_sts(self.machines_endpoint()) {
            return self.nobody_to_ask(MACHINE, Who::Chain, None).await;
        }
        if let Some(caller) = self.caller(MACHINE, Who::Chain, None).await {
            let place = &mut self.scope.place;
            place.partition = caller.partition().to_owned();
            place.account.clone_from(&caller.account);
            self.own = Some(caller);
        }
    }

    /// Says whom the stored credentials or the profiles belong to.
    pub(super) async fn others(&mut self, stored: Option<&StoredCredentials>) {
        for side in [Side::Source, Side::Destination] {
            let who = wiring::credentials(self.config, side, false);
            let endpoint = endpoint(self.config, side);
            if let Some(role) = &endpoint.role {
                self.role(side, endpoint, role, stored).await;
                continue;
            }
            let asked = match (who, stored) {
                (Credentials::Ssm, Some(stored)) => Some(Who::Stored(stored)),
                (Credentials::Profile, _) => {
                    Some(Who::Profile(endpoint.profile.as_deref().unwrap_or("default")))
                }
                // The check has already said that they are missing.
                (Credentials::Ssm, None) => None,
                (Credentials::Default, _) => {
                    self.own_side(side, endpoint).await;
                    continue;
                }
                (Credentials::Anonymous, _) => continue,
            };
            let partition = match asked {
                Some(who) => self.other(side, endpoint, who).await,
                None => {
                    let region = endpoint.region.as_deref().unwrap_or_default();
                    Partition::of_region(region).name.to_owned()
                }
            };
            match side {
                Side::Source => self.scope.source.partition = partition,
                Side::Destination => self.scope.destination.partition = partition,
            }
        }
    }

    /// Says who this machine is at a side that has no other credentials.
    async fn own_side(&mut self, side: Side, endpoint: &Endpoint) {
        let what = format!("identity at the {side}");
        if !identity::has_sts(endpoint.url.as_deref()) {
            return self.nobody_to_ask(&what, Who::Chain, endpoint.region.as_deref()).await;
        }
        if let Some(Caller { account, arn }) = &self.own {
            let said = format!("this machine's, {arn}, account {account}");
            self.say(what, (CheckVerdict::Ok, said), Reached::NotAsked);
        }
    }

    /// Says whether the side's role can be assumed, and which trust policy that takes.
    async fn role(
        &mut self,
        side: Side,
        endpoint: &Endpoint,
        role: &Role,
        stored: Option<&StoredCredentials>,
    ) {
        let who = match (wiring::credentials(self.config, side, false), stored) {
            (Credentials::Profile, _) => Who::Profile(endpoint.profile_name()),
            (Credentials::Ssm, Some(stored)) => Who::Stored(stored),
            _ => Who::Chain,
        };
        let region = endpoint.region.as_deref();
        let caller = match who {
            Who::Chain => self.own.clone(),
            who => {
                self.caller(&format!("identity at the {side}, before its role"), who, region).await
            }
        };
        let arn = caller.map(|caller| caller.arn).unwrap_or_default();
        self.trust.push(Trust {
            role: role.arn.clone(),
            policy: iam::trust(&arn, role.external_id.as_deref()),
        });
        let clock = Clock::default();
        let asked = wiring::first(|| identity::caller_in_role(who, role, region, &clock)).await;
        self.clocks.push(clock);
        let judge = |caller: &Caller| -> Judged {
            (CheckVerdict::Ok, format!("{}, account {}", caller.arn, caller.account))
        };
        self.look(format!("role at the {side}"), "sts:AssumeRole", asked, judge);
        let scope = match side {
            Side::Source => &mut self.scope.source,
            Side::Destination => &mut self.scope.destination,
        };
        role.partition().clone_into(&mut scope.partition);
    }

    /// Says who the caller at this side is; returns the caller's partition.
    async fn other(&mut self, side: Side, endpoint: &Endpoint, who: Who<'_>) -> String {
        let what = format!("identity at the {side}");
        let region = endpoint.region.as_deref();
        let known = match who {
            Who::Stored(stored) => region.or(stored.region.as_deref()),
            Who::Profile(_) | Who::Chain => region,
        };
        let by_region = Partition::of_region(known.unwrap_or_default()).name;
        if !identity::has_sts(endpoint.url.as_deref()) {
            self.nobody_to_ask(&what, who, region).await;
            return by_region.to_owned();
        }
        match self.caller(&what, who, region).await {
            Some(caller) => caller.partition().to_owned(),
            None => by_region.to_owned(),
        }
    }

    async fn caller(&mut self, what: &str, who: Who<'_>, region: Option<&str>) -> Option<Caller> {
        let clock = Clock::default();
        let asked: Result<Caller> = wiring::first(|| identity::caller(who, region, &clock)).await;
        self.clocks.push(clock);
        let name = &self.config.basic.ssm_parameter_credentials;
        let signer = match &asked {
            Ok(_) => identity::signer(who, region, name).await,
            Err(_) => None,
        };
        let judge = |caller: &Caller| -> Judged {
            (
                CheckVerdict::Ok,
                format!("{}, account {}{}", caller.arn, caller.account, signed(&signer)),
            )
        };
        self.look(what, "", asked, judge)
    }

    /// Says who signs, as far as the credentials themselves show it: no key is shown to an STS that
    /// is not the store's own.
    async fn nobody_to_ask(&mut self, what: &str, who: Who<'_>, region: Option<&str>) {
        let name = &self.config.basic.ssm_parameter_credentials;
        let signer = identity::signer(who, region, name).await;
        let said = "the account is unknown: the endpoint is not AWS's, and AWS_ENDPOINT_URL_STS \
                    names no STS of its own";
        let said = signer.map_or(said.to_owned(), |signer| format!("{signer}; {said}"));
        self.say(what, (CheckVerdict::Ok, said), Reached::NotAsked);
    }

    /// The S3 endpoint at which the machine's own credentials are used; none if they are used with
    /// AWS services.
    fn machines_endpoint(&self) -> Option<&str> {
        if self.asks_aws() {
            return None;
        }
        let used =
            |side: &Side| wiring::credentials(self.config, *side, false) == Credentials::Default;
        let side = [Side::Source, Side::Destination].into_iter().find(used)?;
        endpoint(self.config, side).url.as_deref()
    }
}

fn endpoint(config: &Config, side: Side) -> &Endpoint {
    match side {
        Side::Source => &config.source.endpoint,
        Side::Destination => &config.destination.endpoint,
    }
}

fn signed(by: &Option<String>) -> String {
    by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default()
}
