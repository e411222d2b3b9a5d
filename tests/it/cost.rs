//! What a million events cost: requests that are counted here, times published prices. `docs/cost.md` is written by this.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{fmt::Write as _, time::Duration};

use axum::http::StatusCode;
use hookgate_aws::{
    effects::Functions,
    schema::{EVENT_SK, OUTBOX_SHARDS, PK, SK, event_pk},
};
use hookgate_core::{codec, lifecycle::Status};
use serde_json::{Value, json};

use crate::{
    functions::{Setting, TOKEN, delivery, hang_body},
    harness::{Bench, Reply, SHOP, event_id, name, noise},
};

/// Events of a mix that are really taken in and worked off.
const EVENTS: usize = 40;

/// Names the variable with which the page is written instead of checked.
const WRITE: &str = "HOOKGATE_WRITE_DOCS";

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cost.md");
const TEMPLATE: &str = include_str!("../../template.yaml");

/// A price in dollars, us-east-1, first tier, without what is free.
struct Price {
    of: &'static str,
    dollars: f64,
    /// AWS's page of it.
    page: &'static str,
    /// Where the number was read, on 2026-11-21. AWS's pages fill their tables in by script.
    read: &'static str,
}

const API: Price = Price {
    of: "a million requests of an HTTP API, each up to 512 KB",
    dollars: 1.00,
    page: "https://aws.amazon.com/api-gateway/pricing/",
    read: "https://docs.aws.amazon.com/whitepapers/latest/best-practices-api-gateway-private-apis-integration/cost-optimization.html",
};
const INVOCATIONS: Price = Price {
    of: "a million invocations",
    dollars: 0.20,
    page: "https://aws.amazon.com/lambda/pricing/",
    read: "https://cloudchipr.com/blog/aws-lambda-pricing",
};
const GB_SECONDS: Price = Price {
    of: "a million GB-seconds on arm64",
    dollars: 13.3334,
    page: "https://aws.amazon.com/lambda/pricing/",
    read: "https://cloudchipr.com/blog/aws-lambda-pricing",
};
const WRITES: Price = Price {
    of: "a million write units on demand, 1 KB each",
    dollars: 0.625,
    page: "https://aws.amazon.com/dynamodb/pricing/on-demand/",
    read: "https://airbyte.com/data-engineering-resources/dynamodb-pricing",
};
const READS: Price = Price {
    of: "a million read units on demand, 4 KB each",
    dollars: 0.125,
    page: "https://aws.amazon.com/dynamodb/pricing/on-demand/",
    read: "https://airbyte.com/data-engineering-resources/dynamodb-pricing",
};
const STORAGE: Price = Price {
    of: "a GB of the table for a month",
    dollars: 0.25,
    page: "https://aws.amazon.com/dynamodb/pricing/",
    read: "https://aws.amazon.com/dynamodb/pricing/",
};
const QUEUE: Price = Price {
    of: "a million requests of a standard queue, each up to 64 KB",
    dollars: 0.40,
    page: "https://aws.amazon.com/sqs/pricing/",
    read: "https://cloudburn.io/blog/amazon-sqs-pricing",
};
const FAIR: Price = Price {
    of: "added for a million requests that use fair queues",
    dollars: 0.10,
    page: "https://aws.amazon.com/sqs/pricing/",
    read: "https://cloudburn.io/blog/amazon-sqs-pricing",
};
const LOGS: Price = Price {
    of: "a GB of logs",
    dollars: 0.50,
    page: "https://aws.amazon.com/cloudwatch/pricing/",
    read: "https://www.factualminds.com/blog/amazon-cloudwatch-pricing-metrics-logs-alarms-dashboards/",
};
const METRIC: Price = Price {
    of: "a metric of one's own for a month",
    dollars: 0.30,
    page: "https://aws.amazon.com/cloudwatch/pricing/",
    read: "https://signoz.io/guides/cloudwatch-pricing",
};
const ALARM: Price = Price {
    of: "an alarm for a month",
    dollars: 0.10,
    page: "https://aws.amazon.com/cloudwatch/pricing/",
    read: "https://courseiva.com/learn/saa-c03/cloudwatch-cost",
};
const TRACES: Price = Price {
    of: "a million traces recorded",
    dollars: 5.00,
    page: "https://aws.amazon.com/xray/pricing/",
    read: "https://aws.amazon.com/de/xray/pricing/",
};
const DATA_OUT: Price = Price {
    of: "a GB sent to the internet",
    dollars: 0.09,
    page: "https://aws.amazon.com/ec2/pricing/on-demand/",
    read: "https://unanswered.io/guide/aws-sqs-pricing-and-cost-optimization",
};
const SECRET: Price = Price {
    of: "a secret for a month",
    dollars: 0.40,
    page: "https://aws.amazon.com/secrets-manager/pricing/",
    read: "https://hivebook.wiki/wiki/aws-secrets-manager-rotated-secrets-dynamic-db-credentials-kms",
};

const PRICES: [&Price; 14] = [
    &API,
    &INVOCATIONS,
    &GB_SECONDS,
    &WRITES,
    &READS,
    &STORAGE,
    &QUEUE,
    &FAIR,
    &LOGS,
    &METRIC,
    &ALARM,
    &TRACES,
    &DATA_OUT,
    &SECRET,
];

// Assumed, and said so on the page.

/// Memory of a function, as the template has it unless told otherwise, in GB.
const MEMORY_GB: f64 = 0.5;
/// What a warm ingest is billed for a request: two calls of AWS at the same time.
const INGEST_SECONDS: f64 = 0.012;
/// What worker is billed for a batch, whatever its size, as its events run side by side: four calls one after the other.
const WORKER_SECONDS: f64 = 0.030;
/// What a destination takes to answer is on top of that.
const DESTINATION_SECONDS: f64 = 0.150;
/// Bytes of a line of the API's access log: the template's format, filled in.
const ACCESS_LINE_BYTES: f64 = 350.0;
/// What CloudWatch Logs adds to each line that it bills.
const LINE_EXTRA_BYTES: f64 = 26.0;
/// Headers of a request to a destination, and of the answer to a sender.
const HEADER_BYTES: f64 = 500.0;
/// Minutes of a month, as prices go by: 30 days.
const MINUTES: f64 = 43_200.0;
/// Requests a minute with which Lambda asks an empty queue: five connections, each for 20 s.
const IDLE_POLLS: f64 = 15.0;

/// A kind of traffic.
struct Mix {
    name: &'static str,
    says: &'static str,
    actions: &'static str,
    /// Bytes of a body, about.
    body: usize,
    /// Of [`EVENTS`], how many come twice.
    twice: usize,
    /// Of [`EVENTS`], how many have an action that fails once.
    fail_once: usize,
    /// Whether every message is worked on by itself, as it is when few come.
    alone: bool,
    /// Requests to destinations for one event.
    posts: f64,
    /// Part of the requests that X-Ray records: the first of a second, and 5 % of the others.
    traced: f64,
    /// Dollars that a million may cost.
    at_most: f64,
}

const MIXES: [Mix; 3] = [
    Mix {
        name: "kept",
        says: "2 KB of JSON and one `record` action, hundreds a second, so that batches are full",
        actions: r#"["keep"]"#,
        body: 2_000,
        twice: 0,
        fail_once: 0,
        alone: false,
        posts: 0.0,
        traced: 0.05,
        at_most: 6.5,
    },
    Mix {
        name: "passed on",
        says: "2 KB of JSON and one `http` action, hundreds a second",
        actions: r#"["post"]"#,
        body: 2_000,
        twice: 0,
        fail_once: 0,
        alone: false,
        posts: 1.0,
        traced: 0.05,
        at_most: 6.0,
    },
    Mix {
        name: "a few, on a rough day",
        says: "8 KB of JSON, `http` and `count`, fewer than one a second, so that each is a batch and a trace; one in ten \
               comes twice, one in ten fails once",
        actions: r#"["post", "tally"]"#,
        body: 8_000,
        twice: EVENTS / 10,
        fail_once: EVENTS / 10,
        alone: true,
        posts: 1.1,
        traced: 1.0,
        at_most: 20.0,
    },
];

/// What was counted, for one event.
struct Counted {
    requests: f64,
    batches: f64,
    writes: f64,
    reads: f64,
    sent: f64,
    /// Receiving and deleting.
    polled: f64,
    stored_bytes: f64,
}

/// A line of a bill.
type Item = (&'static str, f64);

/// Of the lines of a bill, how many are for requests and come first.
const REQUESTS: usize = 6;

impl Counted {
    /// A million events, in dollars.
    fn bill(&self, mix: &Mix, logged: f64) -> Vec<Item> {
        let worker = WORKER_SECONDS + if mix.posts > 0.0 { DESTINATION_SECONDS } else { 0.0 };
        let seconds = self.requests * INGEST_SECONDS + self.batches * worker;
        let out = mix.posts * (body_bytes(mix) + HEADER_BYTES) + self.requests * HEADER_BYTES;
        vec![
            ("HTTP API", self.requests * API.dollars),
            ("Lambda, invocations", (self.requests + self.batches) * INVOCATIONS.dollars),
            ("Lambda, time (assumed)", seconds * MEMORY_GB * GB_SECONDS.dollars),
            ("DynamoDB, writes", self.writes * WRITES.dollars),
            ("DynamoDB, reads", self.reads * READS.dollars),
            ("SQS", (self.sent + self.polled) * (QUEUE.dollars + FAIR.dollars)),
            ("stored in DynamoDB for a month", gigabytes(self.stored_bytes) * STORAGE.dollars),
            ("logs", gigabytes(logged) * LOGS.dollars),
            ("X-Ray (by the rate)", mix.traced * TRACES.dollars),
            ("sent to the internet", gigabytes(out) * DATA_OUT.dollars),
        ]
    }
}

/// Of a million events, from what one has.
fn gigabytes(bytes: f64) -> f64 {
    bytes * 1e6 / 1e9
}

fn total(bill: &[Item]) -> f64 {
    bill.iter().map(|(_, dollars)| dollars).sum()
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// JSON whose ids can't be compressed away.
fn body(id: &str, bytes: usize) -> Vec<u8> {
    let mut items = Vec::new();
    for seed in 1.. {
        let sku = data_encoding::HEXLOWER.encode(&noise(16, seed));
        items.push(json!({"sku": sku, "name": "Kettle, blue – 1.7 l", "quantity": 1, "price": 4_950}));
        if items.len() * 100 >= bytes {
            break;
        }
    }
    json!({"id": id, "type": "order.paid", "at": "2026-05-28T20:26:38Z", "items": items}).to_string().into()
}

fn body_bytes(mix: &Mix) -> f64 {
    number(body("o1", mix.body).len())
}

async fn count(mix: &Mix) -> Counted {
    let keep = "\n[actions.keep]\nkind = \"record\"\ncollection = \"orders\"\nkey = \"json:/id\"\nfields = { at = \"json:/at\" }\n";
    let config = SHOP.replace(r#"["post", "tally"]"#, mix.actions) + keep;
    let (bench, destination) = Bench::start(&config, Functions::default()).await;
    let (table, queue) = (bench.engines.dynamodb().traffic(), bench.engines.sqs().traffic());
    destination.next("/post", (0..mix.fail_once).map(|_| Reply::Status(503)));
    let mut batches = 0;
    for n in 0..EVENTS {
        let text = body(&format!("o{n}"), mix.body);
        for _ in 0..if n < mix.twice { 2 } else { 1 } {
            bench.take_in(&text).await;
            if mix.alone {
                batches += usize::from(!bench.turn().await.0.is_empty());
            }
        }
    }
    // Long enough for the second try, which is 5 s later.
    for _ in 0..4 {
        while !bench.turn().await.0.is_empty() {
            batches += 1;
        }
        bench.clock.advance(Duration::from_secs(5));
    }
    for n in 0..EVENTS {
        assert_eq!(bench.entry(&format!("o{n}")).await.status, Status::Done, "{}: o{n}", mix.name);
    }
    let gets = table.count("GetItem") - EVENTS;
    let writes = table.write_units();
    // Every event comes by the table's stream too; none of them has to be rescued.
    let keys: Vec<Value> = (0..EVENTS)
        .map(|n| {
            let pk = event_pk(&name("shop"), &event_id(&format!("o{n}")));
            json!({"eventName": "INSERT", "dynamodb": {"Keys": {PK: {"S": pk}, SK: {"S": EVENT_SK}}}})
        })
        .collect();
    let before = table.count("BatchGetItem");
    assert_eq!(bench.worker.stream(&keys).await, None);
    assert_eq!((table.count("BatchGetItem") - before, table.write_units() - writes), (2, 0.0));

    let event = bench.worker.store.event(&name("shop"), &event_id("o1")).await.unwrap().unwrap();
    let frame = codec::encode(&event, u32::MAX).unwrap().len();
    // So that one read unit is one item, whatever it is.
    assert!(frame < 3_500, "{}: {frame}", mix.name);
    let per_event = |count: usize| number(count) / number(EVENTS);
    Counted {
        requests: per_event(EVENTS + mix.twice),
        batches: per_event(batches),
        // A put that finds the event there is charged as if it had written, and the engine doesn't say what.
        writes: writes / number(EVENTS) + per_event(mix.twice) * (number(frame) / 1_024.0).ceil(),
        // Consistent ones are a unit each. Those of the stream are half a unit, for the event and for its status. How many
        // events of the first batch ask how the destination is, is a matter of chance, so this is rounded up to quarters.
        reads: (4.0 * (per_event(gets) + 1.0)).ceil() / 4.0,
        sent: per_event(queue.count("SendMessage")),
        // Each batch is received once and deleted once, by Lambda; no message of these mixes is over 64 KB.
        polled: 2.0 * per_event(batches),
        // The event and its status.
        stored_bytes: number(frame) + 700.0,
    }
}

/// Bytes in the logs for one event: of both functions, as their real processes write them, and of the API.
async fn logged() -> f64 {
    let setting = Setting::new(StatusCode::OK).await;
    let (ingest, worker) = (setting.start("ingest").await, setting.start("worker").await);
    let answer = ingest.invoke(&delivery("cost", TOKEN, &hang_body("evt_1f0c2b3a4d5e"))).await.response();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    let records: Vec<Value> = setting
        .backend
        .waiting()
        .iter()
        .map(|message| json!({"messageId": "m1", "body": message.body, "eventSource": "aws:sqs", "attributes": {}}))
        .collect();
    let answer = worker.invoke(&json!({"Records": records}).to_string()).await.response();
    assert_eq!(answer["batchItemFailures"], json!([]), "{answer}");
    let (ingest, worker) = (ingest.kill().await, worker.kill().await);
    assert_eq!((ingest.lines().count(), worker.lines().count()), (1, 1), "{ingest}\n{worker}");
    let bytes = number(ingest.len() + worker.len()) + ACCESS_LINE_BYTES + 3.0 * LINE_EXTRA_BYTES;
    // What took two milliseconds or twelve is not worth a difference.
    (bytes / 100.0).ceil() * 100.0
}

/// What a stack costs in a month in which nothing comes.
fn idle() -> Vec<Item> {
    let alarms =
        TEMPLATE.split("\n  ").filter(|part| part.starts_with("  Type: AWS::CloudWatch::Alarm")).count();
    let sweeps = MINUTES / 1e6;
    vec![
        ("metrics, of one source and one action (18 + 10 + 5)", 33.0 * METRIC.dollars),
        ("alarms", number(alarms) * ALARM.dollars),
        ("the secret", SECRET.dollars),
        ("asking an empty queue", IDLE_POLLS * MINUTES / 1e6 * QUEUE.dollars),
        ("the sweeper's invocations", sweeps * INVOCATIONS.dollars),
        ("the sweeper's time (assumed)", sweeps * WORKER_SECONDS * MEMORY_GB * GB_SECONDS.dollars),
        ("the sweeper's reads", sweeps * f64::from(OUTBOX_SHARDS) * 0.5 * READS.dollars),
    ]
}

/// A table of text, figures, and perhaps more text.
fn table(page: &mut String, head: &[&str], figures: usize, rows: Vec<Vec<String>>) {
    let (right, left) = ("---:|".repeat(figures), "---|".repeat(head.len() - 1 - figures));
    writeln!(page, "\n| {} |\n|---|{right}{left}", head.join(" | ")).unwrap();
    for row in rows {
        writeln!(page, "| {} |", row.join(" | ")).unwrap();
    }
}

/// The page, from what was counted.
fn page(counted: &[Counted], logged: f64) -> String {
    let mut page = String::from(
        "<!-- Written by `HOOKGATE_WRITE_DOCS=1 cargo test -p hookgate_tests --test it cost_`, which also checks it. -->\n\
         # What it costs\n\n\
         Requests are counted by a test that takes events in and works them off, on the embedded table and queue; log lines\n\
         are those of the functions' own processes. Prices are AWS's for us-east-1, without anything that is free. Nothing\n\
         here comes from a bill.\n",
    );
    for mix in &MIXES {
        write!(page, "\n- **{}**: {}.", mix.name, mix.says).unwrap();
    }
    page.push_str("\n\n## A million events\n");
    let names = |first: &'static str| [&[first][..], &MIXES.map(|mix| mix.name)].concat();
    let each = |title: &str, figure: &dyn Fn(&Counted) -> f64| {
        let cells = counted.iter().map(|one| format!("{:.2}", figure(one)));
        std::iter::once(title.to_owned()).chain(cells).collect::<Vec<_>>()
    };
    table(
        &mut page,
        &names("counted, for one event"),
        MIXES.len(),
        vec![
            each("requests of senders", &|one| one.requests),
            each("batches of worker", &|one| one.batches),
            each("write units", &|one| one.writes),
            each("read units, half of one by the stream for each look", &|one| one.reads),
            each("messages sent", &|one| one.sent),
            each("requests of Lambda to the queue", &|one| one.polled),
            each("KB stored", &|one| one.stored_bytes / 1_000.0),
        ],
    );
    let bills: Vec<_> = counted.iter().zip(&MIXES).map(|(one, mix)| one.bill(mix, logged)).collect();
    let mut rows: Vec<Vec<String>> = (0..bills[0].len())
        .map(|line| {
            let cells = bills.iter().map(|bill| format!("${:.2}", bill[line].1));
            std::iter::once(bills[0][line].0.to_owned()).chain(cells).collect()
        })
        .collect();
    let totals = |items: std::ops::Range<usize>, label: &str| {
        let cells = bills.iter().map(|bill| format!("**${:.2}**", total(&bill[items.clone()])));
        std::iter::once(label.to_owned()).chain(cells).collect::<Vec<_>>()
    };
    rows.insert(REQUESTS, totals(0..REQUESTS, "**what the requests cost**"));
    rows.push(totals(0..bills[0].len(), "**all**"));
    table(&mut page, &names("dollars"), MIXES.len(), rows);
    write!(
        page,
        "\nAssumed, as it can't be measured here: ingest is billed {} ms for a request, worker {} ms for a batch and {} ms\n\
         more for a destination's answer, both with {} GB; a batch of ten takes as long as one. {} B of logs an event, of\n\
         which {} are the API's line. X-Ray records the first request of a second and 5 % of the others, so a million events\n\
         that come one by one are a million traces; its first 100,000 traces of a month are free. Point-in-time recovery is\n\
         billed by the GB stored as well, and is not in here.\n",
        INGEST_SECONDS * 1e3,
        WORKER_SECONDS * 1e3,
        DESTINATION_SECONDS * 1e3,
        MEMORY_GB,
        logged,
        ACCESS_LINE_BYTES,
    )
    .unwrap();
    page.push_str("\n## A month in which nothing comes\n");
    let idle = idle();
    let mut rows: Vec<Vec<String>> =
        idle.iter().map(|(label, dollars)| vec![(*label).to_owned(), format!("${dollars:.2}")]).collect();
    rows.push(vec!["**all**".to_owned(), format!("**${:.2}**", total(&idle))]);
    table(&mut page, &["", "dollars"], 1, rows);
    page.push_str(
        "\nA metric is billed by the hour, and only in hours in which something was counted under it, so an idle month costs\n\
         less than this. The dashboard is one of three that are free.\n\n## Prices\n",
    );
    let rows = PRICES
        .iter()
        .map(|price| {
            let read =
                if price.read == price.page { "there".to_owned() } else { format!("<{}>", price.read) };
            vec![price.of.to_owned(), format!("${:.2}", price.dollars), format!("<{}>", price.page), read]
        })
        .collect();
    table(&mut page, &["price of", "dollars", "AWS's page", "read on 2026-11-21"], 1, rows);
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn cost_a_million_events_cost_what_the_page_says() {
    let mut counted = Vec::new();
    for mix in &MIXES {
        counted.push(count(mix).await);
    }
    let logged = logged().await;
    for (mix, one) in MIXES.iter().zip(&counted) {
        let bill = one.bill(mix, logged);
        assert!(total(&bill) <= mix.at_most, "{}: {bill:?}", mix.name);
    }
    assert!(counted[1].writes <= 4.0, "2 KB and a destination: {} write units", counted[1].writes);
    let page = page(&counted, logged);
    if std::env::var_os(WRITE).is_some() {
        let kept = std::fs::read_to_string(PAGE).unwrap_or_default();
        let rest = kept.split_once(COMPARED).map_or("", |(_, rest)| rest);
        std::fs::write(PAGE, format!("{page}\n{COMPARED}{rest}")).unwrap();
    }
    let kept = std::fs::read_to_string(PAGE).unwrap();
    assert!(kept.starts_with(&page), "docs/cost.md is old: its first line says how to write it");
}

/// What follows on the page is written by hand.
const COMPARED: &str = "## What it could cost less, and what others cost\n";
