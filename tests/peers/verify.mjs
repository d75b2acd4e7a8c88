// Which signed messages are accepted: verify.mjs v1|v1a, [{secret, headers, body}] on stdin. v1 by the library of
// Standard Webhooks, v1a by Node's own Ed25519.
import { createPublicKey, verify } from "node:crypto";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { Webhook, WebhookVerificationError } = createRequire(`${process.env.PEERS}/package.json`)("standardwebhooks");

function v1({ secret, headers, body }) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

function v1a({ secret, headers, body }) {
  const x = Buffer.from(secret.replace(/^whpk_/, ""), "base64").toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  const signed = Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
  const signatures = headers["webhook-signature"].split(" ").filter((one) => one.startsWith("v1a,"));
  return signatures.some((one) => verify(null, signed, key, Buffer.from(one.slice(4), "base64")));
}

const accepts = { v1, v1a }[process.argv[2]];
console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(accepts)));
