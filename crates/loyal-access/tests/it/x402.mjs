// A client of x402 that is not ours: the packages of the standard pay, viem signs the invocation.
import { x402Client, x402HTTPClient } from "@x402/core/client";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { BatchSettlementEvmScheme } from "@x402/evm/batch-settlement/client";
import { concat, getAddress, keccak256, pad, stringToHex, toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const { url, secret, now, scheme, count, refund, credential, credentialId, registry, chainId } = JSON.parse(process.argv[2]);
// The chain of the test has a time of its own.
Date.now = () => now * 1000;
const account = privateKeyToAccount(secret);
const chosen = (_, accepts) => accepts.find((one) => one.scheme === scheme);
const batch = new BatchSettlementEvmScheme(account);
const payer = new x402Client(chosen)
  .register(`eip155:${chainId}`, new ExactEvmScheme(account))
  .register(`eip155:${chainId}`, batch);
// The client knows what the dollars of public chains are worth; what this chain is paid in it does not know.
payer.setSpendControls(false);
const client = new x402HTTPClient(payer);
const uint = (bits) => (name) => ({ name, type: `uint${bits}` });
const types = {
  Invocation: [
    { name: "credentialId", type: "bytes32" }, uint(256)("hostingId"), uint(32)("version"),
    { name: "channelId", type: "bytes32" }, uint(64)("nonce"), { name: "requestHash", type: "bytes32" },
    uint(128)("amountMax"), uint(64)("deadline"),
  ],
};
const header = (document) => Buffer.from(JSON.stringify(document)).toString("base64");

async function ask(nonce, prompt) {
  const body = { messages: [{ content: prompt, role: "user" }] };
  const post = (headers) =>
    fetch(url, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", ...headers } });
  const unpaid = await post({});
  const required = client.getPaymentRequiredResponse((name) => unpaid.headers.get(name));
  const payment = await client.createPaymentPayload(required);
  const { voucher, authorization } = payment.payload;
  const salt = pad(toHex(nonce), { size: 32 });
  const emptied = '{"messages":[{"content":"","role":"user"}]}';
  const requestHash = keccak256(concat([salt, keccak256(stringToHex(prompt)), keccak256(stringToHex(emptied))]));
  const info = required.extensions.loyal.info;
  const invocation = {
    credentialId, hostingId: info.hostingId, version: info.version, channelId: voucher?.channelId ?? authorization.nonce,
    nonce: String(nonce), requestHash, amountMax: payment.accepted.amount, deadline: String(now + 600),
  };
  const domain = { name: "Loyal", version: "1", chainId, verifyingContract: getAddress(registry) };
  const signature = await account.signTypedData({ domain, types, primaryType: "Invocation", message: invocation });
  const answer = await post({
    ...client.encodePaymentSignatureHeader(payment),
    "loyal-credential": credential, "loyal-invocation": header({ invocation, signature }), "loyal-salt": salt,
  });
  const result = await client.processPaymentResult(payment, (name) => answer.headers.get(name), answer.status);
  const value = await answer.json();
  const receipt = answer.headers.get("loyal-receipt");
  return {
    unpaid: unpaid.status, status: answer.status, type: payment.payload.type ?? "exact", error: value.error?.code,
    said: value.choices?.[0].message.content, success: result.settleResponse?.success,
    amount: receipt && JSON.parse(Buffer.from(receipt, "base64")).receipt.amount,
  };
}

const all = [];
for (let nonce = 1; nonce <= count; nonce++) all.push(await ask(nonce, `question ${nonce}`));
// What is left in the channel comes back at once, a part first.
for (const amount of refund ?? []) all.push(await batch.refund(url, amount ? { amount } : {}));
console.log(JSON.stringify(all));
