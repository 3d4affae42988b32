//! The signature of a certificate, in the format of minisign: it shows who vouches for a report.

use std::io::{Cursor, IsTerminal as _};
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use minisign::{PublicKey, PublicKeyBox, SecretKey, SecretKeyBox, SignatureBox};

use crate::error::{Error, Result};

/// The name of its file, which `minisign -Vm certificate.json` expects.
pub const FILE: &str = "certificate.json.minisig";
/// The variable with the password of a secret key.
pub const PASSWORD: &str = "S3_MIGRATION_KEY_PASSWORD";

/// A secret key to sign with.
pub struct Signer(SecretKey);

impl Signer {
    /// Reads a secret key as `minisign -G` writes it. Its password, if it has one, is `password`;
    /// without that it is asked for at the terminal.
    pub fn load(path: &Path, password: Option<String>) -> Result<Self> {
        let wrong = |why: &dyn std::fmt::Display| {
            Error::usage(format!(
                "{} is no secret key of minisign that can be used: {why}",
                path.display()
            ))
        };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
        let key = SecretKeyBox::from_string(&text).map_err(|error| wrong(&error))?;
        let opened = match has_password(&text) {
            false => key.into_unencrypted_secret_key(),
            true if password.is_none() && !std::io::stdin().is_terminal() => {
                return Err(wrong(&format!("it has a password; set {PASSWORD}")));
            }
            true => key.into_secret_key(password),
        };
        opened.map(Self).map_err(|error| wrong(&error))
    }

    /// Signs the bytes of a certificate. `comment` is part of what is signed.
    pub fn sign(&self, certificate: &[u8], comment: &str) -> Result<String> {
        let signed = minisign::sign(None, &self.0, certificate, Some(comment), None);
        signed.map(Into::into).map_err(|error| Error::invalid(format!("signing: {error}")))
    }
}

/// The second line of the file, in base64, has the name of the key derivation function in its third
/// and fourth byte, <https://jedisct1.github.io/minisign/>; zeros: there is no password.
fn has_password(key: &str) -> bool {
    let line = key.lines().nth(1).unwrap_or_default();
    BASE64_STANDARD.decode(line).is_ok_and(|bytes| bytes.get(2..4) == Some(b"Sc"))
}

/// A public key to verify with.
pub struct Verifier(PublicKey);

impl Verifier {
    /// Takes the text of a public key, or the name of its file.
    pub fn load(text: &str) -> Result<Self> {
        if let Ok(key) = PublicKey::from_base64(text.trim()) {
            return Ok(Self(key));
        }
        let wrong = |why: &dyn std::fmt::Display| {
            Error::usage(format!("{text} is neither a public key of minisign nor its file: {why}"))
        };
        let file = std::fs::read_to_string(text).map_err(|error| wrong(&error))?;
        let key = PublicKeyBox::from_string(&file).and_then(PublicKeyBox::into_public_key);
        key.map(Self).map_err(|error| wrong(&error))
    }

    /// Verifies the signature of a certificate; returns its comment. The error says what is wrong.
    pub fn verify(&self, signature: &str, certificate: &[u8]) -> Result<String, String> {
        let wrong = |why: &dyn std::fmt::Display| format!("{FILE} is no valid signature: {why}");
        let signature = SignatureBox::from_string(signature).map_err(|error| wrong(&error))?;
        let certificate = Cursor::new(certificate);
        minisign::verify(&self.0, &signature, certificate, true, false, true)
            .map_err(|error| wrong(&error))?;
        signature.trusted_comment().map_err(|error| wrong(&error))
    }
}

#[cfg(test)]
mod tests {
    use minisign::KeyPair;

    use super::*;

    #[test]
    fn only_the_signed_bytes_and_the_right_key_are_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let [secret, public] = ["secret", "public"].map(|name| folder.path().join(name));
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        std::fs::write(&secret, pair.sk.to_box(None).unwrap().to_bytes()).unwrap();
        std::fs::write(&public, pair.pk.to_box().unwrap().to_bytes()).unwrap();
        let signature =
            Signer::load(&secret, None).unwrap().sign(b"certificate", "written now").unwrap();
        for key in [public.display().to_string(), pair.pk.to_base64()] {
            let verifier = Verifier::load(&key).unwrap();
            assert_eq!(verifier.verify(&signature, b"certificate").unwrap(), "written now");
            assert!(verifier.verify(&signature, b"certificatE").is_err());
            let other = signature.replace("written now", "written then");
            assert!(verifier.verify(&other, b"certificate").is_err(), "the comment is signed");
        }
        let other = KeyPair::generate_unencrypted_keypair().unwrap().pk.to_base64();
        assert!(Verifier::load(&other).unwrap().verify(&signature, b"certificate").is_err());
        let error = Verifier::load("nothing").err().unwrap().to_string();
        assert!(error.contains("neither a public key of minisign nor its file"), "{error}");
    }

    #[test]
    fn a_key_may_have_a_password() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let pair = KeyPair::generate_encrypted_keypair(Some("p".to_owned())).unwrap();
        std::fs::write(&path, pair.sk.to_box(None).unwrap().to_bytes()).unwrap();
        let error = |password| Signer::load(&path, password).err().unwrap().to_string();
        assert!(error(Some("q".to_owned())).contains("Wrong password"));
        assert!(Signer::load(&path, Some("p".to_owned())).is_ok());
        std::fs::write(&path, "nonsense").unwrap();
        assert!(error(None).contains("is no secret key of minisign"));
    }
}
