//! `template.yaml` against what the code relies on.
//!
//! The template is read as it is written, not as SAM expands it: `!Ref X` becomes `{"Ref": "X"}` and every other
//! tag `{"Fn::Tag": …}`, as CloudFormation's JSON has them. That it is valid is for `cfn-lint` and `sam validate`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    sync::LazyLock,
    time::Duration,
};

use hookgate::dev::{ORDERED_RECEIVES_MAX, RECEIVES_MAX, VISIBILITY_SECONDS};
use hookgate_aws::{clients::Patience, env, metrics, schema};
use hookgate_core::{
    aws::AwsService, codec::FRAME_IN_MESSAGE_BYTES_MAX, config::Config, lifecycle::LEASE_MS,
};
use serde_json::{Map, Value, json};
use serde_norway::{Value as Yaml, value::TaggedValue};
use worker::trigger::SWEEP;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

static TEMPLATE: LazyLock<Value> = LazyLock::new(|| {
    let text =
        std::fs::read_to_string(Path::new(ROOT).join("template.yaml")).expect("template.yaml is readable");
    plain(serde_norway::from_str(&text).expect("template.yaml is YAML"))
});

fn plain(yaml: Yaml) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(it) => Value::from(it),
        Yaml::Number(it) => it.as_i64().map_or_else(|| json!(it.as_f64()), Value::from),
        Yaml::String(it) => Value::from(it),
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(plain).collect()),
        Yaml::Mapping(entries) => Value::Object(
            entries
                .into_iter()
                .map(|(key, value)| (key.as_str().expect("keys are text").to_owned(), plain(value)))
                .collect(),
        ),
        Yaml::Tagged(it) => {
            let TaggedValue { tag, value } = *it;
            let tag = tag.to_string();
            let name = match tag.trim_start_matches('!') {
                "Ref" => "Ref".to_owned(),
                other => format!("Fn::{other}"),
            };
            Value::Object(Map::from_iter([(name, plain(value))]))
        }
    }
}

fn resources() -> &'static Map<String, Value> {
    TEMPLATE["Resources"].as_object().expect("there are resources")
}

fn resource(name: &str) -> &'static Value {
    resources().get(name).unwrap_or_else(|| panic!("there is no resource {name}"))
}

fn properties(name: &str) -> &'static Value {
    &resource(name)["Properties"]
}

fn event(function: &str, name: &str) -> &'static Value {
    &properties(function)["Events"][name]["Properties"]
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a whole number: {value}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}"))
}

/// A JSON document that the template holds as text.
fn embedded(value: &Value) -> Value {
    serde_json::from_str(text(value)).unwrap_or_else(|e| panic!("not JSON: {value}: {e}"))
}

/// What may stand alone or in a list.
fn each(value: &'static Value) -> &'static [Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

/// The statements of a role's own policies that are there whatever the parameters are.
fn statements(role: &str) -> Vec<&'static Value> {
    all_statements(role).filter(|statement| statement.get("Fn::If").is_none()).collect()
}

/// Those that a condition adds: condition, statement.
fn optional_statements(role: &str) -> Vec<(&'static str, &'static Value)> {
    all_statements(role)
        .filter_map(|statement| {
            let [condition, then, otherwise] = statement.get("Fn::If")?.as_array()?.as_slice() else {
                panic!("not an If: {statement}")
            };
            assert_eq!(otherwise, &json!({"Ref": "AWS::NoValue"}), "{statement}");
            Some((text(condition), then))
        })
        .collect()
}

fn all_statements(role: &str) -> impl Iterator<Item = &'static Value> {
    each(&properties(role)["Policies"]).iter().flat_map(|policy| each(&policy["PolicyDocument"]["Statement"]))
}

/// `X` of `!Ref X`, `X.Arn` of `!GetAtt X.Arn`; anything else is no reference to one resource.
fn reference(value: &Value) -> Option<&str> {
    value.get("Ref").or_else(|| value.get("Fn::GetAtt"))?.as_str()
}

/// What is there if a condition holds, and nothing if not: the condition, and what it is.
fn conditional(value: &Value) -> Option<(&str, &Value)> {
    let parts = value.get("Fn::If")?.as_array()?;
    assert_eq!(parts[2], json!({"Ref": "AWS::NoValue"}), "{value}");
    Some((text(&parts[0]), &parts[1]))
}

/// Every right of a role, as `action on resource`, with ` if condition` where it has one.
fn rights(role: &str) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for statement in statements(role) {
        for action in each(&statement["Action"]) {
            for on in each(&statement["Resource"]) {
                let (condition, on) =
                    conditional(on).map_or((String::new(), on), |(name, on)| (format!(" if {name}"), on));
                let on = match on.as_str() {
                    Some("*") => "*",
                    _ => reference(on).unwrap_or_else(|| panic!("not a reference: {on}")),
                };
                rights.insert(format!("{} on {on}{condition}", text(action)));
            }
        }
    }
    rights
}

fn set<const N: usize>(items: [&str; N]) -> BTreeSet<String> {
    items.map(str::to_owned).into()
}

// Events: what invokes the functions.

#[test]
fn queue_and_stream_report_failures_one_by_one() {
    for source in ["Queued", "Stored"] {
        let types = &event("WorkerFunction", source)["FunctionResponseTypes"];
        assert_eq!(types, &json!(["ReportBatchItemFailures"]), "{source}");
    }
}

#[test]
fn the_worker_is_invoked_by_the_queue_and_by_the_stream_of_the_table() {
    assert_eq!(event("WorkerFunction", "Queued")["Queue"], json!({"Fn::GetAtt": "Queue.Arn"}));
    assert_eq!(event("WorkerFunction", "Stored")["Stream"], json!({"Fn::GetAtt": "EventsTable.StreamArn"}));
}

#[test]
fn the_stream_source_hears_of_new_event_items_only() {
    let filters = event("WorkerFunction", "Stored")["FilterCriteria"]["Filters"].as_array().unwrap();
    assert_eq!(filters.len(), 1);
    let pattern = embedded(&filters[0]["Pattern"]);
    let keys = json!({ schema::SK: {"S": [schema::EVENT_SK]} });
    assert_eq!(pattern, json!({"eventName": ["INSERT"], "dynamodb": {"Keys": keys}}));
}

#[test]
fn the_stream_source_gives_up_on_nothing() {
    let source = event("WorkerFunction", "Stored");
    assert_eq!(source["MaximumRetryAttempts"], json!(-1));
    assert!(source.get("MaximumRecordAgeInSeconds").is_none());
    assert_eq!(source["StartingPosition"], "TRIM_HORIZON");
}

#[test]
fn the_sweeper_runs_every_minute() {
    let schedule = event("WorkerFunction", "Sweep");
    assert_eq!(schedule["Schedule"], "rate(1 minute)");
    assert_eq!(text(&schedule["Input"]), SWEEP);
}

#[test]
fn every_method_of_both_paths_reaches_ingest() {
    let events = properties("IngestFunction")["Events"].as_object().unwrap();
    let routes: BTreeSet<String> = events
        .values()
        .map(|event| {
            format!("{} {}", text(&event["Properties"]["Method"]), text(&event["Properties"]["Path"]))
        })
        .collect();
    assert_eq!(routes, set(["ANY /webhooks/{source}", "ANY /webhooks/{source}/{type}"]));
}

/// Each queue and its dead-letter queue.
const QUEUES: [(&str, &str); 2] = [("Queue", "DeadLetterQueue"), ("OrderedQueue", "OrderedDeadLetterQueue")];

// Queues: nothing is lost, nothing runs twice because of a timeout.

#[test]
fn a_message_stays_hidden_for_six_worker_timeouts() {
    for queue in ["Queue", "OrderedQueue"] {
        let hidden = number(&properties(queue)["VisibilityTimeout"]);
        let timeout = number(&properties("WorkerFunction")["Timeout"]);
        assert!(hidden >= 6 * timeout, "{queue}: {hidden} s hidden, {timeout} s of work");
    }
}

#[test]
fn the_local_queue_behaves_like_this_one() {
    let queue = properties("Queue");
    assert_eq!(number(&queue["VisibilityTimeout"]), u64::from(VISIBILITY_SECONDS));
    assert_eq!(number(&queue["RedrivePolicy"]["maxReceiveCount"]), u64::from(RECEIVES_MAX));
}

// The FIFO queue: there is one if it is wanted, and everything about it then.

#[test]
fn everything_of_the_fifo_queue_is_there_if_and_only_if_it_is_wanted() {
    assert_eq!(TEMPLATE["Parameters"]["Ordered"]["Default"], "false");
    assert_eq!(TEMPLATE["Conditions"]["IsOrdered"], json!({"Fn::Equals": [{"Ref": "Ordered"}, "true"]}));
    let mut conditional = BTreeSet::new();
    for (name, it) in resources().iter().chain(TEMPLATE["Outputs"].as_object().unwrap()) {
        assert_eq!(name.starts_with("Ordered"), it["Condition"] == "IsOrdered", "{name}");
        if name.starts_with("Ordered") {
            conditional.insert(name.clone());
        }
    }
    assert_eq!(
        conditional,
        set([
            "OrderedDeadLetterQueue",
            "OrderedDeadLetterQueueUrl",
            "OrderedDeadLettersAlarm",
            "OrderedMapping",
            "OrderedOldestMessageAlarm",
            "OrderedQueue",
            "OrderedQueueUrl",
        ])
    );
}

#[test]
fn the_fifo_queue_is_one_and_so_is_its_dead_letter_queue() {
    for queue in ["OrderedQueue", "OrderedDeadLetterQueue"] {
        assert_eq!(properties(queue)["FifoQueue"], true, "{queue}");
        assert!(text(&properties(queue)["QueueName"]["Fn::Sub"]).ends_with(".fifo"), "{queue}");
        // Content decides nothing: ingest names every message.
        assert!(properties(queue).get("ContentBasedDeduplication").is_none(), "{queue}");
    }
    let redrive = &properties("OrderedQueue")["RedrivePolicy"];
    assert_eq!(redrive["deadLetterTargetArn"], json!({"Fn::GetAtt": "OrderedDeadLetterQueue.Arn"}));
    assert_eq!(number(&redrive["maxReceiveCount"]), u64::from(ORDERED_RECEIVES_MAX));
    assert_eq!(number(&properties("OrderedQueue")["VisibilityTimeout"]), u64::from(VISIBILITY_SECONDS));
}

#[test]
fn the_worker_is_invoked_by_the_fifo_queue_which_knows_no_window() {
    let mapping = properties("OrderedMapping");
    assert_eq!(mapping["EventSourceArn"], json!({"Fn::GetAtt": "OrderedQueue.Arn"}));
    assert_eq!(mapping["FunctionName"], json!({"Ref": "WorkerFunction"}));
    assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    assert!(number(&mapping["BatchSize"]) <= 10);
    assert!(mapping.get("MaximumBatchingWindowInSeconds").is_none());
}

/// Seconds that the longest action may take: what `timeout_seconds` takes at most.
const ACTION_SECONDS_MAX: u64 = 30;

#[test]
fn no_action_takes_longer_than_this_file_thinks() {
    let config = |seconds: u64| {
        format!("[actions.a]\nkind = \"http\"\nurl = \"https://example.com\"\ntimeout_seconds = {seconds}\n")
    };
    let invoke = |seconds: u64| {
        format!(
            "[actions.a]\nkind = \"invoke\"\nfunction = \"f\"\nwait = true\ntimeout_seconds = {seconds}\n"
        )
    };
    for config in [&config as &dyn Fn(u64) -> String, &invoke] {
        assert!(Config::parse(&config(ACTION_SECONDS_MAX)).is_ok());
        assert!(Config::parse(&config(ACTION_SECONDS_MAX + 1)).is_err());
    }
}

#[test]
fn a_lease_outlasts_its_worker_and_ends_before_its_message_comes_back() {
    let lease = u64::try_from(LEASE_MS / 1000).unwrap();
    let timeout = number(&properties("WorkerFunction")["Timeout"]);
    let hidden = number(&properties("Queue")["VisibilityTimeout"]);
    assert!(
        ACTION_SECONDS_MAX < timeout,
        "{timeout} s leave no time for an action of {ACTION_SECONDS_MAX} s"
    );
    assert!(timeout < lease, "{lease} s of lease, {timeout} s of work");
    assert!(lease < hidden, "{lease} s of lease, {hidden} s hidden");
}

#[test]
fn ingest_is_not_stopped_while_it_waits_for_aws() {
    // The secrets, then the table and the queue at once, then the outbox.
    let longest = 3 * Patience::INGEST.operation;
    assert!(Duration::from_secs(number(&properties("IngestFunction")["Timeout"])) > longest);
}

#[test]
fn the_largest_message_is_not_too_large() {
    let largest = number(&properties("Queue")["MaximumMessageSize"]);
    assert_eq!(number(&properties("OrderedQueue")["MaximumMessageSize"]), largest);
    let base64 = u64::try_from(FRAME_IN_MESSAGE_BYTES_MAX.div_ceil(3) * 4).unwrap();
    // Source and id, and the JSON around them.
    assert!(base64 + 8 * 1024 < largest, "{base64} of {largest}");
}

#[test]
fn poison_goes_to_the_dead_letter_queue_but_not_before_five_crashes() {
    let redrive = &properties("Queue")["RedrivePolicy"];
    assert_eq!(redrive["deadLetterTargetArn"], json!({"Fn::GetAtt": "DeadLetterQueue.Arn"}));
    assert!(number(&redrive["maxReceiveCount"]) >= 5);
}

#[test]
fn each_dead_letter_queue_serves_its_queue_alone() {
    for (queue, dead_letters) in QUEUES {
        let allow = &properties(dead_letters)["RedriveAllowPolicy"];
        let name = text(&properties(queue)["QueueName"]["Fn::Sub"]);
        assert_eq!(allow["redrivePermission"], "byQueue");
        let sources = allow["sourceQueueArns"].as_array().unwrap();
        assert_eq!(sources.len(), 1);
        assert!(text(&sources[0]["Fn::Sub"]).ends_with(&format!(":{name}")), "{} is not {name}", sources[0]);
    }
}

#[test]
fn dead_letters_are_kept_as_long_as_messages() {
    for (queue, dead_letters) in QUEUES {
        let dead = number(&properties(dead_letters)["MessageRetentionPeriod"]);
        assert!(dead >= number(&properties(queue)["MessageRetentionPeriod"]), "{queue}");
    }
}

#[test]
fn every_queue_takes_the_largest_message() {
    for queue in QUEUES.into_iter().flat_map(<[&str; 2]>::from) {
        assert_eq!(number(&properties(queue)["MaximumMessageSize"]), 1024 * 1024, "{queue}");
    }
}

#[test]
fn what_waits_is_encrypted() {
    for queue in QUEUES.into_iter().flat_map(<[&str; 2]>::from) {
        assert_eq!(properties(queue)["SqsManagedSseEnabled"], true, "{queue}");
    }
    assert_eq!(properties("EventsTable")["SSESpecification"]["SSEEnabled"], true);
}

// Table: the store's own assumptions.

#[test]
fn the_table_has_the_keys_that_the_store_writes() {
    let table = properties("EventsTable");
    let definition = schema::definition("any");
    for same in ["KeySchema", "AttributeDefinitions", "BillingMode"] {
        assert_eq!(table[same], definition[same], "{same}");
    }
    let (stream, local) = (&table["StreamSpecification"], &definition["StreamSpecification"]);
    assert_eq!(stream["StreamViewType"], local["StreamViewType"]);
    assert_eq!(local["StreamEnabled"], true, "CloudFormation enables what has a view");
}

#[test]
fn the_table_has_no_index_and_is_paid_by_the_request() {
    let table = properties("EventsTable");
    assert!(table.get("GlobalSecondaryIndexes").is_none());
    assert!(table.get("LocalSecondaryIndexes").is_none());
    assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
}

#[test]
fn items_expire_by_their_ttl() {
    let expiry = &properties("EventsTable")["TimeToLiveSpecification"];
    assert_eq!(expiry, &json!({"AttributeName": schema::TTL, "Enabled": true}));
}

#[test]
fn the_stream_carries_keys_only() {
    assert_eq!(properties("EventsTable")["StreamSpecification"], json!({"StreamViewType": "KEYS_ONLY"}));
}

#[test]
fn the_table_can_be_taken_back_to_any_second() {
    assert_eq!(
        properties("EventsTable")["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"],
        true
    );
}

#[test]
fn events_and_secrets_outlive_the_stack() {
    for kept in ["EventsTable", "Secrets"] {
        assert_eq!(resource(kept)["DeletionPolicy"], "Retain", "{kept}");
        assert_eq!(resource(kept)["UpdateReplacePolicy"], "Retain", "{kept}");
    }
    // A fixed name that was left behind would stop the next stack.
    assert!(properties("EventsTable").get("TableName").is_none());
    assert!(properties("Secrets").get("Name").is_none());
}

#[test]
fn a_deployment_never_writes_over_the_secrets() {
    // CloudFormation writes the value when this line changes, and only then.
    assert_eq!(properties("Secrets")["SecretString"], "{}");
}

// Functions: built and wired as the code expects.

#[test]
fn both_functions_are_given_exactly_the_variables_that_the_code_reads() {
    for function in ["IngestFunction", "WorkerFunction"] {
        let shared = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"].as_object().into_iter();
        let own = properties(function)["Environment"]["Variables"].as_object().into_iter();
        let given: BTreeSet<String> = shared.chain(own).flat_map(Map::keys).cloned().collect();
        let read = set([
            env::TABLE,
            env::QUEUE_URL,
            env::ORDERED_QUEUE_URL,
            env::SECRETS,
            env::CONFIG,
            env::PUBLIC_URL,
            env::METRICS_NAMESPACE,
        ]);
        assert_eq!(given, read, "{function}");
    }
}

#[test]
fn the_variables_name_the_table_the_queue_and_the_secret() {
    let variables = &TEMPLATE["Globals"]["Function"]["Environment"]["Variables"];
    assert_eq!(variables[env::TABLE], json!({"Ref": "EventsTable"}));
    assert_eq!(variables[env::QUEUE_URL], json!({"Ref": "Queue"}));
    let (condition, url) = conditional(&variables[env::ORDERED_QUEUE_URL]).unwrap();
    assert_eq!((condition, url), ("IsOrdered", &json!({"Ref": "OrderedQueue"})));
    assert_eq!(variables[env::SECRETS], json!({"Ref": "Secrets"}));
}

/// Lambda unpacks a layer's zip into `/opt`, and a stack without a layer has the configuration that was built in.
#[test]
fn a_layer_brings_a_configuration_of_its_own() {
    let shared = &TEMPLATE["Globals"]["Function"];
    let none = json!({"Ref": "AWS::NoValue"});
    let path = json!({"Fn::If": ["HasConfigLayer", "/opt/hookgate.toml", none]});
    assert_eq!(shared["Environment"]["Variables"][env::CONFIG], path);
    assert_eq!(shared["Layers"], json!({"Fn::If": ["HasConfigLayer", [{"Ref": "ConfigLayer"}], none]}));
    assert_eq!(TEMPLATE["Parameters"]["ConfigLayer"]["Default"], "");
}

#[test]
fn both_functions_are_members_of_the_workspace_built_by_cargo_lambda() {
    for (function, binary) in [("IngestFunction", "ingest"), ("WorkerFunction", "worker")] {
        let metadata = &resource(function)["Metadata"];
        assert_eq!(metadata["BuildMethod"], "rust-cargolambda");
        assert_eq!(metadata["BuildProperties"]["Binary"], binary);
        let folder = text(&properties(function)["CodeUri"]);
        let manifest = std::fs::read_to_string(Path::new(ROOT).join(folder).join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{binary}\"")), "{folder} is not {binary}");
    }
}

/// SAM builds one function after the other. What the second wants with other features than the first had, is compiled
/// again, and so is all that is above it: with `bytes` the whole AWS SDK.
#[test]
fn both_functions_want_the_same_of_what_they_share() {
    let wanted = |function: &str| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(ROOT).args(["tree", "--quiet", "--offline", "--locked", "--edges", "normal,build"]);
        cargo.args(["--prefix", "none", "--no-dedupe", "--format", "{p}|{f}", "--package", function]);
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout).unwrap();
        let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, features) in tree.lines().filter_map(|line| line.split_once('|')) {
            wanted.entry(name.to_owned()).or_default().insert(features.to_owned());
        }
        wanted
    };
    let (ingest, worker) = (wanted("ingest"), wanted("worker"));
    // Events of the gateway are in the one, of the queue and the stream in the other. Nothing else is above it.
    let differing: BTreeSet<&str> = ingest
        .iter()
        .filter(|(name, features)| worker.get(*name).is_some_and(|other| other != *features))
        .filter_map(|(name, _)| name.split_whitespace().next())
        .collect();
    assert!(ingest.keys().any(|name| name.starts_with("aws-sdk-dynamodb ")), "{ingest:?}");
    assert_eq!(differing, BTreeSet::from(["aws_lambda_events"]), "see the dependencies of hookgate_aws");
}

#[test]
fn both_functions_log_json_to_a_group_of_their_own_that_forgets() {
    for (function, group) in [("IngestFunction", "IngestLogs"), ("WorkerFunction", "WorkerLogs")] {
        let logging = &properties(function)["LoggingConfig"];
        assert_eq!(logging["LogFormat"], "JSON", "{function}");
        assert_eq!(logging["LogGroup"], json!({"Ref": group}), "{function}");
    }
    for group in ["ApiLogs", "IngestLogs", "WorkerLogs"] {
        assert_eq!(properties(group)["RetentionInDays"], json!({"Ref": "LogRetentionDays"}), "{group}");
    }
}

#[test]
fn both_functions_are_traced_unless_that_is_not_wanted() {
    assert_eq!(TEMPLATE["Globals"]["Function"]["Tracing"], json!({"Ref": "Tracing"}));
    let parameter = &TEMPLATE["Parameters"]["Tracing"];
    assert_eq!(parameter["Default"], "Active");
    assert_eq!(parameter["AllowedValues"], json!(["Active", "PassThrough"]));
    for function in ["IngestFunction", "WorkerFunction"] {
        assert!(properties(function).get("Tracing").is_none(), "{function}");
    }
}

#[test]
fn the_worker_may_send_to_the_queue_that_invokes_it_as_often_as_it_retries() {
    // Lambda stops what it takes for a loop after 16 invocations, and an outage or ten retries take more.
    assert_eq!(properties("WorkerFunction")["RecursiveLoop"], "Allow");
}

// Rights: one role for each function, and nothing in it that the code does not call.

#[test]
fn each_function_has_a_role_of_its_own_and_no_other_policy() {
    for (function, role) in [("IngestFunction", "IngestRole"), ("WorkerFunction", "WorkerRole")] {
        assert_eq!(properties(function)["Role"], json!({"Fn::GetAtt": format!("{role}.Arn")}));
        assert!(
            properties(function).get("Policies").is_none(),
            "{function}: SAM ignores Policies beside Role"
        );
    }
    assert!(TEMPLATE["Globals"]["Function"].get("Policies").is_none());
    assert!(properties("IngestRole").get("ManagedPolicyArns").is_none());
    // Nothing unless the owner of the stack adds it.
    assert_eq!(
        properties("WorkerRole")["ManagedPolicyArns"],
        json!({"Fn::If": ["HasWorkerPolicies", {"Ref": "WorkerPolicyArns"}, {"Ref": "AWS::NoValue"}]})
    );
    assert_eq!(TEMPLATE["Parameters"]["WorkerPolicyArns"]["Default"], "");
}

#[test]
fn rights_are_given_by_the_two_roles_alone() {
    let givers: BTreeSet<String> = resources()
        .iter()
        .filter(|(_, it)| {
            let kind = text(&it["Type"]);
            kind.starts_with("AWS::IAM::") || kind.ends_with("Policy")
        })
        .map(|(name, _)| name.clone())
        .collect();
    assert_eq!(givers, set(["IngestRole", "WorkerRole"]));
}

#[test]
fn every_statement_is_named_and_allows_named_actions_on_resources_of_this_template() {
    for role in ["IngestRole", "WorkerRole"] {
        let statements = statements(role);
        let ids: BTreeSet<&str> = statements.iter().map(|statement| text(&statement["Sid"])).collect();
        assert_eq!(ids.len(), statements.len(), "{role}: a Sid stands twice");
        for statement in statements {
            let id = text(&statement["Sid"]);
            let fields: BTreeSet<String> = statement.as_object().unwrap().keys().cloned().collect();
            assert_eq!(fields, set(["Action", "Effect", "Resource", "Sid"]), "{role} {id}");
            assert_eq!(statement["Effect"], "Allow", "{role} {id}");
            for action in each(&statement["Action"]) {
                assert!(!text(action).contains('*'), "{role} {id}: {action}");
            }
            for on in each(&statement["Resource"]) {
                // X-Ray's actions are about no resource.
                if each(&statement["Action"]).iter().all(|action| text(action).starts_with("xray:")) {
                    assert_eq!(on, "*", "{role} {id}");
                    continue;
                }
                let on = conditional(on).map_or(on, |(_, on)| on);
                let name = reference(on).unwrap_or_else(|| panic!("{role} {id}: {on} is not a reference"));
                resource(name.split('.').next().unwrap());
            }
        }
    }
}

#[test]
fn ingest_may_put_send_read_its_secrets_log_and_trace() {
    assert_eq!(
        rights("IngestRole"),
        set([
            "dynamodb:PutItem on EventsTable.Arn",
            "logs:CreateLogStream on IngestLogs.Arn",
            "logs:PutLogEvents on IngestLogs.Arn",
            "secretsmanager:GetSecretValue on Secrets",
            "sqs:SendMessage on OrderedQueue.Arn if IsOrdered",
            "sqs:SendMessage on Queue.Arn",
            "xray:PutTelemetryRecords on *",
            "xray:PutTraceSegments on *",
        ])
    );
}

#[test]
fn worker_may_keep_events_queue_them_poll_read_its_secrets_log_and_trace() {
    assert_eq!(
        rights("WorkerRole"),
        set([
            "dynamodb:BatchGetItem on EventsTable.Arn",
            "dynamodb:DeleteItem on EventsTable.Arn",
            "dynamodb:DescribeStream on EventsTable.StreamArn",
            "dynamodb:GetItem on EventsTable.Arn",
            "dynamodb:GetRecords on EventsTable.StreamArn",
            "dynamodb:GetShardIterator on EventsTable.StreamArn",
            "dynamodb:ListStreams on EventsTable.StreamArn",
            "dynamodb:PutItem on EventsTable.Arn",
            "dynamodb:Query on EventsTable.Arn",
            "dynamodb:UpdateItem on EventsTable.Arn",
            "logs:CreateLogStream on WorkerLogs.Arn",
            "logs:PutLogEvents on WorkerLogs.Arn",
            "secretsmanager:GetSecretValue on Secrets",
            "sqs:DeleteMessage on OrderedQueue.Arn if IsOrdered",
            "sqs:DeleteMessage on Queue.Arn",
            "sqs:GetQueueAttributes on OrderedQueue.Arn if IsOrdered",
            "sqs:GetQueueAttributes on Queue.Arn",
            "sqs:ReceiveMessage on OrderedQueue.Arn if IsOrdered",
            "sqs:ReceiveMessage on Queue.Arn",
            "sqs:SendMessage on OrderedQueue.Arn if IsOrdered",
            "sqs:SendMessage on Queue.Arn",
            "xray:PutTelemetryRecords on *",
            "xray:PutTraceSegments on *",
        ])
    );
}

#[test]
fn worker_may_call_a_service_only_where_a_parameter_names_what_on() {
    assert!(optional_statements("IngestRole").is_empty());
    let optional = optional_statements("WorkerRole");
    let mut allowed = BTreeSet::new();
    let mut ids: BTreeSet<&str> =
        statements("WorkerRole").iter().map(|statement| text(&statement["Sid"])).collect();
    for (condition, statement) in &optional {
        let fields: BTreeSet<String> = statement.as_object().unwrap().keys().cloned().collect();
        assert_eq!(fields, set(["Action", "Effect", "Resource", "Sid"]), "{condition}");
        assert!(ids.insert(text(&statement["Sid"])), "{condition}: its Sid stands twice");
        assert_eq!(statement["Effect"], "Allow", "{condition}");
        let parameter = text(&statement["Resource"]["Ref"]);
        // Empty unless the owner of the stack says otherwise, and then there is no statement.
        let declared = &TEMPLATE["Parameters"][parameter];
        assert_eq!((&declared["Type"], &declared["Default"]), (&json!("CommaDelimitedList"), &json!("")));
        assert_eq!(
            TEMPLATE["Conditions"][condition],
            json!({"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": parameter}]}, ""]}]})
        );
        allowed.insert(text(&statement["Action"]).to_owned());
    }
    let called: BTreeSet<String> =
        AwsService::ALL.into_iter().map(|service| service.permission().to_owned()).collect();
    assert_eq!((allowed, optional.len()), (called, AwsService::ALL.len()));
}

// Watching it.

#[test]
fn the_access_log_has_no_query_string_header_or_body() {
    let format = embedded(&properties("HttpApi")["AccessLogSettings"]["Format"]);
    let logged: BTreeSet<String> =
        format.as_object().unwrap().values().map(|variable| text(variable).to_owned()).collect();
    assert_eq!(
        logged,
        set([
            "$context.httpMethod",
            "$context.identity.sourceIp",
            "$context.integrationErrorMessage",
            "$context.integrationLatency",
            // Without the query string: the stage and the path alone.
            "$context.path",
            "$context.requestId",
            "$context.responseLength",
            "$context.routeKey",
            "$context.status",
        ])
    );
}

/// Whether the functions publish a metric by these dimensions.
fn is_published(metric: &str, dimensions: &[&str]) -> bool {
    let mut groups = metrics::GROUPS.iter().filter(|group| group.metrics.iter().any(|it| it.name == metric));
    groups.any(|group| group.dimensions.contains(&dimensions))
}

#[test]
fn every_alarm_on_a_metric_of_ours_is_on_one_that_is_published() {
    let namespace = &TEMPLATE["Globals"]["Function"]["Environment"]["Variables"][env::METRICS_NAMESPACE];
    let mut ours = BTreeSet::new();
    for (name, alarm) in resources().iter().filter(|(_, it)| it["Type"] == "AWS::CloudWatch::Alarm") {
        let alarm = &alarm["Properties"];
        if alarm["Namespace"].as_str().is_some_and(|namespace| namespace.starts_with("AWS/")) {
            continue;
        }
        assert_eq!(&alarm["Namespace"], namespace, "{name}");
        let dimensions = alarm["Dimensions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let dimensions: Vec<&str> = dimensions.iter().map(|it| text(&it["Name"])).collect();
        let metric = text(&alarm["MetricName"]);
        assert!(is_published(metric, &dimensions), "{name}: {metric} by {dimensions:?}");
        ours.insert(metric);
    }
    assert_eq!(
        ours,
        BTreeSet::from([
            "ack_ms",
            "dead",
            "deferred",
            "destinations_disabled",
            "destinations_paused",
            "outbox_oldest_ms",
            "refused",
            "unavailable"
        ])
    );
}

#[test]
fn no_log_level_hides_the_lines_that_an_alarm_counts_or_shows_what_was_sent() {
    assert_eq!(TEMPLATE["Parameters"]["LogLevel"]["AllowedValues"], json!(["DEBUG", "INFO"]));
}

#[test]
fn every_alarm_tells_the_topic_if_there_is_one_and_says_what_to_do() {
    let alarms: Vec<_> =
        resources().iter().filter(|(_, it)| it["Type"] == "AWS::CloudWatch::Alarm").collect();
    assert!(!alarms.is_empty());
    for (name, alarm) in alarms {
        assert_eq!(
            alarm["Properties"]["AlarmActions"],
            json!({"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}),
            "{name}"
        );
        assert!(text(&alarm["Properties"]["AlarmDescription"]["Fn::Sub"]).len() > 40, "{name}");
    }
}

#[test]
fn the_dashboard_is_json() {
    let widgets = embedded(&properties("Dashboard")["DashboardBody"]["Fn::Sub"])["widgets"].take();
    assert!(widgets.as_array().is_some_and(|widgets| !widgets.is_empty()));
}

#[test]
fn the_dashboard_shows_every_metric_that_is_published_and_no_other() {
    const NAMESPACE: &str = "hookgate/${AWS::StackName}";
    assert_eq!(
        TEMPLATE["Globals"]["Function"]["Environment"]["Variables"][env::METRICS_NAMESPACE],
        json!({"Fn::Sub": NAMESPACE})
    );
    let body = embedded(&properties("Dashboard")["DashboardBody"]["Fn::Sub"]);
    let mut shown = BTreeSet::new();
    for widget in body["widgets"].as_array().unwrap() {
        for metric in widget["properties"]["metrics"].as_array().into_iter().flatten() {
            let (name, dimension) = match metric[0]["expression"].as_str() {
                None if metric[0] == NAMESPACE => (text(&metric[1]), None),
                None => continue,
                Some(expression) => {
                    let start = format!("SEARCH('{{\"{NAMESPACE}\",");
                    let search = expression.strip_prefix(&start).unwrap_or_else(|| panic!("{expression}"));
                    let (dimension, search) = search.split_once("} MetricName=\"").unwrap();
                    let name =
                        search.strip_suffix("\"', 'Sum', 60)").unwrap_or_else(|| panic!("{expression}"));
                    // Sub leaves `${!X}` as `${X}`, which is what the dashboard reads.
                    let label = format!("{name} ${{!PROP('Dim.{dimension}')}}");
                    assert_eq!(metric[0]["label"], label);
                    (name, Some(dimension))
                }
            };
            assert!(is_published(name, dimension.as_slice()), "{name} by {dimension:?}");
            shown.insert(name);
        }
    }
    let published: BTreeSet<&str> =
        metrics::GROUPS.iter().flat_map(|group| group.metrics).map(|metric| metric.name).collect();
    assert_eq!(shown, published);
}

#[test]
fn an_alarm_comes_before_the_slowest_sender_that_is_waited_for_gives_up() {
    let alarm = properties("SlowAcknowledgementsAlarm");
    // Slack's limit is 3 s.
    assert!(number(&alarm["Threshold"]) < 3_000 && alarm["ExtendedStatistic"] == "p99", "{alarm}");
}

#[test]
fn the_stack_says_where_everything_is() {
    let outputs: BTreeSet<String> = TEMPLATE["Outputs"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        outputs,
        set([
            "WebhookUrl",
            "EventsTable",
            "QueueUrl",
            "DeadLetterQueueUrl",
            "OrderedQueueUrl",
            "OrderedDeadLetterQueueUrl",
            "SecretArn",
        ])
    );
}
