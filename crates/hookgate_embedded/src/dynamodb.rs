//! The DynamoDB engine: `dynoxide`, its server on a port of its own, and our front before it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use dynoxide::actions::get_records::{GetRecordsRequest, Record};
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::actions::update_time_to_live::{TimeToLiveSpecification, UpdateTimeToLiveRequest};
use dynoxide::{Database, DynoxideError, streams};
use http::{HeaderName, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::WAIT_MAX;
use crate::clock::Clock;
use crate::front::{self, Dialect, Engine};
use crate::traffic::{Traffic, contains};

/// The operations whose cost is summed up in [`Traffic::write_units`], and which may add to a stream.
const WRITES: [&str; 5] = ["BatchWriteItem", "DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"];

/// The most records one page of a stream holds, as with `GetRecords`.
const PAGE_RECORDS_MAX: usize = 1000;

/// How long a stream keeps its records:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html>, 2026-11-21.
const STREAM_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// The embedded DynamoDB. A clone is the same one.
#[derive(Clone)]
pub struct DynamoDb {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    address: SocketAddr,
    traffic: Traffic,
    /// Notified after each write which passed the front.
    written: watch::Sender<()>,
    stop: watch::Receiver<bool>,
}

/// A place in the stream of a table, just behind one record. It stays valid across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPosition(String);

impl StreamPosition {
    /// Reads what [`StreamPosition::as_str`] gave: a sequence number of 21 to 40 digits.
    pub fn parse(text: &str) -> anyhow::Result<StreamPosition> {
        if !(21..=40).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            bail!("not a stream position: {text:?}");
        }
        Ok(StreamPosition(text.to_owned()))
    }

    /// The sequence number of the record this is behind.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Some records of a stream.
#[derive(Clone, Debug)]
pub struct StreamPage {
    /// The records in the shape a Lambda function receives them, oldest first.
    pub records: Vec<Value>,
    /// Where to go on: behind the last record, or where the page began if it is empty.
    pub position: Option<StreamPosition>,
}

impl DynamoDb {
    pub(crate) fn open(
        data: Option<&Path>,
        clock: &Clock,
        address: SocketAddr,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<DynamoDb> {
        let database = match data {
            None => memory(clock).context("opening DynamoDB in memory")?,
            Some(folder) => {
                let path = folder.join("dynamodb.sqlite");
                on_disk(&path, clock).with_context(|| format!("opening {}", path.display()))?
            }
        };
        Ok(DynamoDb::over(database, address, stop))
    }

    pub(crate) fn over(database: Database, address: SocketAddr, stop: watch::Receiver<bool>) -> DynamoDb {
        let (traffic, written) = (Traffic::default(), watch::Sender::new(()));
        DynamoDb { inner: Arc::new(Inner { database, address, traffic, written, stop }) }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.inner.database
    }

    /// The endpoint for an SDK client, such as `http://127.0.0.1:8000`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.inner.address)
    }

    /// Counts and breaks the requests at the endpoint.
    pub fn traffic(&self) -> &Traffic {
        &self.inner.traffic
    }

    /// Creates a table, ready at once. `definition` is the JSON of a `CreateTable` request.
    ///
    /// False if a table of that name exists; its definition is not compared.
    ///
    /// # Errors
    ///
    /// If the definition is not valid.
    pub fn create_table(&self, definition: Value) -> anyhow::Result<bool> {
        let request = serde_json::from_value(definition).context("reading the table definition")?;
        match self.inner.database.create_table(request) {
            Ok(_) => Ok(true),
            Err(DynoxideError::ResourceInUseException(_)) => Ok(false),
            Err(error) => Err(error).context("creating the table"),
        }
    }

    /// Lets the items of a table expire by the epoch seconds in `attribute`.
    ///
    /// Nothing is deleted before [`DynamoDb::sweep_expired`] is called: AWS takes up to two days as well.
    ///
    /// # Errors
    ///
    /// If there is no such table, or items expire by another attribute.
    pub fn set_ttl(&self, table: &str, attribute: &str) -> anyhow::Result<()> {
        let request = UpdateTimeToLiveRequest {
            table_name: table.to_owned(),
            time_to_live_specification: TimeToLiveSpecification {
                attribute_name: attribute.to_owned(),
                enabled: true,
            },
        };
        self.inner
            .database
            .update_time_to_live(request)
            .with_context(|| format!("setting the TTL of {table}"))?;
        Ok(())
    }

    /// Deletes what has expired in every table and returns how many items that were.
    ///
    /// By the clock of the options in memory; on disk the engine only knows the system's time.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn sweep_expired(&self) -> anyhow::Result<usize> {
        let swept = self.inner.database.sweep_ttl().context("deleting expired items")?;
        self.inner.written.send_replace(());
        Ok(swept)
    }

    /// Reads the stream of a table, oldest record first, from behind `after` or from its beginning.
    ///
    /// Waits up to `wait` for a first record, and returns an empty page if there is none; a write through the
    /// endpoint ends the wait at once. `limit` is at most 1,000. A record is a JSON object as Lambda passes it on
    /// ([event]): `eventName` is `INSERT`, `MODIFY` or `REMOVE`, `dynamodb.Keys` is in DynamoDB's JSON.
    ///
    /// [event]: https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
    ///
    /// # Errors
    ///
    /// If the table has no stream.
    pub async fn stream(
        &self,
        table: &str,
        after: Option<&StreamPosition>,
        limit: usize,
        wait: Duration,
    ) -> anyhow::Result<StreamPage> {
        let deadline = tokio::time::Instant::now() + wait.min(WAIT_MAX);
        let mut stop = self.inner.stop.clone();
        // Subscribed before the first look, so that no write falls between the two.
        let mut written = self.inner.written.subscribe();
        loop {
            let page =
                self.page(table, after, limit).with_context(|| format!("reading the stream of {table}"))?;
            if !page.records.is_empty() || wait.is_zero() {
                return Ok(page);
            }
            tokio::select! {
                Ok(()) = written.changed() => {}
                () = tokio::time::sleep_until(deadline) => return Ok(page),
                () = front::stopping(&mut stop) => return Ok(page),
            }
        }
    }

    fn page(&self, table: &str, after: Option<&StreamPosition>, limit: usize) -> anyhow::Result<StreamPage> {
        let database = &self.inner.database;
        let metadata = database.get_table_metadata(table)?.context("no such table")?;
        let label = metadata.stream_label.filter(|_| metadata.stream_enabled).context("it has none")?;
        let arn = streams::stream_arn(table, &label);
        let iterator = database.get_shard_iterator(GetShardIteratorRequest {
            stream_arn: arn.clone(),
            shard_id: streams::shard_id(table),
            shard_iterator_type: if after.is_some() { "AFTER_SEQUENCE_NUMBER" } else { "TRIM_HORIZON" }
                .to_owned(),
            sequence_number: after.map(|position| position.0.clone()),
        })?;
        let page = database.get_records(GetRecordsRequest {
            shard_iterator: iterator.shard_iterator.context("no iterator")?,
            limit: Some(limit.clamp(1, PAGE_RECORDS_MAX)),
        })?;
        let last = page.records.last().map(|record| StreamPosition(record.dynamodb.sequence_number.clone()));
        let records = page.records.iter().map(|record| event_record(record, &arn));
        Ok(StreamPage {
            records: records.collect::<Result<_, _>>()?,
            position: last.or_else(|| after.cloned()),
        })
    }
}

/// A record of `GetRecords` as Lambda passes it on: with the stream's ARN, and whole seconds.
fn event_record(record: &Record, arn: &str) -> Result<Value, serde_json::Error> {
    let mut event = serde_json::to_value(record)?;
    if let Some(fields) = event.as_object_mut() {
        fields.insert("eventSourceARN".to_owned(), json!(arn));
    }
    if let Some(created) = event.pointer_mut("/dynamodb/ApproximateCreationDateTime")
        && let Some(seconds) = created.as_f64()
    {
        #[expect(clippy::cast_possible_truncation, reason = "the engine counts whole seconds")]
        let seconds = seconds as i64;
        *created = json!(seconds);
    }
    Ok(event)
}

fn on_disk(path: &Path, clock: &Clock) -> anyhow::Result<Database> {
    let database = Database::new(path.to_str().context("the path is not UTF-8")?)?;
    // Sets `synchronous = NORMAL` among others: a killed process loses nothing, a power cut perhaps the last
    // moments, and a write need not wait for the disk.
    database.disable_bulk_loading()?;
    prepare_streams(path, clock)?;
    Ok(database)
}

/// The engine takes a clock in memory only.
fn memory(clock: &Clock) -> anyhow::Result<Database> {
    let database = Database::memory_with_clock(Arc::new(clock.clone()))?;
    let name = crate::sqs::random_hex().context("naming a temporary file")?;
    let path = std::env::temp_dir().join(format!("dynamodb-{name}.sqlite"));
    let text = path.to_str().context("the temporary folder is not UTF-8")?;
    // A memory database is out of reach of a second connection, so it makes a detour over a file.
    let prepared = (|| {
        database.vacuum_into(text)?;
        prepare_streams(&path, clock)?;
        database.restore_from(text)?;
        anyhow::Ok(())
    })();
    std::fs::remove_file(&path).context("removing a temporary file")?;
    prepared.map(|()| database)
}

/// Gives the engine's stream records the index they lack, and forgets what AWS would have forgotten.
///
/// Each write to a table with a stream looks for the highest sequence number, each read for those behind one:
/// without the index both go through every record there is (9 ms more a write at 20,000 records, debug build).
fn prepare_streams(path: &Path, clock: &Clock) -> anyhow::Result<()> {
    let connection = rusqlite::Connection::open(path)?;
    connection
        .execute_batch(
            "CREATE INDEX IF NOT EXISTS embedded_stream_order
             ON _stream_records (table_name, CAST(sequence_number AS INTEGER))",
        )
        .context("indexing the stream records")?;
    let retention_ms = i64::try_from(STREAM_RETENTION.as_millis())?;
    let oldest_s = clock.now_ms().saturating_sub(retention_ms) / 1000;
    // The last one of each table stays: the next sequence number is counted from it.
    connection
        .execute(
            "DELETE FROM _stream_records WHERE created_at < ?1
             AND id NOT IN (SELECT MAX(id) FROM _stream_records GROUP BY table_name)",
            [oldest_s],
        )
        .context("trimming the stream records")?;
    Ok(())
}

/// The engine's own server, on a port which only the front uses.
pub(crate) struct Upstream {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub(crate) fn serve(listener: TcpListener, dynamodb: &DynamoDb) -> Upstream {
        let (stop, stopped) = oneshot::channel::<()>();
        let database = dynamodb.inner.database.clone();
        let task = tokio::spawn(async move {
            // Its sender is dropped or fires: both mean stop. Serving itself does not fail.
            let until = async move { drop(stopped.await) };
            drop(dynoxide::server::serve_with_shutdown(listener, database, until).await);
        });
        Upstream { stop: Some(stop), task }
    }

    pub(crate) async fn stopped(mut self, grace: Duration) {
        drop(self.stop.take());
        // Time out or not: dropping `self` ends it.
        drop(tokio::time::timeout(grace, &mut self.task).await);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards requests to the engine's server, and adds up what the writes cost.
pub(crate) struct Forward {
    dynamodb: DynamoDb,
    upstream: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Forward {
    pub(crate) fn new(dynamodb: DynamoDb, upstream: SocketAddr) -> Forward {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Forward { dynamodb, upstream, client }
    }

    async fn forward(&self, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = Uri::try_from(format!("http://{}{path}", self.upstream))?;
        for name in [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION] {
            parts.headers.remove(name);
        }
        let request = Request::from_parts(parts, Full::new(body));
        let (mut parts, body) = self.client.request(request).await?.into_parts();
        // The front frames the answer itself.
        parts.headers.remove(header::TRANSFER_ENCODING);
        parts.headers.remove(header::CONTENT_LENGTH);
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }
}

impl Engine for Forward {
    fn dialect(&self) -> &'static Dialect {
        // Named as the engine names its own.
        &Dialect {
            failed: (
                StatusCode::INTERNAL_SERVER_ERROR,
                "com.amazonaws.dynamodb.v20120810#InternalServerError",
            ),
            throttled: (
                StatusCode::BAD_REQUEST,
                "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
            ),
            denied: (StatusCode::BAD_REQUEST, "com.amazon.coral.service#AccessDeniedException"),
        }
    }

    async fn apply(&self, operation: &str, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
        if !WRITES.contains(&operation) {
            return self.forward(request).await;
        }
        let (parts, body) = request.into_parts();
        let (body, asked) = ask_for_capacity(body);
        let response = self.forward(Request::from_parts(parts, body)).await?;
        self.dynamodb.inner.written.send_replace(());
        if response.status() != StatusCode::OK {
            return Ok(response);
        }
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(response.body()) else {
            return Ok(response);
        };
        let units = fields.get("ConsumedCapacity").map_or(0.0, write_units);
        self.dynamodb.traffic().add_write_units(units);
        if !asked {
            return Ok(response);
        }
        fields.remove("ConsumedCapacity");
        let (mut parts, _) = response.into_parts();
        // It covers the body as it was.
        parts.headers.remove(HeaderName::from_static("x-amz-crc32"));
        Ok(Response::from_parts(parts, Value::Object(fields).to_string().into()))
    }
}

/// Has the engine report what a write costs. True if the client did not want to know.
fn ask_for_capacity(body: Bytes) -> (Bytes, bool) {
    const FIELD: &str = "ReturnConsumedCapacity";
    if contains(&body, FIELD.as_bytes()) {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(&body) else { return (body, false) };
        if matches!(fields.get(FIELD).and_then(Value::as_str), Some("TOTAL" | "INDEXES")) {
            return (body, false);
        }
        fields.insert(FIELD.to_owned(), json!("TOTAL"));
        return (Value::Object(fields).to_string().into(), true);
    }
    // The common case stays as it is byte for byte.
    let Some(rest) = body.trim_ascii_start().strip_prefix(b"{") else { return (body, false) };
    let comma = if rest.trim_ascii_start().starts_with(b"}") { "" } else { "," };
    let mut asking = format!("{{\"{FIELD}\":\"TOTAL\"{comma}").into_bytes();
    asking.extend_from_slice(rest);
    (asking.into(), true)
}

/// The write units of one `ConsumedCapacity`, or of a list of them.
fn write_units(consumed: &Value) -> f64 {
    let units = |field: &str| consumed.get(field).and_then(Value::as_f64);
    match consumed {
        Value::Array(tables) => tables.iter().map(write_units).sum(),
        // A transaction replayed by its token reports the reads it took instead.
        _ if units("ReadCapacityUnits").is_some() => units("WriteCapacityUnits").unwrap_or(0.0),
        _ => units("CapacityUnits").unwrap_or(0.0),
    }
}
