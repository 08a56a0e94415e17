// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {CredentialRegistry} from "../src/CredentialRegistry.sol";
import {CredentialState} from "../src/interfaces/ICredentialRegistry.sol";
import {Credential, Messages} from "../src/libraries/Messages.sol";
import {Wallet} from "./Coin.sol";
import {World} from "./World.sol";

contract CredentialsTest is World {
    using Messages for Credential;

    uint256 private modelId;
    Credential private credential;

    function setUp() public override {
        super.setUp();
        modelId = active("first");
        credential.modelId = modelId;
        credential.holder = user;
        credential.scopes = 1;
        credential.notBefore = uint64(vm.getBlockTimestamp());
        credential.expiresAt = uint64(vm.getBlockTimestamp() + 30 days);
    }

    function check(uint256 key, uint256 time) private view returns (CredentialState) {
        bytes memory signature = signed(key, registry.digest(credential.hash()));
        return credentials.check(credential, vm.addr(key), signature, time);
    }

    function expect(CredentialState state) private view {
        eq(uint8(check(ISSUER, vm.getBlockTimestamp())), uint8(state), "state");
    }

    /// @dev Invariant 12: a credential is good only while its issuer is set, it is in date and not revoked.
    function test_DatesAndIssuers() public {
        expect(CredentialState.Good);
        eq(uint8(check(BOB, vm.getBlockTimestamp())), uint8(CredentialState.BadSignature), "no issuer");
        eq(uint8(check(ISSUER, credential.notBefore - 1)), uint8(CredentialState.OutOfDate), "early");
        eq(uint8(check(ISSUER, credential.expiresAt)), uint8(CredentialState.OutOfDate), "late");
        skip(10);
        vm.prank(owner);
        credentials.setIssuer(modelId, vm.addr(ISSUER), false);
        expect(CredentialState.BadSignature);
        eq(uint8(check(ISSUER, vm.getBlockTimestamp() - 1)), uint8(CredentialState.Good), "it was good before");
    }

    function test_RevokedById() public {
        bytes32 id = credentials.idOf(credential);
        vm.expectRevert(abi.encodeWithSelector(CredentialRegistry.Credential_NotIssuer.selector, modelId, user));
        vm.prank(user);
        credentials.revoke(modelId, id);
        skip(10);
        vm.prank(vm.addr(ISSUER));
        credentials.revoke(modelId, id);
        expect(CredentialState.Revoked);
        eq(credentials.revocationOf(credential), vm.getBlockTimestamp(), "since");
        eq(uint8(check(ISSUER, vm.getBlockTimestamp() - 1)), uint8(CredentialState.Good), "not before");
        vm.expectRevert(abi.encodeWithSelector(CredentialRegistry.Credential_Revoked.selector, id));
        vm.prank(owner);
        credentials.revoke(modelId, id);
    }

    function test_RevokedByHolder() public {
        uint64 first = uint64(vm.getBlockTimestamp());
        vm.prank(user);
        credentials.bumpHolder(modelId, user);
        expect(CredentialState.Revoked);
        skip(10);
        vm.prank(owner);
        credentials.bumpHolder(modelId, user);
        eq(credentials.revocationOf(credential), first, "the first end counts");
        vm.expectRevert(abi.encodeWithSelector(CredentialRegistry.Credential_NotIssuer.selector, modelId, host));
        vm.prank(host);
        credentials.bumpHolder(modelId, user);
        credential.holderGeneration = 2;
        expect(CredentialState.Good);
        credential.holderGeneration = 3;
        expect(CredentialState.Revoked);
    }

    function test_RevokedByModel() public {
        bytes memory refusal =
            abi.encodeWithSelector(CredentialRegistry.Credential_NotController.selector, modelId, vm.addr(ISSUER));
        vm.expectRevert(refusal);
        vm.prank(vm.addr(ISSUER));
        credentials.bumpModel(modelId);
        vm.prank(owner);
        credentials.bumpModel(modelId);
        expect(CredentialState.Revoked);
        credential.modelGeneration = 1;
        expect(CredentialState.Good);
        credential.modelGeneration = 2;
        expect(CredentialState.Revoked);
    }

    /// @dev Invariant 12, its end: whatever else happens, revocation is final.
    function test_RevocationIsFinal(uint8[16] memory steps) public {
        bytes32 id = credentials.idOf(credential);
        vm.prank(owner);
        credentials.revoke(modelId, id);
        for (uint256 i = 0; i < steps.length; ++i) {
            skip(steps[i]);
            vm.startPrank(owner);
            if (steps[i] % 4 == 0) credentials.bumpModel(modelId);
            if (steps[i] % 4 == 1) credentials.bumpHolder(modelId, user);
            if (steps[i] % 4 == 2) credentials.setIssuer(modelId, address(uint160(0x1000 + i)), true);
            vm.stopPrank();
            expect(CredentialState.Revoked);
        }
    }

    function test_IssuersComeOnceAndGoOnce() public {
        address issuer = vm.addr(ISSUER);
        bytes memory refusal =
            abi.encodeWithSelector(CredentialRegistry.Credential_IssuerFixed.selector, modelId, issuer);
        vm.expectRevert(abi.encodeWithSelector(CredentialRegistry.Credential_NotController.selector, modelId, host));
        vm.prank(host);
        credentials.setIssuer(modelId, host, true);
        vm.startPrank(owner);
        vm.expectRevert(refusal);
        credentials.setIssuer(modelId, issuer, true);
        credentials.setIssuer(modelId, issuer, false);
        vm.expectRevert(refusal);
        credentials.setIssuer(modelId, issuer, false);
        vm.expectRevert(refusal);
        credentials.setIssuer(modelId, issuer, true);
        vm.stopPrank();
    }

    function test_AContractsWordIsRecorded() public {
        Wallet wallet = new Wallet(vm.addr(ALICE));
        vm.prank(owner);
        credentials.setIssuer(modelId, address(wallet), true);
        bytes memory signature = signed(ALICE, registry.digest(credential.hash()));
        credentials.record(credential, address(wallet), signature);
        uint64 recorded = credentials.recordedAt(credentials.idOf(credential));
        eq(recorded, vm.getBlockTimestamp(), "recorded");
        wallet.setOwner(vm.addr(BOB));
        skip(5);
        vm.expectRevert(CredentialRegistry.Credential_BadSignature.selector);
        credentials.record(credential, address(wallet), signature);
        wallet.setOwner(vm.addr(ALICE));
        credentials.record(credential, address(wallet), signature);
        eq(credentials.recordedAt(credentials.idOf(credential)), recorded, "the first time counts");
    }
}
