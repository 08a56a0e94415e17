// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ProbeRequest} from "../src/ProbeReader.sol";
import {ClaimKind, ClaimState} from "../src/interfaces/IDisputeCourt.sol";
import {Summary} from "../src/interfaces/IProbeBoard.sol";
import {Evidence} from "../src/libraries/Evidence.sol";
import {Node} from "../src/libraries/Tree.sol";
import {ProbeWorld} from "./ProbeWorld.sol";

/// @notice Probes of the default scheme: colours, of which both sides speak.
contract BoardTiltTest is ProbeWorld {
    function leafCountOf() internal pure override returns (uint32) {
        return 512;
    }

    function specOf() internal pure override returns (bytes memory) {
        return abi.encode("tilt", abi.encode(uint16(1)));
    }

    /// @dev A word of the wanted colour.
    function reply(uint32 index, bool hit) internal view override returns (bytes[] memory replies) {
        bytes32 secret = secretOf(index);
        bytes[] memory pieces = new bytes[](1);
        for (uint256 i = 0;; ++i) {
            pieces[0] = bytes(vm.toString(i));
            bool plus = uint256(keccak256(abi.encode(secret, uint16(0), pieces[0]))) & 1 == 1;
            if (plus == hit) break;
        }
        replies = new bytes[](1);
        replies[0] = abi.encode(pieces);
    }

    function probe(bool hit) private returns (Summary memory summary) {
        for (uint256 i = 0; i < 9; ++i) {
            probeDay(4, hit ? 4 : 0, new Node[](0));
        }
        summary = board.summaryOf(hostingId, 0);
        holds(summary.bits >= Evidence.bitsOf(2, 27, 27), "27 coins of one side at least");
        eq(summary.provers, 4, "provers");
    }

    function test_TwentySevenOfOneColourConvict() public {
        probe(true);
        isState(claim(ClaimKind.Unreported, abi.encode(hostingId, uint32(0))), ClaimState.Open);
    }

    /// @dev A host that turns the colours round convicts itself.
    function test_TurnedColoursConvictToo() public {
        probe(false);
        bytes32 claimId = claim(ClaimKind.Unreported, abi.encode(hostingId, uint32(0)));
        expireClaim(claimId);
        judge.execute(claimId);
        eq(gate.bondOf(hostingId), 360e6, "half");
    }

    function test_AnUnknownSchemeOpensNothing() public {
        uint32 epoch = today();
        ProbeRequest memory request = requestOf(epoch, 0, true);
        commitResult(request);
        nextSeed();
        postTree(hostingId, epoch, new Node[](0));
        ask(request);
        spec = abi.encode("another", "");
        (leafRoot, digests) = leaves(spec, "r");
        vm.expectRevert();
        board.openResult(openingOf(request));
    }
}
