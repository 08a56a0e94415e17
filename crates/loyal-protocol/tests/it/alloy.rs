//! A real client: alloy over HTTP and WebSocket, with the calls of a wallet and of a dapp.

use alloy_consensus::Transaction as _;
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, U256};
use alloy_provider::{
    Provider, ProviderBuilder, WsConnect,
    network::{EthereumWallet, ReceiptResponse as _, TransactionBuilder as _},
};
use alloy_rpc_types_eth::{BlockTransactions, Filter, TransactionRequest};
use alloy_sol_types::{SolCall as _, SolEvent as _, sol};
use loyal_protocol::devnet::Limits;

use crate::{
    kit::{Served, ether, signer},
    npm::bytecode,
};

sol! {
    error Sour(uint256 amount, address who);
    event Seen(address indexed who, uint256 indexed what, bytes data);
    function sour() payable;
    function text();
    function divide(uint256 by) returns (uint256);
    function shout(uint256 count);
    function map(uint256 key) returns (uint256);
    function fill(uint256 from, uint256 to, uint256 value);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A client that asks for nonce, gas, fees and chain id as a wallet does, and signs for account `index`.
fn wallet(served: &Served, index: u64) -> impl Provider + Clone {
    let url = format!("http://{}", served.address).parse().unwrap();
    ProviderBuilder::new().wallet(EthereumWallet::from(signer(index))).connect_http(url)
}

async fn deploy(provider: &impl Provider) -> Address {
    let request = TransactionRequest::default().with_deploy_code(bytecode("Probe"));
    let receipt = provider.send_transaction(request).await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    let probe = receipt.contract_address().unwrap();
    assert!(!provider.get_code_at(probe).await.unwrap().is_empty());
    probe
}

fn to(probe: Address, call: &impl alloy_sol_types::SolCall) -> TransactionRequest {
    TransactionRequest::default().with_to(probe).with_input(call.abi_encode())
}

#[test]
fn a_wallet_over_http_is_content() {
    let served = Served::new(&Limits::default());
    runtime().block_on(async {
        let provider = wallet(&served, 0);
        let (from, other) = (signer(0).address(), Address::with_last_byte(0xf6));
        assert_eq!(provider.get_chain_id().await.unwrap(), 31337);
        assert_eq!(provider.get_block_number().await.unwrap(), 0);
        assert_eq!(provider.get_balance(from).await.unwrap(), ether(10_000));
        assert_eq!(provider.get_transaction_count(from).pending().await.unwrap(), 0);
        let fees = provider.estimate_eip1559_fees().await.unwrap();
        assert!(fees.max_fee_per_gas > fees.max_priority_fee_per_gas);
        let payment = TransactionRequest::default().with_to(other).with_value(ether(1));
        assert_eq!(provider.estimate_gas(payment.clone()).await.unwrap(), 21_000);
        let pending = provider.send_transaction(payment).await.unwrap();
        let hash = *pending.tx_hash();
        let receipt = pending.get_receipt().await.unwrap();
        assert!(receipt.status());
        assert_eq!((receipt.gas_used, receipt.transaction_hash, receipt.from), (21_000, hash, from));
        let sent = provider.get_transaction_by_hash(hash).await.unwrap().unwrap();
        assert!(sent.inner.is_eip1559() && sent.value() == ether(1));
        assert_eq!(provider.get_balance(other).await.unwrap(), ether(1));
        let paid = U256::from(receipt.effective_gas_price) * U256::from(21_000);
        assert_eq!(provider.get_balance(from).await.unwrap(), ether(9_999) - paid);
        for tag in [BlockNumberOrTag::Latest, BlockNumberOrTag::Safe, BlockNumberOrTag::Finalized] {
            let block = provider.get_block(BlockId::Number(tag)).full().await.unwrap().unwrap();
            assert_eq!(block.header.hash, block.header.inner.hash_slow());
            assert!(matches!(block.transactions, BlockTransactions::Full(list) if list.len() == 1));
        }
        let history = provider.get_fee_history(4, BlockNumberOrTag::Latest, &[50.0]).await.unwrap();
        assert_eq!(history.base_fee_per_gas.len(), history.gas_used_ratio.len() + 1);
        let refused = provider.get_proof(other, vec![]).await.unwrap_err();
        assert!(refused.to_string().contains("unsupported"), "{refused}");
        let too_much = TransactionRequest::default().with_to(other).with_value(ether(1_000_000));
        let refused = provider.send_transaction(too_much).await.unwrap_err();
        assert!(refused.to_string().contains("insufficient funds"), "{refused}");
    });
}

#[test]
fn contracts_are_deployed_called_and_refuse_in_types() {
    let served = Served::new(&Limits::default());
    runtime().block_on(async {
        let provider = wallet(&served, 1);
        let probe = deploy(&provider).await;
        let said = provider.call(to(probe, &divideCall { by: U256::from(1) })).await.unwrap();
        assert_eq!(divideCall::abi_decode_returns(&said).unwrap(), U256::from(1));
        let fill = fillCall { from: U256::ZERO, to: U256::from(3), value: U256::from(9) };
        let receipt = provider.send_transaction(to(probe, &fill)).await.unwrap().get_receipt().await.unwrap();
        let get = to(probe, &mapCall { key: U256::from(2) });
        let said = provider.call(get.clone()).await.unwrap();
        assert_eq!(mapCall::abi_decode_returns(&said).unwrap(), U256::from(9));
        let before = BlockId::number(receipt.block_number.unwrap() - 1);
        let said = provider.call(get).block(before).await.unwrap();
        assert_eq!(mapCall::abi_decode_returns(&said).unwrap(), U256::ZERO);
        // The typed error is the same for a call, an estimate, and a transaction that asks for its gas.
        let sour = to(probe, &sourCall {}).with_from(signer(1).address());
        let called = provider.call(sour.clone()).await.unwrap_err();
        let estimated = provider.estimate_gas(sour.clone()).await.unwrap_err();
        let sent = provider.send_transaction(sour.clone()).await.unwrap_err();
        for refused in [called, estimated, sent] {
            let payload = refused.as_error_resp().unwrap();
            assert_eq!(payload.code, 3);
            let error = payload.as_decoded_error::<Sour>().unwrap();
            assert_eq!((error.amount, error.who), (U256::from(7), signer(1).address()));
        }
        let refused = provider.call(to(probe, &textCall {})).await.unwrap_err();
        let message = &refused.as_error_resp().unwrap().message;
        assert_eq!(message, "execution reverted: text of the refusal");
        // With gas of its own it gets into a block, and fails there. A new client sends it: alloy counts the nonce of a
        // transaction whose estimate failed as used.
        let pending = wallet(&served, 1).send_transaction(sour.with_gas_limit(100_000)).await.unwrap();
        assert!(!pending.get_receipt().await.unwrap().status());
    });
}

#[test]
fn logs_are_filtered_polled_and_told_over_websocket() {
    let served = Served::new(&Limits::default());
    runtime().block_on(async {
        let provider = wallet(&served, 2);
        let probe = deploy(&provider).await;
        let live = ProviderBuilder::new().connect_ws(WsConnect::new(format!("ws://{}", served.address)));
        let live = live.await.unwrap();
        let seen = Filter::new().address(probe).event_signature(Seen::SIGNATURE_HASH);
        let mut heads = live.subscribe_blocks().await.unwrap();
        let mut logs = live.subscribe_logs(&seen).await.unwrap();
        let filter = provider.new_filter(&seen).await.unwrap();
        let blocks = provider.new_block_filter().await.unwrap();
        let shout = to(probe, &shoutCall { count: U256::from(3) });
        let receipt = provider.send_transaction(shout).await.unwrap().get_receipt().await.unwrap();
        assert_eq!(receipt.logs().len(), 3);
        let head = heads.recv().await.unwrap();
        assert_eq!((Some(head.hash), head.number), (receipt.block_hash, receipt.block_number.unwrap()));
        for told in receipt.logs() {
            assert_eq!(&logs.recv().await.unwrap(), told);
        }
        let polled: Vec<alloy_rpc_types_eth::Log> = provider.get_filter_changes(filter).await.unwrap();
        assert_eq!(polled, receipt.logs());
        let again: Vec<alloy_rpc_types_eth::Log> = provider.get_filter_changes(filter).await.unwrap();
        assert!(again.is_empty());
        let hashes: Vec<B256> = provider.get_filter_changes(blocks).await.unwrap();
        assert_eq!(hashes, [receipt.block_hash.unwrap()]);
        assert!(provider.uninstall_filter(filter).await.unwrap());
        let one = seen.from_block(0).topic2(U256::from(1));
        let found = live.get_logs(&one).await.unwrap();
        assert_eq!(found.len(), 1);
        let event = Seen::decode_log(&found[0].inner).unwrap();
        assert_eq!((event.who, event.what), (signer(2).address(), U256::from(1)));
        live.unsubscribe(*heads.local_id()).await.unwrap();
    });
}
