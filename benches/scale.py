#!/usr/bin/env python3
"""What an installation takes, from 10 to 100,000 events a second, and what gives way first.

    python3 benches/scale.py --write    # writes docs/scale.md
    python3 benches/scale.py --check    # says whether it is what this makes

Two things. The first table is arithmetic: what each part is asked for at a steady rate, and which limit of AWS or of the
template it meets. The second is a simulation, second by second, of a stack that was just deployed and is met by that rate
at once: functions and table grow as AWS documents, and what is refused and what piles up is counted.

Nothing here was measured on AWS. Every constant names where it is from.
"""

import argparse
import dataclasses
import pathlib

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "scale.md"

# What hookgate asks for. Counted by tests/it/flow_accept.rs and tests/it/cost.rs, for 2 KB of JSON and one `http` action.
WRITE_UNITS = 4  # an event in all
STATUS_WRITE_UNITS = 2  # of them in the list of events: lease and end
LIST_SHARDS = 64  # schema.rs: partition keys of the list of one day
BATCH = 10  # template.yaml: messages of a batch

# What a request and a destination take. Assumed; try others on the command line.
INGEST_S = 0.012
DESTINATION_S = 0.150
BATCH_EXTRA_S = 0.030  # four calls of AWS, one after the other; the events of a batch run side by side


# Documentation of AWS, read 2026-11-21.
# Amazon API Gateway, https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
API_RATE = 10_000  # requests a second of an account and region, unless raised
# AWS Lambda, https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
CONCURRENCY = 1_000  # of an account and region, unless raised
REQUESTS_PER_UNIT = 10  # a second, for each unit of concurrency
GROWTH = 100  # new environments of a function a second (1,000 every 10 s)
# Lambda with SQS, https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
POLLERS_START = 5
POLLERS_GROWTH = 5  # concurrent batches more a second (300 a minute)
POLLERS_MAX = 1_000
# Amazon SQS, https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
IN_FLIGHT = 120_000  # messages of a standard queue
# Amazon DynamoDB, https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
TABLE_UNITS = 40_000  # write units a second of an on-demand table, unless raised
# …/on-demand-capacity-mode.html
TABLE_UNITS_NEW = 4_000  # of a new table, and it takes twice its former peak at once
# …/bp-partition-key-design.html
PARTITION_UNITS = 1_000  # write units a second of one partition

LIST_EVENTS = LIST_SHARDS * PARTITION_UNITS // STATUS_WRITE_UNITS  # a second

# template.yaml: parameters, as they are unless told otherwise.
THROTTLE_RATE = 2_000
WORKER_CONCURRENCY = 50


@dataclasses.dataclass
class Limit:
    """A part, what it is asked for, what it gives, and what moves it."""

    part: str
    asked: float
    gives: float
    moved_by: str

    @property
    def share(self):
        return self.asked / self.gives


def steady(rate, ingest_s, destination_s):
    """Every limit at a steady rate."""
    batch_s = destination_s + BATCH_EXTRA_S
    return [
        Limit("requests let through by the API", rate, THROTTLE_RATE, "parameter ThrottleRate"),
        Limit("requests of the account's APIs", rate, API_RATE, "quota of API Gateway"),
        Limit("environments of both functions", max(rate * ingest_s, rate / REQUESTS_PER_UNIT) + rate / BATCH * batch_s,
              CONCURRENCY, "quota of Lambda"),
        Limit("batches of worker at once", rate / BATCH * batch_s, WORKER_CONCURRENCY, "parameter WorkerMaximumConcurrency"),
        Limit("batches that Lambda polls for", rate / BATCH * batch_s, POLLERS_MAX, "provisioned pollers"),
        Limit("messages in flight", rate * batch_s, IN_FLIGHT, "a second stack"),
        Limit("write units of the table", rate * WRITE_UNITS, TABLE_UNITS, "quota of DynamoDB"),
        Limit("write units of a shard of the list", rate * STATUS_WRITE_UNITS / LIST_SHARDS, PARTITION_UNITS, "schema.rs"),
    ]


@dataclasses.dataclass
class Stack:
    """What a deployment was given."""

    name: str
    throttle: float
    concurrency: float
    worker_concurrency: float
    table_units: float
    table_units_new: float = TABLE_UNITS_NEW


def simulate(stack, rate, seconds, ingest_s, destination_s):
    """A stack that was just deployed is met by `rate` at once. Who is refused comes again a minute later, and then not."""
    batch_s = destination_s + BATCH_EXTRA_S
    environments, batches, table, waiting = 0.0, float(POLLERS_START), stack.table_units_new, 0.0
    again, refused, accepted, most = [0.0] * 60, 0.0, 0.0, 0.0
    for second in range(seconds):
        returned = again[second % 60]
        arrived = rate + returned
        served = min(arrived, stack.throttle)
        wanted = max(served * ingest_s, served / REQUESTS_PER_UNIT)
        environments = min(max(wanted, environments), environments + GROWTH, stack.concurrency)
        served = min(served, environments * min(REQUESTS_PER_UNIT, 1 / ingest_s))
        again[second % 60] = max(0.0, arrived - served - returned)
        refused += arrived - served
        accepted += served
        # A put that the table does not take is no loss: the message carries the event, and worker stores it. So what the
        # table has no room for waits in the queue.
        waiting += served
        batches = min(batches + POLLERS_GROWTH, POLLERS_MAX, stack.worker_concurrency)
        worked = min(waiting, batches * BATCH / batch_s, table / WRITE_UNITS, LIST_EVENTS)
        waiting -= worked
        most = max(most, waiting)
        if second % 1_800 == 1_799:
            table = min(max(table, 2 * worked * WRITE_UNITS), stack.table_units)
    return accepted / seconds, refused / seconds, most, waiting


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def page(ingest_s, destination_s):
    """Markdown."""
    rates = [10, 100, 1_000, 10_000, 100_000]
    columns = [steady(rate, ingest_s, destination_s) for rate in rates]
    lines = [
        "<!-- Written by `python3 benches/scale.py --write`; `--check` is a step of CI. -->",
        "# What an installation takes",
        "",
        "On paper: nothing on this page was measured on AWS. The model is `benches/scale.py`; each of its constants names its",
        f"source. Assumed are {ingest_s * 1e3:.0f} ms for a request in ingest and {destination_s * 1e3:.0f} ms until a destination has answered;",
        "events are 2 KB of JSON with one `http` action, and come evenly.",
        "",
        "## Steadily",
        "",
        "How much of each limit is used, the limits being those of the template and of an AWS account as they are at first:",
        "",
        row("limit", "is", *(f"{rate:,}/s" for rate in rates), "moved by"),
        "|---|---:|" + "---:|" * len(rates) + "---|",
    ]
    for limits in zip(*columns):
        shares = [f"{one.share:.1%}" if one.share <= 1 else f"**{one.share:,.0%}**" for one in limits]
        lines.append(row(limits[0].part, f"{limits[0].gives:,}", *shares, limits[0].moved_by))
    worst = [max(column, key=lambda one: one.share) for column in columns]
    lines += [
        row("**gives way first**", "", *(one.part if one.share > 1 else "nothing" for one in worst), ""),
        "",
        "What gives way, and what becomes of the events: the API answers 429, and most senders send again; without enough",
        "concurrency for ingest likewise. A put that the table does not take is no loss, as the message carries the event. Too",
        "few workers, pollers or write units let events wait in the queue, for up to 14 days. The list of events is spread over",
        f"{LIST_SHARDS} partition keys a day, which take {LIST_EVENTS:,} events a second together.",
        "",
        "## All at once",
        "",
        "A stack that was just deployed is met by a rate at once, and the first hour is simulated second by second: functions,",
        "pollers and table grow as AWS documents; who is refused comes again a minute later, once. «Raised» has quotas and",
        f"parameters of 1.2 times the rate, and a table that was warmed to it; `WorkerMaximumConcurrency` ends at {POLLERS_MAX:,}.",
        "",
        row("rate, stack", "accepted/s", "refused/s", "most waiting", "waiting after the hour"),
        "|---|---:|---:|---:|---:|",
    ]
    for rate in rates:
        shipped = Stack("as the template has it", THROTTLE_RATE, CONCURRENCY, WORKER_CONCURRENCY, TABLE_UNITS)
        room = 1.2 * rate
        raised = Stack("raised", max(THROTTLE_RATE, room), max(CONCURRENCY, room / REQUESTS_PER_UNIT), POLLERS_MAX,
                       max(TABLE_UNITS, room * WRITE_UNITS), max(TABLE_UNITS_NEW, room * WRITE_UNITS))
        for stack in [shipped, raised]:
            figures = simulate(stack, rate, 3_600, ingest_s, destination_s)
            lines.append(row(f"{rate:,}/s, {stack.name}", *(f"{figure:,.0f}" for figure in figures)))
    polled = POLLERS_MAX * BATCH / (destination_s + BATCH_EXTRA_S)
    lines += [
        "",
        f"So one stack works off {min(polled, LIST_EVENTS):,.0f} events a second at most: its list of events takes {LIST_EVENTS:,}, and",
        f"{POLLERS_MAX:,} batches work {polled:,.0f} off with destinations that answer in {destination_s * 1e3:.0f} ms. Beyond that, take several",
        "stacks, with some of the senders each.",
        "",
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingest-seconds", type=float, default=INGEST_S)
    parser.add_argument("--destination-seconds", type=float, default=DESTINATION_S)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    made = page(arguments.ingest_seconds, arguments.destination_seconds)
    if arguments.write:
        PAGE.write_text(made)
    elif arguments.check:
        if PAGE.read_text() != made:
            raise SystemExit("docs/scale.md is not what benches/scale.py makes: run it with --write")
    else:
        print(made)


if __name__ == "__main__":
    main()
