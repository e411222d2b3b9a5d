//! `listen`: events reach a program on this machine as they were sent, and none is skipped.

use axum::{Router, http::StatusCode};
use data_encoding::BASE64;
use tokio::net::TcpListener;

use crate::{
    backend::eventually,
    deployed::Deployed,
    harness::{Destination, Reply},
    program::Place,
    program_follow::{lines, send},
};

#[tokio::test(flavor = "multi_thread")]
async fn program_listen_forwards_the_exact_bytes_and_headers_and_skips_nothing() {
    let local = Place::new();
    let dev = local.dev(&[]).await;
    let deployed = Deployed::of(&local).await;
    let before = send(&local, "payments").await;
    local.all_done(1).await;

    let destination = Destination::start().await;
    let to = format!("http://{}", destination.place);
    let listen = deployed.spawn(&["listen", "--to", &to, "--json"]);
    eventually("it has begun", || {
        let folder = deployed.place.path(".hookgate");
        async move {
            let mut files = std::fs::read_dir(folder).ok()?.flatten();
            let file = files.find(|file| file.path().extension().is_some_and(|end| end == "jsonl"))?;
            std::fs::read_to_string(file.path()).ok()?.contains("forwarded").then_some(())
        }
    })
    .await;
    local.run(&["send", "raw", "image"]).await.ok();
    local.run(&["send", "github", "issues.opened.form"]).await.ok();
    local.run(&["send", "hatch", "opt-out"]).await.ok();
    let arrived = async |count: usize| {
        eventually(&format!("{count} are forwarded"), || {
            let lines = lines(&listen);
            async move { (lines.len() >= count).then_some(lines) }
        })
        .await
    };
    let said = arrived(3).await;
    assert!(said.iter().all(|line| line["status"] == 200 && line["milliseconds"].is_number()), "{said:?}");
    assert!(said.iter().all(|line| line["id"] != before.as_str()), "what was there before is not live");
    for (path, source, header) in [
        ("/webhooks/raw", "raw", "content-type"),
        ("/webhooks/github", "github", "x-hub-signature-256"),
        ("/webhooks/hatch/opt-out", "hatch", "content-type"),
    ] {
        let hits = destination.hits(path);
        assert_eq!(hits.len(), 1, "{path}");
        let (hit, line) = (&hits[0], said.iter().find(|line| line["source"] == source).unwrap());
        let id = line["id"].as_str().unwrap();
        let stored =
            deployed.run(&["events", "show", id, "--source", source, "--json"]).await.lines().remove(0);
        let body = stored["body"].as_str().unwrap();
        let bytes = match stored["body_encoding"].as_str().unwrap() {
            "text" => body.as_bytes().to_vec(),
            _ => BASE64.decode(body.as_bytes()).unwrap(),
        };
        assert_eq!(hit.body, bytes);
        assert_eq!(hit.headers[header].to_str().unwrap(), stored["headers"][header].as_str().unwrap());
        assert_eq!(hit.headers["host"].to_str().unwrap(), destination.place);
        assert_eq!(hit.headers.get_all("content-length").iter().count(), 1);
        for (name, value) in [("id", id), ("source", source), ("type", line["type"].as_str().unwrap())] {
            assert_eq!(hit.headers[&format!("x-hookgate-{name}")].to_str().unwrap(), value);
        }
    }

    // What the program answers is said, and is its own affair.
    destination.always("/webhooks/payments", Reply::Status(500));
    send(&local, "payments").await;
    assert_eq!(arrived(4).await[3]["status"], 500);
    listen.interrupt().await;
    assert_eq!(destination.hits("/webhooks/payments").len(), 1);
    dev.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn program_listen_waits_for_a_program_that_is_not_there_and_skips_nothing() {
    let local = Place::new();
    let dev = local.dev(&[]).await;
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let to = format!("http://127.0.0.1:{port}/mine?key=1");
    let listen = ["listen", "--to", &to, "--json"];

    // Nobody is there for too long.
    let id = send(&local, "payments").await;
    let ended = local.run(&[&listen[..], &["--since", "1h", "--patience", "0"]].concat()).await;
    assert_eq!(ended.code, 1);
    for part in ["can't be reached", "start it and run this again", &id] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }

    // It goes on with that one, and waits until somebody is there.
    let running = local.spawn(&listen);
    eventually("it says that it waits", || {
        let says = running.stderr.text().contains("nothing is skipped");
        async move { says.then_some(()) }
    })
    .await;
    let next = send(&local, "comments").await;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let (told, mut hits) = tokio::sync::mpsc::unbounded_channel();
    let router = Router::new().fallback(async move |request: axum::extract::Request| {
        let id = request.headers()["x-hookgate-id"].to_str().unwrap().to_owned();
        told.send((id, request.uri().to_string())).unwrap();
        StatusCode::NO_CONTENT
    });
    tokio::spawn(axum::serve(listener, router).into_future());
    for wanted in [id, next] {
        let (id, path) = hits.recv().await.unwrap();
        assert_eq!((id, path.as_str()), (wanted, "/mine?key=1"));
    }
    running.interrupt().await;
    let ended = local.run(&["listen", "--to", "ftp://x"]).await;
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    dev.interrupt().await;
}
