// Opens our key file with ethers, and writes one of ethers' for us to open: keys.mjs OURS THEIRS PASSWORD
import { readFileSync, writeFileSync } from "node:fs";
import { Wallet } from "ethers";

const [ours, theirs, password] = process.argv.slice(2);
const wallet = Wallet.fromEncryptedJsonSync(readFileSync(ours, "utf8"), password);
const other = Wallet.createRandom();
writeFileSync(theirs, other.encryptSync(password, { scrypt: { N: 1 << 14 } }));
console.log(`${wallet.address} ${wallet.privateKey} ${other.address} ${other.privateKey}`);
