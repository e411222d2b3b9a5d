//! The `hookgate` command as a process, as somebody uses it who has just cloned the repository.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::PathBuf,
    process::Stdio,
};

use data_encoding::{BASE64, HEXLOWER};
use futures::{StreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use hookgate_core::lifecycle::Status;
use reqwest::Client;
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    backend::{PATIENCE, eventually},
    runtime_api::{Output, binary},
    samples::{derived, samples},
};

/// A folder with nothing in it but what the program puts there.
pub(crate) struct Place {
    folder: TempDir,
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// The JSON objects that it printed, one a line.
    #[track_caller]
    pub(crate) fn lines(self) -> Vec<Value> {
        self.ok()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("hookgate"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        Self::end(self.command(arguments)).await
    }

    pub(crate) async fn end(mut command: Command) -> Ended {
        let output = timeout(PATIENCE, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{command:?} goes on and on")).unwrap();
        Ended {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Running {
        Self::start(self.command(arguments))
    }

    pub(crate) fn start(mut command: Command) -> Running {
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (Output::default(), Output::default());
        let readers =
            [stdout.follow(child.stdout.take().unwrap()), stderr.follow(child.stderr.take().unwrap())];
        Running { child, stdout, stderr, readers, url: String::new() }
    }

    /// The gateway, once it says that it runs.
    pub(crate) async fn dev(&self, more: &[&str]) -> Running {
        let data = self.path(".hookgate");
        let arguments = [&["dev", "--port", "0", "--data", data.to_str().unwrap()], more].concat();
        let mut dev = self.spawn(&arguments);
        let says = "hookgate is running at ";
        dev.url = eventually("the gateway starts", || {
            let (stdout, stderr) = (dev.stdout.text(), dev.stderr.text());
            let over = dev.readers.iter().all(JoinHandle::is_finished);
            async move {
                assert!(!over, "it stopped: {stdout}{stderr}");
                // All of it, so that nothing is half-made.
                stdout.contains("Ctrl-C stops it.").then_some(())?;
                Some(stdout.lines().find_map(|line| line.strip_prefix(says))?.to_owned())
            }
        })
        .await;
        assert!(dev.url.starts_with("http://127.0.0.1:"), "{}", dev.url);
        dev
    }

    pub(crate) fn secrets(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path(".hookgate/secrets.json")).unwrap()).unwrap()
    }

    pub(crate) fn secret(&self, name: &str) -> String {
        self.secrets()[name][0].as_str().unwrap().to_owned()
    }

    pub(crate) async fn list(&self) -> Vec<Value> {
        // Without --since it looks through 31 days, if need be.
        self.run(&["events", "list", "--json", "--limit", "10000", "--since", "1h"]).await.lines()
    }

    /// All events, once there are so many and nothing is left to do for any of them.
    pub(crate) async fn all_done(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} events are done"), || async {
            let events = self.list().await;
            let over = events.iter().filter(|event| is_over(event)).count();
            (events.len() == count && over == count).then_some(events)
        })
        .await
    }

    pub(crate) async fn show(&self, id: &str) -> Value {
        self.run(&["events", "show", id, "--json"]).await.lines().remove(0)
    }
}

fn is_over(event: &Value) -> bool {
    ["done", "unrouted"].contains(&event["status"].as_str().unwrap())
}

fn ids(events: &[Value]) -> BTreeSet<String> {
    events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

/// A command that goes on until it is stopped.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    readers: [JoinHandle<()>; 2],
    pub(crate) url: String,
}

impl Running {
    /// Ctrl-C.
    pub(crate) async fn interrupt(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().unwrap().to_string();
        let kill = Command::new("sh").args(["-c", "kill -INT \"$0\"", &pid]).status().await.unwrap();
        assert!(kill.success());
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it goes on").unwrap();
        for reader in self.readers {
            reader.await.unwrap();
        }
        (status.code(), format!("{}{}", self.stdout.text(), self.stderr.text()))
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.child.start_kill().unwrap();
        assert_eq!(self.child.wait().await.unwrap().signal(), Some(9));
    }
}

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn what_is_sent_is_kept_and_worked_off_and_can_be_looked_at() {
    let place = Place::new();
    let dev = place.dev(&[]).await;
    let sent = place.run(&["send", "hang", "user.updated", "--json"]).await.lines().remove(0);
    assert_eq!(
        (&sent["source"], &sent["type"], &sent["status"]),
        (&json!("hang"), &json!("user.updated"), &json!(200))
    );
    let id = sent["id"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(sent["body"].as_str().unwrap()).unwrap()["event_id"], id);
    let listed = place.all_done(1).await.remove(0);
    assert_eq!(
        (&listed["id"], &listed["type"], &listed["status"]),
        (&json!(id), &json!("user.updated"), &json!("done"))
    );
    assert!(
        listed["received_at"].is_string() && listed["occurred_at"].is_string() && listed["next_at"].is_null()
    );

    let shown = place.show(&id).await;
    let sample = samples().into_iter().find(|sample| sample.name == "user.updated").unwrap();
    let (mut body, mut recorded): (Value, Value) = (
        serde_json::from_str(shown["body"].as_str().unwrap()).unwrap(),
        serde_json::from_str(&sample.body).unwrap(),
    );
    assert_eq!(body["id"], id);
    for changed in ["/id", "/webhook_sent_at", "/user/updated_at"] {
        assert_ne!(body.pointer(changed), recorded.pointer(changed), "{changed}");
        *body.pointer_mut(changed).unwrap() = Value::Null;
        *recorded.pointer_mut(changed).unwrap() = Value::Null;
    }
    assert_eq!(body, recorded, "the rest is as it was recorded");
    assert!(!shown.to_string().contains(&place.secret("hang")), "the token is kept: {shown}");
    let attempts = shown["attempts"].as_array().unwrap();
    let actions: Vec<&str> = attempts.iter().map(|attempt| attempt["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["tally", "user-profile"]);
    for attempt in attempts {
        assert_eq!(attempt["outcome"], "done");
        assert!(
            attempt["at"].as_str().unwrap().ends_with('Z') && !attempt["detail"].as_str().unwrap().is_empty()
        );
    }
    assert_eq!(place.show(&format!("hang/{id}")).await["id"], id);
    let text = place.run(&["events", "show", &id]).await.ok();
    assert!(text.contains("user.updated") && text.contains("tally"), "{text}");
    assert_eq!(place.run(&["events", "show", "nobody"]).await.code, 1);

    // Bodies that a fresh delivery leaves alone are the sample's to the last byte.
    for (name, encoding) in [("csv", "text"), ("image", "base64")] {
        place.run(&["send", "raw", name]).await.ok();
        let sample = samples().into_iter().find(|it| it.source == "raw" && it.name == name).unwrap();
        let body = sample.body().unwrap();
        let body = if encoding == "base64" { BASE64.encode(&body) } else { String::from_utf8(body).unwrap() };
        let shown = eventually("the upload is kept", || async {
            for event in place.list().await.iter().filter(|event| event["source"] == "raw" && is_over(event))
            {
                let shown = place.show(event["id"].as_str().unwrap()).await;
                if shown["body_encoding"] == encoding {
                    return Some(shown);
                }
            }
            None
        })
        .await;
        assert_eq!(shown["body"], body);
    }

    let record = place.run(&["records", "users", "--json"]).await.lines().remove(0);
    assert_eq!((&record["collection"], &record["key"]), (&json!("users"), &recorded["user"]["id"]));
    assert!(record["record"].to_string().contains("zoe.muller@example.com"), "{record}");
    let counts = place.run(&["counts", "--json"]).await.lines();
    let total: u64 = counts.iter().map(|count| count["count"].as_u64().unwrap()).sum();
    assert_eq!(total, 3, "{counts:?}");
    assert!(place.run(&["counts"]).await.ok().starts_with("DAY"));

    place.run(&["send", "hatch", "opt-out"]).await.ok();
    let inbox = eventually("the inbox has something", || async {
        let inbox = place.run(&["inbox", "--json"]).await.lines();
        (!inbox.is_empty()).then_some(inbox)
    })
    .await;
    assert_eq!(inbox[0]["name"], "crm-url");
    assert!(inbox[0]["headers"]["webhook-signature"].as_str().unwrap().starts_with("v1,"), "{inbox:?}");
    assert!(inbox[0]["body"].as_str().unwrap().contains("\"event\":\"Opt-Out\""), "{inbox:?}");
    assert_eq!(place.run(&["inbox", "nobody", "--json"]).await.lines().len(), 0);
    assert!(place.run(&["inbox", "nobody"]).await.ok().starts_with("nothing was sent to nobody; "));
    place.all_done(4).await;

    for word in ["done", "unrouted"] {
        let filtered =
            place.run(&["events", "list", "--since", "1h", "--status", word, "--json"]).await.lines();
        assert_eq!(filtered.len(), if word == "done" { 4 } else { 0 });
    }
    let filtered =
        place.run(&["events", "list", "--source", "h*", "--type", "opt-*", "--since", "5m", "--json"]).await;
    assert_eq!(filtered.lines().len(), 1);
    let table = place.run(&["events", "list", "--limit", "2"]).await.ok();
    assert!(table.starts_with("RECEIVED") && table.lines().count() == 3, "{table}");
    drop(dev);
}

#[tokio::test]
async fn every_source_can_be_sent_to() {
    let place = Place::new();
    let dev = place.dev(&[]).await;
    let mut count = 0;
    for sample in samples() {
        let sent = place.run(&["send", &sample.source, &sample.name, "--json"]).await.lines().remove(0);
        assert_eq!(sent["status"], 200, "{} {}", sample.source, sample.name);
        assert_eq!(sent["type"], sample.event_type.as_str());
        count += usize::from(sample.name != "url_verification");
    }
    let events = place.all_done(count).await;
    let sources: BTreeSet<&str> = events.iter().map(|event| event["source"].as_str().unwrap()).collect();
    assert_eq!(sources, samples().iter().map(|sample| sample.source.as_str()).collect());
    assert!(events.iter().all(|event| event["status"] == "done"), "{events:?}");
    let (code, log) = dev.interrupt().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_said() {
    let place = Place::new();
    // Nothing runs yet.
    for arguments in [
        ["send", "hang"].as_slice(),
        &["events", "list"],
        &["records", "users"],
        &["env"],
        &["events", "tail"],
    ] {
        let ended = place.run(arguments).await;
        assert_eq!(ended.code, 1, "{arguments:?}");
        assert!(ended.stderr.contains("`cargo run`"), "{arguments:?}: {}", ended.stderr);
    }
    let dev = place.dev(&[]).await;
    for source in ["hang", "standard", "github", "twilio", "raw"] {
        let ended = place.run(&["send", source, "--bad-signature"]).await;
        assert_eq!(ended.code, 1, "{source}");
        assert!(ended.stdout.contains("401"), "{source}: {}", ended.stdout);
    }
    let ended = place.run(&["send", "nobody"]).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("no source is called nobody") && ended.stderr.contains("hang, hatch"),
        "{}",
        ended.stderr
    );
    let ended = place.run(&["send", "hang", "nothing"]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("user.updated"), "{}", ended.stderr);
    for wrong in [
        ["send"].as_slice(),
        &["send", "hang", "--count", "0"],
        &["send", "hang", "--count", "many"],
        &["dance"],
        &["events"],
        &["events", "list", "--status", "happy"],
        &["events", "list", "--since", "yesterday"],
        &["dev", "--port", "99999"],
    ] {
        let ended = place.run(wrong).await;
        assert_eq!(ended.code, 2, "{wrong:?}: {}", ended.stderr);
        assert!(!ended.stderr.is_empty(), "{wrong:?}");
    }
    assert_eq!(place.run(&["send", "hang", "--rate", "0"]).await.code, 2);
    let ended = place.run(&["send", "hang", "--to", "http://127.0.0.1:1"]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("could not be reached"), "{}", ended.stderr);
    assert!(place.list().await.is_empty(), "nothing of all this is kept");
    drop(dev);
}

#[tokio::test]
async fn repetitions_are_one_event_and_a_burst_is_many() {
    let place = Place::new();
    let dev = place.dev(&[]).await;
    let sent = place.run(&["send", "stripe", "--duplicate", "--json"]).await.lines();
    let said: Vec<Value> =
        sent.iter().map(|answer| serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()).collect();
    assert_eq!(
        said.iter().map(|it| it["status"].as_str().unwrap()).collect::<Vec<_>>(),
        ["accepted", "duplicate"]
    );
    assert_eq!(said[0]["event_id"], said[1]["event_id"]);
    assert_eq!(place.all_done(1).await[0]["id"], said[0]["event_id"]);

    // What has ids of its own, and what is told by its body.
    for (number, source) in ["hang", "hatch"].into_iter().enumerate() {
        let burst =
            place.run(&["send", source, "--count", "50", "--rate", "200", "--json"]).await.lines().remove(0);
        assert_eq!((&burst["sent"], &burst["statuses"]), (&json!(50), &json!({"200": 50})), "{burst}");
        assert!(burst["seconds"].as_f64().unwrap() >= 0.24, "no more than 200 a second: {burst}");
        assert!(burst["latency_ms"]["p50"].as_f64().unwrap() > 0.0);
        place.all_done(1 + 50 * (number + 1)).await;
    }
    let counts = place.run(&["counts", "--json"]).await.lines();
    assert_eq!(counts.iter().map(|count| count["count"].as_u64().unwrap()).sum::<u64>(), 101, "each once");
    let ended = place.run(&["send", "hang", "--count", "3", "--bad-signature", "--json"]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains(r#"{"401":3}"#), "{}", ended.stdout);
    drop(dev);
}

#[tokio::test]
async fn it_starts_stops_and_starts_again() {
    let place = Place::new();
    let dev = place.dev(&[]).await;
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(".hookgate/secrets.json"), 0o600);
    assert_eq!(mode(".hookgate"), 0o700);
    let secrets = place.secrets();
    assert!(dev.stdout.text().contains("made just now"), "{}", dev.stdout.text());
    place.run(&["send", "github", "push"]).await.ok();
    let events = place.all_done(1).await;

    // Two gateways can't have one folder.
    let data = place.path(".hookgate");
    let second = place.run(&["dev", "--port", "0", "--data", data.to_str().unwrap()]).await;
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("is in use by another process"), "{}", second.stderr);
    // Nor one port.
    let port = dev.url.rsplit(':').next().unwrap();
    let third = place.run(&["dev", "--port", port, "--data", "elsewhere"]).await;
    assert_eq!(third.code, 1);
    assert!(third.stderr.contains("is taken") && third.stderr.contains("--port 0"), "{}", third.stderr);
    // The first one does not mind.
    place.run(&["send", "github", "push"]).await.ok();
    let both = place.all_done(2).await;
    assert!(ids(&both).is_superset(&ids(&events)));

    let (code, output) = dev.interrupt().await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("stopping"), "{output}");
    // What is kept can be seen while nothing runs.
    assert_eq!(ids(&place.list().await), ids(&both));
    let id = both[0]["id"].as_str().unwrap();
    assert_eq!(place.show(id).await["id"], id);
    assert!(!place.run(&["records", "users", "--json"]).await.lines().iter().any(Value::is_null));
    assert_eq!(place.run(&["send", "github"]).await.code, 1);

    let dev = place.dev(&[]).await;
    assert_eq!(ids(&place.list().await), ids(&both));
    let (before, now) = (secrets.as_object().unwrap(), place.secrets());
    for (name, secret) in before.iter().filter(|(_, secret)| secret.is_array()) {
        assert_eq!(&now[name], secret, "{name} stays");
    }
    // Addresses of the inbox follow the port.
    assert!(now["crm-url"].as_str().unwrap().starts_with(&dev.url), "{now}");
    assert!(dev.stdout.text().contains("secrets.json\n"), "{}", dev.stdout.text());
    drop(dev);
}

#[tokio::test]
async fn an_ephemeral_gateway_keeps_its_secrets_only() {
    let place = Place::new();
    let dev = place.dev(&["--ephemeral"]).await;
    place.run(&["send", "orders"]).await.ok();
    place.all_done(1).await;
    assert_eq!(dev.interrupt().await.0, Some(0));
    let left: Vec<String> = fs::read_dir(place.path(".hookgate"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, ["secrets.json"]);
}

#[tokio::test]
async fn a_gateway_that_is_killed_loses_nothing_that_it_has_answered() {
    const SENDS: usize = 200;
    /// Batches in work at once, times their size: so many can be in a worker's hands.
    const LEASED_MAX: usize = 40;
    let place = Place::new();
    let dev = place.dev(&[]).await;
    let token = place.secret("hang");
    let send = |client: Client, url: String, number: usize| {
        let body = json!({
            "id": format!("event-{number}"), "type": "user.updated", "user": {"id": format!("user-{number}")},
        });
        let request = client.post(format!("{url}/webhooks/hang?token={token}"));
        let request = request.header("content-type", "application/json").body(body.to_string());
        async move { (number, request.send().await.is_ok_and(|answer| answer.status() == 200)) }
    };
    let (http, url) = (client(), dev.url.clone());
    let mut results = stream::iter(0..SENDS).map(|n| send(http.clone(), url.clone(), n)).buffer_unordered(8);
    let (mut answered, mut refused) = (BTreeSet::new(), Vec::new());
    let mut dev = Some(dev);
    while let Some((number, accepted)) = results.next().await {
        if accepted {
            answered.insert(format!("event-{number}"));
        } else {
            refused.push(number);
        }
        if answered.len() == SENDS / 2
            && let Some(dev) = dev.take()
        {
            dev.kill().await;
        }
    }
    assert!(!refused.is_empty(), "it was killed too late to be of interest");

    // What is on disk, before anything runs again.
    let dev = place.dev(&[]).await;
    // Every event shows up, and is worked off, but for those that the killed workers still have a lease on: that
    // ends 90 s later.
    let events = eventually("every answered event is taken up", || async {
        let events = place.list().await;
        let rest = events.iter().filter(|event| !is_over(event)).count();
        let leased = events.iter().filter(|event| event["status"] == "working").count();
        (ids(&events).is_superset(&answered) && rest == leased && leased <= LEASED_MAX).then_some(events)
    })
    .await;
    assert!(events.iter().filter(|event| is_over(event)).count() >= SENDS / 2 - LEASED_MAX);

    // The senders of the others try again.
    let (http, url) = (client(), dev.url.clone());
    let again: Vec<(usize, bool)> =
        stream::iter(refused).map(|n| send(http.clone(), url.clone(), n)).buffer_unordered(8).collect().await;
    assert!(again.iter().all(|(_, accepted)| *accepted), "{again:?}");
    eventually("every event is there once", || async {
        let events = place.list().await;
        let rest = events.iter().filter(|event| !is_over(event)).count();
        (events.len() == SENDS && ids(&events).len() == SENDS && rest <= LEASED_MAX).then_some(())
    })
    .await;
    // No event is counted twice; those in a lease may not be counted yet.
    let counts: u64 = place
        .run(&["counts", "--json"])
        .await
        .lines()
        .iter()
        .map(|count| count["count"].as_u64().unwrap())
        .sum();
    let over = place.list().await.iter().filter(|event| is_over(event)).count();
    assert!(
        usize::try_from(counts).unwrap() <= SENDS && usize::try_from(counts).unwrap() >= over,
        "{counts} of {over}"
    );
    assert_eq!(dev.interrupt().await.0, Some(0));
}

#[tokio::test]
async fn check_reads_the_configuration_and_names_every_line_that_is_wrong() {
    let place = Place::new();
    let text = place.run(&["check"]).await.ok();
    for word in ["/webhooks/hang", "program.*", "standard-webhooks", "notify-team", "no local secrets yet"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    // What depends on something else is looked at when that is right.
    let shop = "[sources.shop]\nprovider = \"PROVIDER\"\n\n[actions.note]\nkind = \"KIND\"\n";
    let routes = "\n[[routes]]\nsource = \"shop\"\nactions = [\n  \"nothing\",\n]\n";
    let right = shop.replace("PROVIDER", "shopify").replace("KIND", "count");
    let wrong = shop.replace("PROVIDER", "shopyfi").replace("KIND", "cuont");
    for (text, problems) in [
        (format!("{right}{routes}"), ["bad.toml:10: ", "nothing"].as_slice()),
        (format!("{wrong}{routes}"), &["bad.toml:2: ", "`shopify`", "bad.toml:5: ", "`count`"]),
        ("public_url = 1\npublic_url = 2\n".to_owned(), &["bad.toml:2: "]),
    ] {
        fs::write(place.path("bad.toml"), text).unwrap();
        let ended = place.run(&["check", "--config", "bad.toml"]).await;
        assert_eq!(ended.code, 1);
        for problem in problems {
            assert!(ended.stderr.contains(problem), "{problem}: {}", ended.stderr);
        }
        assert!(ended.stderr.lines().all(|line| line.starts_with("bad.toml:")), "{}", ended.stderr);
    }
    assert_eq!(place.run(&["dev", "--port", "0", "--config", "bad.toml"]).await.code, 1, "nor does it start");
    let ended = place.run(&["check", "--config", "absent.toml"]).await;
    assert!(ended.code == 1 && ended.stderr.contains("absent.toml"), "{}", ended.stderr);
    // A file that is there is used without being named.
    fs::write(place.path("hookgate.toml"), "[sources.mine]\nprovider = \"github\"\n").unwrap();
    let text = place.run(&["check"]).await.ok();
    assert!(text.contains("/webhooks/mine") && !text.contains("/webhooks/hang"), "{text}");
    fs::write(place.path("hookgate.toml"), "").unwrap();
    let text = place.run(&["check"]).await.ok();
    assert!(text.starts_with("warning: there is no source, so that nothing is received\n"), "{text}");
    let ended = place.run(&["send", "mine"]).await;
    assert!(ended.code == 1 && ended.stderr.contains("mine; the configuration has none"), "{}", ended.stderr);
    let dev = place.dev(&[]).await;
    assert!(dev.stdout.text().contains("  sources    none, "), "{}", dev.stdout.text());
    assert_eq!(dev.interrupt().await.0, Some(0));
    let ordered = "[sources.mine]\nprovider = \"github\"\norder = \"json:/repository/id\"\n";
    fs::write(place.path("hookgate.toml"), ordered).unwrap();
    let text = place.run(&["check"]).await.ok();
    assert!(text.contains("ordered by json:/repository/id") && text.contains("Ordered=true"), "{text}");
}

#[tokio::test]
async fn a_source_without_a_secret_is_taken_on_the_first_start_and_its_schema_is_told() {
    let place = Place::new();
    let config = "[sources.mine]\nprovider = \"raw\"\nverify = \"none\"\n\
                  schema = { properties = { total = { minimum = 0 } } }\n";
    fs::write(place.path("hookgate.toml"), config).unwrap();
    let dev = place.dev(&[]).await;
    for (body, status) in [("{\"total\": -1}", 400), ("{\"total\": 1}", 200)] {
        let post = Client::new().post(format!("{}/webhooks/mine", dev.url));
        let answer = post.header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(answer.status(), status, "{body}: {}", answer.text().await.unwrap());
    }
    let (_, output) = dev.interrupt().await;
    assert!(
        output.contains("refused mine: by the source's `schema`, /total has to be at least 0"),
        "{output}"
    );
}

#[tokio::test]
async fn providers_and_env_say_what_there_is() {
    let place = Place::new();
    let providers = place.run(&["providers", "--json"]).await.lines();
    let slugs: BTreeSet<&str> = providers.iter().map(|provider| provider["slug"].as_str().unwrap()).collect();
    assert!(slugs.is_superset(&BTreeSet::from(["hang", "hatch", "stripe", "twilio"])), "{slugs:?}");
    assert!(place.run(&["providers"]).await.ok().starts_with("PROVIDER"));
    assert!(place.run(&["providers", "slack"]).await.ok().contains("provider = \"slack\""));
    assert_eq!(place.run(&["providers", "nobody"]).await.code, 1);

    let dev = place.dev(&[]).await;
    let text = place.run(&["env"]).await.ok();
    let variables: BTreeMap<&str, &str> = text
        .lines()
        .map(|line| line.strip_prefix("export ").and_then(|rest| rest.split_once('=')).unwrap())
        .map(|(name, value)| (name, value.trim_matches('\'')))
        .collect();
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_REGION",
        "AWS_ENDPOINT_URL_DYNAMODB",
        "AWS_ENDPOINT_URL_SQS",
        "HOOKGATE_ORDERED_QUEUE_URL",
    ] {
        assert!(!variables[name].is_empty(), "{name}");
    }
    // They are all that a function needs.
    let lookup = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let ingest = ingest::Ingest::from_env(lookup).unwrap();
    assert!(ingest.store.records("nothing", 1).await.unwrap().is_empty());
    // What such a worker publishes and mails is seen here as well.
    let worker = worker::Worker::from_env(lookup).unwrap();
    for sample in samples() {
        if sample.source == "orders" || sample.name == "payment.failed" {
            let answer = worker.invoke(&derived(&sample, "worker").unwrap()).await.unwrap();
            assert_eq!(answer, json!({"batchItemFailures": []}));
        }
    }
    let inbox = place.run(&["inbox", "eventbridge", "--json"]).await.lines();
    let orders = samples().iter().filter(|sample| sample.source == "orders").count();
    assert_eq!(inbox.len(), orders, "{inbox:?}");
    assert_eq!(place.run(&["inbox", "email", "--json"]).await.lines().len(), 1);
    drop(dev);
}

#[tokio::test]
async fn events_are_taken_in_although_an_action_of_the_configuration_is_wrong() {
    let place = Place::new();
    let dev = place.dev(&[]).await;
    let file = place.path("wrong.toml");
    let text =
        "[sources.orders]\nprovider = \"generic\"\nverify = \"none\"\n[actions.tell]\nkind = \"slak\"\n";
    fs::write(&file, text).unwrap();
    let text = place.run(&["env"]).await.ok();
    let lookup = |name: &str| match name {
        "HOOKGATE_CONFIG" => Some(file.to_str().unwrap().to_owned()),
        _ => {
            let mut values = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
            values.find(|(known, _)| *known == name).map(|(_, value)| value.trim_matches('\'').to_owned())
        }
    };
    let ingest = ingest::Ingest::from_env(lookup).unwrap();
    let sample = samples().into_iter().find(|sample| sample.source == "orders").unwrap();
    let mut event: Value = serde_json::from_str(&derived(&sample, "ingest").unwrap()).unwrap();
    // Without a time of its own, it is received now, and among those of today.
    event["requestContext"].as_object_mut().unwrap().remove("timeEpoch").unwrap();
    let answer = ingest.handle(&event.to_string(), None).await.unwrap();
    assert_eq!(serde_json::to_value(&answer).unwrap()["statusCode"], 200);
    place.all_done(1).await;
    // It is the worker that says what is wrong, and where.
    let error = format!("{:#}", worker::Worker::from_env(lookup).unwrap_err());
    assert!(error.contains("line 5") && error.contains("did you mean `slack`?"), "{error}");
    drop(dev);
}

#[tokio::test]
async fn mail_and_published_events_are_in_the_inbox_and_stay_there() {
    let place = Place::new();
    let dev = place.dev(&[]).await;
    place.run(&["send", "payments", "payment.failed"]).await.ok();
    place.run(&["send", "orders", "order.shipped"]).await.ok();
    place.all_done(2).await;
    let mail = place.run(&["inbox", "email"]).await.ok();
    assert!(
        mail.contains("to finance@example.com: Payment pay_5002 failed | payments: payment.failed"),
        "{mail}"
    );
    let published = place.run(&["inbox", "eventbridge", "--json"]).await.lines().remove(0);
    let body: Value = serde_json::from_str(published["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&body["bus"], &body["source"], &body["detail-type"], &body["detail"]["order"]["status"]),
        (&json!("default"), &json!("hookgate.orders"), &json!("order.shipped"), &json!("shipped"))
    );
    assert_eq!(dev.interrupt().await.0, Some(0));
    // Without a gateway, and by the next one.
    assert_eq!(place.run(&["inbox", "email"]).await.ok(), mail);
    let file = fs::read_to_string(place.path(".hookgate/inbox.jsonl")).unwrap();
    assert!(file.contains("pay_5002") && file.contains("hookgate.orders"), "{file}");
    let dev = place.dev(&[]).await;
    let listed = client().get(format!("{}/inbox", dev.url)).send().await.unwrap().text().await.unwrap();
    assert_eq!(listed, file);
    drop(dev);
}

#[tokio::test]
async fn tail_shows_events_as_they_come() {
    let place = Place::new();
    let dev = place.dev(&[]).await;
    place.run(&["send", "payments"]).await.ok();
    place.all_done(1).await;
    let tail = place.spawn(&["events", "tail", "--json"]);
    let shows = async |word: &str| {
        eventually(&format!("tail shows {word}"), || {
            let text = tail.stdout.text();
            async move {
                let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                lines.filter(|line| line["status"] == "done").find(|line| line["source"] == word)
            }
        })
        .await
    };
    shows("payments").await;
    let sent = place.run(&["send", "comments", "--json"]).await.lines().remove(0);
    assert_eq!(shows("comments").await["id"], sent["id"]);
    let (code, output) = tail.interrupt().await;
    assert_eq!(code, Some(0), "{output}");
    drop(dev);
}

/// The README's way with curl and openssl.
#[tokio::test]
async fn a_request_that_was_signed_by_hand_is_taken() {
    let place = Place::new();
    let dev = place.dev(&[]).await;
    let secret = place.secret("payments");
    let body = r#"{"event_id":"evt_1","type":"payment.succeeded","created_at":"2026-11-21T10:00:00Z","payment":{"id":"pay_1","status":"succeeded","amount":4200,"currency":"EUR"}}"#;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()));
    let http = client();
    let post = async |body: &str, signature: &str| {
        let request =
            http.post(format!("{}/webhooks/payments", dev.url)).header("content-type", "application/json");
        let answer = request.header("x-signature", signature).body(body.to_owned()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap())
    };
    for said in ["accepted", "duplicate"] {
        let (status, document) = post(body, &signature).await;
        assert_eq!(
            (status, &document["status"], &document["event_id"]),
            (200, &json!(said), &json!("evt_1"))
        );
    }
    let (status, problem) = post(&body.replace("4200", "4201"), &signature).await;
    assert_eq!((status, &problem["status"]), (401, &json!(401)));
    assert_eq!(place.all_done(1).await[0]["status"], Status::Done.word());
    assert_eq!(place.show("evt_1").await["body"], body);
    let record = place.run(&["records", "payments", "--json"]).await.lines().remove(0);
    assert_eq!((&record["key"], &record["record"]["amount"]), (&json!("pay_1"), &json!(4200)), "{record}");
    drop(dev);
}

#[tokio::test(flavor = "multi_thread")]
async fn program_quarantine_lets_in_what_is_genuine_once_the_secret_was_mended() {
    let place = Place::new();
    let config = "[sources.gl]\nprovider = \"linear\"\nmode = \"quarantine\"\n";
    fs::write(place.path("hookgate.toml"), config).unwrap();
    let dev = place.dev(&[]).await;
    let right = place.secret("gl");
    // The operator had it wrong when the events came.
    let sent = place.run(&["send", "gl", "--bad-signature"]).await;
    let sent = sent.ok();
    assert!(sent.contains("→  202 quarantined") && sent.contains("quarantine list"), "{sent}");
    let listed = place.run(&["quarantine", "list", "--json"]).await.lines();
    assert_eq!((listed.len(), &listed[0]["source"]), (1, &json!("gl")));
    let id = listed[0]["id"].as_str().unwrap();
    let kept = place.run(&["quarantine", "release", "--all"]).await;
    assert_eq!((kept.code, kept.stdout.contains("0 released, 1 kept")), (1, true), "{}", kept.stdout);
    assert!(place.list().await.is_empty());

    // What is shown is what `verify` reads; it says that the secret is another's.
    let shown = place.run(&["quarantine", "show", id, "--json"]).await.ok();
    fs::write(place.path("request.json"), &shown).unwrap();
    let verified = place.run(&["verify", "--source", "gl", "request.json"]).await;
    assert_eq!(verified.code, 1);
    assert!(
        verified.stdout.contains("INVALID") && verified.stdout.contains("secret is another's"),
        "{}",
        verified.stdout
    );

    // A genuine one that was kept while the secret was wrong is let in after it was mended.
    let wrong = json!({"gl": ["0123456789abcdef"]});
    fs::write(place.path("right.json"), json!({"gl": [right]}).to_string()).unwrap();
    fs::write(place.path(".hookgate/secrets.json"), wrong.to_string()).unwrap();
    let request: Value = serde_json::from_str(&shown).unwrap();
    let body = request["body"].as_str().unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(right.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = HEXLOWER.encode(&mac.finalize().into_bytes());
    // The first bad signature has the gateway read the wrong secret that is there now.
    let answer = eventually("the wrong secret is in use", || async {
        let post = Client::new().post(format!("{}/webhooks/gl", dev.url)).body(body.to_owned());
        let post = post.header("content-type", "application/json").header("linear-signature", &signature);
        let status = post.send().await.unwrap().status().as_u16();
        (status == 202 || status == 200).then_some(status)
    })
    .await;
    if answer == 202 {
        fs::copy(place.path("right.json"), place.path(".hookgate/secrets.json")).unwrap();
        let dry = place.run(&["quarantine", "release", "--all", "--dry-run"]).await;
        assert!(dry.stdout.contains("1 would be released, 1 kept"), "{}", dry.stdout);
        let released = place.run(&["quarantine", "release", "--all"]).await;
        assert!(released.stdout.contains("1 released, 1 kept"), "{}", released.stdout);
    }
    place.all_done(1).await;
    dev.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn program_send_says_what_became_of_it_even_where_the_answer_does_not() {
    let place = Place::new();
    let config = r#"
        [sources.gl]
        provider = "linear"
        mode = "quarantine"
        [sources.silent]
        provider = "raw"
        mode = "quarantine"
        verify = { scheme = "hmac", header = "x-signature" }
        answer = { status = 202 }
        [sources.plain]
        provider = "raw"
        verify = "none"
        answer = { status = 202 }
    "#;
    fs::write(place.path("hookgate.toml"), config).unwrap();
    let dev = place.dev(&[]).await;
    for (arguments, word, hint) in [
        (&["gl", "--bad-signature"][..], "202 quarantined (", "quarantine list"),
        (&["gl"], "200 accepted (", "events show"),
        (&["silent", "--bad-signature"], "202 accepted or quarantined (", "quarantine list"),
        (&["plain"], "202 accepted (", "events list"),
    ] {
        let sent = place.run(&[&["send"], arguments].concat()).await.ok();
        assert!(sent.contains(&format!("→  {word}")) && sent.contains(hint), "{arguments:?}: {sent}");
    }
    dev.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn program_send_signs_what_aws_lc_does_not() {
    let place = Place::new();
    let providers = ["apple-app-store", "ebay", "paddle-classic", "travis-ci"];
    let config: String = providers.map(|name| format!("[sources.{name}]\nprovider = \"{name}\"\n")).concat();
    fs::write(place.path("hookgate.toml"), config).unwrap();
    let dev = place.dev(&[]).await;
    for provider in providers {
        let sent = place.run(&["send", provider, "a.kind", "--duplicate", "--json"]).await.lines();
        assert_eq!([&sent[0]["status"], &sent[1]["status"]], [200, 200], "{sent:?}");
        let forged = place.run(&["send", provider, "--bad-signature", "--json"]).await;
        assert_eq!(forged.code, 1, "{}", forged.stdout);
        assert!(forged.stdout.contains(r#""status":401"#), "{}", forged.stdout);
    }
    let events = place.all_done(providers.len()).await;
    let kinds: BTreeSet<_> = events.iter().map(|event| event["source"].as_str().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from(providers));
    dev.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn program_verify_says_which_step_fails_and_the_likely_cause() {
    let place = Place::new();
    let body = r#"{"action":"opened"}"#;
    let mut mac = Hmac::<Sha256>::new_from_slice(b"key").unwrap();
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()));
    let check = async |body: &str, signature: &str, secret: &str, more: &[&str]| {
        let request = json!({
            "method": "POST", "url": "https://hooks.example.com/x", "body": body, "now": 1_780_000_000,
            "headers": {"content-type": "application/json", "x-hub-signature-256": signature},
        });
        fs::write(place.path("request.json"), request.to_string()).unwrap();
        let arguments =
            [&["verify", "--provider", "github", "--secret", secret, "request.json"], more].concat();
        place.run(&arguments).await
    };
    let right = signature.trim_start_matches("sha256=");
    let good = check(body, &signature, "key", &["--json"]).await;
    assert_eq!(good.code, 0);
    assert_eq!(good.lines()[0]["valid"], true);
    for (body, signature, secret, cause) in [
        (body, signature.as_str(), "other", "secret is another's"),
        (&format!("{body}\n") as &str, signature.as_str(), "key", "line break at its end"),
        (r#"{ "action": "opened" }"#, signature.as_str(), "key", "parsed and written anew"),
        (body, "sha1=00", "key", "another version"),
        (body, " ", "key", "only once a secret is set"),
    ] {
        let bad = check(body, signature, secret, &[]).await;
        assert_eq!(bad.code, 1, "{}{}", bad.stdout, bad.stderr);
        assert!(bad.stdout.contains("INVALID") && bad.stdout.contains(cause), "{cause}: {}", bad.stdout);
        // Neither the secret nor the right signature, which whoever reads the output over a shoulder could use.
        assert!(!bad.stdout.contains(right), "{}", bad.stdout);
    }
    let named = r#"{"secret": "key"}"#;
    let request =
        ["verify", "--provider", "github", "--secrets", named, "--now", "1780000000", "request.json"];
    assert_eq!(place.run(&request).await.code, 1);
    assert_eq!(place.run(&["verify", "request.json"]).await.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn program_providers_lists_the_catalogue_and_explains_one() {
    let place = Place::new();
    let all = place.run(&["providers", "--json"]).await.lines();
    assert!(all.len() >= 400, "{}", all.len());
    for (provider, secret) in [
        ("whatsapp", r#"an object: {"secret": "…", "verify_token": "…"}"#),
        ("meta", r#"an object: {"secret": "…", "verify_token": "…"}"#),
        ("braintree", r#"an object: {"public_key": "…", "private_key": "…"}"#),
        ("ebay", r#"an object: {"verification_token": "…", "endpoint": "…"}, and its public key"#),
        ("stripe", "a text"),
    ] {
        let shown = place.run(&["providers", provider]).await.ok();
        assert!(shown.contains(&format!("secret       {secret}")), "{shown}");
    }
    let adobe = place.run(&["providers", "aws-sns"]).await.ok();
    for part in ["Amazon", "RSA-SHA256", "topic", "provider = \"aws-sns\""] {
        assert!(adobe.contains(part), "{part}: {adobe}");
    }
    assert!(place.run(&["providers", "paddl"]).await.ok().contains("paddle-classic"));
    assert_eq!(place.run(&["providers", "nobody-at-all"]).await.code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn program_verify_agrees_with_every_vector() {
    let place = Place::new();
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../vectors.json")).unwrap();
    let place = &place;
    let wrong: Vec<String> = stream::iter(vectors.iter().enumerate())
        .map(|(n, vector)| async move {
            let file = format!("{n}.json");
            fs::write(place.path(&file), vector.to_string()).unwrap();
            let (provider, secrets) = (vector["provider"].as_str().unwrap(), vector["secrets"].to_string());
            let now = vector["now"].to_string();
            let arguments = ["verify", "--provider", provider, "--secrets", &secrets, "--now", &now, &file];
            let ended = place.run(&arguments).await;
            let wanted = i32::from(!vector["valid"].as_bool().unwrap());
            (ended.code != wanted).then(|| format!("{}: {}{}", vector["id"], ended.stdout, ended.stderr))
        })
        .buffer_unordered(4)
        .filter_map(|wrong| async move { wrong })
        .collect()
        .await;
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
