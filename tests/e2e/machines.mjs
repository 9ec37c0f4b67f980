// What ethers makes of a chain with transactions of type 0x50: node machines.mjs RPC_URL TOKEN DEPLOYMENT_HASH
import { Contract, HDNodeWallet, JsonRpcProvider, Wallet } from "ethers";

const [url, address, hash] = process.argv.slice(2);
const provider = new JsonRpcProvider(url, undefined, { pollingInterval: 100 });
const wallet = (index) =>
  new Wallet(HDNodeWallet.fromPhrase("test test test test test test test test test test test junk", undefined,
    `m/44'/60'/0'/0/${index}`).privateKey, provider);
const [owner, payee, stranger] = [wallet(0), wallet(1), wallet(5)];

const deployment = await provider.getTransaction(hash);
const receipt = await deployment.wait();
console.log("transaction", deployment.type, deployment.from === owner.address, deployment.to);
console.log("receipt", receipt.status, receipt.type, receipt.contractAddress === address);
const block = await provider.getBlock(receipt.blockNumber, true);
console.log("block", block.prefetchedTransactions.map((each) => each.type).join());

const token = new Contract(address, [
  "function balanceOf(address) view returns (uint256)",
  "function transfer(address to, uint256 value) returns (bool)",
  "event Transfer(address indexed from, address indexed to, uint256 value)",
], owner);
const sent = await token.transfer(payee.address, 11n);
console.log("transfer", (await sent.wait()).status, "balance", String(await token.balanceOf(payee.address)));
const [log] = await token.queryFilter(token.filters.Transfer(owner.address, payee.address));
console.log("log", String(log.args.value));
try {
  await token.connect(stranger).transfer(payee.address, 1n);
} catch (error) {
  console.log("revert", error.reason);
}
provider.destroy();
