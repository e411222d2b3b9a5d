#!/usr/bin/env python3
"""Measures ingest and worker against a floor, a Node.js and a Python peer: python3 benches/run.py --page docs/benchmarks.md

Every subject is a real process under a Lambda Runtime API on loopback, and calls the same stand-in for AWS, which answers
at once. All of them are measured in one run, in turns, so that what else the machine does hits all alike; what is worth
reading is ratios, and processor time rather than time.

Needs cargo-lambda, so that what is measured is what is deployed, Node.js with npm, python3 with venv, openssl, and
valgrind for the instructions. What it makes is in target/benches/.
"""

import argparse
import contextlib
import datetime
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import platform
import queue
import re
import shutil
import signal
import socketserver
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
WORK = ROOT / "target" / "benches"
BUILT = ROOT / "target" / "lambda"
SECRET = "a-secret-of-the-benchmark"
# One source, signed as most senders sign, and one action that calls nobody outside.
CONFIG = """
[sources.shop]
provider = "generic"
verify = { scheme = "hmac", hash = "sha256", header = "x-signature", encoding = "hex", prefix = "sha256=" }
event = { id = "json:/event_id", type = "json:/type", time = "json:/created_at" }

[[routes]]
source = "shop"
actions = ["order-status"]

[actions.order-status]
kind = "record"
collection = "orders"
key = "json:/order/id"
fields = { status = "json:/order/status" }
"""
# Where Linux distributions keep the roots that they trust; Lambda's has about as many.
ROOTS = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"]
# What the servers of the stand-in choose first. AWS's do too, also of a client whose first is another: so says the event of
# CloudTrail, of an SDK for Rust and Secrets Manager, in what AWS's security blog says of ML-KEM there (April 2026), and so do
# published ones of SQS, EC2 and RDS.
CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
# What the functions believe, built into them.
AMAZON = ROOT / "crates/hookgate_aws/src/amazon_roots.pem"


class Aws:
    """DynamoDB, SQS and Secrets Manager, each at an address of its own, as far as the subjects ask: every write succeeds,
    what was put can be got."""

    def __init__(self, tls=None):
        self.counts, self.items, self.messages = {}, {}, []
        self.variables = {f"AWS_ENDPOINT_URL_{name}": Service(self, tls).url for name in ("DYNAMODB", "SQS", "SECRETS_MANAGER")}
        # The SDK for JavaScript calls the host of the queue's URL, whatever the endpoint is.
        self.variables["HOOKGATE_QUEUE_URL"] = self.variables["AWS_ENDPOINT_URL_SQS"] + "/000000000000/events"


class Service(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """One of them."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, aws, tls):
        super().__init__(("127.0.0.1", 0), AwsHandler)
        self.aws = aws
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://localhost:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # A subject was stopped in the middle of a call, as all are in the end.


def identity(key):
    """A key of the table, or of an item in it."""
    return key["pk"].get("S"), key.get("sk", {}).get("S")


class AwsHandler(http.server.BaseHTTPRequestHandler):
    """One connection of a subject."""

    protocol_version = "HTTP/1.1"
    # Headers and body in one write, so that no delayed acknowledgement is measured.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        operation = self.headers.get("x-amz-target", "").rpartition(".")[2]
        aws = self.server.aws
        aws.counts[operation] = aws.counts.get(operation, 0) + 1
        answer = {}
        if operation == "PutItem":
            item = json.loads(body)["Item"]
            aws.items[identity(item)] = item
        elif operation == "GetItem":
            if item := aws.items.get(identity(json.loads(body)["Key"])):
                answer = {"Item": item}
        elif operation == "SendMessage":
            message = json.loads(body)["MessageBody"]
            aws.messages.append(message)
            answer = {"MessageId": "00000000-0000-0000-0000-000000000000",
                      "MD5OfMessageBody": hashlib.md5(message.encode()).hexdigest()}
        elif operation == "GetSecretValue":
            answer = {"Name": "bench", "SecretString": json.dumps({"shop": [SECRET]})}
        self.answer(200, json.dumps(answer))

    def do_GET(self):
        # What nobody has signed: DynamoDB says that it is well, SQS that it knows no such operation, and both go on listening.
        self.answer(404, "<UnknownOperationException/>")

    def answer(self, status, text):
        self.send_response_only(status)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
        self.wfile.flush()

    def log_message(self, *_):
        pass


class RuntimeApi(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """The Lambda Runtime API of one subject: hands out one event at a time and takes the time."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), RuntimeHandler)
        self.events, self.answers, self.ready = queue.Queue(), queue.Queue(), threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def invoke(self, event):
        """Gives a subject an event; the seconds it took, and its answer."""
        self.events.put(event)
        given, taken, answer = self.answers.get(timeout=60)
        return taken - given, answer

    def handle_error(self, request, client_address):
        pass


class RuntimeHandler(http.server.BaseHTTPRequestHandler):
    """One connection of a subject to its Runtime API."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    given = {}

    def do_GET(self):
        self.server.ready.set()
        event = self.server.events.get()
        data = event.encode()
        number = hashlib.md5(data).hexdigest()
        self.send_response_only(200)
        self.send_header("lambda-runtime-aws-request-id", number)
        self.send_header("lambda-runtime-deadline-ms", str(int(time.time() * 1000) + 10_000))
        self.send_header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:bench")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.given[number] = time.perf_counter()
        self.wfile.flush()

    def do_POST(self):
        taken = time.perf_counter()
        if self.headers.get("transfer-encoding", "") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response_only(202)
        self.send_header("content-length", "0")
        self.end_headers()
        self.wfile.flush()
        number = self.path.split("/")[-2]
        self.server.answers.put((self.given.pop(number, taken), taken, (self.path, body)))

    def log_message(self, *_):
        pass


def cpu(pid):
    """Seconds of processor that the threads of a process had, to the nanosecond."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory(pid, field):
    """A figure of a process's memory as Linux has it, in MiB."""
    found = re.search(rf"^{field}:\s*(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024


def webhook(number, size):
    """The body of an order of about `size` bytes. Half of it can be compressed away, as in much of what is sent."""
    items = [{"sku": hashlib.md5(f"{number}/{n}".encode()).hexdigest(), "name": "Kettle, 1.7 l", "quantity": 1, "price": 4950}
             for n in range(max(1, (size - 180) // 92))]
    return json.dumps({"event_id": f"evt_{number}", "type": "order.paid", "created_at": "2026-11-21T10:00:00Z",
                       "order": {"id": f"ord_{number}", "status": "paid", "items": items}})


def request(number, size):
    """The same, signed, as an event of an HTTP API."""
    body = webhook(number, size)
    signature = hmac.new(SECRET.encode(), body.encode(), hashlib.sha256).hexdigest()
    return json.dumps({
        "version": "2.0", "routeKey": "ANY /webhooks/{source}", "rawPath": "/webhooks/shop", "rawQueryString": "",
        "headers": {"content-type": "application/json", "x-signature": f"sha256={signature}", "host": "api.example.com",
                    "user-agent": "shop/1.0", "content-length": str(len(body)), "x-forwarded-for": "198.51.100.7",
                    "x-forwarded-port": "443", "x-forwarded-proto": "https"},
        "requestContext": {"accountId": "000000000000", "apiId": "api", "domainName": "api.example.com",
                           "http": {"method": "POST", "path": "/webhooks/shop", "protocol": "HTTP/1.1",
                                    "sourceIp": "198.51.100.7", "userAgent": "shop/1.0"},
                           "requestId": f"r{number}", "routeKey": "ANY /webhooks/{source}", "stage": "$default",
                           "time": "21/Nov/2026:10:00:00 +0000", "timeEpoch": int(time.time() * 1000)},
        "pathParameters": {"source": "shop"}, "body": body, "isBase64Encoded": False})


def batch(number, message):
    """A message as Lambda hands it over: by itself, which costs a worker the most."""
    return json.dumps({"Records": [{
        "messageId": f"m{number}", "receiptHandle": "r", "body": message, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:events", "messageAttributes": {}, "md5OfBody": "",
        "attributes": {"SentTimestamp": str(int(time.time() * 1000)), "ApproximateReceiveCount": "1"}}]})


def is_accepted(answer):
    return answer.get("statusCode") == 200


def is_worked_off(answer):
    return answer.get("batchItemFailures") == []


class Subject:
    """A program that is measured."""

    def __init__(self, name, command, files, is_right=is_accepted):
        self.name, self.command, self.files, self.is_right = name, command, files, is_right
        self.figures, self.calls = {}, {}

    def zipped(self):
        """Bytes of what would be uploaded."""
        with tempfile.TemporaryFile() as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
                for path in self.files:
                    for one in [path] if path.is_file() else sorted(path.rglob("*")):
                        if one.is_file() and "__pycache__" not in one.parts:
                            archive.write(one)
            return file.tell()

    def round(self, aws, environment, events):
        """Starts the program, has it work, ends it; adds one figure of each kind. The first event and a tenth are not warm."""
        api = RuntimeApi()
        environment = environment | {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:%d" % api.server_address[1]} | aws.variables
        began = time.perf_counter()
        process = subprocess.Popen(self.command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if not api.ready.wait(60):
                raise SystemExit(f"{self.name} is not ready after 60 s")
            figures = {"ready_ms": (time.perf_counter() - began) * 1e3, "ready_cpu_ms": cpu(process.pid) * 1e3}
            figures["first_ms"] = self.invoke(api, events[0]) * 1e3
            figures["started_cpu_ms"] = cpu(process.pid) * 1e3
            warm = 1 + len(events) // 10
            for event in events[1:warm]:
                self.invoke(api, event)
            before, times, called = cpu(process.pid), [], dict(aws.counts)
            for event in events[warm:]:
                times.append(self.invoke(api, event) * 1e3)
            figures["event_cpu_ms"] = (cpu(process.pid) - before) * 1e3 / len(times)
            self.calls = {name: (count - called.get(name, 0)) / len(times) for name, count in sorted(aws.counts.items())
                          if count > called.get(name, 0)}
            times.sort()
            figures["p50_ms"], figures["p99_ms"] = times[len(times) // 2], times[len(times) * 99 // 100]
            figures["memory_mib"], figures["own_mib"] = memory(process.pid, "VmHWM"), memory(process.pid, "RssAnon")
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            api.events.put("{}")
            api.shutdown()
            api.server_close()
        for name, figure in figures.items():
            self.figures.setdefault(name, []).append(figure)

    def invoke(self, api, event):
        took, (path, body) = api.invoke(event)
        if not path.endswith("/response") or not self.is_right(json.loads(body)):
            raise SystemExit(f"{self.name} answered {path} {body[:300]!r}")
        return took

    def median(self, figure):
        if figure == "first_to_warm":
            return self.median("first_ms") / self.median("p50_ms")
        return statistics.median(self.figures[figure])


def sh(*command, **options):
    return subprocess.run(command, check=True, **options)


def prefer_ciphers():
    """Starts this program again with OpenSSL set to CIPHERS: Python's own setting of them is for TLS 1.2 alone."""
    path = WORK / "openssl.cnf"
    sections = {"all": "ssl_conf = tls", "tls": "system_default = servers", "servers": f"Ciphersuites = {CIPHERS}"}
    path.write_text("openssl_conf = all\n" + "".join(f"[{name}]\n{line}\n" for name, line in sections.items()))
    if os.environ.get("OPENSSL_CONF") != str(path):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"OPENSSL_CONF": str(path)})


def certificate():
    """A TLS server's context for localhost, who has signed for it, and two files with that: beside the roots of this machine,
    and beside some of Amazon's. The chain is as long and of the same keys as those that AWS's endpoints send: RSA with 2048 bits,
    and one authority between the root and the server's own."""
    authority, between, cert, chain, roots, bundle = (
        WORK / f"{name}.pem" for name in ("authority", "between", "cert", "chain", "roots", "bundle"))

    def signed(cert, name, by=None, *extensions):
        signer = ["-CA", by, "-CAkey", by.with_suffix(".key")] if by else []
        extended = [item for extension in extensions for item in ("-addext", extension)]
        sh("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}",
           "-keyout", cert.with_suffix(".key"), "-out", cert, *signer, *extended, stderr=subprocess.DEVNULL)

    signed(authority, "benchmark")
    signed(between, "benchmark's", authority, "basicConstraints=critical,CA:TRUE,pathlen:0")
    signed(cert, "localhost", between, "subjectAltName=DNS:localhost", "basicConstraints=critical,CA:FALSE")
    chain.write_text("".join(path.read_text() for path in (cert, between, authority)))
    known = next((path for path in ROOTS if os.path.exists(path)), os.devnull)
    roots.write_text(authority.read_text() + pathlib.Path(known).read_text())
    # A function of ours reads this file twice, as it checks it: so it has about half as many bytes as Amazon's five, which it
    # reads once where nothing else is said.
    amazon = [f"-----BEGIN{one}" for one in AMAZON.read_text().split("-----BEGIN")[1:]]
    bundle.write_text(authority.read_text() + amazon[0] + amazon[2])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, cert.with_suffix(".key"))
    return context, authority, roots, bundle


# What the managed runtime of Python has itself, and what is only there to install packages.
NOT_UPLOADED = ("awslambdaric", "runtime_client", "snapshot_restore_py", "simplejson", "pip", "setuptools", "pkg_resources",
                "_distutils_hack", "distutils-precedence", "__pycache__")


def peers():
    """Installs the packages of the peers; how to run each, with the words for its two handlers, and its files."""
    node = WORK / "node"
    shutil.copytree(ROOT / "benches" / "node", node, dirs_exist_ok=True)
    sh("npm", "install", "--silent", "--no-audit", "--no-fund", cwd=node)
    python = WORK / "python"
    if not (python / "bin" / "pip").exists():
        sh(sys.executable, "-m", "venv", python)
    sh(python / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-r",
       ROOT / "benches" / "python" / "requirements.txt")
    peer = pathlib.Path(shutil.copy(ROOT / "benches" / "python" / "peer.py", python))
    packages = [path for path in python.glob("lib/*/site-packages/*") if not path.name.startswith(NOT_UPLOADED)]
    return [("Node.js", ["node", node / "index.mjs"], ["receive", "worker"], [node]),
            ("Python", [python / "bin" / "python", "-m", "awslambdaric"], ["peer.receive", "peer.work"], [peer, *packages])]


ROWS = [
    ("CPU to be ready, ms", "ready_cpu_ms"),
    ("CPU to be ready and do the first event, ms", "started_cpu_ms"),
    ("time to be ready, ms", "ready_ms"),
    ("first event, ms", "first_ms"),
    ("warm event p50, ms", "p50_ms"),
    ("warm event p99, ms", "p99_ms"),
    ("CPU per event, ms", "event_cpu_ms"),
    ("peak memory, MiB", "memory_mib"),
    ("of which not pages of files, MiB", "own_mib"),
]


def table(found, title):
    """Markdown: each figure, and in brackets how many times the floor's it is."""
    lines = [f"| {title} | " + " | ".join(subject.name for subject in found) + " |", "|---|" + "---:|" * len(found)]
    floor = found[0]
    for label, figure in ROWS:
        cells = [f"{one.median(figure):.2f}" + ("" if one is floor else f" ({one.median(figure) / floor.median(figure):.2f}×)")
                 for one in found]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines.append("| first event ÷ warm p50 | " + " | ".join(f"{one.median('first_to_warm'):.2f}" for one in found) + " |")
    lines.append("| calls of AWS for an event | " + " | ".join(
        ", ".join(f"{count:g} {name}" for name, count in one.calls.items()) for one in found) + " |")
    return "\n".join(lines)


def goals(ours, floor, warmed, peers):
    """What was wanted, and what was measured, in one run."""
    def ratio(one, other, figure):
        return one.median(figure) / other.median(figure)

    rows = [("CPU per event ≤ 1.15 × floor", ratio(ours, floor, "event_cpu_ms"), 1.15, 1),
            ("CPU to be ready ≤ 1.5 × floor", ratio(ours, floor, "ready_cpu_ms"), 1.5, 1),
            ("the same, of the floor that opens its connections as well", ratio(ours, warmed, "ready_cpu_ms"), 1.5, 1),
            ("first event ≤ 2 × warm", ours.median("first_to_warm"), 2, 1),
            ("peak memory ≤ 1.3 × floor", ratio(ours, floor, "memory_mib"), 1.3, 1)]
    for peer in peers:
        rows += [(f"CPU per event: ≥ 8 × less than {peer.name}", ratio(peer, ours, "event_cpu_ms"), 8, -1),
                 (f"CPU to be ready: ≥ 20 × less than {peer.name}", ratio(peer, ours, "ready_cpu_ms"), 20, -1)]
    return [(label, f"{value:.2f}", "yes" if (limit - value) * sign >= 0 else "**no**") for label, value, limit, sign in rows]


def measure(found, aws, environment, events, rounds, title):
    """Rounds in turns; each subject has its own kind of event."""
    for subject in found:
        subject.figures = {}
    for number in range(rounds):
        for subject in found:
            print(f"{title}: round {number + 1} of {rounds}, {subject.name}", file=sys.stderr)
            subject.round(aws, environment, events(subject))


def grow(found, aws, environment, rounds):
    """CPU per event by the size of a body."""
    lines = ["| body | " + " | ".join(f"{one.name}, ms" for one in found) + " | ingest ÷ floor | calls of ingest |",
             "|---|" + "---:|" * (len(found) + 1) + "---|"]
    for size, label in [(1_000, "1 KB"), (10_000, "10 KB"), (100_000, "100 KB"), (1_000_000, "1 MB")]:
        events = [request(number, size) for number in range(110)]
        measure(found, aws, environment, lambda _, events=events: events, rounds, f"bodies of {label}")
        aws.items.clear()
        aws.messages.clear()
        floor, ours = found
        lines.append(f"| {label} | " + " | ".join(f"{one.median('event_cpu_ms'):.2f}" for one in found)
                     + f" | {ours.median('event_cpu_ms') / floor.median('event_cpu_ms'):.2f} | "
                     + ", ".join(f"{count:g} {name}" for name, count in ours.calls.items()) + " |")
    return "\n".join(lines)


STAGES = [
    ("config", "at the start: read the configuration"),
    ("clients", "at the start: make the SDK's clients"),
    ("read", "read the gateway's event"),
    ("verify", "verify the signature"),
    ("identify", "parse the body, find id, type and time"),
    ("encode", "write the frame, compressed"),
    ("message", "write the message"),
    ("put", "PutItem: serialize, sign, read the answer"),
    ("send", "SendMessage: serialize, sign, read the answer"),
    ("all", "a request in all, with its line in the log"),
]


def instructions(size):
    """Instructions of each stage, from the difference of two runs."""
    event, secrets = WORK / "event.json", WORK / "secrets.json"
    event.write_text(request(1, size))
    secrets.write_text(json.dumps({"shop": [SECRET]}))

    def count(stage, times):
        done = sh("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                  BUILT / "stages" / "bootstrap", stage, str(times), event, WORK / "hookgate.toml", secrets,
                  capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
        return int(re.search(r"Collected : (\d+)", done.stderr)[1])

    lines = ["| stage | instructions |", "|---|---:|"]
    for stage, label in STAGES:
        print(f"instructions: {stage}", file=sys.stderr)
        few, many = 20, 120
        each = (count(stage, many) - count(stage, few)) / (many - few)
        lines.append(f"| {label} | {each:,.0f} |")
    return "\n".join(lines)


def machine():
    """What it was measured on."""
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    said = lambda *command: sh(*command, capture_output=True, text=True).stdout.strip()
    load = os.getloadavg()[0]
    return (f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores of {model[1] if model else 'unknown'}, Linux "
            f"{platform.release()}, {said('rustc', '--version')}, Node.js {said('node', '--version')}, Python "
            f"{platform.python_version()}; load before the run {load:.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="processes of each subject (5)")
    parser.add_argument("--events", type=int, default=330, help="events of each process (330)")
    parser.add_argument("--size", type=int, default=2_000, help="bytes of a body, about (2000)")
    parser.add_argument("--no-peers", action="store_true", help="only hookgate and the floor")
    parser.add_argument("--no-instructions", action="store_true", help="without valgrind")
    parser.add_argument("--page", type=pathlib.Path, help="writes the figures into this file, after the line FIGURES")
    arguments = parser.parse_args()

    WORK.mkdir(parents=True, exist_ok=True)
    prefer_ciphers()
    # The floor by itself: what cargo builds together has the SDK's features that any of it asks for.
    for packages in [("floor",), ("ingest", "worker", "stages")]:
        names = [part for name in packages for part in ("-p", name)]
        sh("cargo", "lambda", "build", "--release", "--locked", *names, cwd=ROOT)
    others = [] if arguments.no_peers else peers()
    floor, ingest, worker = (BUILT / name / "bootstrap" for name in ("floor", "ingest", "worker"))
    receivers = [Subject("floor", [floor], [floor]), Subject("ingest", [ingest], [ingest]),
                 Subject("floor, warmed", [floor, "warm"], [floor]),
                 *(Subject(name, [*command, handlers[0]], files) for name, command, handlers, files in others)]
    workers = [Subject("floor", [floor, "worker"], [floor], is_worked_off), Subject("worker", [worker], [worker], is_worked_off),
               *(Subject(name, [*command, handlers[1]], files, is_worked_off) for name, command, handlers, files in others)]
    (WORK / "hookgate.toml").write_text(CONFIG)
    context, authority, roots, bundle = certificate()
    environment = {
        "PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": "bench", "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
        "HOOKGATE_TABLE": "events",
        "HOOKGATE_SECRETS": "bench", "HOOKGATE_CONFIG": str(WORK / "hookgate.toml"), "BENCH_SECRET": SECRET,
        # The SDK and Python read all roots that a machine trusts, Node.js has them built in, and hookgate has Amazon's.
        "SSL_CERT_FILE": str(roots), "AWS_CA_BUNDLE": str(bundle), "NODE_EXTRA_CA_CERTS": str(authority),
        "POWERTOOLS_SERVICE_NAME": "bench", "PYTHONPATH": str(WORK / "python"),
    }
    asked, parts = f"{machine()}; {context.get_ciphers()[0]['name']}", []
    numbers = range(arguments.events)
    requests = [request(number, arguments.size) for number in numbers]
    bodies = [batch(number, webhook(number, arguments.size)) for number in numbers]
    reached = None
    for title, aws in [("over TLS", Aws(context)), ("plain HTTP", Aws())]:
        measure(receivers, aws, environment, lambda _: requests, arguments.rounds, title)
        parts.append(table(receivers, f"ingest, {title}"))
        if title == "over TLS":
            reached = goals(receivers[1], receivers[0], receivers[2], receivers[3:])
        # What ingest has stored and sent is what worker gets.
        aws.messages.clear()
        receivers[1].round(aws, environment, requests)
        messages = [batch(number, message) for number, message in enumerate(aws.messages)]
        measure(workers, aws, environment, lambda one: messages if one.name == "worker" else bodies, arguments.rounds, title)
        parts.append(table(workers, f"worker, {title}"))
    sizes = [(one.name, one.zipped() / 1e6) for one in [*receivers[:2], workers[1], *receivers[3:]]]
    parts.append("| | " + " | ".join(name for name, _ in sizes) + " |\n|---|" + "---:|" * len(sizes)
                 + "\n| zipped, MB | " + " | ".join(f"{size:.2f}" for _, size in sizes) + " |")
    bytes_ = ingest.stat().st_size / 2**20
    reached.append(("`ingest` ≤ 10 MiB", f"{bytes_:.2f} MiB", "yes" if bytes_ <= 10 else "**no**"))
    parts.append(grow(receivers[:2], Aws(), environment, 3))
    if not arguments.no_instructions:
        parts.append(instructions(arguments.size))
    parts.insert(0, "| wanted of ingest, over TLS | measured | reached |\n|---|---:|---|\n" + "\n".join(
        f"| {label} | {value} | {is_reached} |" for label, value, is_reached in reached))
    figures = f"{asked}.\n\n" + "\n\n".join(parts) + "\n"
    print(figures)
    if arguments.page:
        kept, line, _ = arguments.page.read_text().partition("<!-- FIGURES -->\n")
        arguments.page.write_text(kept + line + "\n" + figures)


if __name__ == "__main__":
    main()
