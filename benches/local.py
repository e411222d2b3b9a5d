#!/usr/bin/env python3
"""Measures the local gateway, and `hookgate send` as what loads it: python3 benches/local.py --page docs/benchmarks.md

The gateway is `hookgate dev` with its own table and queue, in memory and on disk. The load is `hookgate send`, which is then
measured by itself against a server that answers at once, beside curl, which sends one body and signs nothing. What is made
is in target/benches/. Needs Node.js and curl.
"""

import argparse
import contextlib
import json
import pathlib
import resource
import shutil
import signal
import subprocess
import time

from run import CONFIG, ROOT, WORK, cpu, machine

HOOKGATE = ROOT / "target" / "release" / "hookgate"
# What hookgate send has on its way at once.
IN_FLIGHT = 64
# The sample of a source without a provider of its own has an id and a type.
SETTINGS = CONFIG.replace("json:/order/id", "json:/event_id").replace("json:/order/status", "json:/type")
AT_ONCE = "const s = require('http').createServer((q, r) => q.resume().on('end', () => r.end('{}')));" \
          "s.listen(0, '127.0.0.1', () => console.log(s.address().port))"


def hookgate(folder, *arguments):
    command = [HOOKGATE, *arguments, "--config", folder / "hookgate.toml", "--data", folder / "data"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def gateway(folder, *options):
    """The gateway while it runs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "hookgate.toml").write_text(SETTINGS)
    command = [HOOKGATE, "dev", "--port", "0", "--config", folder / "hookgate.toml", "--data", folder / "data", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        if "is running at" not in process.stdout.readline():
            raise SystemExit("hookgate dev did not start")
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def done(folder):
    """How many events are done."""
    return json.loads(hookgate(folder, "stats", "--json").splitlines()[0])["done"]


def accept(title, count, *options):
    """A row: what the gateway takes in and works off."""
    folder = WORK / "local"
    with gateway(folder, *options) as process:
        hookgate(folder, "send", "shop", "--count", "200", "--json")
        while done(folder) < 200:
            time.sleep(0.2)
        before, began = cpu(process.pid), time.monotonic()
        sent = json.loads(hookgate(folder, "send", "shop", "--count", str(count), "--json"))
        if sent["statuses"] != {"200": count}:
            raise SystemExit(f"{title}: {sent['statuses']}")
        while done(folder) < count + 200:
            time.sleep(0.2)
        all_done = time.monotonic() - began
        used = (cpu(process.pid) - before) * 1e3 / count
    latency = sent["latency_ms"]
    return (f"| {title} | {sent['per_second']:.0f} | {latency['p50']:.1f} | {latency['p99']:.1f} | {count / all_done:.0f} | "
            f"{used:.2f} |")


def children(command, **options):
    """The output of a command, its seconds, and the milliseconds of processor that it had."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    output = subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return output, took, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def load(count):
    """Rows: what sends, against a server that answers at once."""
    folder = WORK / "local"
    server = subprocess.Popen(["node", "-e", AT_ONCE], stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        common = ["--config", folder / "hookgate.toml", "--data", folder / "data", "--to", url, "--json"]
        output, _, used = children([HOOKGATE, "send", "shop", "--count", str(count), *common])
        sent = json.loads(output)
        rows = [f"| `hookgate send`, each request another event, signed | {sent['per_second']:.0f} | {used / count:.3f} |"]
        many = folder / "curl"
        many.write_text(f'url = "{url}/webhooks/shop?[1-{count}]"\ndata = "{{}}"\noutput = "/dev/null"\nsilent\n')
        _, took, used = children(["curl", "--parallel", "--parallel-max", str(IN_FLIGHT), "--config", many])
        return [*rows, f"| curl, one body again and again | {count / took:.0f} | {used / count:.3f} |"]
    finally:
        server.kill()
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5_000, help="events (5000)")
    parser.add_argument("--page", type=pathlib.Path, help="writes the figures into this file, after the line LOCAL")
    arguments = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cargo", "build", "--release", "--locked", "-p", "hookgate"], cwd=ROOT, check=True)
    lines = ["| gateway | accepted a second | p50, ms | p99, ms | accepted and done a second | CPU per event, ms |",
             "|---|---:|---:|---:|---:|---:|",
             accept("in memory (`--ephemeral`)", arguments.count, "--ephemeral"), accept("on disk", arguments.count),
             "", "| load | requests a second | CPU per request, ms |", "|---|---:|---:|", *load(4 * arguments.count)]
    figures = f"{machine()}.\n\n" + "\n".join(lines) + "\n"
    print(figures)
    if arguments.page:
        text = arguments.page.read_text()
        kept, rest = text.split("<!-- LOCAL -->\n")
        end = rest.index("<!-- END OF LOCAL -->")
        arguments.page.write_text(f"{kept}<!-- LOCAL -->\n\n{figures}\n{rest[end:]}")


if __name__ == "__main__":
    main()
