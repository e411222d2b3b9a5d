//! ingest: verifies a webhook, stores it, queues it, answers. One call of [`Ingest::handle`] is one request.
//!
//! The order of work stands in `hookgate_core::gate`, what follows from a failed write in
//! `hookgate_core::lifecycle`; here the two are put around the calls.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use hookgate_aws::{
    ambient::Ambient,
    clients::{Clients, Patience},
    connections::Connections,
    env::Settings,
    metrics::one,
    outbox::Due,
    quarantine::Kept,
    queue::Queue,
    secrets::SecretStore,
    sender_keys::{SenderKeys, SenderKeysError},
    store::Store,
    trace,
};
use hookgate_core::{
    codec::{self, Message},
    config::Config,
    event::Event,
    gate::{self, Admission, Reason},
    ids::Name,
    lifecycle::{Next, Put, Sent, decide},
    order::{Lane, in_order},
    outcome::{Answer, Refusal},
    quarantine::Quarantined,
    request::{Request, route},
    secret::Secrets,
    source::Source,
    time::EpochMillis,
    verify::VerifyError,
};
use lambda_http::http::StatusCode;

pub mod gateway;

use gateway::{Call, Response};

/// How long start-up waits for connections to be made before the first request needs them.
const WARM_UP: Duration = Duration::from_millis(500);

/// The gateway.
#[derive(Debug)]
pub struct Ingest {
    /// Its configuration, of which it looks at the sources only.
    pub config: Arc<Config>,
    /// The table.
    pub store: Store,
    /// The queue.
    pub queue: Queue,
    /// The secrets.
    pub secrets: Arc<SecretStore>,
    /// The senders' public keys.
    pub keys: Arc<SenderKeys>,
    /// What is opened before the first event.
    pub connections: Connections,
    /// Sources whose quarantine has no more room on a day.
    pub full: Mutex<BTreeMap<Name, String>>,
    /// Clock and dice.
    pub ambient: Ambient,
}

impl Ingest {
    /// Wires the function from its environment.
    ///
    /// # Errors
    /// Names the variable that is missing or wrong.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let settings = Settings::read(&lookup, Config::parse_sources)?;
        let clients = Clients::from_env(&lookup, Patience::INGEST)?;
        Ok(Self {
            store: Store::new(clients.dynamodb, settings.table),
            queue: Queue::new(clients.sqs, settings.queue_url).with_ordered(settings.ordered_queue_url),
            secrets: Arc::new(SecretStore::new(&settings.secrets, &clients.secrets_manager)),
            config: Arc::new(settings.config),
            keys: Arc::new(SenderKeys::default()),
            connections: clients.connections,
            full: Mutex::default(),
            ambient: Ambient::system(),
        })
    }

    /// Makes the compressor and opens the connections that the first request will need: init has a whole processor, a
    /// small function's handler has not. A failure is only logged; the first request will meet it again and answer it.
    pub async fn warm_up(&self) {
        // The last of the three, as the others wait for the network meanwhile.
        let prepared = async { codec::prepare() };
        let all = async {
            tokio::join!(self.secrets.current(self.ambient.now()), self.connections.open(), prepared)
        };
        match tokio::time::timeout(WARM_UP, all).await {
            Ok((Ok(_), (), ())) => {}
            Ok((Err(error), (), ())) => {
                tracing::warn!(error = %error, "the secrets could not be read at start-up")
            }
            Err(_) => {
                tracing::info!(limit_ms = WARM_UP.as_millis(), "start-up did not wait for all connections")
            }
        }
    }

    /// Answers one event of a gateway, given as its JSON text, with X-Ray's header of the request if there is one.
    ///
    /// # Errors
    /// When it is no such event. Every request gets an answer.
    pub async fn handle(&self, event: &str, trace: Option<&str>) -> anyhow::Result<Response> {
        let mut call = Call::read(event).context("this is no event of API Gateway or a Function URL")?;
        let now = self.ambient.now();
        let request_id = call.request_id.take().unwrap_or_else(|| format!("{:016x}", self.ambient.random()));
        let payload = call.payload;
        let answer = self.answer(call, &request_id, trace, now).await;
        Ok(Response::write(answer, payload))
    }

    async fn answer(&self, call: Call, request_id: &str, trace: Option<&str>, now: EpochMillis) -> Answer {
        let mut line = Line {
            request_id,
            trace,
            source: None,
            now,
            received_at: call.received_at.unwrap_or(now),
            ambient: &self.ambient,
            bytes: call.body.as_ref().map_or(0, Vec::len),
        };
        let Some((source, request)) = self.request(call, now) else {
            return line.refused(Refusal::NotFound, &"no source at this path");
        };
        line.source = Some(&source.name);
        let Some(request) = request else {
            return line.refused(Refusal::Malformed, &"the body or the method can't be decoded");
        };
        let received_at = request.received_at;
        let secrets = match self.secrets.current(now).await {
            Ok(secrets) => secrets,
            Err(error) => return line.failed(&error),
        };
        let mut admission = self.admit(source, &secrets, &request, received_at).await;
        if admission.as_ref().is_ok_and(Admission::may_lack_a_secret)
            && let Some(secrets) = self.secrets.after_failure(now).await
        {
            admission = self.admit(source, &secrets, &request, received_at).await;
        }
        let admission = match admission {
            Ok(admission) => admission,
            Err(error) => return line.failed(&error),
        };
        let may_lack_a_secret = admission.may_lack_a_secret();
        match admission {
            Admission::Answer(answer) => {
                line.handshake();
                answer
            }
            Admission::Refused(reason) => match reason.refusal() {
                Refusal::Unavailable => line.failed(&reason),
                Refusal::Signature => self.refuse(source, &reason, may_lack_a_secret, &line).await,
                refusal => line.refused_by(source, refusal, &reason),
            },
            Admission::Visit { url } => match self.keys.visit(&url, now).await {
                Ok(()) => {
                    line.handshake();
                    Answer::ok("", "")
                }
                Err(error) => line.failed(&error),
            },
            Admission::Quarantine { reason } => {
                let delivery = Quarantined::new(source.name.clone(), reason.to_string(), request);
                match self.set_apart(delivery, &line).await {
                    Some(answer) => answer,
                    None => self.refuse(source, &reason, may_lack_a_secret, &line).await,
                }
            }
            Admission::Event(event) => {
                let mut answer = self.keep(source, &event, &line).await;
                if answer.status.is_success() {
                    answer.headers.extend(source.handshake.stamp(&request, &secrets.active(&source.secret)));
                }
                answer
            }
        }
    }

    /// Refuses what could not be verified.
    async fn refuse(
        &self,
        source: &Source,
        reason: &Reason,
        may_lack_a_secret: bool,
        line: &Line<'_>,
    ) -> Answer {
        // It may be signed with a secret that is newer than these. Many senders give up after a 4xx.
        if may_lack_a_secret && self.secrets.may_be_outdated().await {
            return line.failed(&format_args!("{reason}, and the secrets could not be read again"));
        }
        line.refused_by(source, Refusal::Signature, reason)
    }

    /// Keeps in quarantine what was refused; `None` where there is no room for it.
    async fn set_apart(&self, delivery: Quarantined, line: &Line<'_>) -> Option<Answer> {
        let day = line.now.day();
        let is_full = |full: &BTreeMap<Name, String>| full.get(&delivery.source) == Some(&day);
        // A full day is remembered, so that what a stranger sends after that costs nothing.
        if self.full.lock().is_ok_and(|full| is_full(&full)) {
            return None;
        }
        match self.store.quarantine(&delivery, line.now).await {
            Ok(Kept::Yes) => {
                line.quarantined(&delivery);
                let mut answer = Answer::ok("", "");
                answer.status = StatusCode::ACCEPTED;
                Some(answer)
            }
            Ok(Kept::TooLarge) => None,
            Ok(Kept::Full) => {
                tracing::warn!(source = %delivery.source, "the quarantine of {} is full for today", delivery.source);
                if let Ok(mut full) = self.full.lock() {
                    full.insert(delivery.source.clone(), day);
                }
                None
            }
            Err(error) => Some(line.failed(&error)),
        }
    }

    /// The gate's decision, with the sender's key fetched if it needs one.
    async fn admit(
        &self,
        source: &Source,
        secrets: &Secrets,
        request: &Request,
        received_at: EpochMillis,
    ) -> Result<Admission, SenderKeysError> {
        let now = self.ambient.now();
        let active = secrets.active(&source.secret);
        let known = self.keys.known(&source.verifier, request, &active, now).await;
        let mut admission = gate::admit(source, source.mode, secrets, &known, request, received_at);
        if source.verifier.fetches_keys() && admission.may_lack_a_key() {
            // The sender may have published another one since. Without those that are not fresh it is asked for again.
            let fresh = self.keys.fresh(&source.verifier, request, &active, now).await;
            admission = gate::admit(source, source.mode, secrets, &fresh, request, received_at);
        }
        let Admission::Refused(Reason::Verify(VerifyError::KeyNeeded { url })) = &admission else {
            return Ok(admission);
        };
        let known = self.keys.fetch(url, now).await?;
        Ok(gate::admit(source, source.mode, secrets, &known, request, received_at))
    }

    /// The source at the call's path and the request to it; `None` in place of the request when it can't be read.
    fn request(&self, call: Call, now: EpochMillis) -> Option<(&Source, Option<Request>)> {
        let route = route(&call.path)?;
        let source = self.config.sources.get(&Name::parse(route.source)?)?;
        let (Some(method), Some(body)) = (call.method, call.body) else { return Some((source, None)) };
        let mut url = match (&self.config.public_url, &call.domain) {
            (Some(base), _) => format!("{base}{}", route.path),
            (None, Some(domain)) => format!("https://{domain}{}", call.path),
            (None, None) => call.path.clone(),
        };
        if !call.query.is_empty() {
            url.push('?');
            url.push_str(&call.query);
        }
        let request = Request {
            method,
            url,
            query: call.query,
            headers: call.headers,
            body,
            path_type: route.path_type,
            sender: call.sender,
            // The gateway's own time: a cold start does not make a signature older.
            received_at: call.received_at.unwrap_or(now),
        };
        Some((source, Some(request)))
    }

    /// Makes an event durable, then answers.
    async fn keep(&self, source: &Source, event: &Event, line: &Line<'_>) -> Answer {
        let delivery = (self.ambient.random() >> 32).try_into().unwrap_or_default();
        let frame = match codec::encode(event, delivery) {
            Ok(frame) => frame,
            Err(error) => return line.failed(&error),
        };
        let (put, sent) = match Message::carrying(&event.source, &event.id, &frame) {
            // At the same time, as the message carries the event and needs nothing stored.
            Some(message) => {
                tokio::join!(
                    self.put(source, event, &frame),
                    self.send(&message, Sent::Carrying, event, line.trace)
                )
            }
            // One after the other, as the message points at what is stored.
            None => match self.put(source, event, &frame).await {
                Put::Failed => (Put::Failed, Sent::Failed),
                put => {
                    let message = Message::pointing(&event.source, &event.id);
                    (put, self.send(&message, Sent::Pointing, event, line.trace).await)
                }
            },
        };
        let next = decide(put, sent);
        let next = if event.order_key.is_some() { in_order(next) } else { next };
        let duplicate = match next {
            Next::Acknowledge { duplicate } => duplicate,
            Next::Outbox { duplicate } => {
                let due = Due { at: line.now, source: event.source.clone(), id: event.id.clone() };
                if let Err(error) = self.store.outbox_put(&due).await {
                    // The event is stored and the stream would find it, but the sender can do better than wait.
                    return line.failed(&error);
                }
                duplicate
            }
            Next::Unavailable if put == Put::Failed => {
                return line.failed(&"neither the table nor the queue took the event");
            }
            Next::Unavailable => {
                return line
                    .failed(&"the FIFO queue did not take the event, so it has no place in the order yet");
            }
        };
        line.kept(event, duplicate, put, sent);
        gate::acknowledge(&source.answer, event, duplicate, line.request_id)
    }

    async fn put(&self, source: &Source, event: &Event, frame: &[u8]) -> Put {
        self.store.put_event(event, frame, source.retention_days).await.unwrap_or_else(|error| {
            tracing::warn!(source = %event.source, event.id = %event.id, error = %error, "the event was not stored");
            Put::Failed
        })
    }

    async fn send(&self, message: &Message, sent: Sent, event: &Event, trace: Option<&str>) -> Sent {
        let result = match Lane::of(event) {
            None => self.queue.send(message, 0, trace).await,
            Some(lane) => self.queue.send_in_order(message, &lane, None, trace).await,
        };
        match result {
            Ok(()) => sent,
            Err(error) => {
                tracing::warn!(source = %event.source, event.id = %event.id, error = %error, "the event was not queued");
                Sent::Failed
            }
        }
    }
}

/// The one line that a request leaves in the log, with the metrics in it. Never a body, a header or anything of a
/// secret.
struct Line<'a> {
    request_id: &'a str,
    /// X-Ray's header.
    trace: Option<&'a str>,
    /// Only one of the configuration: it is a dimension of the metrics, which a stranger must not be able to add to.
    source: Option<&'a Name>,
    now: EpochMillis,
    received_at: EpochMillis,
    ambient: &'a Ambient,
    bytes: usize,
}

/// Writes a line with the fields that all of them have.
macro_rules! write_line {
    ($level:ident, $line:expr, $($rest:tt)+) => {{
        let line: &Line<'_> = $line;
        let now = line.ambient.now();
        tracing::$level!(
            timestamp = now.as_millis(),
            source = line.source.map(Name::as_str),
            request_id = line.request_id,
            trace = line.trace.and_then(trace::root),
            bytes = line.bytes,
            duration_ms = now.millis_since(line.now),
            $($rest)+
        )
    }};
}

impl Line<'_> {
    fn source(&self) -> &str {
        self.source.map_or("-", Name::as_str)
    }

    /// How long the sender has waited for a 2xx, the start of this process included. The gateway's clock is another
    /// one, so it may seem to be ahead.
    fn ack_ms(&self) -> i64 {
        self.ambient.now().millis_since(self.received_at).max(0)
    }

    /// Answered, and no event.
    fn handshake(&self) {
        write_line!(info, self, outcome = "handshake", "handshake {}", self.source());
    }

    /// Durable.
    fn kept(&self, event: &Event, duplicate: bool, put: Put, sent: Sent) {
        let (source, id) = (self.source(), event.id.as_str());
        let (stored, queued) = (one(put == Put::Stored), one(sent != Sent::Failed));
        match &event.unverified {
            Some(reason) if !duplicate => write_line!(
                warn,
                self,
                event.id = id,
                event.r#type = event.event_type,
                outcome = "observed",
                detail = reason,
                observed = 1,
                stored,
                queued,
                ack_ms = self.ack_ms(),
                "not verified, and accepted as {source} only observes: {reason}"
            ),
            _ => {
                let outcome = if duplicate { "duplicate" } else { "accepted" };
                write_line!(
                    info,
                    self,
                    event.id = id,
                    event.r#type = event.event_type,
                    outcome,
                    accepted = one(!duplicate),
                    duplicate = one(duplicate),
                    stored,
                    queued,
                    ack_ms = self.ack_ms(),
                    "{outcome} {source} {id}"
                );
            }
        }
    }

    /// Kept apart.
    fn quarantined(&self, delivery: &Quarantined) {
        write_line!(
            warn,
            self,
            outcome = "quarantined",
            quarantine.id = %delivery.id,
            detail = delivery.reason,
            quarantined = 1,
            ack_ms = self.ack_ms(),
            "quarantined {}: {}",
            self.source(),
            delivery.reason
        );
    }

    /// The sender's doing.
    fn refused(&self, refusal: Refusal, detail: &dyn std::fmt::Display) -> Answer {
        let reason = refusal.word();
        write_line!(
            info,
            self,
            outcome = "refused",
            reason,
            detail = %detail,
            refused = 1,
            "refused {}: {detail}",
            self.source()
        );
        refusal.answer(self.request_id)
    }

    /// The same where the sender may want to hear it in its own way.
    fn refused_by(&self, source: &Source, refusal: Refusal, detail: &dyn std::fmt::Display) -> Answer {
        let answer = self.refused(refusal, detail);
        let own = source.refused.and_then(|status| StatusCode::from_u16(status).ok());
        match (refusal, own) {
            (Refusal::Signature, Some(status)) => refusal.answer_with(status, self.request_id),
            _ => answer,
        }
    }

    /// Our own doing: somebody has to act.
    fn failed(&self, detail: &dyn std::fmt::Display) -> Answer {
        write_line!(
            error,
            self,
            outcome = "unavailable",
            detail = %detail,
            unavailable = 1,
            "could not accept {}: {detail}",
            self.source()
        );
        Refusal::Unavailable.answer(self.request_id)
    }
}
