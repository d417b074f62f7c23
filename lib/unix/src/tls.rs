//! TLS: certificates, keys and trust, read from PEM files, and the sessions made with them.
//!
//! An [`Acceptor`] answers clients, a [`Connector`] goes to servers; both are built whole or not at all, so a reload
//! that fails leaves the old one in place. A [`Session`] is handed to [`crate::conn::Conn::secure`], which then reads and
//! writes plain bytes like any other. TLS 1.2 and 1.3, no early data: it could be replayed.
//!
//! Only this module names rustls.

mod session;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, UnbufferedClientConnection, VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, ParsedCertificate, ResolvesServerCert, ServerConfig, UnbufferedServerConnection,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

pub use session::Session;
pub(crate) use session::Step;

/// Where the system keeps the certificates it trusts.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why TLS cannot be set up. Names files, never what is in them.
#[derive(Debug)]
pub enum SetupError {
    /// A file cannot be read, or is not PEM.
    File(PathBuf, String),
    /// A file holds no certificate.
    NoCertificate(PathBuf),
    /// A certificate and its key do not belong together, or the key is of no use.
    Key(PathBuf, String),
    /// The name of the server is none.
    Name(String),
    /// The certificates to trust are of no use.
    Roots(String),
    /// There is nothing to trust: the system has no certificates where they are looked for.
    NoRoots,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, why) => write!(f, "cannot read {}: {why}", path.display()),
            Self::NoCertificate(path) => write!(f, "{} holds no certificate", path.display()),
            Self::Key(path, why) => write!(f, "cannot use the key {}: {why}", path.display()),
            Self::Name(name) => write!(f, "\"{name}\" is no name of a server"),
            Self::Roots(why) => write!(f, "cannot use the certificates to trust: {why}"),
            Self::NoRoots => f.write_str("the system's certificates are not where they are looked for"),
        }
    }
}

impl std::error::Error for SetupError {}

/// Why a session came to nothing; the source of an [`io::Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// The peer's certificate does not hold.
    Certificate(String),
    /// What the peer says is not TLS, or not as we want it.
    Protocol(String),
}

impl TlsError {
    /// The TLS error within an error of a connection, if it is one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(text) | Self::Protocol(text) => write!(f, "TLS: {text}"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        let text = error.to_string();
        match error {
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                Self::Certificate(text)
            }
            _ => Self::Protocol(text),
        }
    }
}

/// A certificate chain and its private key, as files.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The certificate and those that lead to its root.
    pub chain: &'a Path,
    /// The private key.
    pub key: &'a Path,
}

/// Makes sessions with clients.
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// Shows the identity whose certificate holds for the name the client asks for, else the first. `protocol` is
    /// agreed on by ALPN; clients that offer only others are refused, and with a file `clients` those that show no
    /// certificate that leads to one of its.
    ///
    /// # Errors
    /// [`SetupError`], also if there is no identity.
    pub fn new(
        identities: &[Identity<'_>],
        clients: Option<&Path>,
        protocol: &[u8],
    ) -> Result<Self, SetupError> {
        let provider = Arc::new(ring::default_provider());
        let keys = identities
            .iter()
            .map(|identity| certified(identity, &provider))
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(SetupError::NoCertificate(PathBuf::new()));
        }
        let verifier = clients.map(|roots| client_verifier(roots, &provider)).transpose()?;
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| SetupError::Key(PathBuf::new(), error.to_string()))?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName(keys)));
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// A session with a client that is about to begin.
    ///
    /// # Errors
    /// When the configuration allows no session.
    pub fn session(&self) -> io::Result<Session> {
        let conn = UnbufferedServerConnection::new(Arc::clone(&self.0)).map_err(failed)?;
        Ok(Session::server(conn))
    }
}

/// How much of a server's certificate has to hold, in libpq's words verify-full, verify-ca and require.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// It leads to a root, and is for the name we asked for.
    Name,
    /// It leads to a root.
    Chain,
    /// Nothing: encrypted, by whomever.
    Nothing,
}

/// Makes sessions with servers.
#[derive(Clone, Debug)]
pub struct Connector(Arc<ClientConfig>);

impl Connector {
    /// Trusts the certificates of the file `roots`; without one, those of the system. `protocol` is offered by ALPN,
    /// if there is one.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(roots: Option<&Path>, verify: Verify, protocol: Option<&[u8]>) -> Result<Self, SetupError> {
        let provider = Arc::new(ring::default_provider());
        let roots = match (roots, verify) {
            (Some(path), _) => certificates(path)?,
            (None, Verify::Nothing) => Vec::new(),
            (None, _) => system_roots()?,
        };
        let unusable = |error: &dyn fmt::Display| SetupError::Roots(error.to_string());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| unusable(&error))?;
        let trust = Trust::new(roots, verify, provider).map_err(|error| unusable(&error))?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(trust));
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = protocol.map(<[u8]>::to_vec).into_iter().collect();
        Ok(Self(Arc::new(config)))
    }

    /// A session with the server `host`, a name or an address, which is asked for by SNI and looked for in its
    /// certificate.
    ///
    /// # Errors
    /// [`SetupError::Name`], or when the configuration allows no session.
    pub fn session(&self, host: &str) -> Result<Session, SetupError> {
        let name = || SetupError::Name(host.to_owned());
        let server = ServerName::try_from(host.to_owned()).map_err(|_| name())?;
        let conn = UnbufferedClientConnection::new(Arc::clone(&self.0), server).map_err(|_| name())?;
        Ok(Session::client(conn))
    }
}

/// Certificates by the names they are for.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name.to_owned()).ok());
        let fits = |key: &&Arc<CertifiedKey>| name.as_ref().is_some_and(|name| is_for(key, name));
        self.0.iter().find(fits).or(self.0.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.end_entity_cert().ok().and_then(|cert| ParsedCertificate::try_from(cert).ok());
    parsed.is_some_and(|cert| rustls::client::verify_server_name(&cert, name).is_ok())
}

/// What is trusted of servers. Signatures are checked always.
#[derive(Debug)]
struct Trust {
    /// Checks the chain and the name; `None` where nothing of a certificate has to hold.
    inner: Option<Arc<WebPkiServerVerifier>>,
    /// The roots themselves.
    roots: Vec<CertificateDer<'static>>,
    verify: Verify,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    fn new(
        roots: Vec<CertificateDer<'static>>,
        verify: Verify,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let inner = match verify {
            Verify::Nothing => None,
            Verify::Name | Verify::Chain => {
                let mut store = RootCertStore::empty();
                store.add_parsable_certificates(roots.iter().cloned());
                let store = Arc::new(store);
                Some(WebPkiServerVerifier::builder_with_provider(store, Arc::clone(&provider)).build()?)
            }
        };
        Ok(Self { inner, roots, verify, provider })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext, Other};
        use rustls::Error::InvalidCertificate;
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last: whoever fails by it alone has passed everything else.
            Err(InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
                if self.verify == Verify::Chain =>
            {
                Ok(ServerCertVerified::assertion())
            }
            // A certificate that signed itself, and is trusted by itself, says as a rule that it is an authority, which
            // rustls takes from no server. OpenSSL does. Its dates have been looked at before that.
            Err(InvalidCertificate(Other(_))) if self.roots.iter().any(|root| root == end_entity) => {
                if self.verify == Verify::Name {
                    let parsed = ParsedCertificate::try_from(end_entity)?;
                    rustls::client::verify_server_name(&parsed, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn certified(identity: &Identity<'_>, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, SetupError> {
    let chain = certificates(identity.chain)?;
    let key = PrivateKeyDer::from_pem_file(identity.key);
    let key = key.map_err(|error| SetupError::File(identity.key.to_owned(), why(&error)))?;
    let unusable = |error: rustls::Error| SetupError::Key(identity.key.to_owned(), error.to_string());
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(unusable)?;
    Ok(Arc::new(certified))
}

fn client_verifier(
    roots: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, SetupError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates(roots)?);
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
    builder.build().map_err(|error| SetupError::Roots(error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let unreadable = |error| SetupError::File(path.to_owned(), why(&error));
    let found = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    if found.is_empty() { Err(SetupError::NoCertificate(path.to_owned())) } else { Ok(found) }
}

fn system_roots() -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let place = SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
    certificates(place.ok_or(SetupError::NoRoots)?)
}

/// What went wrong with a PEM file, without anything of its content.
fn why(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        rustls::pki_types::pem::Error::NoItemsFound => "nothing of that kind is in it".to_owned(),
        _ => "it is not PEM".to_owned(),
    }
}

fn failed(error: rustls::Error) -> io::Error {
    io::Error::other(TlsError::from(error))
}

#[cfg(test)]
mod tests;
