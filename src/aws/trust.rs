//! The certificate authorities that TLS connections trust: the system's, and those of the named
//! bundles.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tracing::warn;

/// The variable that names a bundle, for every call of this process.
pub const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// What a bundle must be, for messages.
pub const ALLOWED: &str =
    "a file with one or more certificates in PEM (-----BEGIN CERTIFICATE-----)";

/// The certificates of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The file.
    pub file: PathBuf,
    pem: Vec<u8>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Bundle {
    /// Reads a file; the error says what is wrong with it.
    pub fn read(file: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "does not exist".to_owned(),
            io::ErrorKind::IsADirectory => "is a folder".to_owned(),
            _ => format!("cannot be read: {error}"),
        })?;
        Self::parse(file, bytes)
    }

    fn parse(file: &Path, bytes: Vec<u8>) -> Result<Self, String> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let certificates = read.map_err(|error| format!("is damaged: {error}"))?;
        if certificates.is_empty() {
            // An ASN.1 sequence.
            let der = bytes.first() == Some(&0x30);
            let what = if der { "seems to be in DER, not in PEM" } else { "holds no certificate" };
            return Err(what.to_owned());
        }
        let mut roots = RootCertStore::empty();
        for (i, certificate) in certificates.iter().enumerate() {
            let added = roots.add(certificate.clone());
            added.map_err(|error| format!("certificate {} cannot be read: {error}", i + 1))?;
        }
        Ok(Self { file: file.to_owned(), pem: bytes, certificates })
    }
}

/// What connections trust: always the system's authorities, and also those of these bundles, so
/// that one process can reach both a store with its own authority and Amazon's services.
#[derive(Clone, Debug, Default)]
pub struct Trust(Vec<Arc<Bundle>>);

impl Trust {
    /// Adds this bundle.
    pub fn and(mut self, bundle: Option<Arc<Bundle>>) -> Self {
        self.0.extend(bundle);
        self
    }

    /// The bundles' PEM text, for a client that parses it itself.
    pub(super) fn pems(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|bundle| bundle.pem.as_slice())
    }

    /// The TLS configuration. Reading the system's authorities takes tens of milliseconds, once.
    pub(super) fn tls(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(system().iter().cloned());
        let named: Vec<_> = self.0.iter().flat_map(|b| b.certificates.iter().cloned()).collect();
        for certificate in &named {
            roots.add(certificate.clone())?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions()?;
        if named.is_empty() {
            return Ok(builder.with_root_certificates(roots).with_no_client_auth());
        }
        let verifier = NamedCertificates::new(roots, named, provider)?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        Ok(builder.with_no_client_auth())
    }
}

/// The system's authorities, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead.
fn system() -> &'static [CertificateDer<'static>] {
    static SYSTEM: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            warn!(%error, "some of the system's certificate authorities cannot be read");
        }
        found.certs
    })
}

/// Trusts what WebPKI trusts, and also a server that shows a certificate which a bundle contains.
/// Such a certificate is self-signed; `openssl req -x509` marks it as an authority, which WebPKI
/// refuses for a server.
#[derive(Debug)]
struct NamedCertificates {
    webpki: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl NamedCertificates {
    fn new(
        roots: RootCertStore,
        named: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, rustls::Error> {
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let webpki = builder.build().map_err(|e| rustls::Error::General(e.to_string()))?;
        Ok(Self { webpki, named })
    }
}

impl ServerCertVerifier for NamedCertificates {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp, now);
        match verified {
            Err(refused) if is_own_authority(&refused) && self.named.contains(end_entity) => {
                // The bundle vouches for it; its validity period was checked before this point.
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// WebPKI's error for an authority's certificate used by a server.
fn is_own_authority(refused: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = refused else {
        return false;
    };
    other.to_string().contains("CaUsedAsEndEntity")
}

/// Why TLS failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// What to do about it.
    pub(super) advice: &'static str,
    /// The server's certificate is refused, and the next try would be shown the same one. Any other
    /// failure may be temporary: a server that restarts breaks connections off, and a bad line
    /// corrupts records.
    pub(super) is_certificate: bool,
}

/// Why TLS failed, if one of these causes shows it.
pub(super) fn failed(first: Option<&(dyn StdError + 'static)>) -> Option<Failed> {
    let mut cause = first;
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            let is_certificate = matches!(tls, rustls::Error::InvalidCertificate(_));
            return advice(tls).map(|advice| Failed { advice, is_certificate });
        }
        // An I/O error hides its inner error from the chain of causes.
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = within.map(|e| e as &(dyn StdError + 'static)).or_else(|| error.source());
    }
    None
}

fn advice(error: &rustls::Error) -> Option<&'static str> {
    Some(match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            // An authority of the same name with another key causes the second error.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the server's certificate is signed by an authority that this machine does not \
                 know: name the CA's file in CaBundle of this side, or in AWS_CA_BUNDLE"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired: renew it there, or set this machine's clock"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet: is this machine's clock right?"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the server's certificate is for another name: Endpoint must use a name in the \
                 certificate (with ForcePathStyle = False the bucket is part of the name)"
            }
            _ => "the server's certificate cannot be trusted",
        },
        rustls::Error::InvalidMessage(_) => {
            "the server's answer is not TLS: is Endpoint right (http or https)?"
        }
        rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_) => {
            "the server refuses the TLS handshake: is Endpoint right (http or https)?"
        }
        _ => return None,
    })
}
