//! Whom the clients believe to be AWS: asked of a server with a certificate that Amazon has not given.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_sdk_sqs::error::DisplayErrorContext;
use data_encoding::BASE64;
use hookgate_aws::clients::{Clients, Patience};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// Where this test is when it has started itself: the server that it asks.
const ENDPOINT: &str = "HOOKGATE_TEST_TRUST_ENDPOINT";

/// A stand-in for SQS behind TLS, and the authority that has signed for it.
struct Server {
    endpoint: String,
    authority: String,
    handshakes: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (handshakes, answered) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (handshakes.clone(), answered.clone());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counts) = (acceptor.clone(), counts.clone());
                tokio::spawn(async move {
                    counts.0.fetch_add(1, Ordering::Relaxed);
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut request = [0; 16 * 1024];
                    while stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
                        counts.1.fetch_add(1, Ordering::Relaxed);
                        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 20\r\n\r\n{\"QueueUrl\":\"there\"}";
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let authority = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            BASE64.encode(authority.der())
        );
        Self { endpoint, authority, handshakes, answered }
    }

    fn counts(&self) -> (usize, usize) {
        (self.handshakes.load(Ordering::Relaxed), self.answered.load(Ordering::Relaxed))
    }
}

fn variable(name: &str, endpoint: &str, bundle: Option<&Path>) -> Option<String> {
    match name {
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ENDPOINT_URL" => Some(endpoint.to_owned()),
        "AWS_CA_BUNDLE" => Some(bundle?.to_str().unwrap().to_owned()),
        _ => None,
    }
}

fn clients(endpoint: &str, bundle: Option<&Path>) -> Result<Clients, String> {
    let lookup = |name: &str| variable(name, endpoint, bundle);
    Clients::from_env(lookup, Patience::WORKER).map_err(|error| error.to_string())
}

/// A small call; `Err` has the whole chain of what went wrong.
async fn ask(clients: &Clients) -> Result<(), String> {
    let answer = clients.sqs.get_queue_url().queue_name("q").send().await;
    answer.map(drop).map_err(|error| DisplayErrorContext(error).to_string())
}

#[tokio::test]
async fn a_bundle_is_believed_at_the_first_try() {
    let server = Server::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &server.authority).unwrap();
    let clients = clients(&server.endpoint, Some(file.path())).unwrap();
    for asked in 1..=3 {
        assert_eq!(ask(&clients).await, Ok(()));
        assert_eq!(server.counts(), (1, asked));
    }
}

#[tokio::test]
async fn what_was_opened_is_used() {
    let (table, queue) = (Server::start().await, Server::start().await);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), [table.authority.as_str(), &queue.authority].concat()).unwrap();
    let lookup = |name: &str| match name {
        "AWS_ENDPOINT_URL_DYNAMODB" => Some(table.endpoint.clone()),
        _ => variable(name, &queue.endpoint, Some(file.path())),
    };
    let clients = Clients::from_env(lookup, Patience::WORKER).unwrap();
    clients.connections.open().await;
    assert_eq!((table.counts(), queue.counts()), ((1, 1), (1, 1)));
    // A task puts what is free again with the others; nothing has to come for that.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&clients).await, Ok(()));
    clients.dynamodb.list_tables().send().await.unwrap();
    assert_eq!((table.counts(), queue.counts()), ((1, 2), (1, 2)));
}

#[tokio::test]
async fn what_can_not_be_opened_is_left_to_the_first_call() {
    let server = Server::start().await;
    // By Amazon's roots and by the system's, for each of the two.
    clients(&server.endpoint, None).unwrap().connections.open().await;
    assert_eq!(server.counts(), (4, 0));
    for endpoint in ["http://127.0.0.1:1", "no URL"] {
        clients(endpoint, None).unwrap().connections.open().await;
    }
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let server = Server::start().await;
    let clients = clients(&server.endpoint, None).unwrap();
    let error = ask(&clients).await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
    // By Amazon's roots, then twice by the system's, which know no better: as often as any call is tried.
    assert_eq!(server.counts(), (3, 0));
}

#[tokio::test]
async fn where_amazons_roots_do_not_reach_the_systems_do() {
    let name = "trust::where_amazons_roots_do_not_reach_the_systems_do";
    if let Ok(endpoint) = std::env::var(ENDPOINT) {
        let clients = clients(&endpoint, None).unwrap();
        assert_eq!(ask(&clients).await, Ok(()));
        assert_eq!(ask(&clients).await, Ok(()));
        return;
    }
    let server = Server::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &server.authority).unwrap();
    // The system's roots are read once in a process, from where this variable says.
    let mut itself = Command::new(std::env::current_exe().unwrap());
    itself.args(["--exact", name]).env("SSL_CERT_FILE", file.path()).env(ENDPOINT, &server.endpoint);
    let output = tokio::task::spawn_blocking(move || itself.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(server.counts(), (2, 2), "one handshake that failed, and one for both calls");
}

#[tokio::test]
async fn a_bundle_that_is_none_is_said_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (content, problem) in [
        ("", "has none in it"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "has a certificate that can't be read",
        ),
        ("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n", "can't be read"),
    ] {
        std::fs::write(file.path(), content).unwrap();
        let error = clients("https://localhost", Some(file.path())).unwrap_err();
        assert!(error.starts_with("AWS_CA_BUNDLE is `") && error.contains(problem), "{error}");
    }
    let error = clients("https://localhost", Some(Path::new("/nowhere.pem"))).unwrap_err();
    assert!(error.contains("`/nowhere.pem`, which can't be read"), "{error}");
}
