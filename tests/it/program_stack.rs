//! `--stack`: the commands on a deployed stack.

use std::fs;

use serde_json::json;

use crate::{
    deployed::{Deployed, STACK},
    program::Place,
};

#[tokio::test(flavor = "multi_thread")]
async fn program_stack_has_the_same_commands_as_the_local_one() {
    let local = Place::new();
    let config = "[sources.gl]\nprovider = \"linear\"\nmode = \"quarantine\"\n[sources.payments]\nprovider = \"generic\"\n\
                  verify = { scheme = \"hmac\", header = \"x-signature\" }\nevent = { id = \"json:/event_id\" }\n\
                  [[routes]]\nsource = \"*\"\nactions = [\"tally\"]\n[actions.tally]\nkind = \"count\"\ncounter = \"events\"\n\
                  [[routes]]\nsource = \"payments\"\nactions = [\"keep\"]\n[actions.keep]\nkind = \"record\"\n\
                  collection = \"things\"\nkey = \"json:/event_id\"\n";
    fs::write(local.path("hookgate.toml"), config).unwrap();
    let dev = local.dev(&[]).await;
    let deployed = Deployed::of(&local).await;
    fs::write(deployed.place.path("hookgate.toml"), config).unwrap();
    let sent = local.run(&["send", "payments", "--json"]).await.lines().remove(0);
    local.run(&["send", "gl", "--bad-signature"]).await.ok();
    local.all_done(1).await;

    let listed = deployed.run(&["events", "list", "--json"]).await.lines();
    assert_eq!((listed.len(), &listed[0]["source"]), (1, &json!("payments")));
    let id = listed[0]["id"].as_str().unwrap();
    let shown = deployed.run(&["events", "show", id, "--json"]).await.lines().remove(0);
    assert_eq!(
        (&shown["status"], shown["attempts"].as_array().unwrap().len()),
        (&json!("done"), 2),
        "{sent}"
    );
    assert!(deployed.run(&["events", "show", id]).await.ok().contains("tally"));
    assert_eq!(deployed.run(&["counts", "--json"]).await.lines()[0]["count"], 1);
    assert_eq!(deployed.run(&["records", "things", "--json"]).await.lines()[0]["key"], id);

    // The secrets are Secrets Manager's: there is no folder here.
    let quarantined = deployed.run(&["quarantine", "list", "--json"]).await.lines();
    let id = quarantined[0]["id"].as_str().unwrap();
    *deployed.control().secrets.lock().unwrap() = json!({"gl": ["another"]});
    let kept = deployed.run(&["quarantine", "release", id]).await;
    assert_eq!((kept.code, kept.stdout.contains("0 released, 1 kept")), (1, true), "{}", kept.stderr);
    assert!(kept.stdout.contains("does not match"), "{}", kept.stdout);
    assert!(!deployed.place.path(".hookgate").exists());
    dev.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn program_stack_says_why_a_stack_is_not_to_be_had_and_what_to_do() {
    let local = Place::new();
    let dev = local.dev(&[]).await;
    let mut deployed = Deployed::of(&local).await;
    let list = ["events", "list", "--stack", STACK];

    // No such stack.
    let ended = Place::end(deployed.command(&["events", "list", "--stack", "other"])).await;
    assert_eq!(ended.code, 1);
    for part in ["no stack other in eu-west-1", "AKIAENVIRONMENT", "--region and --profile"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }

    // What CloudFormation refuses.
    for (status, code, part) in [
        (403, "AccessDenied", "no permission for cloudformation:DescribeStacks"),
        (403, "ExpiredToken", "have expired"),
        (403, "InvalidClientTokenId", "does not take the access key AKIAENVIRONMENT"),
        (400, "Odd", "Odd: because"),
    ] {
        deployed.control().refusals.lock().unwrap().push_back((status, code));
        let ended = deployed.run(&["counts"]).await;
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    // What passes by itself.
    deployed.control().refusals.lock().unwrap().extend([(400, "Throttling"), (500, "InternalFailure")]);
    assert!(deployed.run(&["events", "list"]).await.ok().contains("no such events"));

    // A stack of something else.
    deployed.control().outputs.lock().unwrap().retain(|name, _| *name == "QueueUrl");
    let ended = deployed.run(&["events", "list"]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("has no output EventsTable, DeadLetterQueueUrl, SecretArn, WebhookUrl"));
    deployed.follow(&local);

    // A profile that is asked for counts more than keys in the environment.
    fs::create_dir(deployed.place.path(".aws")).unwrap();
    let profiles =
        "[profile prod]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = profile-secret\n";
    fs::write(deployed.place.path(".aws/config"), profiles).unwrap();
    deployed.run(&["events", "list", "--profile", "prod"]).await.ok();
    let keys = deployed.control().keys.lock().unwrap().clone();
    assert_eq!(keys.last().unwrap(), "AKIAPROFILE");

    // Nothing of what is needed.
    for (missing, parts) in [
        ("AWS_ACCESS_KEY_ID", ["no AWS credentials", "aws sso login"]),
        ("AWS_REGION", ["in which region", "--region"]),
    ] {
        let mut command = deployed.command(&list);
        let ended = Place::end({
            command.env_remove(missing);
            command
        })
        .await;
        assert_eq!(ended.code, 1);
        assert!(parts.iter().all(|part| ended.stderr.contains(part)), "{}", ended.stderr);
    }
    let ended = deployed.run(&["events", "list", "--region", "eu-west-1/x"]).await;
    assert!(ended.code == 1 && ended.stderr.contains("is no region"), "{}", ended.stderr);
    let mut command = deployed.command(&list);
    command.env("AWS_ENDPOINT_URL_CLOUDFORMATION", "http://127.0.0.1:9");
    let ended = Place::end(command).await;
    assert!(ended.stderr.contains("could not be reached; is there a region eu-west-1"), "{}", ended.stderr);
    let ended = Place::end(deployed.command(&["events", "list", "--region", "eu-west-1"])).await;
    assert_eq!(ended.code, 2);
    dev.interrupt().await;
}
