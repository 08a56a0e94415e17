// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Gate} from "../Gate.sol";
import {IExaminer, Accusation} from "../interfaces/IExaminer.sol";
import {IParameters, Parameter} from "../interfaces/IParameters.sol";
import {Receipt} from "../libraries/Messages.sol";
import {Proof, Tree} from "../libraries/Tree.sol";
import {ReceiptExaminer} from "./ReceiptExaminer.sol";

/// @title E1_OMITTED: a host signed a receipt and left it out of its report
/// @notice A number past the report's count convicts at once; else the host opens the leaf in time.
contract OmissionExaminer is ReceiptExaminer {
    /// @notice The leaf that must be opened.
    struct Leaf {
        uint256 hostingId;
        bytes32 digest;
        uint32 epoch;
        uint32 seq;
        uint128 amount;
        uint128 tokens;
    }

    IParameters public immutable parameters;

    mapping(bytes32 claimId => Leaf) private _leaves;

    constructor(address court_, Gate gate_) ReceiptExaminer(court_, gate_) {
        parameters = gate_.parameters();
    }

    /// @inheritdoc IExaminer
    /// @param evidence `abi.encode(Receipt, bytes signature)`.
    function open(bytes32 claimId, address, bytes calldata evidence) external onlyCourt returns (Accusation memory) {
        (Receipt memory receipt, bytes memory signature) = abi.decode(evidence, (Receipt, bytes));
        bytes32 digest = _verify(receipt, signature);
        _lose(claimId, receipt.amount);
        uint128 tokens = uint128(receipt.tokensIn) + receipt.tokensOut;
        _leaves[claimId] = Leaf(receipt.hostingId, digest, receipt.epoch, receipt.seq, receipt.amount, tokens);
        return _accuse(receipt, keccak256(abi.encode("omitted", digest)), _isMissing(receipt));
    }

    /// @inheritdoc IExaminer
    /// @param data `abi.encode(Proof)`.
    function answer(bytes32 claimId, bytes calldata data) external view override onlyCourt returns (bool) {
        Proof memory proof = abi.decode(data, (Proof));
        Leaf memory leaf = _leaves[claimId];
        Gate.Report memory report = gate.reportOf(leaf.hostingId, leaf.epoch);
        require(proof.index == leaf.seq && proof.count == report.count, Examiner_BadAnswer("leaf"));
        Tree.check(proof, leaf.digest, leaf.amount, leaf.tokens, report.root);
        return true;
    }

    /// @dev A receipt of another epoch than its own time's is in no report. An epoch that was never reported counts
    /// nothing, once it cannot be reported any more.
    function _isMissing(Receipt memory receipt) private view returns (bool) {
        if (parameters.epochAt(receipt.issuedAt) != receipt.epoch) return true;
        Gate.Report memory report = gate.reportOf(receipt.hostingId, receipt.epoch);
        if (report.postedAt != 0) return receipt.seq >= report.count;
        uint256 last = parameters.epochStart(receipt.epoch + 1) + parameters.get(Parameter.DuesAfter);
        require(block.timestamp >= last, Examiner_TooEarly(last));
        return true;
    }

    function _bps() internal pure override returns (uint16) {
        return 500;
    }
}
