// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {LeafOpening, OwnershipEvidence} from "../../src/examiners/OwnershipExaminer.sol";
import {Claim, ClaimKind, ClaimState, Outcome} from "../../src/interfaces/IDisputeCourt.sol";
import {VersionState} from "../../src/interfaces/IRegistry.sol";
import {Ballot, Messages, Receipt} from "../../src/libraries/Messages.sol";
import {Node} from "../../src/libraries/Tree.sol";
import {ProbeWorld} from "../ProbeWorld.sol";

/// @notice Claims of several kinds against an honest host, a cheat and thieves, in any order.
contract CourtHandler is ProbeWorld {
    uint256 private constant HONEST = 0x60d;

    uint256 private cheat;
    uint256 private honest;
    uint32 private epoch;
    Receipt[] private logged;
    bytes32[] private all;
    uint256[] private stolen;
    address[] private accounts;
    address private thief = vm.addr(0x7413f);
    uint32 private number;
    uint256 private paidIn;
    uint256 private takenOut;
    uint256 private burnt;

    function prepare() external {
        setUp();
        seatValidators(16);
        cheat = hostingId;
        honest = serving(modelId);
        epoch = today();
        for (uint32 i = 0; i < 8; ++i) {
            logged.push(receiptOf(honest, i, 2_000));
        }
        nextSeed();
        postTree(cheat, epoch, new Node[](0));
        postTree(honest, epoch, treeOf(logged));
        currency.transfer(thief, 10_000e18);
        wealth(thief);
        wealth(owner);
        steal();
        accounts.push(claimant);
        accounts.push(host);
        accounts.push(owner);
        accounts.push(thief);
        for (uint256 i = 0; i < 16; ++i) {
            accounts.push(vm.addr(validatorKey(i)));
        }
    }

    function steal() private {
        address maker = owner;
        owner = thief;
        for (uint256 i = 0; i < 4; ++i) {
            stolen.push(madeOf(bytes32(i + 100), bytes32(i + 100)));
        }
        owner = maker;
    }

    function pay(address from, ClaimKind kind, bytes memory evidence) private {
        uint256 before = currency.balanceOf(court);
        uint256 supply = currency.totalSupply();
        bytes32 claimId = announce(from, kind, evidence);
        vm.prank(from);
        judge.open(kind, evidence, bytes32(claims));
        all.push(claimId);
        paidIn += currency.balanceOf(court) + supply - currency.totalSupply() - before;
        burnt += supply - currency.totalSupply();
    }

    // --- what may happen

    function omit(uint128 amount) external {
        Receipt memory receipt = receiptOf(cheat, number++, uint128(bound(amount, 0, 1e9)));
        (receipt.epoch, receipt.issuedAt) = (epoch, logged[0].issuedAt);
        pay(claimant, ClaimKind.Omitted, abi.encode(receipt, signReceipt(receipt)));
    }

    function equivocate() external {
        Receipt memory one = receiptOf(cheat, number++, 1);
        Receipt memory other = one;
        bytes memory first = signReceipt(one);
        other = receiptOf(cheat, one.seq, 2);
        (other.epoch, other.issuedAt) = (one.epoch, one.issuedAt);
        pay(claimant, ClaimKind.Equivocation, abi.encode(one, first, other, signReceipt(other)));
    }

    /// @dev Invariant 10: an honest host answers, and no claim against it is upheld.
    function accuseHonest(uint256 which) external {
        uint32 seq = uint32(which % logged.length);
        Receipt memory receipt = logged[seq];
        bytes32 subject = keccak256(abi.encode("omitted", treeDigest(seq)));
        if (judge.claimOn(subject) != 0) return;
        pay(claimant, ClaimKind.Omitted, abi.encode(receipt, signReceipt(receipt)));
        uint256 supply = currency.totalSupply();
        bytes32 claimId = all[all.length - 1];
        judge.answer(claimId, abi.encode(proofOf(treeOf(logged), seq)));
        burnt += supply - currency.totalSupply();
        holds(judge.claimOf(claimId).outcome != Outcome.Upheld, "an honest host");
    }

    function unauthorised() external {
        Receipt memory receipt = receiptOf(cheat, number++, 1);
        pay(claimant, ClaimKind.Unauthorised, abi.encode(receipt, signReceipt(receipt), bytes("")));
    }

    function accuseThief(uint256 which) external {
        uint256 model = stolen[which % stolen.length];
        bool may = registry.stateOf(model, 1) == VersionState.Contestable
            && vm.getBlockTimestamp() + 2 < registry.versionOf(model, 1).windowEnds;
        bytes32 commitment = registry.versionOf(modelId, 1).commitment;
        bytes32 subject = keccak256(abi.encode("ownership", commitment, model, uint32(1)));
        if (!may || judge.claimOn(subject) != 0) return;
        pay(owner, ClaimKind.Ownership, abi.encode(OwnershipEvidence(modelId, 1, model, 1, 256, 1)));
        bytes32 claimId = all[all.length - 1];
        nextSeed();
        uint32[] memory drawn = ownership.leavesOf(claimId);
        for (uint32 i = 0; i < drawn.length; ++i) {
            if (registry.isBurnt(commitment, drawn[i])) continue;
            LeafOpening[] memory one = new LeafOpening[](1);
            uint32 index = drawn[i];
            one[0] = LeafOpening(i, query(index), blinding("r", index), spec, proofOf(plainTree(digests), index));
            ownership.openLeaves(claimId, one);
            return;
        }
    }

    function plead(uint256 which) external {
        (bytes32 claimId, Claim memory entry) = pick(which);
        bool may = entry.state == ClaimState.Open && entry.kind == ClaimKind.Ownership && entry.pleaBond == 0
            && vm.getBlockTimestamp() <= entry.deadline;
        if (!may) return;
        vm.prank(entry.accused);
        judge.plead(claimId, "");
        paidIn += entry.bond;
    }

    function drop(uint256 which) external {
        (bytes32 claimId, Claim memory entry) = pick(which);
        bool may = entry.state == ClaimState.Open && entry.kind == ClaimKind.Ownership && entry.pleaBond == 0
            && vm.getBlockTimestamp() <= entry.deadline;
        if (!may) return;
        vm.prank(entry.claimant);
        judge.drop(claimId);
    }

    function rule(uint256 which) external {
        (bytes32 claimId, Claim memory entry) = pick(which);
        bool waits = entry.state != ClaimState.None && entry.state < ClaimState.Final;
        if (!waits) return;
        if (vm.getBlockTimestamp() <= entry.deadline) vm.warp(entry.deadline + 1);
        step(claimId);
    }

    function execute(uint256 which) external {
        (bytes32 claimId, Claim memory entry) = pick(which);
        if (entry.state == ClaimState.Final) judge.execute(claimId);
    }

    /// @dev Invariant 18: a jury is distinct and no party; some of it vote, as `votes` says.
    function judgeThief(uint256 which, uint256 votes) external {
        (bytes32 claimId, Claim memory entry) = pick(which);
        if (entry.state != ClaimState.Voting) return;
        uint8 round = entry.round;
        uint64 commitBy = jury.panelOf(claimId, round).commitBy;
        uint32 seedEpoch = jury.panelOf(claimId, round).seedEpoch;
        if (vm.getBlockTimestamp() >= commitBy || jury.panelOf(claimId, round).members.length != 0) return;
        if (vm.getBlockTimestamp() < parameters.epochStart(seedEpoch)) vm.warp(parameters.epochStart(seedEpoch));
        if (beacon.drawOf(seedEpoch).seed == 0) beacon.close(seedEpoch);
        address[] memory members = jury.draw(claimId, round);
        Ballot[] memory ballots = new Ballot[](members.length);
        for (uint256 i = 0; i < members.length; ++i) {
            holds(members[i] != entry.claimant && members[i] != entry.accused, "no party");
            for (uint256 j = 0; j < i; ++j) {
                holds(members[i] != members[j], "distinct");
            }
            bool upheld = (votes >> i) & 1 == 1;
            ballots[i] = ballot(claimId, round, upheld ? Outcome.Upheld : Outcome.Dismissed, 30, 30);
            bytes32 commitment = commitmentOf(ballots[i], members[i]);
            vm.prank(members[i]);
            jury.commitBallot(claimId, round, commitment);
        }
        vm.warp(commitBy + 1);
        for (uint256 i = 0; i < members.length; ++i) {
            if ((votes >> (i + 32)) & 3 == 0) continue;
            vm.prank(members[i]);
            jury.revealBallot(ballots[i]);
        }
    }

    function appeal(uint256 which) external {
        (bytes32 claimId, Claim memory entry) = pick(which);
        if (entry.state != ClaimState.Ruled || vm.getBlockTimestamp() > entry.deadline) return;
        vm.prank(entry.outcome == Outcome.Upheld ? entry.accused : entry.claimant);
        judge.appeal(claimId);
        paidIn += 2 * entry.bond;
    }

    function withdraw(uint256 who) external {
        takenOut += judge.withdraw(accounts[who % accounts.length]);
    }

    // --- what always holds

    /// @dev Invariant 8: what the court holds is what claims wait for and what is owed; in is out.
    function bondsBalance() external view {
        uint256 waiting = 0;
        for (uint256 i = 0; i < all.length; ++i) {
            Claim memory entry = judge.claimOf(all[i]);
            if (entry.state < ClaimState.Final) waiting += uint256(entry.bond) + entry.pleaBond + entry.appealBond;
        }
        uint256 owed = owedToAll();
        eq(currency.balanceOf(court), waiting + owed, "held");
        eq(paidIn, takenOut + burnt + waiting + owed, "in is out");
    }

    /// @dev Invariant 7: a hosting is held by exactly the claims that are not carried out.
    function claimsHold() external view {
        uint256[2] memory open_;
        for (uint256 i = 0; i < all.length; ++i) {
            Claim memory entry = judge.claimOf(all[i]);
            if (entry.state == ClaimState.Executed) continue;
            if (entry.hostingId == cheat) ++open_[0];
            if (entry.hostingId == honest) ++open_[1];
        }
        eq(vault.positionOf(gate.hostingOf(cheat).position).freezes, open_[0], "cheat");
        eq(vault.positionOf(gate.hostingOf(honest).position).freezes, open_[1], "honest");
    }

    /// @dev Invariant 17: the parts of all slashes are the slashes, and claimants have half at most.
    function partsAreSlashes() external view {
        uint256 slashed = 2 * 720e6 - gate.bondOf(cheat) - gate.bondOf(honest);
        uint256 given = vault.rewards(claimant, address(coin));
        uint256 toShares = router.owed(address(sharesOf(modelId)), address(coin));
        eq(given + vault.rewards(address(timelock), address(coin)) + toShares, slashed, "parts");
        holds(given * 2 <= slashed, "half at most");
        eq(gate.bondOf(honest), 720e6, "an honest host loses nothing");
    }

    /// @dev Invariants 8 and 19: whatever the state, time alone ends every claim and frees every amount.
    function timeEndsAll() external {
        for (uint256 i = 0; i < all.length; ++i) {
            for (uint256 steps = 0; judge.claimOf(all[i]).state < ClaimState.Final; ++steps) {
                holds(steps < 8, "ends");
                uint64 deadline = judge.claimOf(all[i]).deadline;
                if (vm.getBlockTimestamp() <= deadline) vm.warp(deadline + 1);
                judge.rule(all[i]);
            }
            if (judge.claimOf(all[i]).state == ClaimState.Final) judge.execute(all[i]);
        }
        eq(currency.balanceOf(court), owedToAll(), "all is owed to somebody");
        for (uint256 i = 0; i < accounts.length; ++i) {
            judge.withdraw(accounts[i]);
        }
        eq(currency.balanceOf(court), 0, "nothing is stuck");
        eq(vault.positionOf(gate.hostingOf(cheat).position).freezes, 0, "nothing is held");
    }

    function owedToAll() private view returns (uint256 sum) {
        for (uint256 i = 0; i < accounts.length; ++i) {
            sum += judge.owed(accounts[i]);
        }
    }

    function step(bytes32 claimId) private {
        uint256 supply = currency.totalSupply();
        judge.rule(claimId);
        burnt += supply - currency.totalSupply();
    }

    function pick(uint256 which) private view returns (bytes32 claimId, Claim memory entry) {
        if (all.length == 0) return (0, entry);
        claimId = all[which % all.length];
        entry = judge.claimOf(claimId);
    }

    function treeDigest(uint32 seq) private view returns (bytes32) {
        return registry.digest(Messages.hash(logged[seq]));
    }
}

/// @dev A call here is a whole claim; the long profile has the 256 histories of 128 calls.
/// forge-config: default.invariant.runs = 16
/// forge-config: long.invariant.runs = 256
/// forge-config: long.invariant.depth = 128
contract CourtInvariants {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    CourtHandler private handler;

    function setUp() public {
        handler = new CourtHandler();
        handler.prepare();
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](12);
        selectors[0] = CourtHandler.omit.selector;
        selectors[1] = CourtHandler.equivocate.selector;
        selectors[2] = CourtHandler.accuseHonest.selector;
        selectors[3] = CourtHandler.unauthorised.selector;
        selectors[4] = CourtHandler.accuseThief.selector;
        selectors[5] = CourtHandler.plead.selector;
        selectors[6] = CourtHandler.rule.selector;
        selectors[7] = CourtHandler.execute.selector;
        selectors[8] = CourtHandler.judgeThief.selector;
        selectors[9] = CourtHandler.appeal.selector;
        selectors[10] = CourtHandler.withdraw.selector;
        selectors[11] = CourtHandler.drop.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev Invariants 7, 8, 10 and 17, in one function: forge runs all histories anew for each.
    function invariant_7_8_10_17_ClaimsHoldAndPay() public view {
        handler.bondsBalance();
        handler.claimsHold();
        handler.partsAreSlashes();
    }

    /// @dev Invariants 8 and 19, at the end of every history.
    function afterInvariant() public {
        handler.timeEndsAll();
    }
}
