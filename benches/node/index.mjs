// A webhook receiver as it is commonly written: verify the HMAC, store once, queue, answer. With the argument `worker` it
// is what works the queue off: read, take, keep the order's state, note the result.
import { createHmac, timingSafeEqual } from "node:crypto";
import { DynamoDBClient, GetItemCommand, PutItemCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { SQSClient, SendMessageCommand } from "@aws-sdk/client-sqs";

const dynamodb = new DynamoDBClient({});
const sqs = new SQSClient({});
const { HOOKGATE_TABLE: TableName, HOOKGATE_QUEUE_URL: QueueUrl, BENCH_SECRET: secret } = process.env;

async function receive(event) {
  const given = Buffer.from((event.headers["x-signature"] ?? "").replace(/^sha256=/, ""), "hex");
  const right = createHmac("sha256", secret).update(event.body).digest();
  if (given.length !== right.length || !timingSafeEqual(given, right)) return { statusCode: 401, body: "{}" };
  const { event_id: id, type } = JSON.parse(event.body);
  const Item = { pk: { S: id }, sk: { S: "E" }, type: { S: type }, body: { S: event.body } };
  try {
    await dynamodb.send(new PutItemCommand({ TableName, Item, ConditionExpression: "attribute_not_exists(pk)" }));
  } catch (error) {
    if (error.name !== "ConditionalCheckFailedException") throw error;
    return { statusCode: 200, body: '{"status":"duplicate"}' };
  }
  await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: event.body }));
  return { statusCode: 200, body: '{"status":"accepted"}' };
}

function set(pk, sk, name, value, condition) {
  return dynamodb.send(new UpdateItemCommand({
    TableName, Key: { pk: { S: pk }, sk: { S: sk } }, UpdateExpression: "SET #name = :value",
    ConditionExpression: condition, ExpressionAttributeNames: { "#name": name },
    ExpressionAttributeValues: { ":value": { S: value } },
  }));
}

async function work(event) {
  for (const record of event.Records) {
    const { event_id: id, order } = JSON.parse(record.body);
    await dynamodb.send(new GetItemCommand({ TableName, Key: { pk: { S: id }, sk: { S: "E" } }, ConsistentRead: true }));
    await set(id, "S", "status", "working", "attribute_not_exists(#name)");
    await set("orders", order.id, "status", order.status);
    await set(id, "S", "status", "done");
  }
  return { batchItemFailures: [] };
}

const handler = process.argv[2] === "worker" ? work : receive;

// The Runtime API, without a client library: less than the managed runtime does.
const api = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;
for (;;) {
  const next = await fetch(`${api}/next`);
  const id = next.headers.get("lambda-runtime-aws-request-id");
  const answer = await handler(await next.json());
  await (await fetch(`${api}/${id}/response`, { method: "POST", body: JSON.stringify(answer) })).text();
}
