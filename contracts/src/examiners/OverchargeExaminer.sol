// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Gate} from "../Gate.sol";
import {IExaminer, Accusation} from "../interfaces/IExaminer.sol";
import {Invocation, Messages, Receipt} from "../libraries/Messages.sol";
import {ReceiptExaminer} from "./ReceiptExaminer.sol";

/// @title E1_OVERCHARGE: a host charged more than the invocation allowed
contract OverchargeExaminer is ReceiptExaminer {
    using Messages for Invocation;

    constructor(address court_, Gate gate_) ReceiptExaminer(court_, gate_) {}

    /// @inheritdoc IExaminer
    /// @param evidence `abi.encode(Receipt, bytes signature, Invocation)`.
    function open(bytes32 claimId, address, bytes calldata evidence) external onlyCourt returns (Accusation memory) {
        (Receipt memory receipt, bytes memory signature, Invocation memory invocation) =
            abi.decode(evidence, (Receipt, bytes, Invocation));
        bytes32 digest = _verify(receipt, signature);
        bool names = receipt.invocationId == registry.digest(invocation.hash());
        require(names, Examiner_BadEvidence("invocation"));
        require(receipt.amount > invocation.amountMax, Examiner_BadEvidence("amount within its ceiling"));
        _lose(claimId, receipt.amount - invocation.amountMax);
        return _accuse(receipt, keccak256(abi.encode("overcharge", digest)), true);
    }

    function _bps() internal pure override returns (uint16) {
        return 500;
    }
}
