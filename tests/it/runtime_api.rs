//! The real binaries as processes: a Lambda Runtime API on loopback for `ingest` and `worker`, and where cargo puts
//! them. The API: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{
    collections::HashMap,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
    routing::{get, post},
};
use hookgate::local::TABLE;
use hookgate_aws::{
    clients::{LOCAL_CREDENTIALS, LOCAL_REGION},
    env,
};
use hookgate_embedded::Engines;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    net::TcpListener,
    process::{Child, Command},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use crate::backend::{Backend, PATIENCE, ROOT};

/// The trace of every invocation.
pub(crate) const TRACE: &str =
    "Root=1-6a18a500-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0;Lineage=1:0123abcd:0";

/// Where a binary of the workspace is. All are built when the first one is asked for, with the profile of the tests.
pub(crate) fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        // This is …/target/debug/deps/it-0123.
        let tests = std::env::current_exe().unwrap();
        let folder = tests.ancestors().nth(2).unwrap().to_owned();
        let profile = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.current_dir(ROOT).args(["build", "--quiet", "-p", "hookgate", "-p", "ingest", "-p", "worker"]);
        cargo.arg("--target-dir").arg(folder.parent().unwrap());
        cargo.args(["--profile", if profile == "debug" { "dev" } else { &profile }]);
        // What cargo tells this package about itself would make build scripts run again.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
                .iter()
                .any(|start| name.starts_with(start))
            {
                cargo.env_remove(&*name);
            }
        }
        let built = cargo.output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        folder
    });
    folder.join(name)
}

/// All that a process has written so far.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<Mutex<String>>);

impl Output {
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    /// Reads to the end.
    pub(crate) fn follow(&self, from: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<()> {
        let all = self.0.clone();
        tokio::spawn(async move {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).await.unwrap_or(0) > 0 {
                all.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        })
    }
}

/// How an invocation ended.
#[derive(Debug)]
pub(crate) enum Answer {
    /// What the function returned.
    Response(Value),
    /// What it reported.
    Error(Value),
}

impl Answer {
    /// The answer of a function that did not fail.
    #[track_caller]
    pub(crate) fn response(self) -> Value {
        match self {
            Self::Response(value) => value,
            Self::Error(error) => panic!("the function failed: {error}"),
        }
    }
}

struct Invocation {
    id: String,
    event: String,
}

struct Api {
    address: String,
    sent: AtomicUsize,
    events: mpsc::UnboundedSender<Invocation>,
    waiting: Arc<Mutex<HashMap<String, oneshot::Sender<Answer>>>>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    events: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>>,
    waiting: Arc<Mutex<HashMap<String, oneshot::Sender<Answer>>>>,
}

impl Api {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (events, received) = mpsc::unbounded_channel();
        let waiting = Arc::default();
        let shared =
            Shared { events: Arc::new(tokio::sync::Mutex::new(received)), waiting: Arc::clone(&waiting) };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(shared);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, sent: AtomicUsize::new(0), events, waiting, server }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next(State(shared): State<Shared>) -> impl IntoResponse {
    let Some(invocation) = shared.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(10);
    let headers = [
        ("lambda-runtime-aws-request-id", invocation.id),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:it".to_owned(),
        ),
        ("lambda-runtime-trace-id", TRACE.to_owned()),
        ("content-type", "application/json".to_owned()),
    ];
    (headers, invocation.event).into_response()
}

async fn response(State(shared): State<Shared>, Path(id): Path<String>, body: String) -> StatusCode {
    answered(&shared, &id, Answer::Response(serde_json::from_str(&body).unwrap()))
}

async fn error(State(shared): State<Shared>, Path(id): Path<String>, body: String) -> StatusCode {
    answered(&shared, &id, Answer::Error(serde_json::from_str(&body).unwrap()))
}

fn answered(shared: &Shared, id: &str, answer: Answer) -> StatusCode {
    match shared.waiting.lock().unwrap().remove(id).map(|waiting| waiting.send(answer)) {
        Some(_) => StatusCode::ACCEPTED,
        None => StatusCode::BAD_REQUEST,
    }
}

/// A running function.
pub(crate) struct Function {
    api: Api,
    child: Child,
    output: Output,
    readers: [JoinHandle<()>; 2],
}

/// The variables that `hookgate env` prints, for a table and queue of one's own.
pub(crate) fn variables(backend: &Backend, secrets: &std::path::Path) -> Vec<(&'static str, String)> {
    variables_of(&backend.engines, &backend.queue_url, secrets)
}

/// [`variables`] of any engines.
pub(crate) fn variables_of(
    engines: &Engines,
    queue_url: &str,
    secrets: &std::path::Path,
) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID", LOCAL_CREDENTIALS.0.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", LOCAL_CREDENTIALS.1.to_owned()),
        ("AWS_REGION", LOCAL_REGION.to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", engines.dynamodb().endpoint()),
        ("AWS_ENDPOINT_URL_SQS", engines.sqs().endpoint()),
        (env::TABLE, TABLE.to_owned()),
        (env::QUEUE_URL, queue_url.to_owned()),
        (env::SECRETS, format!("file://{}", secrets.display())),
    ]
}

impl Function {
    /// Starts a function with these variables, those that Lambda sets, and no others.
    pub(crate) async fn start(name: &str, variables: &[(&str, String)]) -> Self {
        let api = Api::start().await;
        let mut child = Command::new(binary(name))
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", &api.address)
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}"))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "2026/05/28/[$LATEST]0")
            .env("AWS_LAMBDA_LOG_LEVEL", "INFO")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = Output::default();
        let readers =
            [output.follow(child.stdout.take().unwrap()), output.follow(child.stderr.take().unwrap())];
        Self { api, child, output, readers }
    }

    /// Hands over an event; the answer comes later, or never if the process is killed.
    pub(crate) fn send(&self, event: &str) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let number = self.api.sent.fetch_add(1, Ordering::Relaxed);
        let id = format!("8476a536-e9f4-11e8-9739-{number:012x}");
        self.api.waiting.lock().unwrap().insert(id.clone(), answer);
        self.api.events.send(Invocation { id, event: event.to_owned() }).unwrap();
        answered
    }

    /// Hands over an event and waits for its answer.
    pub(crate) async fn invoke(&self, event: &str) -> Answer {
        let answer = timeout(PATIENCE, self.send(event)).await;
        answer.unwrap_or_else(|_| panic!("no answer; {}", self.output.text())).unwrap()
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it goes on running").unwrap();
        (status, self.rest().await)
    }

    /// Kills it, as Lambda does with what it no longer needs; returns all that it wrote.
    pub(crate) async fn kill(mut self) -> String {
        self.child.kill().await.unwrap();
        self.rest().await
    }

    async fn rest(self) -> String {
        for reader in self.readers {
            reader.await.unwrap();
        }
        self.output.text()
    }
}
