//! All commands: what prints data prints it as JSON too, what is about an installation takes a deployed one as well,
//! and the exit code says how it ended. A command that is new has to say here which it is.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{collections::BTreeSet, fs};

use hookgate_aws::clients::{Clients, Patience};
use serde_json::{Value, json};

use crate::{
    deployed::Deployed,
    program::{Place, Running},
};

/// What a command has.
struct Command {
    name: &'static str,
    /// `--json`; otherwise it prints nothing that a program would read.
    json: bool,
    /// `--stack`; otherwise it is about this machine alone.
    stack: bool,
}

const fn both(name: &'static str) -> Command {
    Command { name, json: true, stack: true }
}

const fn here(name: &'static str) -> Command {
    Command { name, json: true, stack: false }
}

/// Runs until it is stopped, or prints lines for a shell.
const fn plain(name: &'static str) -> Command {
    Command { name, json: false, stack: false }
}

const COMMANDS: [Command; 26] = [
    plain("dev"),
    both("send"),
    both("events list"),
    both("events show"),
    both("events tail"),
    both("listen"),
    both("quarantine list"),
    both("quarantine show"),
    both("quarantine release"),
    both("replay"),
    both("destinations list"),
    both("destinations enable"),
    both("destinations disable"),
    both("dlq list"),
    both("dlq redrive"),
    both("stats"),
    both("records"),
    both("counts"),
    both("reconcile"),
    both("check"),
    both("verify"),
    // The inbox is what stands in for destinations of the local stack.
    here("inbox"),
    // The catalogue, and what hookgate.toml does with a request in a file.
    here("providers"),
    here("route"),
    plain("env"),
    // clap's own.
    plain("help"),
];

/// The commands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| line.starts_with("  "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn program_commands_have_json_where_they_print_data_and_stack_where_they_are_about_one() {
    let place = Place::new();
    let mut found = BTreeSet::new();
    for name in listed(&place.run(&["--help"]).await.ok()) {
        let under = match name.as_str() {
            "help" => Vec::new(),
            _ => listed(&place.run(&[&name, "--help"]).await.ok()),
        };
        if under.is_empty() {
            found.insert(name);
        } else {
            found.extend(under.iter().filter(|it| *it != "help").map(|it| format!("{name} {it}")));
        }
    }
    assert_eq!(found, COMMANDS.iter().map(|command| command.name.to_owned()).collect());
    for command in COMMANDS.iter().filter(|command| command.name != "help") {
        let words: Vec<&str> = command.name.split(' ').collect();
        let help = place.run(&[&words[..], &["--help"]].concat()).await.ok();
        for (option, wanted) in [
            (" --json", command.json),
            (" --stack <NAME>", command.stack),
            (" --region <REGION>", command.stack),
            (" --profile <PROFILE>", command.stack),
        ] {
            assert_eq!(help.contains(option), wanted, "{}: {option}\n{help}", command.name);
        }
        // Wrong usage is told from what failed.
        for wrong in [&["--no-such-option"][..], &["--region", "eu-west-1"]] {
            let ended = place.run(&[&words[..], wrong].concat()).await;
            assert_eq!(ended.code, 2, "{} {wrong:?}: {}", command.name, ended.stderr);
            assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{}", command.name);
        }
    }
}

/// A stack with an event that is done, one that is dead, a delivery in quarantine, a dead letter of each queue.
async fn stack(place: &Place) -> Running {
    let config = "[sources.gl]\nprovider = \"linear\"\nmode = \"quarantine\"\n[sources.gh]\nprovider = \"github\"\n\
                  [[routes]]\nsource = \"*\"\nactions = [\"tally\", \"post\"]\n\
                  [[routes]]\nsource = \"gh\"\nactions = [\"keep\"]\n\
                  [actions.tally]\nkind = \"count\"\n\
                  [actions.keep]\nkind = \"record\"\ncollection = \"things\"\nkey = \"json:/ref\"\n\
                  [actions.post]\nkind = \"http\"\nurl = \"https://a.example/\"\nconcurrency = 2\n";
    fs::write(place.path("hookgate.toml"), config).unwrap();
    let dev = place.dev(&[]).await;
    // Nothing is sent out of this machine.
    place.run(&["destinations", "disable", "post"]).await.ok();
    place.run(&["send", "gh", "push"]).await.ok();
    place.run(&["send", "gl", "--bad-signature"]).await.ok();
    let text = fs::read_to_string(place.path(".hookgate/stack.json")).unwrap();
    let stack: Value = serde_json::from_str(&text).unwrap();
    let at = |name: &str| stack[name].as_str().unwrap();
    let clients = Clients::local(at("dynamodb"), at("sqs"), Patience::WORKER);
    let send = clients.sqs.send_message().queue_url(at("dead_letter_queue_url"));
    send.message_body("of somebody else").send().await.unwrap();
    let send = clients.sqs.send_message().queue_url(at("ordered_dead_letter_queue_url"));
    let send = send.message_group_id("gl#key").message_deduplication_id("1");
    send.message_body("of somebody else, in order").send().await.unwrap();
    dev
}

/// Whether each line is a JSON object, and how many there are.
fn objects(text: &str) -> usize {
    let object = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value.is_object(), "{line}");
    };
    text.lines().inspect(|line| object(line)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn program_commands_print_one_json_object_a_line_and_end_with_the_right_code_wherever_the_stack_is() {
    let local = Place::new();
    let dev = stack(&local).await;
    let event = crate::backend::eventually("the event waits", || async {
        local.list().await.into_iter().find(|event| event["waits_for"] == json!(["post"]))
    })
    .await;
    let id = event["id"].as_str().unwrap();
    let kept = local.run(&["quarantine", "list", "--json"]).await.lines().remove(0);
    let kept_id = kept["id"].as_str().unwrap();
    let request = local.run(&["quarantine", "show", kept_id, "--json"]).await.ok();
    let deployed = Deployed::of(&local).await;
    *deployed.control().secrets.lock().unwrap() = local.secrets();
    for place in [&local, &deployed.place] {
        fs::write(place.path("request.json"), &request).unwrap();
    }
    fs::copy(local.path("hookgate.toml"), deployed.place.path("hookgate.toml")).unwrap();

    // Arguments, exit code, and at least how many objects.
    let table: &[(&[&str], i32, usize)] = &[
        (&["send", "gh", "push"], 0, 1),
        (&["send", "gh", "push", "--bad-signature"], 1, 1),
        (&["events", "list"], 0, 1),
        (&["events", "show", id], 0, 1),
        (&["events", "show", "nobody"], 1, 0),
        (&["quarantine", "list"], 0, 1),
        (&["quarantine", "show", kept_id], 0, 1),
        (&["quarantine", "show", "nobody"], 1, 0),
        (&["quarantine", "release", kept_id], 1, 1),
        (&["quarantine", "release"], 2, 0),
        (&["replay", id, "--dry-run"], 0, 1),
        (&["replay", "nobody"], 1, 0),
        (&["replay"], 2, 0),
        (&["replay", id, "--status", "dead"], 2, 0),
        (&["replay", "--status", "done"], 1, 0),
        (&["replay", "--status", "happy"], 2, 0),
        (&["replay", "--source", "a[b]"], 2, 0),
        (&["replay", id, "--rate", "0"], 2, 0),
        (&["destinations", "list"], 0, 1),
        (&["destinations", "disable", "post", "--reason", "they move"], 0, 1),
        (&["destinations", "enable", "nobody"], 1, 0),
        (&["dlq", "list"], 0, 2),
        (&["dlq", "redrive", "--all"], 0, 0),
        (&["dlq", "redrive", "nobody"], 1, 0),
        (&["stats"], 0, 2),
        (&["records", "things"], 0, 1),
        (&["records", "nothing"], 0, 0),
        (&["counts"], 0, 1),
        (&["reconcile", "gl"], 1, 0),
        (&["check"], 0, 5),
        (&["verify", "--source", "gl", "request.json"], 1, 1),
        (&["verify", "request.json"], 2, 0),
    ];
    for (arguments, code, count) in table {
        let name = COMMANDS.iter().find(|command| {
            let words: Vec<&str> = command.name.split(' ').collect();
            command.stack && arguments.starts_with(&words)
        });
        assert!(name.is_some(), "{arguments:?}");
        let with = [arguments, &["--json"][..]].concat();
        for (which, ended) in [("local", local.run(&with).await), ("deployed", deployed.run(&with).await)] {
            let what = format!("{which} {arguments:?}: {}{}", ended.stdout, ended.stderr);
            assert_eq!(ended.code, *code, "{what}");
            let printed = objects(&ended.stdout);
            assert!(printed >= *count && (*count > 0 || printed == 0), "{what}");
            if *count == 0 && *code != 0 {
                assert!(!ended.stderr.is_empty(), "{what}");
            }
        }
    }
    for (arguments, code, count) in [
        (&["inbox"][..], 0, 0),
        (&["providers", "stripe"], 0, 1),
        (&["providers", "nobody-at-all"], 1, 0),
        (&["route", "--file", "request.json"], 0, 1),
        (&["route", "--file", "absent.json"], 1, 0),
        (&["route"], 2, 0),
    ] {
        let ended = local.run(&[arguments, &["--json"]].concat()).await;
        assert_eq!(ended.code, code, "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        assert!(objects(&ended.stdout) >= count, "{arguments:?}");
    }
    for (arguments, says) in [
        (&["records", "nothing"], "nothing is kept in nothing; "),
        (&["counts", "nothing"], "nothing was counted by nothing; "),
    ] {
        for said in [local.run(arguments).await.ok(), deployed.run(arguments).await.ok()] {
            assert!(said.starts_with(says), "{said}");
        }
    }
    // For people there is no JSON, and nothing of it is lost.
    let sent = deployed.run(&["send", "gh", "push"]).await.ok();
    assert!(sent.contains("→  200 accepted") && sent.trim_end().ends_with("--stack test"), "{sent}");
    let check = deployed.run(&["check"]).await.ok();
    assert!(check.contains("2 at once") && !check.contains("no local secrets"), "{check}");
    *deployed.control().secrets.lock().unwrap() = json!({"gl": ["a secret"]});
    let check = deployed.run(&["check"]).await.ok();
    assert!(check.contains("needs the secret `gh`, which is not in the secret of the stack test"), "{check}");
    let checked = local.run(&["check", "--json"]).await.lines();
    let post = checked.iter().find(|line| line["action"] == "post").unwrap();
    assert_eq!(
        (&post["concurrency"], &post["pause_after"], &post["rate"], &post["retry_seconds"][0]),
        (&json!(2), &json!(10), &Value::Null, &json!(5))
    );
    fs::write(local.path("bad.toml"), "[sources.a]\nprovider = \"strip\"\n").unwrap();
    let bad = local.run(&["check", "--config", "bad.toml", "--json"]).await;
    let line: Value = serde_json::from_str(bad.stdout.trim()).unwrap();
    assert!(bad.code == 1 && line["error"].as_str().unwrap().starts_with("bad.toml:2: "), "{line}");
    dev.interrupt().await;
}
