//! Describes the signer of a request, for errors and for `check`.

use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature as Feature;

/// Where the credentials should come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialOrigin {
    /// The SDK's usual places, including this profile.
    Chain(String),
    /// This profile.
    Profile(String),
    /// This parameter.
    Parameter(String),
    /// A session of the role with this ARN.
    Role(String),
    /// A key that was given.
    Fixed,
    /// Nowhere: requests are not signed.
    Nobody,
}

/// What may be shown of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCredentials {
    /// The last four characters of the key's id.
    tail: String,
    place: CredentialPlace,
    account: Option<String>,
}

impl ShownCredentials {
    /// What may be shown of `keys`.
    pub fn of(keys: &Credentials) -> Self {
        let id = keys.access_key_id();
        let tail: Vec<char> = id.chars().rev().take(4).collect();
        // A short id would be shown whole; the store sees it anyway.
        let tail = tail.into_iter().rev().filter(|c| c.is_ascii_alphanumeric()).collect();
        let account = keys.account_id().map(|account| account.as_str().to_owned());
        Self { tail, place: CredentialPlace::of(keys), account }
    }
}

/// Which of the usual places had the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CredentialPlace {
    Environment,
    Profile,
    WebIdentity,
    Container,
    Instance,
    Unknown,
}

impl CredentialPlace {
    fn of(keys: &Credentials) -> Self {
        let features = keys.get_property::<Vec<Feature>>();
        let has = |feature| features.is_some_and(|features| features.contains(&feature));
        // A profile may get its keys from elsewhere, so it is checked first.
        match () {
            () if has(Feature::CredentialsProfile) => Self::Profile,
            () if has(Feature::CredentialsEnvVars) => Self::Environment,
            () if has(Feature::CredentialsImds) => Self::Instance,
            () if has(Feature::CredentialsHttp) => Self::Container,
            () if has(Feature::CredentialsProfileStsWebIdToken)
                || has(Feature::CredentialsEnvVarsStsWebIdToken) =>
            {
                Self::WebIdentity
            }
            () => Self::Unknown,
        }
    }

    fn words(self, profile: &str) -> Option<String> {
        Some(match self {
            Self::Environment => "the environment's AWS_ACCESS_KEY_ID".to_owned(),
            Self::Profile => format!("profile {profile}"),
            Self::WebIdentity => "the role of AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(),
            Self::Container => "the role of this container".to_owned(),
            Self::Instance => "the role of this instance".to_owned(),
            Self::Unknown => return None,
        })
    }
}

/// Describes the signer, such as
/// `the default credentials (the environment's AWS_ACCESS_KEY_ID, key ...MPLE)`.
pub fn words(
    origin: &CredentialOrigin,
    seen: Option<&ShownCredentials>,
    account: Option<&str>,
) -> String {
    let mut more: Vec<String> = Vec::new();
    let who = match origin {
        CredentialOrigin::Nobody => return "unsigned requests".to_owned(),
        CredentialOrigin::Fixed => return "a fixed key".to_owned(),
        CredentialOrigin::Profile(name) => format!("profile {name}"),
        CredentialOrigin::Parameter(name) => format!("the credentials in parameter {name}"),
        CredentialOrigin::Role(arn) => format!("role {arn}"),
        CredentialOrigin::Chain(profile) => {
            more.extend(seen.and_then(|seen| seen.place.words(profile)));
            "the default credentials".to_owned()
        }
    };
    more.extend(seen.map(|seen| format!("key ...{}", seen.tail)));
    let account = account.or_else(|| seen.and_then(|seen| seen.account.as_deref()));
    more.extend(account.map(|account| format!("account {account}")));
    match more.is_empty() {
        true => who,
        false => format!("{who} ({})", more.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(id: &str, feature: Feature) -> Credentials {
        let mut keys = Credentials::new(id, "hidden", None, None, "tests");
        keys.get_property_mut_or_default::<Vec<Feature>>().push(feature);
        keys
    }

    #[test]
    fn the_words_name_what_really_signed() {
        let chain = CredentialOrigin::Chain("work".to_owned());
        let said = |origin: &CredentialOrigin, id, feature, account| {
            words(origin, Some(&ShownCredentials::of(&keys(id, feature))), account)
        };
        for (feature, place) in [
            (Feature::CredentialsEnvVars, "the environment's AWS_ACCESS_KEY_ID"),
            (Feature::CredentialsImds, "the role of this instance"),
            (Feature::CredentialsHttp, "the role of this container"),
            (Feature::CredentialsProfile, "profile work"),
        ] {
            let expected = format!("the default credentials ({place}, key ...MPLE)");
            assert_eq!(said(&chain, "AKIAIOSFODNN7EXAMPLE", feature, None), expected);
        }
        let profile = CredentialOrigin::Profile("there".to_owned());
        let expected = "profile there (key ...0002, account 111122223333)";
        let account = Some("111122223333");
        assert_eq!(said(&profile, "AKIA0002", Feature::CredentialsProfile, account), expected);
        assert_eq!(words(&profile, None, None), "profile there");
        assert_eq!(words(&CredentialOrigin::Nobody, None, None), "unsigned requests");
    }
}
