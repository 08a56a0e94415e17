// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Gate} from "../Gate.sol";
import {IExaminer, Accusation} from "../interfaces/IExaminer.sol";
import {Receipt} from "../libraries/Messages.sol";
import {ReceiptExaminer} from "./ReceiptExaminer.sol";

/// @title E1_EQUIVOCATION: a host gave one number to two receipts
contract EquivocationExaminer is ReceiptExaminer {
    constructor(address court_, Gate gate_) ReceiptExaminer(court_, gate_) {}

    /// @inheritdoc IExaminer
    /// @param evidence `abi.encode(Receipt, bytes signature, Receipt, bytes signature)`.
    function open(bytes32, address, bytes calldata evidence) external view onlyCourt returns (Accusation memory) {
        (Receipt memory one, bytes memory first, Receipt memory other, bytes memory second) =
            abi.decode(evidence, (Receipt, bytes, Receipt, bytes));
        bool same = one.hostingId == other.hostingId && one.epoch == other.epoch && one.seq == other.seq;
        require(same, Examiner_BadEvidence("different numbers"));
        require(_verify(one, first) != _verify(other, second), Examiner_BadEvidence("one receipt"));
        bytes32 subject = keccak256(abi.encode("equivocation", one.hostingId, one.epoch, one.seq));
        return _accuse(one, subject, true);
    }

    function _bps() internal pure override returns (uint16) {
        return 1_000;
    }
}
