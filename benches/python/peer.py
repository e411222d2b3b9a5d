"""A webhook receiver as it is commonly written in Python: HMAC, Powertools' idempotency, a message.

`receive` is the handler of that; `work` is the one of what works the queue off: read, take, keep the order's state, note the
result. What calls them is AWS's own client of the Runtime API, as in the managed runtime: python -m awslambdaric peer.receive
"""

import hashlib
import hmac
import json
import os
import sys

import boto3
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent,
)

# boto3 brings all roots with it, and this stands in for them.
os.environ["AWS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"]
TABLE = os.environ["HOOKGATE_TABLE"]
QUEUE_URL = os.environ["HOOKGATE_QUEUE_URL"]
SECRET = os.environ["BENCH_SECRET"].encode()
if sys.argv[-1] == "peer.work":
    dynamodb = boto3.client("dynamodb")
else:
    sqs = boto3.client("sqs")
store = DynamoDBPersistenceLayer(table_name=TABLE, key_attr="pk")


@idempotent(persistence_store=store, config=IdempotencyConfig(event_key_jmespath="body"))
def accept(event, context):
    sqs.send_message(QueueUrl=QUEUE_URL, MessageBody=event["body"])
    return {"statusCode": 200, "body": '{"status":"accepted"}'}


def receive(event, context):
    right = hmac.new(SECRET, event["body"].encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest("sha256=" + right, event["headers"].get("x-signature", "")):
        return {"statusCode": 401, "body": "{}"}
    return accept(event, context)


def put(pk, sk, name, value, **condition):
    dynamodb.update_item(
        TableName=TABLE, Key={"pk": {"S": pk}, "sk": {"S": sk}}, UpdateExpression="SET #name = :value",
        ExpressionAttributeNames={"#name": name}, ExpressionAttributeValues={":value": {"S": value}}, **condition)


def work(event, context):
    for record in event["Records"]:
        body = json.loads(record["body"])
        identity, order = body["event_id"], body["order"]
        dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": identity}, "sk": {"S": "E"}}, ConsistentRead=True)
        put(identity, "S", "status", "working", ConditionExpression="attribute_not_exists(#name)")
        put("orders", order["id"], "status", order["status"])
        put(identity, "S", "status", "done")
    return {"batchItemFailures": []}
