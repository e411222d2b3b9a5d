//! The engines with a table and a queue, events, and a small HTTP server whose answers a test chooses.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_sdk_dynamodb::{
    config::retry::{RetryPartition, TokenBucket},
    types::AttributeValue,
};
use hookgate_aws::{
    clients::{Clients, Patience},
    queue::Queue,
    schema,
    secrets_manager::SecretsManager,
    store::Store,
};
use hookgate_core::{
    codec,
    config::Config,
    event::Event,
    ids::{EventId, Name},
    request::Request,
    time::EpochMillis,
};
use hookgate_embedded::{Clock, Engines, Fault, FaultId, How, Options, Traffic};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// 2026-05-28T20:26:40Z.
pub(crate) const START: EpochMillis = EpochMillis::from_millis(1_780_000_000_000);

pub(crate) const TABLE: &str = "hookgate";
pub(crate) const QUEUE: &str = "events";
pub(crate) const DEAD_LETTERS: &str = "events-dead";

pub(crate) const RETENTION_DAYS: u32 = 30;
pub(crate) const DAY_MS: i64 = 24 * 60 * 60_000;

/// For tests in which every call is answered, on a machine that may be busy.
pub(crate) const PATIENT: Patience =
    Patience { attempt: Duration::from_secs(10), operation: Duration::from_secs(60) };

/// For tests in which nothing is answered. One attempt is still enough for an answer that does come.
pub(crate) const IMPATIENT: Patience =
    Patience { attempt: Duration::from_millis(600), operation: Duration::from_millis(1_500) };

/// How much later than its time limit a call may return on a busy machine.
pub(crate) const SLACK: Duration = Duration::from_secs(2);

/// What stands in requests and must not stand in errors.
pub(crate) const MARKER: &str = "hunter2";

/// Every way in which a call fails, with whether it takes effect.
pub(crate) const FAILURES: [How; 8] = [
    How::Status500,
    How::Throttle,
    How::AccessDenied,
    How::Drop,
    How::ApplyThenDrop,
    How::Hang,
    How::Garbage,
    How::Apply500,
];

/// An installation.
pub(crate) struct World {
    pub(crate) engines: Engines,
    pub(crate) clock: Clock,
    pub(crate) clients: Clients,
    pub(crate) store: Store,
    pub(crate) queue: Queue,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(PATIENT).await
    }

    pub(crate) async fn with(patience: Patience) -> Self {
        let clock = Clock::manual(START.as_millis());
        let engines = Engines::start(Options::memory(clock.clone())).await.unwrap();
        assert!(engines.dynamodb().create_table(schema::definition(TABLE)).unwrap());
        engines.dynamodb().set_ttl(TABLE, schema::TTL).unwrap();
        let dead = engines.sqs().create_queue(DEAD_LETTERS, &BTreeMap::new()).unwrap();
        assert!(dead.ends_with(DEAD_LETTERS));
        let redrive =
            json!({"deadLetterTargetArn": engines.sqs().queue_arn(DEAD_LETTERS), "maxReceiveCount": 5});
        let attributes = BTreeMap::from([
            ("VisibilityTimeout".to_owned(), "360".to_owned()),
            ("MaximumMessageSize".to_owned(), "1048576".to_owned()),
            ("RedrivePolicy".to_owned(), redrive.to_string()),
        ]);
        let url = engines.sqs().create_queue(QUEUE, &attributes).unwrap();
        let clients = clients(engines.dynamodb().endpoint(), engines.sqs().endpoint(), patience);
        let store = Store::new(clients.dynamodb.clone(), TABLE);
        let queue = Queue::new(clients.sqs.clone(), url);
        Self { engines, clock, clients, store, queue }
    }

    pub(crate) fn table(&self) -> &Traffic {
        self.engines.dynamodb().traffic()
    }

    /// Breaks every request to the table of one operation, until healed.
    pub(crate) fn break_table(&self, operation: &str, how: How) -> FaultId {
        self.table().break_with(Fault { operation: Some(operation.to_owned()), ..Fault::new(how) })
    }

    /// Breaks the next request to the table of one operation.
    pub(crate) fn break_once(&self, operation: &str, how: How) -> FaultId {
        self.table().break_with(Fault {
            operation: Some(operation.to_owned()),
            times: Some(1),
            ..Fault::new(how)
        })
    }

    /// Every item of the table.
    pub(crate) async fn scan(&self) -> Vec<BTreeMap<String, AttributeValue>> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let page = self
                .clients
                .dynamodb
                .scan()
                .table_name(TABLE)
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send()
                .await
                .unwrap();
            items.extend(page.items.unwrap_or_default().into_iter().map(|item| item.into_iter().collect()));
            start = page.last_evaluated_key;
            if start.is_none() {
                return items;
            }
        }
    }

    /// One item as it is stored.
    pub(crate) async fn item(&self, pk: &str, sk: &str) -> Option<BTreeMap<String, AttributeValue>> {
        let answer = self
            .clients
            .dynamodb
            .get_item()
            .table_name(TABLE)
            .key(schema::PK, s(pk))
            .key(schema::SK, s(sk))
            .consistent_read(true)
            .send()
            .await
            .unwrap();
        answer.item.map(|item| item.into_iter().collect())
    }
}

/// Clients that share no retry quota with another test's: the SDK keeps one per process.
pub(crate) fn clients(dynamodb: String, sqs: String, patience: Patience) -> Clients {
    let partition = RetryPartition::custom("one test")
        .token_bucket(TokenBucket::builder().capacity(100_000).build())
        .build();
    let mut clients = Clients::local(dynamodb, sqs, patience);
    let config = clients.dynamodb.config().to_builder().retry_partition(partition.clone());
    clients.dynamodb = aws_sdk_dynamodb::Client::from_conf(config.build());
    let config = clients.sqs.config().to_builder().retry_partition(partition.clone());
    clients.sqs = aws_sdk_sqs::Client::from_conf(config.build());
    let (config, endpoint) = (clients.secrets_manager.config(), clients.secrets_manager.endpoint());
    clients.secrets_manager = SecretsManager::new(config.clone(), endpoint.to_owned(), Some(partition));
    clients
}

pub(crate) fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn config(text: &str) -> Config {
    Config::parse(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// A request as the gateway makes one.
pub(crate) fn request(headers: &[(&str, &str)], body: &[u8], received_at: EpochMillis) -> Request {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    Request {
        method: Method::POST,
        url: "https://hooks.example.com/webhooks/shop".into(),
        query: String::new(),
        headers: map,
        body: body.to_vec(),
        path_type: None,
        sender: None,
        received_at,
    }
}

/// An event of a source that takes any bytes.
pub(crate) fn raw_event(id: &str, body: &[u8]) -> Event {
    let config = config("[sources.raw]\nprovider = \"raw\"\nverify = \"none\"");
    let headers = [
        ("content-type", "application/octet-stream"),
        ("x-event-id", id),
        ("user-agent", "Sender/1.0"),
        ("x-event-type", "blob"),
    ];
    derive(&config, "raw", &request(&headers, body, START))
}

/// An event of a source that sends JSON.
pub(crate) fn json_event(headers: &[(&str, &str)], body: &[u8], received_at: EpochMillis) -> Event {
    let config = config(
        "[sources.shop]\nprovider = \"generic\"\nverify = \"none\"\n\
         event = { id = \"json:/id\", type = \"json:/type\", time = \"json:/at or json:/created\" }",
    );
    derive(&config, "shop", &request(headers, body, received_at))
}

/// A small event of a shop, received at a certain time. Its body has the marker in it.
pub(crate) fn order_at(id: &str, received_at: EpochMillis) -> Event {
    let at = received_at.plus_millis(-1_500).to_string();
    let body = json!({"id": id, "type": "order.paid", "at": at, "note": MARKER}).to_string();
    json_event(&[("content-type", "application/json")], body.as_bytes(), received_at)
}

/// A small event of a shop.
pub(crate) fn order(id: &str) -> Event {
    order_at(id, START)
}

fn derive(config: &Config, source: &str, request: &Request) -> Event {
    let source = &config.sources[&name(source)];
    let verified = source.verifier.verify(request, &[], request.received_at).unwrap();
    Event::new(source, &verified).unwrap()
}

pub(crate) fn frame(event: &Event) -> Vec<u8> {
    codec::encode(event, 0).unwrap()
}

pub(crate) fn id(text: &str) -> EventId {
    EventId::from_stored(text)
}

/// Bytes that nothing makes smaller, others for each seed.
pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes());
    }
    out.truncate(bytes);
    out
}

/// What a server was sent.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What a server says.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    With {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// The beginning of a body, and nothing after it.
    Half,
    Never,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self::With { status, headers: Vec::new(), body: String::new() }
    }

    pub(crate) fn header(status: u16, name: &'static str, value: impl Into<String>) -> Self {
        Self::With { status, headers: vec![(name, value.into())], body: String::new() }
    }

    pub(crate) fn json(status: u16, body: String) -> Self {
        let headers = vec![("content-type", "application/x-amz-json-1.1".to_owned())];
        Self::With { status, headers, body }
    }
}

/// A server on loopback. One connection carries one request.
pub(crate) struct Server {
    /// Such as `127.0.0.1:34567`.
    pub(crate) place: String,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Mutex<Answer>,
    got: Mutex<Vec<Got>>,
    connections: AtomicUsize,
}

impl Server {
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            answer: Mutex::new(answer),
            got: Mutex::new(Vec::new()),
            connections: AtomicUsize::new(0),
        });
        tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(serve(stream, shared.clone()));
                }
            }
        });
        Self { place, shared }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.place)
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.shared.got.lock().unwrap().clone()
    }

    /// The only request that there was.
    pub(crate) fn only(&self) -> Got {
        let got = self.got();
        assert_eq!(got.len(), 1, "{got:?}");
        got[0].clone()
    }

    /// Nobody has connected yet. Connections are taken in their order, so one of our own that is answered shows
    /// that none came before it.
    pub(crate) async fn assert_untouched(&self) {
        self.answers(Answer::status(200));
        let mut stream = TcpStream::connect(&self.place).await.unwrap();
        stream.write_all(b"GET /mine HTTP/1.1\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(self.only().target, "/mine");
        assert_eq!(self.shared.connections.load(Ordering::SeqCst), 1);
    }
}

/// A server on loopback that begins to answer one request, and never ends.
pub(crate) struct Endless {
    /// Such as `127.0.0.1:34567`.
    pub(crate) place: String,
    task: tokio::task::JoinHandle<usize>,
}

impl Endless {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read(&mut stream).await.unwrap();
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
            let mut sent = 0;
            while stream.write_all(chunk.as_bytes()).await.is_ok() {
                sent += chunk.len();
            }
            sent
        });
        Self { place, task }
    }

    /// How much it could send until the other side hung up.
    pub(crate) async fn ended(self) -> usize {
        tokio::time::timeout(Duration::from_secs(60), self.task).await.expect("nobody hangs up").unwrap()
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let Some(got) = read(&mut stream).await else { return };
    shared.got.lock().unwrap().push(got);
    let answer = shared.answer.lock().unwrap().clone();
    let Answer::With { status, headers, body } = answer else {
        if matches!(answer, Answer::Half) {
            let half =
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 9\r\n\r\n{";
            drop(stream.write_all(half).await);
        }
        // Until the other side gives up.
        drop(stream.read(&mut [0]).await);
        return;
    };
    let mut text =
        format!("HTTP/1.1 {status} Any\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(&body);
    drop(stream.write_all(text.as_bytes()).await);
}

async fn read(stream: &mut TcpStream) -> Option<Got> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut lines = bytes[..head_end].split(|byte| *byte == b'\n');
    let first = String::from_utf8(lines.next()?.to_vec()).ok()?;
    let mut words = first.split_ascii_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    let length = headers.get("content-length").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Got { method, target, headers, body })
}
