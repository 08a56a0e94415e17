// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {DisputeCourt} from "../src/DisputeCourt.sol";
import {Gate} from "../src/Gate.sol";
import {StakeVault} from "../src/StakeVault.sol";
import {Examiner} from "../src/examiners/Examiner.sol";
import {ClaimKind, ClaimState, Outcome} from "../src/interfaces/IDisputeCourt.sol";
import {Destination} from "../src/interfaces/IStakeVault.sol";
import {Messages, Receipt} from "../src/libraries/Messages.sol";
import {Node} from "../src/libraries/Tree.sol";
import {CourtWorld} from "./CourtWorld.sol";

/// @notice What somebody might try against the court, and what comes of it.
contract CourtAttacksTest is CourtWorld {
    using Messages for Receipt;

    uint256 private modelId;
    uint256 private hostingId;
    uint32 private epoch;
    Receipt[] private receipts;
    address private thief = vm.addr(0x7413f);

    function setUp() public override {
        super.setUp();
        wealth(thief);
        modelId = active("first");
        hostingId = serving(modelId);
        epoch = today();
        for (uint32 i = 0; i < 5; ++i) {
            receipts.push(receiptOf(hostingId, i, 2_000));
        }
        skip(1 days);
        postTree(hostingId, epoch, treeOf(receipts));
    }

    function evidence(Receipt memory receipt) private view returns (bytes memory) {
        return abi.encode(receipt, signReceipt(receipt));
    }

    function omitted(uint32 seq) private view returns (Receipt memory receipt) {
        receipt = receipts[0];
        (receipt.seq, receipt.requestHash) = (seq, "left out");
    }

    /// @dev Whoever sees an opening and copies it has announced nothing; announcing for another account disturbs nobody.
    function test_NobodyComesFirst() public {
        bytes memory data = evidence(omitted(9));
        bytes32 claimId = announce(claimant, ClaimKind.Omitted, data);
        bytes32 salt = bytes32(claims);
        vm.startPrank(thief);
        judge.commitClaim(claimId);
        bytes32 own = keccak256(abi.encode(thief, ClaimKind.Omitted, keccak256(data), salt));
        judge.commitClaim(own);
        vm.expectRevert(abi.encodeWithSelector(DisputeCourt.Court_NotAnnounced.selector, own));
        judge.open(ClaimKind.Omitted, data, salt);
        vm.stopPrank();
        vm.prank(claimant);
        judge.open(ClaimKind.Omitted, data, salt);
        isState(claimId, ClaimState.Executed);
    }

    function test_AnAnnouncementLastsADayAndServesOnce() public {
        bytes memory data = evidence(omitted(9));
        bytes32 claimId = announce(claimant, ClaimKind.Omitted, data);
        bytes memory why = abi.encodeWithSelector(DisputeCourt.Court_NotAnnounced.selector, claimId);
        skip(1 days);
        vm.expectRevert(why);
        vm.prank(claimant);
        judge.open(ClaimKind.Omitted, data, bytes32(claims));
        vm.expectRevert(abi.encodeWithSelector(DisputeCourt.Court_BadKind.selector, ClaimKind.None));
        vm.prank(claimant);
        judge.open(ClaimKind.None, data, 0);
    }

    /// @dev A receipt of another chain has another digest, and so another signature.
    function test_NoReplayAcrossChains() public {
        Receipt memory receipt = omitted(9);
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Loyal"),
                keccak256("1"),
                uint256(1),
                address(registry)
            )
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", domain, receipt.hash()));
        refused(
            ClaimKind.Omitted,
            abi.encode(receipt, signed(SIGNER, digest)),
            abi.encodeWithSelector(Examiner.Examiner_BadEvidence.selector, bytes32("receipt signature"))
        );
    }

    /// @dev Many small claims against an honest host pay it for its answers, and leave its bond free.
    function test_SmallClaimsPayTheHonestHost() public {
        Node[] memory nodes = treeOf(receipts);
        for (uint32 i = 0; i < 5; ++i) {
            bytes32 claimId = claim(ClaimKind.Omitted, evidence(receipts[i]));
            judge.answer(claimId, abi.encode(proofOf(nodes, i)));
        }
        eq(judge.owed(host), 25e18, "half of each bond");
        eq(gate.bondOf(hostingId), 720e6, "bond");
        eq(vault.positionOf(gate.hostingOf(hostingId).position).freezes, 0, "free");
        vm.prank(host);
        gate.exit(hostingId);
    }

    /// @dev Invariant 7: an open claim holds what it accuses, also on its way out.
    function test_NobodyLeavesUnderAClaim() public {
        bytes32 claimId = claim(ClaimKind.Omitted, evidence(omitted(1)));
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_ClaimOpen.selector, hostingId));
        vm.prank(host);
        gate.exit(hostingId);
        expireClaim(claimId);
        vm.expectRevert(abi.encodeWithSelector(Gate.Gate_ClaimOpen.selector, hostingId));
        vm.prank(host);
        gate.exit(hostingId);
        judge.execute(claimId);
        report(hostingId, epoch + 1, 0, 0);
        vm.prank(host);
        gate.exit(hostingId);
        skip(7 days);
        claimId = claim(ClaimKind.Omitted, evidence(omitted(2)));
        bytes32 position = gate.hostingOf(hostingId).position;
        vm.warp(vault.positionOf(position).thawsAt);
        vm.expectRevert(abi.encodeWithSelector(StakeVault.Stake_Frozen.selector, position));
        vault.withdraw(position);
        judge.rule(claimId);
        judge.execute(claimId);
        vault.withdraw(position);
        eq(coin.balanceOf(host), 649.8e6, "less 5 % twice");
    }

    /// @dev Accusing oneself costs a fifth at least, and the bond of the claim is only given back.
    function test_SelfAccusationCosts() public {
        claimant = host;
        claim(ClaimKind.Omitted, evidence(omitted(9)));
        eq(vault.rewards(host, address(coin)), 18e6, "half of it back");
        eq(gate.bondOf(hostingId), 684e6, "of what it lost");
        eq(vault.rewards(address(timelock), address(coin)), 7.2e6, "a fifth is gone");
    }

    /// @dev A hostile asset calls back while a verdict is carried out.
    function test_AReentrantAssetChangesNothing() public {
        bytes32 claimId = claim(ClaimKind.Omitted, evidence(omitted(1)));
        expireClaim(claimId);
        coin.setHook(court, abi.encodeCall(DisputeCourt.execute, (claimId)));
        judge.execute(claimId);
        eq(
            bytes32(coin.hookResult()),
            bytes32(abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector)),
            "refused"
        );
        eq(gate.bondOf(hostingId), 684e6, "once");
    }

    /// @dev An asset that does not move keeps its own back, and no bond of LOYAL.
    function test_AStuckAssetHoldsNobodysBond() public {
        bytes32 claimId = claim(ClaimKind.Omitted, evidence(omitted(1)));
        expireClaim(claimId);
        coin.setFee(100);
        vm.expectRevert();
        judge.execute(claimId);
        judge.withdraw(claimant);
        eq(currency.balanceOf(claimant), 100_000e18, "the bond is out");
        coin.setFee(0);
        judge.execute(claimId);
        eq(gate.bondOf(hostingId), 684e6, "and the verdict is carried out later");
    }

    /// @dev Whatever is slashed, the parts make the slash to the last unit.
    function test_NothingIsLostInRounding(uint128 amount) public {
        amount = uint128(bound(amount, 1, 10e6));
        Receipt memory receipt = omitted(9);
        receipt.amount = amount;
        claim(ClaimKind.Omitted, evidence(receipt));
        uint256 slashed = 720e6 - gate.bondOf(hostingId);
        uint256 given = vault.rewards(claimant, address(coin));
        uint256 parts = given + vault.rewards(address(timelock), address(coin))
            + router.owed(address(sharesOf(modelId)), address(coin));
        eq(parts, slashed, "all of it");
        holds(given <= slashed / 2, "claimants have half at most");
        eq(coin.balanceOf(address(vault)) + coin.balanceOf(address(router)), 720e6, "and it is there");
    }

    /// @dev A hosting whose bond is used up may close under a claim; the claim ends, and takes nothing.
    function test_AClosedHostingTakesNothingMore() public {
        bytes32 claimId = claim(ClaimKind.Omitted, evidence(omitted(1)));
        vm.startPrank(court);
        gate.unfreeze(hostingId);
        gate.convict(hostingId, 720e6, noParts(), true);
        vm.stopPrank();
        skip(14 days);
        gate.close(hostingId);
        vm.prank(court);
        gate.freeze(hostingId);
        expireClaim(claimId);
        judge.execute(claimId);
        isState(claimId, ClaimState.Executed);
        refused(
            ClaimKind.Omitted,
            evidence(omitted(2)),
            abi.encodeWithSelector(DisputeCourt.Court_HostingClosed.selector, hostingId)
        );
    }

    function noParts() private pure returns (Destination[] memory) {}
}
