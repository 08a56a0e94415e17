// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Examiner} from "../src/examiners/Examiner.sol";
import {ClaimKind, ClaimState, Outcome} from "../src/interfaces/IDisputeCourt.sol";
import {Credential, Invocation, Messages, Receipt} from "../src/libraries/Messages.sol";
import {Wallet} from "./Coin.sol";
import {CourtWorld} from "./CourtWorld.sol";

/// @notice Overcharge, equivocation and use without a credential: what two signatures show.
contract CourtReceiptsTest is CourtWorld {
    using Messages for Credential;
    using Messages for Invocation;
    using Messages for Receipt;

    uint256 private modelId;
    uint256 private hostingId;

    function setUp() public override {
        super.setUp();
        modelId = active("first");
        hostingId = serving(modelId);
    }

    function bad(ClaimKind kind, bytes memory evidence, bytes32 fact) private {
        refused(kind, evidence, abi.encodeWithSelector(Examiner.Examiner_BadEvidence.selector, fact));
    }

    function credential() private view returns (Credential memory) {
        uint64 start = uint64(vm.getBlockTimestamp());
        return
            Credential(
                modelId, 0, 0, user, address(0), address(0), 0, 0, 1, 10, 1e9, start, start + 30 days, 0, 0, "salt"
            );
    }

    function invocation(Credential memory permission) private view returns (Invocation memory) {
        bytes32 id = registry.digest(permission.hash());
        return Invocation(id, hostingId, 1, "channel", 1, "request", 2_000, uint64(vm.getBlockTimestamp() + 1 hours));
    }

    function receiptFor(Invocation memory made, uint32 seq, uint128 amount)
        private
        view
        returns (Receipt memory receipt)
    {
        receipt = receiptOf(hostingId, seq, amount);
        receipt.invocationId = registry.digest(made.hash());
    }

    // --- overcharge

    function test_MoreThanTheCeilingConvictsAtOnce() public {
        Invocation memory made = invocation(credential());
        Receipt memory receipt = receiptFor(made, 0, 2_001);
        isState(claim(ClaimKind.Overcharge, abi.encode(receipt, signReceipt(receipt), made)), ClaimState.Executed);
        eq(gate.bondOf(hostingId), 684e6, "5 % of the bond");
        receipt = receiptFor(made, 1, 2_000 + 1e6);
        claim(ClaimKind.Overcharge, abi.encode(receipt, signReceipt(receipt), made));
        eq(gate.bondOf(hostingId), 584e6, "a hundred times the excess");
    }

    function test_TheCeilingIsNoOvercharge() public {
        Invocation memory made = invocation(credential());
        Receipt memory receipt = receiptFor(made, 0, 2_000);
        bad(ClaimKind.Overcharge, abi.encode(receipt, signReceipt(receipt), made), "amount within its ceiling");
        made.amountMax = 1;
        bad(ClaimKind.Overcharge, abi.encode(receipt, signReceipt(receipt), made), "invocation");
    }

    // --- equivocation

    function pair(Receipt memory one, Receipt memory other) private view returns (bytes memory) {
        return abi.encode(one, signReceipt(one), other, signReceipt(other));
    }

    /// @dev Golden case 11: two receipts of one number, in one transaction; 10 % of 720.
    function test_OneNumberForTwoReceipts() public {
        Receipt memory one = receiptOf(hostingId, 7, 2_000);
        Receipt memory other = receiptOf(hostingId, 7, 1_000);
        bytes32 claimId = claim(ClaimKind.Equivocation, pair(one, other));
        isState(claimId, ClaimState.Executed);
        eq(gate.bondOf(hostingId), 648e6, "72 gone");
        eq(vault.rewards(claimant, address(coin)), 36e6, "half");
        eq(judge.owed(claimant), 10e18, "bond back");
        judge.withdraw(claimant);
        eq(currency.balanceOf(claimant), 100_000e18, "all of it");
        eq(currency.balanceOf(court), 0, "bonds in are bonds out");
    }

    function test_AnHonestPairIsNone() public {
        Receipt memory one = receiptOf(hostingId, 7, 2_000);
        Receipt memory other = receiptOf(hostingId, 8, 2_000);
        bad(ClaimKind.Equivocation, pair(one, one), "one receipt");
        bad(ClaimKind.Equivocation, pair(one, other), "different numbers");
    }

    function test_ANumberIsClaimedOnce() public {
        Receipt memory one = receiptOf(hostingId, 7, 2_000);
        Receipt memory other = receiptOf(hostingId, 7, 1_000);
        claim(ClaimKind.Equivocation, pair(one, other));
        bytes memory data = pair(other, one);
        announce(claimant, ClaimKind.Equivocation, data);
        vm.expectRevert();
        vm.prank(claimant);
        judge.open(ClaimKind.Equivocation, data, bytes32(claims));
    }

    // --- use without a credential

    function shown(Receipt memory receipt, Invocation memory made, Credential memory permission)
        private
        view
        returns (bytes memory)
    {
        return abi.encode(receipt, signReceipt(receipt), abi.encode(made, permission));
    }

    /// @dev Golden case 13, by id, by holder and by model: a receipt 61 s later convicts, 59 s does not.
    function revokes(uint8 way) private {
        Credential memory permission = credential();
        Invocation memory made = invocation(permission);
        vm.startPrank(owner);
        if (way == 0) credentials.revoke(modelId, registry.digest(permission.hash()));
        if (way == 1) credentials.bumpHolder(modelId, user);
        if (way == 2) credentials.bumpModel(modelId);
        vm.stopPrank();
        skip(59);
        Receipt memory early = receiptFor(made, 0, 2_000);
        bad(ClaimKind.Unauthorised, shown(early, made, permission), "credential was good");
        skip(1);
        Receipt memory late = receiptFor(made, 1, 2_000);
        isState(claim(ClaimKind.Unauthorised, shown(late, made, permission)), ClaimState.Executed);
        eq(gate.bondOf(hostingId), 684e6, "5 %");
    }

    function test_RevokedById() public {
        registry.digest(0);
        Credential memory permission = credential();
        bytes32 id = registry.digest(permission.hash());
        Invocation memory made = invocation(permission);
        vm.prank(owner);
        credentials.revoke(modelId, id);
        skip(59);
        Receipt memory early = receiptFor(made, 0, 2_000);
        bad(ClaimKind.Unauthorised, shown(early, made, permission), "credential was good");
        skip(1);
        Receipt memory late = receiptFor(made, 1, 2_000);
        isState(claim(ClaimKind.Unauthorised, shown(late, made, permission)), ClaimState.Executed);
        eq(gate.bondOf(hostingId), 684e6, "5 %");
    }

    function test_RevokedWithItsHolder() public {
        revokes(1);
    }

    function test_RevokedWithItsModel() public {
        revokes(2);
    }

    function test_OutOfDateConvictsAtOnce() public {
        Credential memory permission = credential();
        Invocation memory made = invocation(permission);
        skip(30 days);
        Receipt memory receipt = receiptFor(made, 0, 2_000);
        isState(claim(ClaimKind.Unauthorised, shown(receipt, made, permission)), ClaimState.Executed);
    }

    function test_AnotherInvocationIsNoEvidence() public {
        Credential memory permission = credential();
        Invocation memory made = invocation(permission);
        Receipt memory receipt = receiptFor(made, 0, 2_000);
        made.nonce = 2;
        bad(ClaimKind.Unauthorised, shown(receipt, made, permission), "invocation");
    }

    function opened(Receipt memory receipt) private returns (bytes32) {
        return claim(ClaimKind.Unauthorised, abi.encode(receipt, signReceipt(receipt), bytes("")));
    }

    function badAnswer(bytes32 claimId, bytes memory data, bytes32 fact) private {
        vm.expectRevert(abi.encodeWithSelector(Examiner.Examiner_BadAnswer.selector, fact));
        judge.answer(claimId, data);
    }

    function test_AGoodCredentialAnswers() public {
        Credential memory permission = credential();
        Invocation memory made = invocation(permission);
        bytes32 claimId = opened(receiptFor(made, 0, 2_000));
        bytes memory signature = signed(ISSUER, registry.digest(permission.hash()));
        badAnswer(
            claimId,
            abi.encode(made, permission, vm.addr(ISSUER), signed(USER, registry.digest(permission.hash()))),
            "issuer signature"
        );
        made.nonce = 2;
        badAnswer(claimId, abi.encode(made, permission, vm.addr(ISSUER), signature), "invocation");
        made.nonce = 1;
        judge.answer(claimId, abi.encode(made, permission, vm.addr(ISSUER), signature));
        ended(claimId, Outcome.Dismissed);
    }

    function test_ACredentialForAnotherHostDoesNotAnswer() public {
        Credential memory permission = credential();
        permission.hostingId = 77;
        Invocation memory made = invocation(permission);
        bytes32 claimId = opened(receiptFor(made, 0, 2_000));
        bytes memory signature = signed(ISSUER, registry.digest(permission.hash()));
        badAnswer(claimId, abi.encode(made, permission, vm.addr(ISSUER), signature), "credential is for another use");
        expireClaim(claimId);
        judge.execute(claimId);
        eq(gate.bondOf(hostingId), 684e6, "5 %");
    }

    function test_AnEndedCredentialDoesNotAnswer() public {
        Credential memory permission = credential();
        permission.expiresAt = permission.notBefore;
        Invocation memory made = invocation(permission);
        bytes32 claimId = opened(receiptFor(made, 0, 2_000));
        bytes memory signature = signed(ISSUER, registry.digest(permission.hash()));
        badAnswer(claimId, abi.encode(made, permission, vm.addr(ISSUER), signature), "credential had ended");
    }

    /// @dev A contract could deny its signature later; what was recorded while it was good stays good.
    function test_ARecordedSignatureOfAContractAnswers() public {
        Wallet wallet = new Wallet(vm.addr(ALICE));
        vm.prank(owner);
        credentials.setIssuer(modelId, address(wallet), true);
        skip(1);
        Credential memory permission = credential();
        Invocation memory made = invocation(permission);
        bytes memory signature = signed(ALICE, registry.digest(permission.hash()));
        credentials.record(permission, address(wallet), signature);
        Receipt memory receipt = receiptFor(made, 0, 2_000);
        bytes32 claimId = opened(receipt);
        wallet.setOwner(vm.addr(BOB));
        judge.answer(claimId, abi.encode(made, permission, address(wallet), signature));
        ended(claimId, Outcome.Dismissed);
    }

    function test_NeitherPleaNorAnswerWhereEvidenceDecides() public {
        Receipt memory receipt = receiptOf(hostingId, 3, 2_000);
        bytes32 claimId = opened(receipt);
        vm.expectRevert(Examiner.Examiner_NoJury.selector);
        vm.prank(host);
        judge.plead(claimId, "");
    }
}
