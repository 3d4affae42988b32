//! Derives from the configuration what the policies must cover.

use crate::check::iam::{CallerKind, GroupScope, Scope, SideScope};
use crate::config::{Config, Credentials, QueueBackend, Role, Sse, StateBackend};
use crate::store::Side;
use crate::wiring;

/// As far as the configuration says; the rest is found out by the looks.
pub(super) fn of(config: &Config, is_run: bool) -> Scope {
    let (basic, mode) = (&config.basic, &config.mode);
    let side = |side| SideScope {
        asker: match wiring::credentials(config, side, false) {
            _ if role(config, side).is_some() => CallerKind::Other,
            Credentials::Default => CallerKind::Machine,
            Credentials::Ssm | Credentials::Profile => CallerKind::Other,
            Credentials::Anonymous => CallerKind::Nobody,
        },
        ..SideScope::default()
    };
    let (source, destination) = (side(Side::Source), side(Side::Destination));
    let keys = match &config.destination.sse {
        Sse::Kms(Some(key)) if key.starts_with("arn:") => vec![key.clone()],
        _ => Vec::new(),
    };
    let stored = [Side::Source, Side::Destination]
        .into_iter()
        .any(|side| wiring::credentials(config, side, false) == Credentials::Ssm);
    let roles = [Side::Source, Side::Destination].into_iter().filter_map(|side| {
        let is_own = wiring::credentials(config, side, false) == Credentials::Default;
        role(config, side).filter(|_| is_own).map(|role| role.arn.clone())
    });
    let named = |wanted: bool, name: &String| Some(name.clone()).filter(|_| wanted);
    let has_list = !is_run && basic.bucket_para_file.is_none();
    let ignored =
        !is_run && basic.ignore_list_file.is_none() && !basic.ssm_parameter_ignore_list.is_empty();
    Scope {
        source,
        destination: SideScope { keys, ..destination },
        bucket_list: named(has_list, &basic.ssm_parameter_bucket),
        ignore_list: named(ignored, &basic.ssm_parameter_ignore_list),
        roles: roles.collect(),
        credentials: named(stored, &basic.ssm_parameter_credentials),
        group: config
            .instance
            .group
            .clone()
            .map(|name| GroupScope { name, hook: config.instance.lifecycle_hook.is_some() }),
        reads_versions: mode.get_object_with_version_id,
        compares_versions: mode.jobsender_compare_version_id,
        reports: config.report.to.is_some(),
        copies_tags: mode.copy_tags,
        sets_acl: config.destination.acl.is_some(),
        deletes: mode.propagate_delete,
        ..Scope::default()
    }
}

/// The role that is assumed on a side.
pub(super) fn role(config: &Config, side: Side) -> Option<&Role> {
    match side {
        Side::Source => config.source.endpoint.role.as_ref(),
        Side::Destination => config.destination.endpoint.role.as_ref(),
    }
}

/// Names queue and table by the configuration, until they have reported their own names.
pub(super) fn name_services(scope: &mut Scope, config: &Config) {
    let basic = &config.basic;
    if config.backend.queue == QueueBackend::Sqs {
        let name = basic.sqs_queue_name.rsplit('/').next().unwrap_or_default();
        scope.queue = Some(scope.place.arn("sqs", name));
        scope.dead_letters = Some(scope.place.arn("sqs", "DEAD-LETTER-QUEUE"));
    }
    if config.backend.state == StateBackend::DynamoDb {
        scope.table =
            Some(scope.place.arn("dynamodb", &format!("table/{}", basic.table_queue_name)));
    }
}
