//! Derives from the configuration what the policies must cover.

use crate::check::iam::{CallerKind, GroupScope, Scope, SideScope};
use crate::config::{Config, Credentials, QueueBackend, Sse, StateBackend};
use crate::store::Side;
use crate::wiring;

/// As far as the configuration says; the rest is found out by the looks.
pub(super) fn of(config: &Config) -> Scope {
    let (basic, mode) = (&config.basic, &config.mode);
    let side = |side| SideScope {
        asker: match wiring::credentials(config, side, false) {
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
    let named = |wanted: bool, name: &String| Some(name.clone()).filter(|_| wanted);
    let ignored = basic.ignore_list_file.is_none() && !basic.ssm_parameter_ignore_list.is_empty();
    Scope {
        source,
        destination: SideScope { keys, ..destination },
        bucket_list: named(basic.bucket_para_file.is_none(), &basic.ssm_parameter_bucket),
        ignore_list: named(ignored, &basic.ssm_parameter_ignore_list),
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
