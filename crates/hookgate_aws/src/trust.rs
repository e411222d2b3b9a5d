//! Whom a function believes to be AWS: Amazon's own roots, not the 140 of the system, which take longer to read than the rest
//! of a start.
//!
//! Where AWS shows a certificate of somebody else (China, a proxy that looks inside), the first try of a call fails, and
//! what comes after it asks the system's roots, as the SDK does by itself.

use std::{
    error::Error,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_smithy_http_client::{
    Builder, ConnectorBuilder,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    connector_metadata::ConnectorMetadata,
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
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
#[derive(Debug)]
pub(crate) struct OneClient {
    known: SharedHttpClient,
    system: SharedHttpClient,
    /// Whether a certificate was shown that the known roots don't reach.
    is_unknown: Arc<AtomicBool>,
}

impl OneClient {
    /// With Amazon's roots.
    pub(crate) fn new() -> Self {
        Self::trusting(AMAZON)
    }

    /// With the roots of a file.
    ///
    /// # Errors
    /// [`BundleError`]
    pub(crate) fn with_bundle(path: &str) -> Result<Self, BundleError> {
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
        if certificates == 0 { Err(wrong("has none in it".to_owned())) } else { Ok(Self::trusting(&pem)) }
    }

    fn trusting(pem: &[u8]) -> Self {
        Self {
            known: client(TrustStore::empty().with_pem_certificate(pem)),
            system: client(TrustStore::default()),
            is_unknown: Arc::default(),
        }
    }
}

/// As the SDK makes it by itself, but for the roots.
fn client(roots: TrustStore) -> SharedHttpClient {
    let context = TlsContext::builder().with_trust_store(roots).build();
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        if let Ok(context) = &context {
            connector = connector.tls_context(context.clone());
        }
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        // It does what the SDK's own resolver does. Senders' keys are fetched with a guard in this place, and a second kind of
        // resolver would be a second HTTP client in the function, as it is a parameter of its types.
        connector.build_with_resolver(Guard::new(&[]).opened())
    })
}

impl HttpClient for OneClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        if self.is_unknown.load(Ordering::Relaxed) {
            return self.system.http_connector(settings, components);
        }
        let known = self.known.http_connector(settings, components);
        SharedHttpConnector::new(Known { connector: known, is_unknown: self.is_unknown.clone() })
    }

    // Nor is there `validate_base_client_config`, which would make a connector to throw away.

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.known.connector_metadata()
    }
}

/// Connects by the known roots, and notes when they don't reach.
#[derive(Debug)]
struct Known {
    connector: SharedHttpConnector,
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
