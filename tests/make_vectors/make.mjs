// Signs every sample of events/ again with the provider's own SDK, and says which files differ.
//
//   node make.mjs           exit code 1 when a sample differs
//   node make.mjs --write   put the right signatures into the files
import { createHmac } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { sign as githubSign, verify as githubVerify } from "@octokit/webhooks-methods";
import "@shopify/shopify-api/adapters/node";
import { LogSeverity, shopifyApi } from "@shopify/shopify-api";
import bolt from "@slack/bolt";
import { Webhook } from "standardwebhooks";
import Stripe from "stripe";
import twilio from "twilio";
import { getExpectedBodyHash } from "twilio/lib/webhooks/webhooks.js";

const EVENTS = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "events");
const WRITE = process.argv.includes("--write");

const hmac = (hash, secret, text, encoding) => createHmac(hash, secret).update(text, "utf8").digest(encoding);

/** The value of a shared token, put where the sender puts it. */
const header = (name, prefix = "") => (sample) => {
  sample.headers[name] = prefix + sample.secrets[0];
};

/** One function per source: sets the signature headers (or the URL) of a sample, and lets the SDK accept them. */
const SIGNERS = {
  hang(sample) {
    const url = new URL(sample.url);
    url.searchParams.set("token", sample.secrets[0]);
    sample.url = url.toString();
  },
  hatch: header("X-Hookgate-Token"),
  raw: header("X-Hookgate-Token"),
  files: header("Authorization", "Bearer "),
  comments: header("Authorization", "Bearer "),
  payments: genericHmac,
  orders: genericHmac,

  async github(sample) {
    const secret = sample.secrets[0];
    const signature = await githubSign(secret, sample.body);
    accepted(await githubVerify(secret, sample.body, signature));
    sample.headers["X-Hub-Signature"] = `sha1=${hmac("sha1", secret, sample.body, "hex")}`;
    sample.headers["X-Hub-Signature-256"] = signature;
  },

  stripe(sample) {
    const secret = sample.secrets[0];
    const { webhooks } = new Stripe("sk_test_unused");
    const signature = webhooks.generateTestHeaderString({ payload: sample.body, secret, timestamp: sample.now });
    const event = webhooks.constructEvent(sample.body, signature, secret, 300, undefined, sample.now * 1000);
    accepted(event.id === sample.id && event.type === sample.type);
    sample.headers["Stripe-Signature"] = signature;
  },

  async shopify(sample) {
    const secret = sample.secrets[0];
    sample.headers["X-Shopify-Hmac-Sha256"] = hmac("sha256", secret, sample.body, "base64");
    const shopify = shopifyApi({
      apiKey: "unused",
      apiSecretKey: secret,
      apiVersion: sample.headers["X-Shopify-API-Version"],
      hostName: "hooks.example.com",
      isEmbeddedApp: false,
      logger: { level: LogSeverity.Error },
    });
    const rawRequest = { method: sample.method, url: sample.url, headers: sample.headers };
    const result = await shopify.webhooks.validate({ rawBody: sample.body, rawRequest, rawResponse: {} });
    accepted(result.valid && result.webhookId === sample.id);
  },

  slack(sample) {
    const signingSecret = sample.secrets[0];
    const timestamp = String(sample.now);
    const signature = `v0=${hmac("sha256", signingSecret, `v0:${timestamp}:${sample.body}`, "hex")}`;
    bolt.verifySlackRequest({
      signingSecret,
      body: sample.body,
      headers: { "x-slack-signature": signature, "x-slack-request-timestamp": timestamp },
      nowMilliseconds: sample.now * 1000,
    });
    sample.headers["X-Slack-Request-Timestamp"] = timestamp;
    sample.headers["X-Slack-Signature"] = signature;
  },

  standard(sample) {
    const id = sample.headers["webhook-id"];
    const at = new Date(sample.now * 1000);
    const signatures = sample.secrets.map((secret) => new Webhook(secret).sign(id, at, sample.body));
    sample.headers["webhook-timestamp"] = String(sample.now);
    sample.headers["webhook-signature"] = signatures.join(" ");
    atTime(sample.now, () => sample.secrets.map((secret) => new Webhook(secret).verify(sample.body, sample.headers)));
  },

  twilio(sample) {
    const secret = sample.secrets[0];
    const isForm = sample.headers["Content-Type"].startsWith("application/x-www-form-urlencoded");
    let params = {};
    if (isForm) {
      const form = new URLSearchParams(sample.body);
      for (const key of form.keys()) {
        const values = form.getAll(key);
        params[key] = values.length > 1 ? values : values[0];
      }
    } else {
      const url = new URL(sample.url);
      url.searchParams.set("bodySHA256", getExpectedBodyHash(sample.body));
      sample.url = url.toString();
    }
    const signature = twilio.getExpectedTwilioSignature(secret, sample.url, params);
    accepted(
      isForm
        ? twilio.validateRequest(secret, signature, sample.url, params)
        : twilio.validateRequestWithBody(secret, signature, sample.url, sample.body),
    );
    sample.headers["X-Twilio-Signature"] = signature;
  },
};

function genericHmac(sample) {
  sample.headers["X-Signature"] = `sha256=${hmac("sha256", sample.secrets[0], sample.body, "hex")}`;
}

function accepted(yes) {
  if (!yes) throw new Error("the SDK's verifier does not accept the sample");
}

/** Runs `check` with the clock at `now`, for an SDK that takes no time as an argument. */
function atTime(now, check) {
  const real = Date.now;
  Date.now = () => now * 1000;
  try {
    check();
  } finally {
    Date.now = real;
  }
}

let total = 0;
let differing = 0;
for (const source of readdirSync(EVENTS, { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
  for (const file of readdirSync(join(EVENTS, source.name)).filter((name) => name.endsWith(".json")).sort()) {
    const path = join(EVENTS, source.name, file);
    const name = `${source.name}/${file}`;
    const before = readFileSync(path, "utf8");
    total += 1;
    try {
      const sample = JSON.parse(before);
      if (sample.source !== source.name) throw new Error(`"source" is not the folder's name`);
      await SIGNERS[sample.source](sample);
      const after = `${JSON.stringify(sample, null, 2)}\n`;
      if (after === before) continue;
      differing += 1;
      console.log(`${WRITE ? "written" : "differs"}: ${name}`);
      if (WRITE) writeFileSync(path, after);
    } catch (error) {
      differing += 1;
      process.exitCode = 1;
      console.log(`failed: ${name}: ${error.message}`);
    }
  }
}
console.log(`${total} samples, ${differing} ${WRITE ? "written or failed" : "differ"}`);
if (!WRITE && differing > 0) process.exitCode = 1;
