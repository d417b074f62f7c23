//! A configuration with the files it names, read and checked: what a gateway is started with, or goes on with.

use std::path::Path;
use std::sync::Arc;

use sluice_unix::tls::{Acceptor, Connector, Identity, Session, Verify};
use sluice_wire::control::Row;

use crate::config::{Config, Endpoint, Place, Security};

/// The protocol agreed on by ALPN.
const PROTOCOL: &[u8] = b"http/1.1";

/// All that a configuration needs to be acted on. It exists whole or not at all, so a reload that fails changes nothing.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(super) config: Arc<Config>,
    /// Rows of `show config`.
    pub(super) rows: Vec<Row>,
    pub(super) acceptor: Option<Acceptor>,
    connector: Option<Connector>,
}

/// Text for the operator names the key that is wrong.
fn acceptor(identities: &[Identity<'_>], clients: Option<&str>) -> Result<Acceptor, String> {
    // Without the clients first: what fails only with them is theirs.
    let acceptor =
        Acceptor::new(identities, None, PROTOCOL).map_err(|error| format!("tls_cert_file: {error}"))?;
    let Some(clients) = clients else { return Ok(acceptor) };
    let acceptor = Acceptor::new(identities, Some(Path::new(clients)), PROTOCOL);
    acceptor.map_err(|error| format!("tls_client_ca: {error}"))
}

impl Prepared {
    /// Reads certificates and keys. `rows` answer `show config`.
    ///
    /// # Errors
    /// Text for the operator.
    pub fn new(config: Config, rows: Vec<Row>) -> Result<Self, String> {
        let settings = &config.settings;
        let (chains, keys) = (&settings.tls_cert_file, &settings.tls_key_file);
        if chains.len() != keys.len() {
            return Err("tls_cert_file and tls_key_file name different numbers of files".to_owned());
        }
        let identities: Vec<Identity<'_>> = chains
            .iter()
            .zip(keys)
            .map(|(chain, key)| Identity { chain: Path::new(chain), key: Path::new(key) })
            .collect();
        if identities.is_empty() && settings.tls_client_ca.is_some() {
            return Err("tls_client_ca is set, but tls_cert_file names no certificate".to_owned());
        }
        let accepts = config.listen.iter().any(|listen| listen.security == Security::Tls);
        let acceptor = match identities.is_empty() {
            true if accepts => {
                return Err("listen asks for TLS, but tls_cert_file names no certificate".to_owned());
            }
            true => None,
            false => Some(acceptor(&identities, settings.tls_client_ca.as_deref())?),
        };
        let connects = config.origins.iter().any(|origin| origin.security == Security::Tls);
        let roots = settings.origin_tls_ca.as_deref().map(Path::new);
        let connector =
            (connects || roots.is_some()).then(|| Connector::new(roots, Verify::Name, Some(PROTOCOL)));
        let connector = connector.transpose().map_err(|error| format!("origin_tls_ca: {error}"))?;
        let prepared = Self { config: Arc::new(config), rows, acceptor, connector };
        for origin in &prepared.config.origins {
            prepared.session(origin)?;
        }
        Ok(prepared)
    }

    /// A TLS session with an origin; `None` if it is spoken to in plain text.
    ///
    /// # Errors
    /// Text for the operator.
    pub(super) fn session(&self, origin: &Endpoint) -> Result<Option<Session>, String> {
        let (Security::Tls, Some(connector)) = (origin.security, &self.connector) else { return Ok(None) };
        let host = match &origin.place {
            Place::Tcp(address) => address.ip().to_string(),
            Place::Name(name, _) => name.clone(),
            Place::Unix(_) => return Ok(None),
        };
        connector.session(&host).map(Some).map_err(|error| format!("origin {}: {error}", origin.name))
    }
}
