// A server of x402 that is not ours: express, the middleware of the standard, and its facilitator in this process.
import express from "express";
import { x402Facilitator } from "@x402/core/facilitator";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { ExactEvmScheme as ExactFacilitator } from "@x402/evm/exact/facilitator";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { createWalletClient, defineChain, http, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const { chain, chainId, now, asset, amount, payTo, secret } = JSON.parse(process.argv[2]);
// The chain of the test has a time of its own.
Date.now = () => now * 1000;
const account = privateKeyToAccount(secret);
const network = `eip155:${chainId}`;
const site = defineChain({
  id: chainId, name: "test", nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
  rpcUrls: { default: { http: [chain] } },
});
const client = createWalletClient({ account, chain: site, transport: http(), pollingInterval: 20 }).extend(publicActions);
const signer = toFacilitatorEvmSigner({
  address: account.address,
  getCode: (args) => client.getCode(args),
  readContract: (args) => client.readContract(args),
  verifyTypedData: (args) => client.verifyTypedData(args),
  writeContract: (args) => client.writeContract(args),
  sendTransaction: (args) => client.sendTransaction(args),
  waitForTransactionReceipt: (args) => client.waitForTransactionReceipt(args),
});
const facilitator = new x402Facilitator().register(network, new ExactFacilitator(signer));
const server = new x402ResourceServer(facilitator).register(network, new ExactEvmScheme());
const price = { amount, asset, extra: { name: "Loyal", version: "1" } };
const offer = { accepts: [{ scheme: "exact", network, price, payTo }], description: "something", mimeType: "application/json" };
const app = express();
app.use(paymentMiddleware({ "GET /paid": offer, "GET /later": offer }, server));
app.get("/free", (_, answer) => answer.send("free"));
app.get("/paid", (_, answer) => answer.json({ said: "paid for" }));
let asked = 0;
app.get("/later", (_, answer) => (asked++ ? answer.json({ said: "paid for" }) : answer.status(503).send("later")));
const listener = app.listen(0, "127.0.0.1", () =>
  console.log(JSON.stringify({ url: `http://127.0.0.1:${listener.address().port}` })),
);
