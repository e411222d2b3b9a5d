"""Deploys what `sam build` made to an emulator of AWS and uses it: signed webhooks, retries, poison, operators' commands.

Run by tests/deployment/run, which builds first. Arguments: the architecture that was built for, and a folder with
`ingest` and `worker` of an older version, if there is one.

The emulator (ministack) executes the functions' own bootstraps and does everything by HTTP on loopback. Two things
of it are mended here, and nothing of the template: it makes no routes from an HttpApi's OpenAPI body, and it keeps a
number that came by a parameter as text.
"""

import base64
import collections
import contextlib
import hashlib
import http.server
import io
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile

import boto3
import botocore.config

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "deployment"
PROGRAM = ROOT / "target" / "debug" / "hookgate"
STACK = "hookgate"
# Samples of events/, one for each source that has any.
SAMPLES = ["comments", "files", "github", "hang", "hatch", "orders", "payments", "raw", "shopify", "slack", "standard",
           "stripe"]
# What is waited for takes seconds; on a machine that does other things too it takes longer, but it ends.
PATIENCE = 120


# Which version of ingest and which of worker are deployed at once, one after the other: every pair, and each of them once
# before and once after the other.
PAIRS = [("old", "new"), ("new", "old"), ("old", "old"), ("new", "new")]


class Destination(http.server.ThreadingHTTPServer):
    """A destination of `http` actions on loopback, which answers what it is told to and remembers what it got."""

    daemon_threads = True

    def __init__(self):
        self.got, self.planned = [], []
        super().__init__(("127.0.0.1", 0), DestinationHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def host(self):
        return "127.0.0.1:%d" % self.server_address[1]


class DestinationHandler(http.server.BaseHTTPRequestHandler):
    """One request to a Destination."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        status = self.server.planned.pop(0) if self.server.planned else 200
        self.server.got.append({"path": self.path, "headers": dict(self.headers.items()), "body": body, "status": status})
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def free_port():
    """A port that nobody uses now. The emulator can't choose one by itself."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, look):
    """Looks again and again until there is something to see, and gives it; says what never came."""
    end, seen = time.monotonic() + PATIENCE, None
    while time.monotonic() < end:
        seen = look()
        if seen:
            return seen
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {PATIENCE} s; last seen: {seen!r}")


def step(text):
    """Says what was shown, and how long it took."""
    now = time.monotonic()
    print(f"  ok  {text}  ({now - step.since:.1f} s)")
    step.since = now


class Deployment:
    """The emulator, and the stack in it."""

    def __init__(self, destination):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
        }
        self.log = open(WORK / "emulator.log", "wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            # The functions inherit this: the address they call AWS at, and that the test's destination is no secret
            # corner of somebody's network.
            env=self.environment | {"GATEWAY_PORT": str(self.port), "LAMBDA_EXECUTOR": "local",
                                    "HOOKGATE_ALLOW_HOSTS": destination.host},
            cwd=WORK, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True)
        until("the emulator answers", self.answers)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the emulator ended with {self.process.returncode}: see {self.log.name}")
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(self.endpoint + "/_ministack/health", timeout=5).status == 200

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def client(self, service):
        return boto3.client(service, endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="test",
                            aws_secret_access_key="test", config=botocore.config.Config(retries={"max_attempts": 1}))

    def deploy(self, architecture, **parameters):
        """`sam deploy` of what `sam build` made, as the README says it but for the questions."""
        # What the shipped hookgate.toml needs beside the defaults: two of its actions call other services of AWS.
        account = "us-east-1:000000000000"
        needed = {"Architecture": architecture, "EmailIdentityArns": f"arn:aws:ses:{account}:identity/example.com",
                  "EventBusArns": f"arn:aws:events:{account}:event-bus/default"}
        given = [f"{name}={value}" for name, value in {**needed, **parameters}.items()]
        done = subprocess.run(
            ["sam", "deploy", "--stack-name", STACK, "--no-confirm-changeset", "--no-progressbar", "--resolve-s3",
             "--parameter-overrides", *given],
            cwd=ROOT, env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"sam deploy failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        described = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}

    def mend(self):
        """What the emulator leaves out of the template, taken from the template."""
        template = self.client("cloudformation").get_template(StackName=STACK, TemplateStage="Processed")["TemplateBody"]
        template = template if isinstance(template, dict) else json.loads(template)
        gateway, functions = self.client("apigatewayv2"), self.client("lambda")
        api = gateway.get_apis()["Items"][0]["ApiId"]
        ingest = functions.get_function(FunctionName=f"{STACK}-ingest")["Configuration"]["FunctionArn"]
        for path, methods in template["Resources"]["HttpApi"]["Properties"]["Body"]["paths"].items():
            [(method, operation)] = methods.items()
            assert method == "x-amazon-apigateway-any-method", method
            integration = operation["x-amazon-apigateway-integration"]
            target = gateway.create_integration(
                ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=ingest, IntegrationMethod=integration["httpMethod"],
                PayloadFormatVersion=integration["payloadFormatVersion"])["IntegrationId"]
            gateway.create_route(ApiId=api, RouteKey=f"ANY {path}", Target=f"integrations/{target}")
        for mapping in functions.list_event_source_mappings(FunctionName=f"{STACK}-worker")["EventSourceMappings"]:
            if mapping.get("ScalingConfig"):
                most = int(mapping["ScalingConfig"]["MaximumConcurrency"])
                functions.update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": most})
        # The stage $default has no name in the path; the emulator's form of the URL has its own place for it.
        return f"{self.endpoint}/_aws/execute-api/{api}/$default"

    def put_code(self, function, bootstrap):
        """Gives a function the code of another version, as a deployment does, and looks whether it has it."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, bootstrap.read_bytes(), zipfile.ZIP_DEFLATED, 1)
        functions, name = self.client("lambda"), f"{STACK}-{function}"
        functions.update_function_code(FunctionName=name, ZipFile=packed.getvalue())
        wanted = base64.b64encode(hashlib.sha256(packed.getvalue()).digest()).decode()
        until(f"{function} has the other code", lambda: functions.get_function(
            FunctionName=name)["Configuration"]["CodeSha256"] == wanted)

    def hookgate(self, *arguments, code=0):
        """Runs the program, and gives the lines of its --json."""
        done = subprocess.run([PROGRAM, *arguments, "--json"], cwd=ROOT, env=self.environment, capture_output=True, text=True)
        assert done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def operate(self, *arguments, code=0):
        """The same, on the deployed stack."""
        return self.hookgate(*arguments, "--stack", STACK, "--region", "us-east-1", code=code)

    def event(self, identity):
        """An event as `events show` has it."""
        return self.operate("events", "show", identity)[0]


def post(url, body, headers):
    """Posts, and gives the status and the body of the answer, whatever it is."""
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def side_by_side(deployment, destination, url, old):
    """Two versions on one table and one queue, as during an upgrade and after a rollback of either function: what one took in,
    the other finishes and knows again."""
    folder = ROOT / ".aws-sam" / "build"
    code = {("new", "ingest"): folder / "IngestFunction" / "bootstrap", ("new", "worker"): folder / "WorkerFunction" / "bootstrap",
            ("old", "ingest"): old / "ingest", ("old", "worker"): old / "worker"}

    def deliver(identity):
        event = {"event_id": identity, "type": "file.uploaded", "created_at": "2026-05-28T20:26:38Z", "file": {"id": identity}}
        body = json.dumps(event).encode()
        headers = {"authorization": "Bearer files-test-token", "content-type": "application/json"}
        status, answer = post(f"{url}/webhooks/files", body, headers)
        assert status == 200, (status, answer)
        return body, json.loads(answer)["status"]

    def is_done(identity):
        return deployment.event(identity)["status"] == "done"

    left = None
    for turn, (ingest, worker) in enumerate(PAIRS):
        deployment.put_code("ingest", code[ingest, "ingest"])
        deployment.put_code("worker", code[worker, "worker"])
        if left:
            until(f"{worker} finishes what the other left", lambda: is_done(left))
            assert deliver(left)[1] == "duplicate", left
        # One that goes well, and one that is left for the next pair.
        body, answer = deliver(f"side-{turn}-done")
        assert answer == "accepted", answer
        until(f"{ingest} takes it in and {worker} works it off", lambda: is_done(f"side-{turn}-done"))
        assert [request["body"] for request in destination.got if body == request["body"]] == [body], destination.got
        destination.planned[:] = [503]
        left = f"side-{turn}-left"
        deliver(left)
        until("its action has failed", lambda: deployment.event(left)["status"] == "retrying")
    until("the last one is finished", lambda: is_done(left))
    posted = collections.Counter((json.loads(request["body"])["event_id"], request["status"]) for request in destination.got
                                 if b"side-" in request["body"])
    wanted = {(f"side-{turn}-{end}", 200) for turn in range(len(PAIRS)) for end in ("done", "left")}
    assert posted == dict.fromkeys(wanted | {(f"side-{turn}-left", 503) for turn in range(len(PAIRS))}, 1), posted
    return 2 * len(PAIRS)


def run(architecture, old=None):
    step.since = time.monotonic()
    destination = Destination()
    deployment = Deployment(destination)
    try:
        step("the emulator answers")
        outputs = deployment.deploy(architecture)
        assert set(outputs) >= {"WebhookUrl", "EventsTable", "QueueUrl", "DeadLetterQueueUrl", "SecretArn"}, outputs
        url = deployment.mend()
        step("sam deploy: the stack is made, and says where everything is")

        data = WORK / "data"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        secrets = json.loads((ROOT / "events" / "secrets.json").read_text())
        for name in ("crm-url", "warehouse-url", "deploy-url", "notify-team", "notify-finance"):
            secrets[name] = f"http://{destination.host}/{name}"
        (data / "secrets.json").write_text(json.dumps(secrets))
        (data / "secrets.json").chmod(0o600)
        deployment.client("secretsmanager").put_secret_value(SecretId=outputs["SecretArn"], SecretString=json.dumps(secrets))
        send = ["send", "--to", url, "--data", str(data)]
        deployment.client("sesv2").create_email_identity(EmailIdentity="example.com")

        sent = {}
        for source in SAMPLES:
            [answer] = deployment.hookgate(*send, source)
            assert answer["status"] == 200, answer
            # An event without an id of the provider's is told by a hash, which ingest's own answer has.
            sent[source] = answer["id"] or json.loads(answer["body"])["event_id"]
        for source, identity in sent.items():
            until(f"{source} is done", lambda identity=identity: deployment.event(identity)["status"] == "done")
        step(f"a signed webhook of each of {len(SAMPLES)} sources is accepted, stored, queued and done")

        [refused] = deployment.hookgate(*send, "github", "--bad-signature", code=1)
        assert refused["status"] == 401, refused
        status, body = post(f"{url}/webhooks/nobody", b"{}", {"content-type": "application/json"})
        assert status == 404 and json.loads(body)["type"] == "about:blank", (status, body)
        before = len(destination.got)
        answers = deployment.hookgate(*send, "hatch", "contact-created", "--duplicate")
        assert [json.loads(answer["body"])["status"] for answer in answers] == ["accepted", "duplicate"], answers
        step("a forgery is refused, a duplicate is a success, an address of nobody's is 404")

        destination.planned[:] = [503]
        [answer] = deployment.hookgate(*send, "orders")
        shown = until("the action is tried again", lambda: (
            (event := deployment.event(answer["id"]))["status"] == "done" and event))
        tries = [attempt["outcome"] for attempt in shown["attempts"] if attempt["action"] == "warehouse"]
        assert tries == ["retry", "done"], shown
        got = [request for request in destination.got[before:] if request["path"] == "/warehouse-url"]
        assert [request["status"] for request in got] == [503, 200], got
        assert len({request["headers"]["webhook-id"] for request in got}) == 1, got
        assert got[0]["body"] == got[1]["body"] == shown["body"].encode(), (got, shown["body"])
        step("an action whose destination answers 503 is tried again, with the same bytes and the same id")

        destination.planned[:] = [400]
        [answer] = deployment.hookgate(*send, "orders")
        until("the event is dead", lambda: deployment.event(answer["id"])["status"] == "dead")
        deployment.operate("replay", answer["id"], "--yes")
        until("the event was replayed", lambda: deployment.event(answer["id"])["status"] == "done")
        step("what a destination refuses for good is dead, and done after a replay")

        sqs = deployment.client("sqs")
        # Six minutes between two receives, five receives: half an hour that nobody has. The rest is the template's.
        sqs.set_queue_attributes(QueueUrl=outputs["QueueUrl"], Attributes={"VisibilityTimeout": "1"})
        sent_poison = sqs.send_message(QueueUrl=outputs["QueueUrl"], MessageBody="no message of hookgate's")["MessageId"]

        def poison():
            counted = sqs.get_queue_attributes(QueueUrl=outputs["DeadLetterQueueUrl"],
                                               AttributeNames=["ApproximateNumberOfMessages"])
            return counted["Attributes"]["ApproximateNumberOfMessages"] == "1"

        until("poison is in the dead-letter queue", poison)
        [letter] = deployment.operate("dlq", "list")
        assert (letter["message_id"], letter["ours"]) == (sent_poison, False), letter
        step("a record that no worker can read ends in the dead-letter queue, and `dlq list` has it")

        listed = deployment.operate("events", "list", "--limit", "1000")
        assert {event["source"] for event in listed} == set(SAMPLES), listed
        assert {event["status"] for event in listed} == {"done"}, listed
        tallied = deployment.operate("counts")
        assert any(row["label"].startswith("orders ") and row["count"] > 0 for row in tallied), tallied
        *sources, waits = deployment.operate("stats")
        assert {row["source"]: row["done"] for row in sources} == collections.Counter(
            event["source"] for event in listed), (sources, listed)
        assert (waits["unfinished"], waits["dead_letters"], waits["errors"]) == (0, 1, []), waits
        step("hookgate --stack reads the deployment: events, counts, stats")

        # What the old version took in and could not finish is the new one's.
        destination.planned[:] = [503]
        [left] = deployment.hookgate(*send, "orders")
        until("the action has failed", lambda: deployment.event(left["id"])["status"] == "retrying")
        again = deployment.deploy(architecture, IngestMemory="1024", LogLevel="DEBUG", Tracing="PassThrough")
        assert again == outputs, (outputs, again)
        memory = deployment.client("lambda").get_function(FunctionName=f"{STACK}-ingest")["Configuration"]["MemorySize"]
        assert memory == 1024, memory
        until("the new version finishes it", lambda: deployment.event(left["id"])["status"] == "done")
        [answer] = deployment.hookgate(*send, "orders")
        until("the new version works", lambda: deployment.event(answer["id"])["status"] == "done")
        assert len(deployment.operate("events", "list", "--limit", "1000")) == len(listed) + 2
        step("a second deployment changes the functions, keeps the events and finishes what waited")

        if old:
            count = side_by_side(deployment, destination, url, old)
            assert len(deployment.operate("events", "list", "--limit", "1000")) == len(listed) + 2 + count
            step("an older version beside this one: each finishes what the other took in, and knows it again")

        deployment.client("cloudformation").delete_stack(StackName=STACK)
        until("the functions are gone", lambda: not deployment.client("lambda").list_functions()["Functions"])
        kept = deployment.client("dynamodb").scan(TableName=outputs["EventsTable"], Select="COUNT")["Count"]
        assert kept > len(listed), kept
        assert deployment.client("secretsmanager").get_secret_value(SecretId=outputs["SecretArn"])["SecretString"] == json.dumps(secrets)
        step("a removed stack leaves its table and its secret")
    except BaseException:
        print(f"what the emulator and the functions said: {deployment.log.name}", file=sys.stderr)
        raise
    finally:
        deployment.stop()
        destination.shutdown()


if __name__ == "__main__":
    started = time.monotonic()
    # Without this, being told to end would leave the emulator behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    run(sys.argv[1], *map(pathlib.Path, sys.argv[2:]))
    print(f"deployed, used and removed in {time.monotonic() - started:.0f} s")
