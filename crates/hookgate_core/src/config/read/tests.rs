use super::*;

fn problems(text: &str) -> Vec<String> {
    Config::parse(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// One problem, in this line, with these words.
fn check(text: &str, line: usize, parts: &[&str]) {
    let found = problems(text);
    let [problem] = found.as_slice() else { panic!("{text}: {found:#?}") };
    assert!(problem.starts_with(&format!("line {line}: ")), "{text}: {problem}");
    for part in parts {
        assert!(problem.contains(part), "{text}: {problem}");
    }
}

const GOOD: &str = r#"
public_url = "https://hooks.example.com/"

[sources.pay]
provider = "stripe"
tolerance = 600

[sources.orders]
provider = "generic"
verify = { scheme = "hmac", header = "x-signature", prefix = "sha256=" }
event = { id = "json:/order/id", type = "json:/kind", time = "json:/created_at" }
required = ["json:/order"]
answer = { status = 202, type = "text/plain", body = "ok" }
retention_days = 90

[[routes]]
source = "pay"
type = "invoice.*"
filter = "event.data.object.amount_due > 0"
actions = ["tell-finance", "tally"]

[[routes]]
source = "*"
actions = ["tally"]

[actions.tell-finance]
kind = "slack"

[actions.tally]
kind = "count"
"#;

#[test]
fn reads_what_is_right() {
    let config = Config::parse(GOOD).unwrap_or_else(|p| panic!("{p:#?}"));
    assert_eq!(config.public_url.as_deref(), Some("https://hooks.example.com"));
    let orders = &config.sources[&Name::parse("orders").unwrap()];
    assert_eq!((orders.retention_days, orders.secret.as_str()), (90, "orders"));
    assert_eq!(
        orders.answer,
        Answering::Fixed { status: 202, content_type: "text/plain".into(), body: "ok".into() }
    );
    assert_eq!(config.routes.len(), 2);
    assert_eq!(config.actions.len(), 2);
    let names: Vec<_> = config.secret_names().into_keys().collect();
    assert_eq!(names, ["orders", "pay", "tell-finance"]);
}

#[test]
fn a_source_says_whatever_the_catalogue_can_say_of_a_provider() {
    let config = Config::parse(
        "[sources.own]\nprovider = \"generic\"\nverify = { scheme = \"hmac\", header = \"x-signature\" }\n\
         json_field = \"payload\"\nencrypted = \"lark\"\nany_body = true\nidentical_bodies_differ = true\n\
         refused = 498\nhandshake = \"challenge\"\n[sources.debits]\nprovider = \"gocardless\"\n",
    )
    .unwrap_or_else(|p| panic!("{p:#?}"));
    let source = |name: &str| &config.sources[&Name::parse(name).unwrap()];
    let own = source("own");
    assert_eq!((own.json_field.as_str(), own.any_body, own.identical_bodies_differ), ("payload", true, true));
    assert_eq!((own.refused, own.handshake), (Some(498), Handshake::Challenge));
    // What it does not say is the provider's.
    let debits = source("debits");
    assert_eq!((debits.refused, debits.json_field.as_str()), (Some(498), ""));
    check("[sources.a]\nprovider = \"github\"\nrefused = 200", 3, &["400 to 499"]);
    check("[sources.a]\nprovider = \"github\"\nencrypted = \"rot13\"", 3, &["rot13"]);
    check("[sources.a]\nprovider = \"github\"\nhandshake = \"wave\"", 3, &["wave"]);
}

#[test]
fn every_problem_has_its_line_and_a_way_out() {
    check("[sources.a]\nprovider = \"strip\"", 2, &["unknown provider `strip`", "did you mean `stripe`?"]);
    check("[sources.a]\nprovidr = \"stripe\"", 2, &["providr"]);
    check("\n[sources.a]\nprovider = \"generic\"", 2, &["verify = \"none\""]);
    check("[sources.a]\nprovider = \"raw\"\nverify = \"nope\"", 3, &["nope"]);
    check("[sources.A]\nprovider = \"raw\"", 1, &["a-z"]);
    check("[sources.webhooks]\nprovider = \"stripe\"", 1, &["ambiguous"]);
    check("[sources.a]\nprovider = \"github\"\ntolerance = 5", 1, &["no timestamp"]);
    check("[sources.a]\nprovider = \"github\"\nretention_days = 1", 3, &["3 to 3650", "twice"]);
    check("[sources.a]\nprovider = \"github\"\nbody_bytes_max = 0", 3, &["1 to 10485760"]);
    check("[sources.a]\nprovider = \"github\"\nevent = { id = \"/id\" }", 3, &["`/id` is no place"]);
    check("[sources.a]\nprovider = \"github\"\norder = \"customer\"", 3, &["`customer` is no place"]);
    let schema = |written: &str| format!("[sources.a]\nprovider = \"github\"\n{written}");
    check(&schema("schema = { type = \"text\" }"), 3, &["schema: `#/type` has to be one or a list of"]);
    check(&schema("schema = '''\n{\"typ\": 1}\n'''"), 3, &["schema: `#/typ`: hookgate does not check `typ`"]);
    check(&schema("schema = \"{\""), 3, &["schema: it is no JSON"]);
    check(&schema("[sources.a.schema]\nminimum = \"1\""), 3, &["schema: `#/minimum` has to be a number"]);
    check("[sources.a]\nprovider = \"github\"\nmode = \"observe\"\norder = \"path\"", 4, &["leave it out"]);
    check("[sources.a]\nprovider = \"github\"\nanswer = { status = 500 }", 3, &["200 to 299"]);
    check("[source.a]\nprovider = \"github\"", 1, &["unknown key `source`", "did you mean `sources`?"]);
    check("public_url = \"hooks.example.com\"", 1, &["https://"]);
    check("[actions.a]\nkind = \"slak\"", 2, &["unknown kind `slak`", "did you mean `slack`?"]);
    check("[actions.a]\ntext = \"x\"", 1, &["`kind` is missing", "count, discord"]);
    check("[actions.a]\nkind = \"slack\"\ntext = \"{{ x\"", 3, &["bad template"]);
    check("[actions.a]\nkind = \"slack\"\ntxt = \"x\"", 3, &["txt"]);
    check("[actions.a]\nkind = \"emial\"", 2, &["unknown kind `emial`", "did you mean `email`?"]);
    let kind = |kind: &str, rest: &str| format!("[actions.a]\nkind = \"{kind}\"\n{rest}");
    check(&kind("discord", "text = \"{{ x\""), 3, &["bad template"]);
    check(&kind("teams", "channel = \"x\""), 3, &["channel", "`url`"]);
    check(&kind("email", "too = \"a@b.example\""), 3, &["too", "`to`"]);
    check(&kind("email", "subject = \"{{ x\""), 3, &["bad template"]);
    check(
        &kind("email", "subject = \"s\"\nfrom = \"shop\""),
        4,
        &["`from` is no address", "ada@example.com"],
    );
    check(&kind("email", "subject = \"s\"\nto = [\"a\", \"{{ x\"]"), 4, &["templates that can be read"]);
    check(&kind("publish", "to = \"arn:aws:s3:::b\""), 3, &["nothing to publish to", "the ARN of a topic"]);
    check(&kind("invoke", "function = \"a/b\""), 3, &["no function", "its ARN"]);
    check(&kind("invoke", "function = \"f\"\nwait = true\ntimeout_seconds = 31"), 5, &["1 to 30"]);
    let route = |rest: &str| {
        format!("[sources.pay]\nprovider = \"stripe\"\n[actions.tell]\nkind = \"run\"\n[[routes]]\n{rest}")
    };
    check(&route("source = \"pya\"\nactions = [\"tell\"]"), 6, &["no source is called `pya`", "`pay`"]);
    check(&route("source = \"pay\"\nactions = [\"tel\"]"), 7, &["no [actions.tel]", "did you mean `tell`?"]);
    check(&route("source = \"pay\"\ntype = \"a[b\"\nactions = []"), 7, &["bad glob"]);
    check(&route("source = \"pay\"\nfilter = \"a >\"\nactions = []"), 7, &["bad filter"]);
    check("[sources.a\nprovider = \"x\"", 1, &[]);
    check("routes = 5", 1, &["[[routes]]"]);
    check("sources = 5", 1, &["[sources.NAME]"]);
}

/// The smallest table of each kind that reaches nothing outward.
const INWARD: [&str; 2] = ["kind = \"record\"\ncollection = \"c\"\nkey = \"json:/id\"", "kind = \"count\""];

#[test]
fn how_an_action_is_run_is_checked_with_its_line_and_a_way_out() {
    for kind in INWARD {
        let line = 2 + kind.lines().count();
        for key in ["pause_after = 3", "rate = \"10/s\"", "concurrency = 2"] {
            let name = key.split(' ').next().unwrap();
            let parts = [format!("[actions.a]: take `{name}` out"), "reach outward".to_owned()];
            check(&format!("[actions.a]\n{kind}\n{key}"), line, &parts.each_ref().map(String::as_str));
        }
        // How often it is tried can be said of any.
        let retry = |value: &str| format!("[actions.a]\n{kind}\nretry = {value}");
        assert!(problems(&retry("[\"5s\", \"1m\"]")).is_empty(), "{kind}");
        check(&retry("[\"5\"]"), line, &["retry", "[\"5s\", \"5m\"]"]);
        check(&retry("{ tries = 31, first = \"1s\" }"), line, &["`tries` has to be 1 to 30"]);
        check(&format!("[actions.a]\n{kind}\nrety = []"), line, &["did you mean `retry`?"]);
        // Both are told.
        let text = format!("[actions.a]\n{kind}\nrate = \"1/s\"\nconcurrency = 1");
        assert_eq!(problems(&text).len(), 2, "{:#?}", problems(&text));
    }
    // A function of the user's own may reach anything.
    let run = "[actions.a]\nkind = \"run\"\npause_after = 3\nrate = \"10/s\"\nconcurrency = 2\nretry = []";
    assert!(problems(run).is_empty(), "{:#?}", problems(run));
    check("[actions.a]\nkind = \"run\"\nrety = []", 3, &["did you mean `retry`?"]);
    let http = |rest: &str| format!("[actions.a]\nkind = \"http\"\nurl = \"https://a.example/\"\n{rest}");
    check(&http("rate = \"10\""), 4, &["`10` is no rate such as 10/s"]);
    check(&http("concurrency = 0"), 4, &["`concurrency` has to be 1 to 50"]);
    check(&http("pause_after = -1"), 4, &["pause_after"]);
    check(&http("pauseafter = 3"), 4, &["did you mean `pause_after`?"]);
    check(&http("retry = [\"8d\"]"), 4, &["longer than 7d"]);
}

#[test]
fn sources_are_read_although_an_action_or_a_route_is_wrong() {
    let whole = format!("{:?}", Config::parse(GOOD).unwrap().sources);
    for wrong in ["", "[actions.b]\nkind = \"nope\"\n", "[[routes]]\nsource = \"nobody\"\nactions = []\n"] {
        let text = format!("{GOOD}{wrong}");
        assert_eq!(problems(&text).is_empty(), wrong.is_empty(), "{wrong}");
        let config = Config::parse_sources(&text).unwrap_or_else(|p| panic!("{p:#?}"));
        assert_eq!(format!("{:?}", config.sources), whole);
        assert_eq!(config.public_url.as_deref(), Some("https://hooks.example.com"));
        assert!(config.routes.is_empty() && config.actions.is_empty());
    }
    // What else is wrong may be a source.
    for wrong in ["[sources.a]\nprovider = \"nope\"", "[source.a]\nprovider = \"github\"", "[sources.a"] {
        let text = format!("{GOOD}{wrong}\n");
        assert_eq!(Config::parse_sources(&text).unwrap_err(), Config::parse(&text).unwrap_err(), "{wrong}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "[sources.a]\nprovider = \"nope\"\n[actions.b]\nkind = \"nope\"\n[extra]\n";
    let lines: Vec<_> = Config::parse(text).unwrap_err().iter().map(|p| p.line).collect();
    assert_eq!(lines, [2, 4, 5]);
}
