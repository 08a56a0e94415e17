// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ColourMatcher} from "../src/ColourMatcher.sol";
import {CourtParties, DisputeCourt} from "../src/DisputeCourt.sol";
import {Jury} from "../src/Jury.sol";
import {BoardParties, ProbeBoard} from "../src/ProbeBoard.sol";
import {ProbeReader} from "../src/ProbeReader.sol";
import {VerbatimMatcher} from "../src/VerbatimMatcher.sol";
import {AuthorisationExaminer} from "../src/examiners/AuthorisationExaminer.sol";
import {EquivocationExaminer} from "../src/examiners/EquivocationExaminer.sol";
import {LeakExaminer} from "../src/examiners/LeakExaminer.sol";
import {OmissionExaminer} from "../src/examiners/OmissionExaminer.sol";
import {OverchargeExaminer} from "../src/examiners/OverchargeExaminer.sol";
import {OwnershipExaminer} from "../src/examiners/OwnershipExaminer.sol";
import {UsageExaminer} from "../src/examiners/UsageExaminer.sol";
import {Claim, ClaimKind, ClaimState, Outcome} from "../src/interfaces/IDisputeCourt.sol";
import {IExaminer} from "../src/interfaces/IExaminer.sol";
import {IJury} from "../src/interfaces/IJury.sol";
import {IProbeBoard} from "../src/interfaces/IProbeBoard.sol";
import {Terms} from "../src/interfaces/IStakeVault.sol";
import {Ballot, Messages, Receipt, UsageReport} from "../src/libraries/Messages.sol";
import {Node, Proof, Tree} from "../src/libraries/Tree.sol";
import {World} from "./World.sol";

/// @notice The protocol with its court: claims, juries and probes in their places, and the steps that their tests begin with.
abstract contract CourtWorld is World {
    using Messages for Receipt;
    using Messages for UsageReport;
    using Messages for Ballot;

    DisputeCourt internal judge;
    Jury internal jury;
    ProbeBoard internal board;
    ProbeReader internal reader;
    OwnershipExaminer internal ownership;
    UsageExaminer internal usage;
    LeakExaminer internal leak;

    address internal claimant = vm.addr(0xc1a1);
    uint256 internal claims;

    function setUp() public virtual override {
        super.setUp();
        deployProbes();
        IExaminer[7] memory examiners = deployExaminers();
        CourtParties memory parties = CourtParties({
            registry: registry,
            gate: gate,
            router: router,
            factory: factory,
            vault: vault,
            parameters: parameters,
            currency: currency,
            jury: IJury(at("Jury")),
            board: probeBoard,
            treasury: address(timelock),
            examiners: examiners
        });
        judge = DisputeCourt(put("DisputeCourt", type(DisputeCourt).creationCode, abi.encode(parties)));
        jury = Jury(put("Jury", type(Jury).creationCode, abi.encode(court, registry, vault, parameters, beacon)));
        wealth(claimant);
        wealth(host);
    }

    function deployProbes() private {
        address tilt = put("ColourMatcher", type(ColourMatcher).creationCode, "");
        address verbatim = put("VerbatimMatcher", type(VerbatimMatcher).creationCode, "");
        bytes memory args = abi.encode(registry, gate, vault, court, tilt, verbatim);
        reader = ProbeReader(put("ProbeReader", type(ProbeReader).creationCode, args));
        BoardParties memory parties =
            BoardParties(registry, gate, router, reader, DisputeCourt(court), currency, at("UsageExaminer"));
        board = ProbeBoard(put("ProbeBoard", type(ProbeBoard).creationCode, abi.encode(parties)));
    }

    function deployExaminers() private returns (IExaminer[7] memory all) {
        bytes memory args = abi.encode(court, gate);
        all[0] = IExaminer(put("OmissionExaminer", type(OmissionExaminer).creationCode, args));
        all[1] = IExaminer(put("OverchargeExaminer", type(OverchargeExaminer).creationCode, args));
        all[2] = IExaminer(put("EquivocationExaminer", type(EquivocationExaminer).creationCode, args));
        args = abi.encode(court, gate, credentials);
        all[3] = IExaminer(put("AuthorisationExaminer", type(AuthorisationExaminer).creationCode, args));
        args = abi.encode(court, gate, board);
        usage = UsageExaminer(put("UsageExaminer", type(UsageExaminer).creationCode, args));
        args = abi.encode(court, gate, registry);
        leak = LeakExaminer(put("LeakExaminer", type(LeakExaminer).creationCode, args));
        args = abi.encode(court, registry, beacon, parameters);
        ownership = OwnershipExaminer(put("OwnershipExaminer", type(OwnershipExaminer).creationCode, args));
        (all[4], all[5], all[6]) = (usage, leak, ownership);
    }

    // --- people

    /// @dev LOYAL, and the court may take bonds of it.
    function wealth(address account) internal {
        currency.transfer(account, 100_000e18);
        vm.prank(account);
        currency.approve(court, type(uint256).max);
    }

    function seat(address account, bytes32 subject, uint128 amount) internal {
        currency.approve(address(vault), amount);
        vault.bind(Terms(court, account, account, address(currency), subject), amount);
    }

    function validatorKey(uint256 number) internal pure returns (uint256) {
        return 0x7a11_0000 + number;
    }

    function seatValidators(uint256 count) internal {
        for (uint256 i = 0; i < count; ++i) {
            seat(vm.addr(validatorKey(i)), "validator", 10_000e18);
        }
    }

    // --- claims

    function announce(address from, ClaimKind kind, bytes memory evidence) internal returns (bytes32 claimId) {
        claimId = keccak256(abi.encode(from, kind, keccak256(evidence), bytes32(++claims)));
        vm.prank(from);
        judge.commitClaim(claimId);
        skip(1);
    }

    /// @dev Announced, and opened a second later.
    function claim(ClaimKind kind, bytes memory evidence) internal returns (bytes32 claimId) {
        claimId = announce(claimant, kind, evidence);
        vm.prank(claimant);
        judge.open(kind, evidence, bytes32(claims));
    }

    function refused(ClaimKind kind, bytes memory evidence, bytes memory why) internal {
        announce(claimant, kind, evidence);
        vm.expectRevert(why);
        vm.prank(claimant);
        judge.open(kind, evidence, bytes32(claims));
    }

    function stateOf(bytes32 claimId) internal view returns (ClaimState) {
        return judge.claimOf(claimId).state;
    }

    function isState(bytes32 claimId, ClaimState state) internal view {
        eq(uint8(stateOf(claimId)), uint8(state), "state");
    }

    function ended(bytes32 claimId, Outcome outcome) internal view {
        Claim memory entry = judge.claimOf(claimId);
        eq(uint8(entry.outcome), uint8(outcome), "outcome");
        holds(entry.state == ClaimState.Final || entry.state == ClaimState.Executed, "ended");
    }

    function expireClaim(bytes32 claimId) internal {
        uint64 deadline = judge.claimOf(claimId).deadline;
        if (vm.getBlockTimestamp() <= deadline) vm.warp(deadline + 1);
        judge.rule(claimId);
    }

    // --- juries

    function drawJury(bytes32 claimId, uint8 round) internal returns (address[] memory members) {
        uint32 epoch = jury.panelOf(claimId, round).seedEpoch;
        vm.warp(parameters.epochStart(epoch));
        if (beacon.drawOf(epoch).seed == 0) beacon.close(epoch);
        return jury.draw(claimId, round);
    }

    function ballot(bytes32 claimId, uint8 round, Outcome outcome, uint16 hits, uint16 trials)
        internal
        pure
        returns (Ballot memory)
    {
        return Ballot(claimId, round, uint8(outcome), hits, trials, "reason", "salt");
    }

    function commitmentOf(Ballot memory said, address voter) internal view returns (bytes32) {
        return keccak256(abi.encode(registry.digest(said.hash()), voter));
    }

    /// @dev The first `upheld` members say upheld, the others dismissed; all reveal, and the claim goes on.
    function vote(bytes32 claimId, uint8 round, uint256 upheld, uint16 hits, uint16 trials) internal {
        address[] memory members = drawJury(claimId, round);
        Ballot[] memory votes = new Ballot[](members.length);
        for (uint256 i = 0; i < members.length; ++i) {
            votes[i] = ballot(claimId, round, i < upheld ? Outcome.Upheld : Outcome.Dismissed, hits, trials);
            bytes32 commitment = commitmentOf(votes[i], members[i]);
            vm.prank(members[i]);
            jury.commitBallot(claimId, round, commitment);
        }
        vm.warp(jury.panelOf(claimId, round).commitBy + 1);
        for (uint256 i = 0; i < members.length; ++i) {
            vm.prank(members[i]);
            jury.revealBallot(votes[i]);
        }
        expireClaim(claimId);
    }

    // --- receipts and trees

    function receiptOf(uint256 hostingId, uint32 seq, uint128 amount) internal view returns (Receipt memory) {
        return Receipt({
            invocationId: keccak256(abi.encode("invocation", seq)),
            hostingId: hostingId,
            epoch: today(),
            seq: seq,
            requestHash: keccak256(abi.encode("request", seq)),
            responseHash: "response",
            traceRoot: 0,
            tokensIn: 10,
            tokensOut: 20,
            amount: amount,
            cumulative: amount,
            issuedAt: uint64(vm.getBlockTimestamp())
        });
    }

    function signReceipt(Receipt memory receipt) internal view returns (bytes memory) {
        return signed(SIGNER, registry.digest(receipt.hash()));
    }

    function treeOf(Receipt[] memory receipts) internal view returns (Node[] memory nodes) {
        nodes = new Node[](receipts.length);
        for (uint32 i = 0; i < nodes.length; ++i) {
            bytes32 digest = registry.digest(receipts[i].hash());
            nodes[i] = Tree.leaf(i, digest, receipts[i].amount, uint128(receipts[i].tokensIn) + receipts[i].tokensOut);
        }
    }

    function plainTree(bytes32[] memory digests) internal pure returns (Node[] memory nodes) {
        nodes = new Node[](digests.length);
        for (uint32 i = 0; i < nodes.length; ++i) {
            nodes[i] = Tree.leaf(i, digests[i], 0, 0);
        }
    }

    function topOf(Node[] memory row) internal pure returns (Node memory) {
        while (row.length > 1) {
            row = rowAbove(row);
        }
        return row[0];
    }

    function proofOf(Node[] memory row, uint32 index) internal pure returns (Proof memory proof) {
        proof.index = index;
        proof.count = uint32(row.length);
        Node[] memory siblings = new Node[](32);
        uint256 used = 0;
        uint256 place = index;
        while (row.length > 1) {
            if ((place ^ 1) < row.length) siblings[used++] = row[place ^ 1];
            row = rowAbove(row);
            place >>= 1;
        }
        proof.siblings = new Node[](used);
        for (uint256 i = 0; i < used; ++i) {
            proof.siblings[i] = siblings[i];
        }
    }

    function rowAbove(Node[] memory row) private pure returns (Node[] memory above) {
        above = new Node[]((row.length + 1) / 2);
        for (uint256 i = 0; i < above.length; ++i) {
            above[i] = 2 * i + 1 < row.length ? Tree.parent(row[2 * i], row[2 * i + 1]) : row[2 * i];
        }
    }

    /// @dev Posts a report of these receipts for an epoch.
    function postTree(uint256 hostingId, uint32 epoch, Node[] memory nodes) internal {
        Node memory top = nodes.length == 0 ? Node(0, 0, 0) : topOf(nodes);
        UsageReport memory message =
            UsageReport(hostingId, epoch, uint32(nodes.length), top.amount, top.tokens, top.hash);
        gate.post(message, signed(SIGNER, registry.digest(message.hash())));
    }
}
