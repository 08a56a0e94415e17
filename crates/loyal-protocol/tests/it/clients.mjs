// What dapps and wallets do, with viem and ethers: URL, WebSocket URL, private key, bytecode of Probe.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createPublicClient, createWalletClient, http, webSocket, parseAbi, parseEther, defineChain,
  BaseError, ContractFunctionRevertedError } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { ethers } from "ethers";

const [url, ws, key, path] = process.argv.slice(2);
const bytecode = readFileSync(path, "utf8");
const signatures = [
  "error Sour(uint256 amount, address who)",
  "event Seen(address indexed who, uint256 indexed what, bytes data)",
  "function sour() payable", "function text() pure", "function divide(uint256 by) pure returns (uint256)",
  "function shout(uint256 count)", "function fill(uint256 from, uint256 to, uint256 value)",
  "function map(uint256) view returns (uint256)",
];

async function withViem() {
  const chain = defineChain({ id: 31337, name: "loyal", nativeCurrency: { name: "e", symbol: "E", decimals: 18 },
    rpcUrls: { default: { http: [url] } } });
  const account = privateKeyToAccount(key);
  const abi = parseAbi(signatures);
  const reader = createPublicClient({ chain, transport: http(), pollingInterval: 50 });
  const wallet = createWalletClient({ chain, account, transport: http() });
  assert.equal(await reader.getChainId(), 31337);
  const heads = [];
  const live = createPublicClient({ chain, transport: webSocket(ws) });
  const stop = live.watchBlocks({ onBlock: (block) => heads.push(block.number) });
  const seen = [];
  const stopLogs = live.watchEvent({ onLogs: (logs) => seen.push(...logs) });
  await live.getBlockNumber();
  // Fees, nonce and gas are asked for by the client, as a wallet does.
  const payment = await wallet.sendTransaction({ to: "0x00000000000000000000000000000000000000f7", value: parseEther("1") });
  const paid = await reader.waitForTransactionReceipt({ hash: payment });
  assert.equal(paid.status, "success");
  assert.equal(paid.gasUsed, 21000n);
  const deployment = await wallet.deployContract({ abi, bytecode });
  const { contractAddress: address } = await reader.waitForTransactionReceipt({ hash: deployment });
  const refused = async (functionName, args = []) => {
    try { await reader.simulateContract({ account, address, abi, functionName, args }); } catch (error) {
      assert(error instanceof BaseError);
      return error.walk((cause) => cause instanceof ContractFunctionRevertedError);
    }
    assert.fail("no revert");
  };
  const sour = await refused("sour");
  assert.equal(sour.data.errorName, "Sour");
  assert.deepEqual(sour.data.args, [7n, account.address]);
  assert.equal((await refused("text")).reason, "text of the refusal");
  assert.equal((await refused("divide", [0n])).data.errorName, "Panic");
  const filter = await reader.createContractEventFilter({ abi, address, eventName: "Seen" });
  const hash = await wallet.writeContract({ address, abi, functionName: "shout", args: [3n] });
  const receipt = await reader.waitForTransactionReceipt({ hash });
  assert.equal(receipt.logs.length, 3);
  assert.equal((await reader.getFilterChanges({ filter })).length, 3);
  assert.equal((await reader.getFilterChanges({ filter })).length, 0);
  assert.equal((await reader.getContractEvents({ abi, address, fromBlock: 0n, args: { what: 1n } })).length, 1);
  await reader.uninstallFilter({ filter });
  assert(await reader.estimateFeesPerGas());
  assert.equal((await reader.getBlock({ blockTag: "finalized", includeTransactions: true })).transactions[0].hash, hash);
  await assert.rejects(reader.getProof({ address, storageKeys: [] }), /unsupported/i);
  const history = await reader.getFeeHistory({ blockCount: 4, rewardPercentiles: [10, 50, 90] });
  assert.equal(history.baseFeePerGas.length, history.gasUsedRatio.length + 1);
  for (let i = 0; i < 100 && (heads.at(-1) !== receipt.blockNumber || seen.length < 3); i++) await new Promise((r) => setTimeout(r, 20));
  assert.equal(heads.at(-1), receipt.blockNumber);
  assert.equal(seen.length, 3);
  stop(); stopLogs();
  return address;
}

async function withEthers(address) {
  const provider = new ethers.JsonRpcProvider(url, undefined, { cacheTimeout: -1, pollingInterval: 50 });
  const signer = new ethers.Wallet(key, provider);
  const contract = new ethers.Contract(address, signatures, signer);
  assert.equal((await provider.getNetwork()).chainId, 31337n);
  const sent = await contract.fill(0, 3, 9);
  const receipt = await sent.wait();
  assert.equal(receipt.status, 1);
  assert.equal(await contract.map(2), 9n);
  assert.equal(await contract.map(2, { blockTag: receipt.blockNumber - 1 }), 0n);
  await assert.rejects(contract.sour.staticCall(), (error) => error.revert?.name === "Sour" && error.revert.args[0] === 7n);
  await assert.rejects(contract.text.staticCall(), (error) => error.reason === "text of the refusal");
  await assert.rejects(contract.sour(), (error) => error.code === "CALL_EXCEPTION" &&
    error.data.startsWith(contract.interface.getError("Sour").selector));
  const failed = await contract.sour({ gasLimit: 100_000 });
  await assert.rejects(failed.wait(), (error) => error.receipt.status === 0);
  await assert.rejects(signer.sendTransaction({ to: address, nonce: 0 }), { code: "NONCE_EXPIRED" });
  await assert.rejects(signer.sendTransaction({ to: address, value: ethers.parseEther("1000000") }), { code: "INSUFFICIENT_FUNDS" });
  const live = new ethers.WebSocketProvider(ws);
  const block = new Promise((resolve) => live.once("block", resolve));
  const log = new Promise((resolve) => live.once({ address }, resolve));
  await live.getBlockNumber();
  await new Promise((resolve) => setTimeout(resolve, 200));
  const shouted = await (await contract.shout(1)).wait();
  assert.equal(await block, shouted.blockNumber);
  assert.equal((await log).transactionHash, shouted.hash);
  assert.equal((await provider.getLogs({ address, fromBlock: 0 })).length, 4);
  await live.destroy();
  provider.destroy();
}

await withEthers(await withViem());
console.log("viem and ethers are content");
process.exit(0);
