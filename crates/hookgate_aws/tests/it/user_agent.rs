//! What AWS is told of the caller.

use aws_sdk_dynamodb::types::AttributeValue;
use hookgate_aws::clients::Clients;

use crate::harness::{Answer, PATIENT, Server, clients};

#[tokio::test]
async fn calls_say_that_it_is_hookgate_and_nothing_else() {
    let server = Server::start(Answer::json(200, "{}".into())).await;
    let lookup = |name: &str| match name {
        "AWS_ENDPOINT_URL" => Some(server.url("")),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "AWS_REGION" => Some("us-east-1".to_owned()),
        _ => None,
    };
    let from_env = Clients::from_env(lookup, PATIENT).unwrap();
    for clients in [from_env, clients(server.url(""), server.url(""), PATIENT)] {
        let put = clients.dynamodb.put_item().table_name("t").item("pk", AttributeValue::S("a".into()));
        put.send().await.unwrap();
        clients.sqs.get_queue_url().queue_name("q").send().await.unwrap();
        clients.secrets_manager.secret_string("s").await.unwrap();
    }
    let got = server.got();
    assert_eq!(got.len(), 6);
    for got in got {
        let target = got.header("x-amz-target");
        assert_eq!(
            got.header("user-agent"),
            Some(concat!("hookgate/", env!("CARGO_PKG_VERSION"))),
            "{target:?}"
        );
        for name in ["x-amz-user-agent", "amz-sdk-invocation-id", "amz-sdk-request"] {
            assert_eq!(got.header(name), None, "{target:?}");
        }
    }
}
