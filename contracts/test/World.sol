// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Admission} from "../src/Admission.sol";
import {ApprovalCollector} from "../src/ApprovalCollector.sol";
import {AuthorizationCollector} from "../src/AuthorizationCollector.sol";
import {Beacon} from "../src/Beacon.sol";
import {CredentialRegistry} from "../src/CredentialRegistry.sol";
import {Launcher} from "../src/Launcher.sol";
import {Gate, GateParties, Opening} from "../src/Gate.sol";
import {GenesisVesting} from "../src/GenesisVesting.sol";
import {InvocationChannel} from "../src/InvocationChannel.sol";
import {LoyalCurrency} from "../src/LoyalCurrency.sol";
import {Creation, FactoryParties, ModelFactory} from "../src/ModelFactory.sol";
import {ModelShares} from "../src/ModelShares.sol";
import {ModelTreasury} from "../src/ModelTreasury.sol";
import {Parameters} from "../src/Parameters.sol";
import {ProtocolTimelock} from "../src/ProtocolTimelock.sol";
import {Registry} from "../src/Registry.sol";
import {RevenueRouter, RouterParties} from "../src/RevenueRouter.sol";
import {StakeVault} from "../src/StakeVault.sol";
import {Level} from "../src/interfaces/IGate.sol";
import {ChannelConfig, Voucher, VoucherClaim} from "../src/interfaces/IInvocationChannel.sol";
import {VersionTerms} from "../src/interfaces/IRegistry.sol";
import {Agreement, Credential, Delivery, Grant, Messages, UsageReport} from "../src/libraries/Messages.sol";
import {Coin} from "./Coin.sol";
import {Test} from "./Vm.sol";

/// @notice The whole protocol, deployed as the Rust routine does it, and the steps that most tests begin with.
abstract contract World is Test {
    using Messages for Agreement;
    using Messages for Delivery;
    using Messages for UsageReport;

    uint64 internal constant GENESIS = 1_700_000_000;
    uint256 internal constant OWNER = 0x0e;
    uint256 internal constant ALICE = 0xa;
    uint256 internal constant BOB = 0xb;
    uint256 internal constant CHARLIE = 0xc;
    uint256 internal constant DAVID = 0xd;
    uint256 internal constant HOST = 0x40;
    uint256 internal constant SIGNER = 0x51;
    uint256 internal constant ISSUER = 0x155;
    uint256 internal constant USER = 0x5e;
    uint256 internal constant BUILDER = 0xb1;

    Launcher internal launcher;
    ProtocolTimelock internal timelock;
    Parameters internal parameters;
    LoyalCurrency internal currency;
    GenesisVesting internal vesting;
    StakeVault internal vault;
    Beacon internal beacon;
    Registry internal registry;
    CredentialRegistry internal credentials;
    InvocationChannel internal channel;
    AuthorizationCollector internal authorizations;
    ApprovalCollector internal approvals;
    Gate internal gate;
    RevenueRouter internal router;
    Admission internal admission;
    ModelFactory internal factory;
    Coin internal coin;
    uint32 internal leafCount = 1_024;
    address internal court;
    address internal probeBoard;
    address internal ledger;

    address internal owner = vm.addr(OWNER);
    address internal host = vm.addr(HOST);
    address internal user = vm.addr(USER);
    address internal builder = vm.addr(BUILDER);

    function setUp() public virtual {
        vm.warp(GENESIS);
        launcher = new Launcher();
        court = at("DisputeCourt");
        probeBoard = at("ProbeBoard");
        ledger = at("ContributionLedger");
        deployPolicy();
        deployModels();
        deployPayments();
        coin = new Coin();
        vesting.release(2);
        vm.prank(vm.addr(0x9e));
        currency.transfer(address(this), 100_000_000e18);
        currency.transfer(owner, 10_000_000e18);
    }

    function at(bytes32 name) internal view returns (address) {
        return launcher.addressOf(address(this), name);
    }

    function put(bytes32 name, bytes memory code, bytes memory args) internal returns (address) {
        return launcher.deploy(name, abi.encodePacked(code, args));
    }

    function deployPolicy() private {
        address[] memory proposers = new address[](1);
        proposers[0] = address(this);
        put("ProtocolTimelock", type(ProtocolTimelock).creationCode, abi.encode(2 days, proposers));
        timelock = ProtocolTimelock(payable(at("ProtocolTimelock")));
        parameters =
            Parameters(put("Parameters", type(Parameters).creationCode, abi.encode(address(timelock), GENESIS)));
        bytes memory args = abi.encode(address(timelock), at("GenesisVesting"));
        currency = LoyalCurrency(put("LoyalCurrency", type(LoyalCurrency).creationCode, args));
        address[5] memory first;
        for (uint256 i = 0; i < 5; ++i) {
            first[i] = vm.addr(0x9e);
        }
        args = abi.encode(currency, currency.CAP(), GENESIS, first);
        vesting = GenesisVesting(put("GenesisVesting", type(GenesisVesting).creationCode, args));
        args = abi.encode(parameters, currency, address(timelock));
        vault = StakeVault(put("StakeVault", type(StakeVault).creationCode, args));
        args = abi.encode(parameters, vault, court, currency);
        beacon = Beacon(put("Beacon", type(Beacon).creationCode, args));
    }

    function deployModels() private {
        bytes memory args = abi.encode(at("ModelFactory"), court, beacon, parameters);
        registry = Registry(put("Registry", type(Registry).creationCode, args));
        args = abi.encode(registry);
        credentials = CredentialRegistry(put("CredentialRegistry", type(CredentialRegistry).creationCode, args));
        args = abi.encode(registry, at("RevenueRouter"), parameters, at("ModelFactory"));
        address shares = put("ModelShares", type(ModelShares).creationCode, args);
        address treasury =
            put("ModelTreasury", type(ModelTreasury).creationCode, abi.encode(registry, at("ModelFactory")));
        FactoryParties memory parties = FactoryParties(
            registry, RevenueRouter(at("RevenueRouter")), vault, parameters, currency, court, shares, treasury
        );
        factory = ModelFactory(put("ModelFactory", type(ModelFactory).creationCode, abi.encode(parties)));
    }

    function deployPayments() private {
        channel = InvocationChannel(put("InvocationChannel", type(InvocationChannel).creationCode, ""));
        bytes memory args = abi.encode(channel);
        authorizations =
            AuthorizationCollector(put("AuthorizationCollector", type(AuthorizationCollector).creationCode, args));
        approvals = ApprovalCollector(put("ApprovalCollector", type(ApprovalCollector).creationCode, args));
        GateParties memory gates = GateParties(registry, RevenueRouter(at("RevenueRouter")), vault, parameters, court);
        gate = Gate(put("Gate", type(Gate).creationCode, abi.encode(gates)));
        RouterParties memory routers =
            RouterParties(registry, gate, parameters, address(factory), address(timelock), probeBoard, court, ledger);
        router = RevenueRouter(put("RevenueRouter", type(RevenueRouter).creationCode, abi.encode(routers)));
        args = abi.encode(registry, gate, credentials, channel, router);
        admission = Admission(put("Admission", type(Admission).creationCode, args));
    }

    // --- steps

    function signed(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function skip(uint256 seconds_) internal {
        vm.warp(vm.getBlockTimestamp() + seconds_);
    }

    function today() internal view returns (uint32) {
        return parameters.epochAt(vm.getBlockTimestamp());
    }

    /// @dev Closes the next epoch's seed at its beginning.
    function nextSeed() internal {
        uint32 epoch = today() + 1;
        vm.warp(parameters.epochStart(epoch));
        if (beacon.drawOf(epoch).seed == 0) beacon.close(epoch);
    }

    /// @dev Leaves, seed, fingerprints: what must come before a version.
    function commit(address committer, bytes32 leafRoot, address submitter) internal returns (bytes32 fingerprintRoot) {
        vm.prank(committer);
        registry.commitLeaves(leafRoot, leafCount);
        nextSeed();
        fingerprintRoot = keccak256(abi.encode("embedded", leafRoot));
        vm.prank(committer);
        registry.commitFingerprints(leafRoot, fingerprintRoot, submitter);
    }

    function termsOf(address committer, bytes32 name) internal pure returns (VersionTerms memory) {
        return VersionTerms({
            manifestRoot: keccak256(abi.encode("manifest", name)),
            weightsRoot: keccak256(abi.encode("weights", name)),
            committer: committer,
            leafRoot: keccak256(abi.encode("leaves", name)),
            parentModel: 0,
            parentVersion: 0,
            trainingRoot: keccak256(abi.encode("training", name)),
            evaluationRoot: keccak256(abi.encode("evaluation", name)),
            termsHash: keccak256(abi.encode("terms", name)),
            policyHash: keccak256(abi.encode("policy", name)),
            uri: "loyal:model"
        });
    }

    /// @dev The agreement of the whitepaper: Alice 30, Bob 15, Charlie 15, reserve 40 %.
    function whitepaper(bytes32 subject) internal view returns (Agreement memory agreement) {
        Grant[] memory grants = new Grant[](3);
        grants[0] = Grant(vm.addr(ALICE), 3_000);
        grants[1] = Grant(vm.addr(BOB), 1_500);
        grants[2] = Grant(vm.addr(CHARLIE), 1_500);
        return Agreement(subject, grants, 4_000, uint64(vm.getBlockTimestamp() + 1 days));
    }

    function sign(Agreement memory agreement) internal view returns (bytes[] memory signatures) {
        bytes32 digest = registry.digest(agreement.hash());
        signatures = new bytes[](3);
        signatures[0] = signed(ALICE, digest);
        signatures[1] = signed(BOB, digest);
        signatures[2] = signed(CHARLIE, digest);
    }

    /// @dev All that `create` takes, ready to be spoilt by a test.
    function draft(address submitter, VersionTerms memory terms) internal returns (Creation memory creation) {
        bytes32 fingerprints = commit(terms.committer, terms.leafRoot, submitter);
        Agreement memory agreement = whitepaper(factory.subjectOf(terms.manifestRoot, fingerprints));
        creation = Creation("Model", "MDL", true, terms, agreement, sign(agreement));
        vm.prank(submitter);
        currency.approve(address(factory), type(uint256).max);
    }

    /// @dev A model whose first version is in its window.
    function contestable(bytes32 name) internal returns (uint256 modelId) {
        return contestable(termsOf(owner, name));
    }

    function contestable(VersionTerms memory terms) internal returns (uint256 modelId) {
        Creation memory creation = draft(owner, terms);
        vm.startPrank(owner);
        modelId = factory.create(creation);
        registry.setFloor(modelId, address(coin), 100, 1_000);
        credentials.setIssuer(modelId, vm.addr(ISSUER), true);
        vm.stopPrank();
    }

    /// @dev A model whose first version is active.
    function active(bytes32 name) internal returns (uint256 modelId) {
        modelId = contestable(name);
        skip(7 days);
        registry.activate(modelId, 1);
    }

    function child(bytes32 name, uint256 parent) internal returns (uint256 modelId) {
        VersionTerms memory terms = termsOf(owner, name);
        (terms.parentModel, terms.parentVersion) = (parent, 1);
        modelId = contestable(terms);
        skip(7 days);
        registry.activate(modelId, 1);
    }

    function sharesOf(uint256 modelId) internal view returns (ModelShares) {
        return ModelShares(registry.modelOf(modelId).shares);
    }

    function treasuryOf(uint256 modelId) internal view returns (ModelTreasury) {
        return ModelTreasury(registry.modelOf(modelId).treasury);
    }

    function opening(uint256 modelId) internal view returns (Opening memory) {
        return Opening({
            modelId: modelId,
            version: 1,
            level: Level.Gated,
            signer: vm.addr(SIGNER),
            asset: address(coin),
            price: 2_000,
            endpointHash: keccak256("host.example"),
            bond: 720e6
        });
    }

    function bonded(uint256 modelId) internal returns (uint256 hostingId) {
        coin.mint(host, 720e6);
        vm.startPrank(host);
        coin.approve(address(gate), 720e6);
        hostingId = gate.open(opening(modelId));
        vm.stopPrank();
    }

    function delivery(uint256 hostingId) internal view returns (Delivery memory) {
        uint256 modelId = gate.hostingOf(hostingId).modelId;
        bytes32 weights = registry.versionOf(modelId, 1).terms.weightsRoot;
        return Delivery(hostingId, 1, weights, 0, keccak256("build"), uint64(vm.getBlockTimestamp()));
    }

    /// @dev A hosting of the golden cases: bond 720, price 0.002.
    function serving(uint256 modelId) internal returns (uint256 hostingId) {
        hostingId = bonded(modelId);
        Delivery memory message = delivery(hostingId);
        gate.deliver(message, signed(SIGNER, registry.digest(message.hash())));
    }

    function report(uint256 hostingId, uint32 epoch, uint32 count, uint128 amount) internal {
        UsageReport memory message =
            UsageReport(hostingId, epoch, count, amount, 0, count == 0 ? bytes32(0) : keccak256("top"));
        gate.post(message, signed(SIGNER, registry.digest(message.hash())));
    }

    function channelOf(address payee, bytes32 salt) internal view returns (ChannelConfig memory) {
        return ChannelConfig(user, address(0), payee, vm.addr(SIGNER), address(coin), 1 days, salt);
    }

    function fund(ChannelConfig memory config, uint128 amount) internal {
        coin.mint(config.payer, amount);
        vm.startPrank(config.payer);
        coin.approve(address(approvals), amount);
        approvals.deposit(config, amount);
        vm.stopPrank();
    }

    function voucher(ChannelConfig memory config, uint256 key, uint128 ceiling, uint128 total)
        internal
        view
        returns (VoucherClaim[] memory entries)
    {
        bytes32 digest = channel.getVoucherDigest(channel.getChannelId(config), ceiling);
        entries = new VoucherClaim[](1);
        entries[0] = VoucherClaim(Voucher(config, ceiling), signed(key, digest), total);
    }

    /// @dev Revenue of a hosting, straight into its till.
    function earn(uint256 hostingId, address builder_, uint256 amount) internal {
        coin.mint(router.tillOf(hostingId, builder_), amount);
        router.collect(hostingId, builder_, address(coin));
    }
}
