//! `hookgate reconcile`: what a provider sent and the store does not have is brought in. The providers are servers on
//! loopback that answer as the real APIs document.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Method, Response, StatusCode},
};
use data_encoding::HEXLOWER;
use futures::{StreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use hookgate_aws::ambient::Ambient;
use hookgate_core::time::EpochMillis;
use reqwest::Client;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{net::TcpListener, time::timeout};

use crate::{
    backend::{PATIENCE, eventually},
    program::{Ended, Place},
};

const TOKEN: &str = "ghp_not-a-real-token";
const KEY: &str = "rk_test_not_a_real_key";
const MINUTE_MS: i64 = 60_000;

/// What an API has been made to answer next, in place of what it would.
#[derive(Clone)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

impl Reply {
    fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    fn json(status: u16, body: &Value) -> Self {
        Self::new(status, body.to_string())
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn response(self) -> Response<Body> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(Body::from(self.body)).unwrap()
    }
}

/// A provider on loopback.
struct Fake<T> {
    url: String,
    state: Arc<Mutex<T>>,
}

impl<T: Send + 'static> Fake<T> {
    async fn start<H, F>(state: T, handler: H) -> Self
    where
        H: Fn(Arc<Mutex<T>>, Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(state));
        let handle = {
            let state = state.clone();
            move |request: Request| handler(state.clone(), request)
        };
        tokio::spawn(async move {
            axum::serve(listener, Router::new().fallback(handle)).await.unwrap();
        });
        Self { url, state }
    }

    fn state(&self) -> MutexGuard<'_, T> {
        self.state.lock().unwrap()
    }
}

async fn run(place: &Place, arguments: &[&str]) -> Ended {
    let mut command = place.command(arguments);
    command.env("GITHUB_TOKEN", TOKEN).env("STRIPE_API_KEY", KEY).env("NO_PROXY", "127.0.0.1");
    let output = timeout(PATIENCE, command.output()).await.expect("it goes on and on").unwrap();
    let ended = Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    for secret in [TOKEN, KEY] {
        assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret), "{arguments:?}");
    }
    ended
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let decode = |text: &str| text.replace("%5B", "[").replace("%5D", "]").replace("%3D", "=");
    pairs.map(|(name, value)| (decode(name), decode(value))).find(|(key, _)| key == name).map(|(_, v)| v)
}

fn header<'r>(request: &'r Request, name: &str) -> &'r str {
    request.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn ago(now: EpochMillis, minutes: i64) -> EpochMillis {
    now.plus_millis(-minutes * MINUTE_MS)
}

// GitHub.

/// One attempt of a delivery, and the event that it was about.
#[derive(Clone)]
struct Attempt {
    id: u64,
    number: usize,
    at: EpochMillis,
    redelivery: bool,
    status: (&'static str, i64),
}

impl Attempt {
    fn guid(&self) -> String {
        format!("0b989ba4-242f-11e5-81e1-{:012}", self.number)
    }

    /// As <https://docs.github.com/en/rest/repos/webhooks#list-deliveries-for-a-repository-webhook> shows it.
    fn document(&self) -> Value {
        json!({
            "id": self.id, "guid": self.guid(), "delivered_at": self.at.to_string(), "redelivery": self.redelivery,
            "duration": 0.27, "status": self.status.0, "status_code": self.status.1, "event": "issues",
            "action": if self.number.is_multiple_of(2) { "opened" } else { "closed" }, "installation_id": null,
            "repository_id": 456, "throttled_at": null,
        })
    }
}

#[derive(Default)]
struct GitHub {
    /// The newest first, as in the list.
    attempts: Vec<Attempt>,
    /// Where the webhook posts to, and its secret.
    gateway: String,
    secret: String,
    /// Attempts that were asked for.
    asked: Vec<u64>,
    pages: usize,
    next: VecDeque<Reply>,
    /// Instead of a redelivery with this id.
    refused: Option<(u64, Reply)>,
}

const HOOK: &str = "/repos/octo-org/web.site/hooks/12/deliveries";

async fn github(state: Arc<Mutex<GitHub>>, request: Request) -> Response<Body> {
    let mut state = state.lock().unwrap();
    if let Some(reply) = state.next.pop_front() {
        return reply.response();
    }
    if header(&request, "authorization") != format!("Bearer {TOKEN}") {
        return Reply::json(401, &json!({"message": "Bad credentials"})).response();
    }
    assert_eq!(header(&request, "accept"), "application/vnd.github+json");
    assert_eq!(header(&request, "x-github-api-version"), "2022-11-28");
    assert!(header(&request, "user-agent").starts_with("hookgate/"), "GitHub refuses what has none");
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let Some(rest) = path.strip_prefix(HOOK) else {
        return Reply::json(404, &json!({"message": "Not Found"})).response();
    };
    if *request.method() == Method::GET && rest.is_empty() {
        state.pages += 1;
        let per_page: usize = parameter(&query, "per_page").map_or(30, |number| number.parse().unwrap());
        assert!(per_page <= 100);
        let from = parameter(&query, "cursor").map_or(0, |cursor| {
            let id: u64 = cursor.strip_prefix("v1_").unwrap().trim_end_matches('=').parse().unwrap();
            state.attempts.iter().position(|attempt| attempt.id == id).unwrap()
        });
        let page: Vec<Value> =
            state.attempts.iter().skip(from).take(per_page).map(Attempt::document).collect();
        let mut response = Response::builder().header("content-type", "application/json; charset=utf-8");
        if let Some(next) = state.attempts.get(from + per_page) {
            // The address is GitHub's own, of another path.
            let next = format!(
                "<https://api.github.com/repositories/456/hooks/12/deliveries?per_page={per_page}&cursor=v1_{}%3D>; rel=\"next\"",
                next.id
            );
            response = response.header("link", next);
        }
        return response.body(Body::from(Value::Array(page).to_string())).unwrap();
    }
    let id: Option<u64> =
        rest.strip_prefix('/').and_then(|rest| rest.strip_suffix("/attempts")).and_then(|id| id.parse().ok());
    let Some(attempt) = id.and_then(|id| state.attempts.iter().find(|attempt| attempt.id == id).cloned())
    else {
        return Reply::json(404, &json!({"message": "Not Found"})).response();
    };
    assert_eq!(*request.method(), Method::POST);
    if let Some((_, reply)) = state.refused.clone().filter(|(refused, _)| *refused == attempt.id) {
        return reply.response();
    }
    state.asked.push(attempt.id);
    // The delivery comes some time after the answer.
    let (gateway, secret) = (state.gateway.clone(), state.secret.clone());
    tokio::spawn(async move { assert_eq!(deliver(&gateway, &secret, &attempt).await, 200) });
    Reply::json(202, &json!({})).response()
}

/// Posts a delivery as GitHub does.
async fn deliver(gateway: &str, secret: &str, attempt: &Attempt) -> u16 {
    let action = attempt.document()["action"].clone();
    let body = json!({"action": action, "issue": {"number": attempt.number}}).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()));
    let http = Client::builder().no_proxy().build().unwrap();
    let post = http.post(format!("{gateway}/webhooks/github")).header("content-type", "application/json");
    let post = post.header("x-github-event", "issues").header("x-github-delivery", attempt.guid());
    post.header("x-hub-signature-256", signature).body(body).send().await.unwrap().status().as_u16()
}

const MISSING: [usize; 5] = [3, 40, 41, 99, 118];

/// GitHub with 120 events, one every ten minutes, of which the gateway has all but [`MISSING`].
async fn github_and_gateway(place: &Place, gateway: &str) -> Fake<GitHub> {
    let now = Ambient::system().now();
    let secret = place.secret("github");
    let first = |number: usize| Attempt {
        id: 10_000 - u64::try_from(number).unwrap() * 10,
        number,
        at: ago(now, 10 + 10 * i64::try_from(number).unwrap()),
        redelivery: false,
        status: if MISSING.contains(&number) { ("failed to connect", 502) } else { ("OK", 200) },
    };
    let mut attempts: Vec<Attempt> = (0..120).map(first).collect();
    stream::iter(attempts.iter().filter(|attempt| !MISSING.contains(&attempt.number)))
        .for_each_concurrent(8, async |attempt| assert_eq!(deliver(gateway, &secret, attempt).await, 200))
        .await;
    let again = |number: usize, id: u64, minutes: i64, status: (&'static str, i64)| Attempt {
        id,
        at: ago(now, minutes),
        redelivery: true,
        status,
        ..first(number)
    };
    attempts.push(again(40, 9_995, 11, ("Invalid HTTP Response: 401", 401)));
    // On its way, for all that is known.
    attempts.push(Attempt { id: 10_100, at: ago(now, 2), ..first(200) });
    attempts.push(again(41, 10_200, 1, ("timed out", 0)));
    // Long ago.
    attempts.extend((300..320).map(|number| Attempt {
        id: 20_000 - number as u64,
        at: ago(now, 60 * 30),
        ..first(number)
    }));
    attempts.sort_by_key(|attempt| std::cmp::Reverse(attempt.at));
    let state = GitHub { attempts, gateway: gateway.to_owned(), secret, ..GitHub::default() };
    Fake::start(state, github).await
}

fn guids(numbers: &[usize]) -> BTreeSet<String> {
    numbers.iter().map(|number| format!("0b989ba4-242f-11e5-81e1-{number:012}")).collect()
}

fn ids(lines: &[Value]) -> BTreeSet<String> {
    lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn program_reconcile_has_github_redeliver_what_is_missing() {
    let place = Place::new();
    let dev = place.dev(&[]).await;
    let fake = github_and_gateway(&place, &dev.url).await;
    let arguments = ["reconcile", "github", "--hook", "octo-org/web.site/12", "--api", &fake.url];
    let with = |more: &[&'static str]| [&arguments[..], more].concat();

    // It says what it would do, and does nothing: because it was told so, or as nobody can be asked.
    let lines = run(&place, &with(&["--dry-run", "--json"])).await.lines();
    let (missing, summary) = lines.split_at(lines.len() - 1);
    assert_eq!(ids(missing), guids(&MISSING), "{lines:?}");
    assert_eq!(
        (&summary[0]["sent"], &summary[0]["here"], &summary[0]["missing"], &summary[0]["asked"]),
        (&json!(120), &json!(115), &json!(5), &json!(0)),
        "{summary:?}"
    );
    // The oldest first, with what GitHub got for an answer last.
    assert_eq!(
        (&missing[0]["id"], &missing[0]["outcome"]),
        (&json!(guids(&[118]).first()), &json!("missing"))
    );
    assert_eq!(
        (&missing[0]["type"], &missing[0]["last_answer"]),
        (&json!("issues.opened"), &json!("502 failed to connect"))
    );
    let of = |number: usize| {
        missing.iter().find(|line| guids(&[number]).contains(line["id"].as_str().unwrap())).unwrap()
    };
    assert_eq!(of(40)["last_answer"], "401 Invalid HTTP Response: 401");
    assert_eq!(of(41)["last_answer"], "timed out");
    assert_eq!(fake.state().pages, 2, "a hundred a page, and not further back than was asked for");
    let text = run(&place, &with(&["--dry-run", "--limit", "2"])).await.ok();
    for part in
        ["sent      120", "missing   5", "LAST ANSWER", "and 3 more", "the webhook octo-org/web.site/12"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let ended = run(&place, &arguments).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("redeliver 5, 1 a second") && ended.stderr.contains("--yes"),
        "{}",
        ended.stderr
    );
    assert!(fake.state().asked.is_empty(), "nothing was done so far");
    // Only some.
    let lines =
        run(&place, &with(&["--dry-run", "--json", "--type", "*.closed", "--since", "12h"])).await.lines();
    assert_eq!(ids(&lines[..lines.len() - 1]), guids(&[3, 41]), "{lines:?}");

    // It stops at trouble, and goes on from there.
    fake.state().refused = Some((9_010, Reply::new(500, "oops")));
    let ended = run(&place, &with(&["--yes", "--rate", "1000"])).await;
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    assert!(
        ended.stderr.contains("stopped after 1 of 5: GitHub has trouble of its own (500)"),
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.contains("asked     issues.opened"), "{}", ended.stdout);
    eventually("one has come", || async { (place.list().await.len() == 116).then_some(()) }).await;
    // One that GitHub refuses does not hold up the others.
    fake.state().refused = Some((9_010, Reply::json(422, &json!({"message": "Validation Failed"}))));
    let ended = run(&place, &with(&["--yes", "--rate", "1000", "--json"])).await;
    assert_eq!(ended.code, 1);
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let outcomes: Vec<&str> = lines[..4].iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["failed", "asked", "asked", "asked"], "{lines:?}");
    let detail = lines[0]["detail"].as_str().unwrap();
    assert!(detail.contains("422: Validation Failed") && detail.contains("«Webhooks»"), "{detail}");
    assert_eq!((&lines[4]["asked"], &lines[4]["failed"]), (&json!(3), &json!(1)));
    fake.state().refused = None;
    eventually("they have come", || async { (place.list().await.len() == 119).then_some(()) }).await;
    let text = run(&place, &with(&["--yes", "--rate", "1000"])).await.ok();
    assert!(text.contains("GitHub was asked for 1, 0 failed"), "{text}");

    // Everything is there, each asked for once, by its newest attempt.
    let listed = place.all_done(120).await;
    assert!(ids(&listed).is_superset(&guids(&MISSING)));
    assert_eq!(place.show(guids(&[40]).first().unwrap()).await["type"], "issues.opened");
    assert_eq!(fake.state().asked, [8_820, 10_200, 9_970, 9_995, 9_010]);
    let lines = run(&place, &with(&["--yes", "--json"])).await.lines();
    assert_eq!((lines.len(), &lines[0]["missing"], &lines[0]["here"]), (1, &json!(0), &json!(120)));
    drop(dev);
}

#[tokio::test(flavor = "multi_thread")]
async fn program_reconcile_says_what_is_wrong_with_github() {
    let place = Place::new();
    let config = "[sources.github]\nprovider = \"github\"\nretention_days = 7\n[sources.hang]\nprovider = \"hang\"\n\
                  [sources.own]\nprovider = \"github\"\nevent = { id = \"json:/issue/id\" }\n";
    fs::write(place.path("hookgate.toml"), config).unwrap();
    let dev = place.dev(&[]).await;
    let fake = Fake::start(GitHub::default(), github).await;
    let base = ["reconcile", "github", "--yes", "--hook", "octo-org/web.site/12", "--api", &fake.url];

    let rest = || {
        Reply::json(403, &json!({"message": "You have exceeded a secondary rate limit"}))
            .with("retry-after", "0")
    };
    for (replies, part) in [
        (
            vec![Reply::json(401, &json!({"message": format!("Bad credentials {TOKEN}")}))],
            "GitHub does not accept the token in GITHUB_TOKEN (401: Bad credentials [redacted])",
        ),
        (
            vec![Reply::json(403, &json!({"message": "Resource not accessible by personal access token"}))],
            "(403: Resource not accessible by personal access token): the token needs the repository permission «Webhooks»",
        ),
        (
            vec![Reply::json(404, &json!({"message": "Not Found"}))],
            "no such webhook or delivery as octo-org/web.site/12",
        ),
        (vec![Reply::new(502, "<html>")], "GitHub has trouble of its own (502)"),
        (
            vec![Reply::new(301, "").with("location", "http://127.0.0.1:1/")],
            "GitHub says that it moved (301)",
        ),
        (vec![Reply::new(200, "<html>")], "no list of deliveries: is --api right?"),
        (vec![Reply::new(200, "{}")], "no list of deliveries"),
        (
            vec![Reply::json(200, &json!([{"id": 1, "guid": "g", "event": "e", "delivered_at": "then"}]))],
            "no list of deliveries",
        ),
        (vec![rest(); 5], "again and again"),
    ] {
        fake.state().next = replies.into();
        let ended = run(&place, &base).await;
        assert_eq!(ended.code, 1, "{part}");
        assert!(ended.stderr.contains(part) && ended.stderr.lines().count() == 1, "{part}: {}", ended.stderr);
        assert!(fake.state().next.is_empty());
    }
    // What passes is waited for, as long as GitHub says.
    let used_up = Reply::new(429, "").with("x-ratelimit-remaining", "0").with("x-ratelimit-reset", "1");
    fake.state().next = VecDeque::from([rest(), used_up, rest()]);
    assert!(run(&place, &base).await.ok().contains("sent      0"));
    // But not for an hour.
    let hour = Reply::new(403, "").with("x-ratelimit-remaining", "0").with("x-ratelimit-reset", "9999999999");
    fake.state().next = VecDeque::from([hour]);
    let ended = run(&place, &base).await;
    assert!(ended.code == 1 && ended.stderr.contains("used up until 2286-11-20"), "{}", ended.stderr);

    for (arguments, part) in [
        (["reconcile", "nobody", "--hook", "o/1"].as_slice(), "there are: github, hang, own"),
        (&["reconcile", "hang"], "only github and stripe"),
        (&["reconcile", "github"], "--hook OWNER/REPO/ID"),
        (&["reconcile", "own", "--hook", "o/1"], "json:/issue/id, which GitHub's list does not tell"),
        (&["reconcile", "github", "--hook", "o/1", "--to", "http://127.0.0.1:1"], "--to is for stripe"),
        (&["reconcile", "github", "--hook", "o/1", "--since", "8d"], "keeps its events for 7 days"),
        (&["reconcile", "github", "--hook", "o/1", "--since", "1m"], "has to be before --until"),
        (&["reconcile", "github", "--hook", "o/1", "--api", "http://192.0.2.1"], "in the clear"),
        (
            &["reconcile", "github", "--hook", "o/1", "--api", "http://127.0.0.1:1"],
            "http://127.0.0.1:1) could not be reached",
        ),
    ] {
        let ended = run(&place, arguments).await;
        assert_eq!(ended.code, 1, "{part}");
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    let mut without = place.command(&base);
    let output = without.env_remove("GITHUB_TOKEN").output().await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("GITHUB_TOKEN is not set"), "{text}");
    for wrong in [
        ["reconcile"].as_slice(),
        &["reconcile", "github", "--hook", "octo"],
        &["reconcile", "github", "--since", "yesterday"],
        &["reconcile", "github", "--rate", "0"],
        &["reconcile", "github", "--type", "a[b]"],
    ] {
        assert_eq!(run(&place, wrong).await.code, 2, "{wrong:?}");
    }
    drop(dev);
}

// Stripe.

#[derive(Default)]
struct Stripe {
    /// The text of each event, the newest first.
    events: Vec<(String, i64, String)>,
    endpoints: Vec<Value>,
    /// Queries that were asked.
    asked: Vec<String>,
    next: VecDeque<Reply>,
}

async fn stripe(state: Arc<Mutex<Stripe>>, request: Request) -> Response<Body> {
    let mut state = state.lock().unwrap();
    if let Some(reply) = state.next.pop_front() {
        return reply.response();
    }
    if header(&request, "authorization") != format!("Bearer {KEY}") {
        return Reply::json(
            401,
            &json!({"error": {"message": "Invalid API Key provided", "type": "invalid_request_error"}}),
        )
        .response();
    }
    assert_eq!(*request.method(), Method::GET);
    let query = request.uri().query().unwrap_or_default().to_owned();
    let path = request.uri().path().to_owned();
    state.asked.push(format!("{path}?{query}"));
    let limit: usize = parameter(&query, "limit").map_or(10, |number| number.parse().unwrap());
    assert!((1..=100).contains(&limit));
    let after = parameter(&query, "starting_after");
    let number = |name: &str| parameter(&query, name).map(|number| number.parse::<i64>().unwrap());
    let all: Vec<(String, String)> = match path.as_str() {
        "/v1/events" => {
            let (gte, lte) =
                (number("created[gte]").unwrap_or(0), number("created[lte]").unwrap_or(i64::MAX));
            let types: Vec<&str> =
                query.split('&').filter_map(|pair| pair.strip_prefix("types%5B%5D=")).collect();
            let events = state.events.iter().filter(|(_, created, _)| (gte..=lte).contains(created));
            let wanted = |text: &str| {
                let document: Value = serde_json::from_str(text).unwrap();
                types.is_empty() || types.contains(&document["type"].as_str().unwrap())
            };
            events
                .filter(|(_, _, text)| wanted(text))
                .map(|(id, _, text)| (id.clone(), text.clone()))
                .collect()
        }
        "/v1/webhook_endpoints" => {
            let endpoints = state.endpoints.iter();
            endpoints
                .map(|endpoint| (endpoint["id"].as_str().unwrap().to_owned(), endpoint.to_string()))
                .collect()
        }
        _ => return Reply::json(404, &json!({"error": {"message": "Unrecognized request URL"}})).response(),
    };
    let from = after.map_or(0, |after| all.iter().position(|(id, _)| *id == after).unwrap() + 1);
    let page: Vec<&str> = all.iter().skip(from).take(limit).map(|(_, text)| text.as_str()).collect();
    let has_more = all.len() > from + page.len();
    // As Stripe prints it, so that an event's own text can be told from one that was parsed and written anew.
    let body = format!(
        "{{\n  \"object\": \"list\",\n  \"data\": [\n    {}\n  ],\n  \"has_more\": {has_more},\n  \"url\": \"{path}\"\n}}",
        page.join(",\n    ")
    );
    Reply::new(200, body).response()
}

/// An event as <https://docs.stripe.com/api/events/object> shows it.
fn stripe_event(number: usize, created: i64) -> (String, i64, String) {
    let id = format!("evt_1Test{number:06}");
    let kind = ["invoice.paid", "charge.refunded", "customer.created"][number % 3];
    let text = format!(
        "{{\n      \"id\": \"{id}\",\n      \"object\": \"event\",\n      \"created\": {created},\n      \"data\": {{\"object\": {{\"id\": \
         \"in_{number}\", \"amount_due\": 0, \"note\": \"Zo\\u00eb\"}}}},\n      \"type\": \"{kind}\"\n    }}"
    );
    (id, created, text)
}

async fn post_stripe(gateway: &str, secret: &str, text: &str) {
    let now = Ambient::system().now().as_seconds();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{now}.{text}").as_bytes());
    let signature = format!("t={now},v1={}", HEXLOWER.encode(&mac.finalize().into_bytes()));
    let http = Client::builder().no_proxy().build().unwrap();
    let post = http.post(format!("{gateway}/webhooks/stripe")).header("content-type", "application/json");
    let answer = post.header("stripe-signature", signature).body(text.to_owned()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

/// Stripe with 240 events of three types, of two of which the gateway is sent; it has all of those but a few.
async fn stripe_and_gateway(place: &Place, gateway: &str, missing: &[usize]) -> Fake<Stripe> {
    let now = Ambient::system().now();
    let events: Vec<_> = (0..240)
        .map(|number| stripe_event(number, ago(now, 10 + i64::try_from(number).unwrap()).as_seconds()))
        .collect();
    let secret = place.secret("stripe");
    let sent = events.iter().enumerate().filter(|(number, _)| number % 3 != 2 && !missing.contains(number));
    stream::iter(sent)
        .for_each_concurrent(8, async |(_, (_, _, text))| post_stripe(gateway, &secret, text).await)
        .await;
    let endpoint = |id: &str, url: &str, types: &[&str]| {
        json!({
            "id": id, "object": "webhook_endpoint", "api_version": null, "enabled_events": types, "livemode": false,
            "status": "enabled", "url": url,
        })
    };
    let endpoints = vec![
        endpoint("we_1", "https://hooks.example.com/webhooks/other", &["*"]),
        endpoint(
            "we_2",
            "https://hooks.example.com/prod/webhooks/stripe?x=1",
            &["invoice.paid", "charge.refunded"],
        ),
    ];
    Fake::start(Stripe { events, endpoints, ..Stripe::default() }, stripe).await
}

#[tokio::test(flavor = "multi_thread")]
async fn program_reconcile_posts_what_stripe_has_and_we_have_not() {
    const MISSING: [usize; 4] = [0, 6, 121, 199];
    let place = Place::new();
    let dev = place.dev(&[]).await;
    let fake = stripe_and_gateway(&place, &dev.url, &MISSING).await;
    let arguments = ["reconcile", "stripe", "--api", &fake.url];
    let with = |more: &[&'static str]| [&arguments[..], more].concat();
    let wanted: BTreeSet<String> = MISSING.iter().map(|number| format!("evt_1Test{number:06}")).collect();

    let lines = run(&place, &with(&["--dry-run", "--json"])).await.lines();
    let (missing, summary) = lines.split_at(lines.len() - 1);
    assert_eq!(ids(missing), wanted);
    assert_eq!(
        (&summary[0]["sent"], &summary[0]["here"]),
        (&json!(160), &json!(156)),
        "only what is sent here"
    );
    let asked = fake.state().asked.clone();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[0].starts_with("/v1/webhook_endpoints?"), "{asked:?}");
    assert!(asked[1].contains("types%5B%5D=invoice.paid&types%5B%5D=charge.refunded"), "{asked:?}");
    assert!(
        !asked[1].contains("starting_after") && asked[2].contains("starting_after=evt_1Test"),
        "{asked:?}"
    );
    assert_eq!(place.list().await.len(), 156, "nothing was done so far");

    let ended = run(&place, &with(&["--yes", "--rate", "1000"])).await;
    assert!(ended.stderr.is_empty(), "{}", ended.stderr);
    let text = ended.ok();
    for part in
        ["types     invoice.paid, charge.refunded", "/webhooks/stripe: 4, 1000 a second", ", 0 failed"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    // On a busy machine an answer may be late, and the second post of that event finds it here.
    let brought = text.lines().filter(|line| line.starts_with("accepted ") || line.starts_with("duplicate "));
    assert_eq!(brought.count(), 4, "{text}");
    assert!(
        text.find("evt_1Test000199").unwrap() < text.find("evt_1Test000000").unwrap(),
        "the oldest first"
    );
    let listed = place.all_done(160).await;
    assert!(ids(&listed).is_superset(&wanted));
    // The API's own bytes, and a trace of how they came.
    let shown = place.show("evt_1Test000121").await;
    let (_, created, text) = fake.state().events[121].clone();
    assert_eq!((&shown["body"], &shown["type"]), (&json!(text), &json!("charge.refunded")));
    assert_eq!(shown["occurred_at"], EpochMillis::from_seconds(created).to_string());
    assert!(shown["headers"]["user-agent"].as_str().unwrap().ends_with("reconcile"), "{shown}");
    assert!(shown["unverified"].is_null());

    // What has arrived is no longer missing.
    let lines = run(&place, &with(&["--yes", "--json"])).await.lines();
    assert_eq!((lines.len(), &lines[0]["missing"], &lines[0]["accepted"]), (1, &json!(0), &json!(0)));
    // Told so, it takes other types.
    let lines =
        run(&place, &with(&["--dry-run", "--json", "--type", "customer.*", "--since", "1h"])).await.lines();
    let count = lines.len() - 1;
    assert!((15..=17).contains(&count) && lines[0]["type"] == "customer.created", "{count}");

    // A gateway that has it by now says so; one that has another secret does not take it.
    let other = Place::new();
    let there = other.dev(&[]).await;
    let post_here = |place: &Place| {
        let data = place.path(".hookgate").display().to_string();
        [&arguments[..], &["--yes", "--rate", "1000", "--to"]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .chain([dev.url.clone(), "--data".to_owned(), data])
            .collect::<Vec<_>>()
    };
    let foreign: Vec<String> = post_here(&other);
    let foreign: Vec<&str> = foreign.iter().map(String::as_str).collect();
    let ended = run(&place, &foreign).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("stopped after 0 of 160") && ended.stderr.contains("(401)"),
        "{}",
        ended.stderr
    );
    fs::copy(place.path(".hookgate/secrets.json"), other.path(".hookgate/secrets.json")).unwrap();
    let text = run(&place, &foreign).await.ok();
    assert!(text.contains("0 accepted, 160 here by now, 0 failed"), "{text}");
    assert_eq!(place.list().await.len(), 160);
    drop((dev, there));
}

#[tokio::test(flavor = "multi_thread")]
async fn program_reconcile_says_what_is_wrong_with_stripe() {
    let place = Place::new();
    let dev = place.dev(&[]).await;
    let fake = Fake::start(Stripe::default(), stripe).await;
    let base = ["reconcile", "stripe", "--yes", "--api", &fake.url];
    let with_type = [&base[..], &["--type", "invoice.*"]].concat();
    let error = |status: u16, message: &str| {
        Reply::json(status, &json!({"error": {"message": message, "type": "invalid_request_error"}}))
    };
    let rest = || error(429, "Too many requests").with("retry-after", "0");
    for (replies, part) in [
        (
            vec![error(401, "Invalid API Key provided: rk_test_***key")],
            "does not accept the key in STRIPE_API_KEY (401: Invalid",
        ),
        (
            vec![error(403, &format!("The provided key '{KEY}' does not have the required permissions"))],
            "key '[redacted]' does not",
        ),
        (vec![error(403, "no")], "a restricted key needs Events: Read"),
        (vec![error(404, "Unrecognized request URL")], "there is no /v1/events there (404: Unrecognized"),
        (vec![error(500, "")], "Stripe has trouble of its own (500)"),
        (vec![error(400, "Invalid integer")], "Stripe refuses this (400: Invalid integer)"),
        (vec![Reply::new(200, "<html>")], "no list: is --api right?"),
        (vec![Reply::json(200, &json!({"data": [{"id": 1}], "has_more": false}))], "no list of events"),
        (vec![Reply::json(200, &json!({"data": [], "has_more": true}))], "no list of events"),
        (vec![rest(); 5], "again and again"),
    ] {
        fake.state().next = replies.into();
        let ended = run(&place, &with_type).await;
        assert_eq!(ended.code, 1, "{part}");
        assert!(ended.stderr.contains(part) && ended.stderr.lines().count() == 1, "{part}: {}", ended.stderr);
    }
    fake.state().next = VecDeque::from([rest(), rest()]);
    assert!(run(&place, &with_type).await.ok().contains("sent      0"));
    // A list that never ends.
    let circle = Reply::json(
        200,
        &json!({"data": [{"id": "evt_1", "type": "invoice.paid", "created": 1}], "has_more": true}),
    );
    fake.state().next = VecDeque::from([circle.clone(), circle]);
    let ended = run(&place, &with_type).await;
    assert!(ended.code == 1 && ended.stderr.contains("round in circles"), "{}", ended.stderr);
    // What is not known to be sent here is not taken for missing.
    let ended = run(&place, &base).await;
    assert!(ended.code == 1 && ended.stderr.contains("…/webhooks/stripe"), "{}", ended.stderr);
    fake.state().next =
        VecDeque::from([Reply::json(200, &json!({"data": [{"id": "we_1"}], "has_more": false}))]);
    let ended = run(&place, &base).await;
    assert!(ended.code == 1 && ended.stderr.contains("no list of webhook endpoints"), "{}", ended.stderr);
    let ended = run(&place, &["reconcile", "stripe", "--hook", "app"]).await;
    assert!(ended.code == 1 && ended.stderr.contains("--hook is for github"), "{}", ended.stderr);

    let mut without = place.command(&base);
    let output = without.env_remove("STRIPE_API_KEY").output().await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("STRIPE_API_KEY is not set"), "{text}");
    // One event that the gateway can't be given: it has gone.
    let now = Ambient::system().now();
    fake.state().events = vec![stripe_event(0, ago(now, 10).as_seconds())];
    let gone = [&with_type[..], &["--to", "http://127.0.0.1:1"]].concat();
    let ended = run(&place, &gone).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("stopped after 0 of 1: http://127.0.0.1:1 could not be reached"),
        "{}",
        ended.stderr
    );
    dev.interrupt().await;
    let ended = run(&place, &with_type).await;
    assert!(ended.code == 1 && ended.stderr.contains("no local stack runs"), "{}", ended.stderr);
    // Comparing needs no gateway.
    let lines = run(&place, &[&with_type[..], &["--dry-run", "--json"]].concat()).await.lines();
    assert_eq!((lines.len(), &lines[0]["id"]), (2, &json!("evt_1Test000000")));
}
