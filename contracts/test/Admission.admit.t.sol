// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Refusal, Showing} from "../src/Admission.sol";
import {ChannelConfig} from "../src/interfaces/IInvocationChannel.sol";
import {Credential, Invocation, Messages} from "../src/libraries/Messages.sol";
import {World} from "./World.sol";

contract AdmissionAdmitTest is World {
    using Messages for Credential;
    using Messages for Invocation;

    uint256 private modelId;
    uint256 private hostingId;
    ChannelConfig private config;

    function setUp() public override {
        super.setUp();
        modelId = active("first");
        hostingId = serving(modelId);
        config = channelOf(router.tillOf(hostingId, builder), "salt");
        fund(config, 10_000);
    }

    function showing() private view returns (Showing memory s) {
        s.credential.modelId = modelId;
        s.credential.holder = user;
        s.credential.scopes = 1;
        s.credential.notBefore = uint64(vm.getBlockTimestamp());
        s.credential.expiresAt = uint64(vm.getBlockTimestamp() + 1 days);
        s.issuer = vm.addr(ISSUER);
        s.invocation.hostingId = hostingId;
        s.invocation.version = 1;
        s.invocation.channelId = channel.getChannelId(config);
        s.invocation.nonce = 1;
        s.invocation.requestHash = "request";
        s.invocation.amountMax = 2_000;
        s.invocation.deadline = uint64(vm.getBlockTimestamp() + 60);
        s.requestHash = "request";
        s.builder = builder;
        s.channel = config;
        s.maxClaimableAmount = 2_000;
        return sealed_(s);
    }

    /// @dev Signs everything anew, as an honest caller would.
    function sealed_(Showing memory s) private view returns (Showing memory) {
        s.credentialSignature = signed(ISSUER, registry.digest(s.credential.hash()));
        s.invocation.credentialId = registry.digest(s.credential.hash());
        s.invocationSignature = signed(USER, registry.digest(s.invocation.hash()));
        bytes32 id = channel.getChannelId(s.channel);
        s.voucherSignature = signed(USER, channel.getVoucherDigest(id, s.maxClaimableAmount));
        return s;
    }

    function check(Showing memory s, Refusal expected) private view {
        eq(uint8(admission.admit(s)), uint8(expected), "code");
    }

    function test_Admitted() public view {
        check(showing(), Refusal.Admitted);
    }

    function test_CodesOfTheCredential() public {
        Showing memory s = showing();
        s.issuer = vm.addr(BOB);
        check(s, Refusal.CredentialSignature);
        s = showing();
        s.credential.version = 2;
        check(sealed_(s), Refusal.CredentialModel);
        s = showing();
        s.credential.scopes = 2;
        check(sealed_(s), Refusal.CredentialModel);
        s = showing();
        s.credential.hostingId = hostingId + 1;
        check(sealed_(s), Refusal.CredentialHosting);
        s = showing();
        s.credential.builder = user;
        check(sealed_(s), Refusal.CredentialHosting);
        s = showing();
        s.credential.asset = address(currency);
        check(sealed_(s), Refusal.CredentialHosting);
        s = showing();
        s.invocation.credentialId = "another";
        check(s, Refusal.CredentialHolder);
        s = showing();
        s.credential.holder = address(0);
        check(sealed_(s), Refusal.CredentialHolder);
        s = showing();
        s.credential.expiresAt = uint64(vm.getBlockTimestamp());
        check(sealed_(s), Refusal.CredentialTime);
        s = showing();
        bytes32 id = registry.digest(s.credential.hash());
        vm.prank(owner);
        credentials.revoke(modelId, id);
        check(s, Refusal.CredentialRevoked);
    }

    function test_CodesOfTheInvocation() public {
        Showing memory s = showing();
        s.requestHash = "another";
        check(s, Refusal.RequestMismatch);
        s = showing();
        s.credential.requestHash = "strict";
        check(sealed_(s), Refusal.RequestMismatch);
        s = showing();
        s.invocation.version = 2;
        check(sealed_(s), Refusal.VersionInactive);
        s = showing();
        s.invocationSignature = s.voucherSignature;
        check(s, Refusal.InvocationSignature);
        s = showing();
        s.invocation.deadline = uint64(vm.getBlockTimestamp() - 1);
        check(sealed_(s), Refusal.Deadline);
        s = showing();
        vm.prank(host);
        gate.pause(hostingId);
        check(s, Refusal.HostingInactive);
        vm.prank(owner);
        registry.retire(modelId);
        check(s, Refusal.VersionInactive);
    }

    function test_CodesOfThePayment() public {
        Showing memory s = showing();
        s.channel.salt = "another";
        check(s, Refusal.VoucherInvalid);
        s = showing();
        s.builder = address(0);
        check(s, Refusal.VoucherInvalid);
        s = showing();
        s.voucherSignature = s.invocationSignature;
        check(s, Refusal.VoucherInvalid);
        s = showing();
        s.maxClaimableAmount = 10_001;
        check(sealed_(s), Refusal.ChannelUnfunded);
        s.maxClaimableAmount = 10_000;
        check(sealed_(s), Refusal.Admitted);
        s.channel.payerAuthorizer = vm.addr(ALICE);
        s.invocation.channelId = channel.getChannelId(s.channel);
        s = sealed_(s);
        check(s, Refusal.VoucherInvalid);
        s.voucherSignature = signed(ALICE, channel.getVoucherDigest(s.invocation.channelId, 10_000));
        check(s, Refusal.ChannelUnfunded);
    }

    /// @dev Invariant 12: whatever is spoilt, nothing but the whole is admitted.
    function test_NothingSpoiltIsAdmitted(uint256 which, uint256 noise) public view {
        Showing memory s = showing();
        noise = bound(noise, 1, type(uint32).max);
        which = bound(which, 0, 7);
        if (which == 0) s.credential.modelId += noise;
        if (which == 1) s.credential.expiresAt += uint64(noise);
        if (which == 2) s.credential.holderGeneration += uint32(noise);
        if (which == 3) s.invocation.nonce += uint64(noise);
        if (which == 4) s.invocation.amountMax += uint128(noise);
        if (which == 5) s.maxClaimableAmount += uint128(noise);
        if (which == 6) s.requestHash = bytes32(noise);
        if (which == 7) s.invocation.channelId = bytes32(noise);
        holds(admission.admit(s) != Refusal.Admitted, "admitted");
    }
}
