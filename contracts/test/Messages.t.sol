// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import "../src/libraries/Messages.sol";
import {Test} from "./Vm.sol";

contract MessagesTest is Test {
    bytes32 private domain;
    string private json;

    function setUp() public {
        json = vm.readFile("test/vectors/messages.json");
        domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Loyal"),
                keccak256("1"),
                uint256(31_337),
                address(1)
            )
        );
    }

    function check(string memory name, bytes32 typeHash, bytes32 structHash) private view {
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", domain, structHash));
        eq(typeHash, vm.parseJsonBytes32(json, string.concat(".", name, ".type")), name);
        eq(digest, vm.parseJsonBytes32(json, string.concat(".", name, ".digest")), name);
    }

    function b(uint256 value) private pure returns (bytes32) {
        return bytes32(value);
    }

    /// @dev Golden case 8: every field is its position; the Rust types sign the same digests.
    function test_DigestsAreThoseOfRust() public view {
        eq(domain, vm.parseJsonBytes32(json, ".domain"), "domain");
        Grant[] memory grants = new Grant[](3);
        grants[0] = Grant(address(0xa), 3_000);
        grants[1] = Grant(address(0xb), 1_500);
        grants[2] = Grant(address(0xc), 1_500);
        check("Agreement", Messages.AGREEMENT, Messages.hash(Agreement(b(1), grants, 4_000, 4)));
        check("Delivery", Messages.DELIVERY, Messages.hash(Delivery(1, 2, b(3), b(4), b(5), 6)));
        check(
            "Credential",
            Messages.CREDENTIAL,
            Messages.hash(
                Credential(1, 2, 3, address(4), address(5), address(6), b(7), b(8), 9, 10, 11, 12, 13, 14, 15, b(16))
            )
        );
        check("Invocation", Messages.INVOCATION, Messages.hash(Invocation(b(1), 2, 3, b(4), 5, b(6), 7, 8)));
        check("Receipt", Messages.RECEIPT, Messages.hash(Receipt(b(1), 2, 3, 4, b(5), b(6), b(7), 8, 9, 10, 11, 12)));
        check("UsageReport", Messages.USAGE_REPORT, Messages.hash(UsageReport(1, 2, 3, 4, 5, b(6))));
        check(
            "ProbeTicket",
            Messages.PROBE_TICKET,
            Messages.hash(ProbeTicket(1, 2, 3, b(4), 5, 6, address(7), 8, b(9), 10))
        );
        check("ProbeResult", Messages.PROBE_RESULT, Messages.hash(ProbeResult(b(1), 2, b(3), b(4), 5)));
        check("Ballot", Messages.BALLOT, Messages.hash(Ballot(b(1), 2, 3, 4, 5, b(6), b(7))));
        check("Verdict", Messages.VERDICT, Messages.hash(Verdict(b(1), 2, 3, 4, 5, 6, b(7), 8)));
    }

    /// @dev The first four bytes that the design publishes.
    function test_DigestsAreThePublishedOnes() public view {
        bytes4[11] memory published = [
            bytes4(0x358d1de0),
            0x97c9eb70,
            0xdd131a3f,
            0xba38eb62,
            0x9a5a96e6,
            0xcf342077,
            0xb690d4ac,
            0x9e06fd98,
            0x9fc6c2f4,
            0x0599f453,
            0x8c0258a3
        ];
        string[11] memory names = [
            ".domain",
            ".Agreement.digest",
            ".Delivery.digest",
            ".Credential.digest",
            ".Invocation.digest",
            ".Receipt.digest",
            ".UsageReport.digest",
            ".ProbeTicket.digest",
            ".ProbeResult.digest",
            ".Ballot.digest",
            ".Verdict.digest"
        ];
        for (uint256 i = 0; i < names.length; ++i) {
            eq(bytes4(vm.parseJsonBytes32(json, names[i])), published[i], names[i]);
        }
    }
}
