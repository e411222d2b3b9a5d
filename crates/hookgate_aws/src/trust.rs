//! Whom a function believes to be AWS: Amazon's own roots, not the 140 of the system, which take longer to read than the rest
//! of a start.
//!
//! Where AWS shows a certificate of somebody else (China, a proxy that looks inside), the first try of a call fails, and
//! what comes after it asks the system's roots, as the SDK does by itself.

use std::{
    error::Error,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_smithy_http_client::{
    Connector, ConnectorBuilder,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use rustls::CertificateError;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use thiserror::Error;

use crate::guard::Guard;

/// The variable that names a file of roots, in PEM, to believe in place of Amazon's; it is that of the AWS CLI and SDKs.
///
/// Source: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html> (read 2026-11-22).
pub(crate) const BUNDLE: &str = "AWS_CA_BUNDLE";

/// The five roots of Amazon Trust Services, which has their keys' hashes and asks for all five in a trust store of one's own.
///
/// Source: <https://www.amazontrust.com/repository/> (read 2026-11-22).
const AMAZON: &[u8] = include_bytes!("amazon_roots.pem");

/// Why [`BUNDLE`] is of no use.
#[derive(Debug, Error)]
#[error("{BUNDLE} is `{path}`, which {problem}; it has to name a file of certificates in PEM")]
pub struct BundleError {
    path: String,
    problem: String,
}

/// The HTTP client of all SDK clients of a function, which share its connections and its TLS.
///
/// The SDK has one for each client, and makes it twice: when a configuration is checked, to throw it away, and for the first
/// call. Each time all roots are parsed.
#[derive(Clone, Debug)]
pub(crate) struct OneClient(Arc<Connectors>);

#[derive(Debug)]
struct Connectors {
    known: SharedHttpConnector,
    system: OnceLock<SharedHttpConnector>,
    /// Whether a certificate was shown that the known roots don't reach.
    is_unknown: Arc<AtomicBool>,
    connect_timeout: Duration,
}

impl OneClient {
    /// With Amazon's roots; a connection may take so long to be made.
    pub(crate) fn new(connect_timeout: Duration) -> Self {
        Self::trusting(AMAZON, connect_timeout)
    }

    /// With the roots of a file.
    ///
    /// # Errors
    /// [`BundleError`]
    pub(crate) fn with_bundle(path: &str, connect_timeout: Duration) -> Result<Self, BundleError> {
        let wrong = |problem: String| BundleError { path: path.to_owned(), problem };
        let pem = std::fs::read(path).map_err(|error| wrong(format!("can't be read: {error}")))?;
        let mut certificates = 0;
        // The SDK panics at what it can't read.
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| wrong(format!("can't be read: {error}")))?;
            webpki::anchor_from_trusted_cert(&certificate)
                .map_err(|error| wrong(format!("has a certificate that can't be read: {error}")))?;
            certificates += 1;
        }
        if certificates == 0 {
            return Err(wrong("has none in it".to_owned()));
        }
        Ok(Self::trusting(&pem, connect_timeout))
    }

    fn trusting(pem: &[u8], connect_timeout: Duration) -> Self {
        let is_unknown = Arc::<AtomicBool>::default();
        let connector = connector(TrustStore::empty().with_pem_certificate(pem), connect_timeout);
        let known = SharedHttpConnector::new(Known { connector, is_unknown: is_unknown.clone() });
        Self(Arc::new(Connectors { known, system: OnceLock::new(), is_unknown, connect_timeout }))
    }

    /// By the known roots, until a certificate was shown that they don't reach.
    pub(crate) fn connector(&self) -> SharedHttpConnector {
        let all = &*self.0;
        if !all.is_unknown.load(Ordering::Relaxed) {
            return all.known.clone();
        }
        let system = || SharedHttpConnector::new(connector(TrustStore::default(), all.connect_timeout));
        all.system.get_or_init(system).clone()
    }
}

/// As the SDK makes it by itself, but for the roots.
fn connector(roots: TrustStore, connect_timeout: Duration) -> Connector {
    let mut connector = ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    if let Ok(context) = TlsContext::builder().with_trust_store(roots).build() {
        connector = connector.tls_context(context);
    }
    connector
        .connector_settings(HttpConnectorSettings::builder().connect_timeout(connect_timeout).build())
        .proxy_config(ProxyConfig::from_env())
        // It does what the SDK's own resolver does. Senders' keys are fetched with a guard in this place, and a second kind of
        // resolver would be a second HTTP client in the function, as it is a parameter of its types.
        .build_with_resolver(Guard::new(&[]).opened().in_turn())
}

impl HttpClient for OneClient {
    // All clients of a function have the same settings, and their time limits are above this.
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        self.connector()
    }

    // There is no `validate_base_client_config`, which would make a connector to throw away.
}

/// Connects by the known roots, and notes when they don't reach.
#[derive(Debug)]
struct Known {
    connector: Connector,
    is_unknown: Arc<AtomicBool>,
}

impl HttpConnector for Known {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (answer, is_unknown) = (self.connector.call(request), self.is_unknown.clone());
        HttpConnectorFuture::new(async move {
            let error = match answer.await {
                Err(error) if is_issuer_unknown(&error) => error,
                answer => return answer,
            };
            if !is_unknown.swap(true, Ordering::Relaxed) {
                tracing::info!(error = %error, "this is no certificate of Amazon's; the system's roots are asked");
            }
            // Nothing was sent yet: the SDK tries again, as it does when a connection can't be made.
            Err(ConnectorError::io(error.into()))
        })
    }
}

/// Whether a connection was given up because nobody who is trusted stands behind the certificate.
fn is_issuer_unknown(error: &ConnectorError) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) = error.downcast_ref()
        {
            return true;
        }
        // `source` of an I/O error is that of what is in it.
        next = match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    false
}
