// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Gate} from "../Gate.sol";
import {HostingParties} from "../interfaces/IGate.sol";
import {Accusation, IExaminer, Penalty} from "../interfaces/IExaminer.sol";
import {Destination} from "../interfaces/IStakeVault.sol";
import {IRegistry} from "../interfaces/IRegistry.sol";
import {Messages, Receipt} from "../libraries/Messages.sol";
import {Examiner} from "./Examiner.sol";

/// @title What the examiners of receipts share: a receipt binds its host by the key that signed for the hosting then
abstract contract ReceiptExaminer is Examiner {
    using Messages for Receipt;

    /// @notice A receipt counts a hundred times in a slash.
    uint128 internal constant LOSS_FACTOR = 100;

    IRegistry public immutable registry;
    Gate public immutable gate;

    mapping(bytes32 claimId => uint128) private _losses;

    constructor(address court_, Gate gate_) Examiner(court_) {
        gate = gate_;
        registry = gate_.registry();
    }

    /// @inheritdoc IExaminer
    function penalty(bytes32 claimId) external view returns (Penalty memory) {
        return Penalty(_losses[claimId], _bps(), false, new Destination[](0));
    }

    /// @dev The part of a bond that this kind costs at least.
    function _bps() internal pure virtual returns (uint16);

    function _lose(bytes32 claimId, uint128 amount) internal {
        uint256 loss = uint256(amount) * LOSS_FACTOR;
        _losses[claimId] = loss > type(uint128).max ? type(uint128).max : uint128(loss);
    }

    /// @dev The id of a receipt, once its signature is seen to be the hosting's of that time.
    function _verify(Receipt memory receipt, bytes memory signature) internal view returns (bytes32 digest) {
        digest = registry.digest(receipt.hash());
        address expected = gate.signerAt(receipt.hostingId, uint48(receipt.issuedAt));
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecover(digest, signature);
        bool good = failure == ECDSA.RecoverError.NoError && expected != address(0) && signer == expected;
        require(good && receipt.issuedAt <= block.timestamp, Examiner_BadEvidence("receipt signature"));
    }

    function _accuse(Receipt memory receipt, bytes32 subject, bool proven) internal view returns (Accusation memory) {
        HostingParties memory parties = gate.partiesOf(receipt.hostingId);
        return Accusation({
            hostingId: receipt.hostingId,
            modelId: parties.modelId,
            beneficiary: 0,
            version: parties.version,
            epoch: receipt.epoch,
            accused: parties.host,
            subject: subject,
            proven: proven,
            jury: false
        });
    }
}
